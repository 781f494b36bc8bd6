package storetest

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// broken is a store that keeps the whole contract but one sentence.
type broken struct {
	name  string
	rule  string // the one that fails
	spoil func(*overridden)
}

// overridden is a memstore of which single methods can be replaced.
type overridden struct {
	apikey.Store
	lookup   func(context.Context, string) (apikey.LookupResult, error)
	get      func(context.Context, string, string) (apikey.Record, error)
	list     func(context.Context, apikey.Query) ([]apikey.Record, error)
	owner    func(context.Context, string) (apikey.Owner, error)
	commit   func(context.Context, apikey.Commit) (apikey.Position, error)
	events   func(context.Context, apikey.EventQuery) ([]apikey.Event, error)
	addUsage func(context.Context, []apikey.Usage) error
	days     func(context.Context, apikey.UsageQuery) ([]apikey.Usage, error)
	once     func(context.Context, apikey.OnceQuery) ([]apikey.OnceName, error)
	peppers  func(context.Context) ([]string, error)
	check    func(context.Context) error
}

func override(change func(*overridden)) *overridden {
	m := memstore.New()
	o := &overridden{m, m.Lookup, m.Get, m.List, m.Owner, m.Commit, m.Events, m.AddUsage, m.DailyUsage, m.OnceNames, m.PepperIDs, m.Check}
	change(o)
	return o
}

func (o *overridden) Lookup(ctx context.Context, id string) (apikey.LookupResult, error) {
	return o.lookup(ctx, id)
}

func (o *overridden) Get(ctx context.Context, id, owner string) (apikey.Record, error) {
	return o.get(ctx, id, owner)
}

func (o *overridden) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	return o.list(ctx, q)
}

func (o *overridden) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	return o.owner(ctx, id)
}

func (o *overridden) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	return o.commit(ctx, c)
}

// pageOf returns what a query asks for of the events of a log that have its
// key.
func pageOf(log []apikey.Event, q apikey.EventQuery) []apikey.Event {
	log = between(log, q.After.Seq, q.Before.Seq)
	n := min(q.Limit, len(log))
	if q.Newest {
		return log[len(log)-n:]
	}
	return log[:n]
}

func (o *overridden) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	return o.events(ctx, q)
}

func (o *overridden) AddUsage(ctx context.Context, uses []apikey.Usage) error {
	return o.addUsage(ctx, uses)
}

func (o *overridden) DailyUsage(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
	return o.days(ctx, q)
}

func (o *overridden) OnceNames(ctx context.Context, q apikey.OnceQuery) ([]apikey.OnceName, error) {
	return o.once(ctx, q)
}

func (o *overridden) PepperIDs(ctx context.Context) ([]string, error) { return o.peppers(ctx) }

func (o *overridden) Check(ctx context.Context) error { return o.check(ctx) }

// everyRecord, ofID and ownerState read the memstore behind.
func (o *overridden) everyRecord() []apikey.Record {
	list, _ := o.Store.List(background, apikey.Query{Limit: all, IncludeDeleted: true})
	for i := range list {
		list[i], _ = o.ofID(list[i].Key.ID)
	}
	return list
}

func (o *overridden) ofID(id string) (apikey.Record, bool) {
	r, err := o.Store.Get(background, id, "")
	return r, err == nil
}

func (o *overridden) ownerState(id string) apikey.Owner {
	state, _ := o.Store.Owner(background, id)
	return state
}

// copied returns a Commit whose slices may be changed.
func copied(c apikey.Commit) apikey.Commit {
	c.Records, c.Owners = slices.Clone(c.Records), slices.Clone(c.Owners)
	c.Purge, c.Events, c.Once = slices.Clone(c.Purge), slices.Clone(c.Events), slices.Clone(c.Once)
	c.RequireRecords, c.RequireOwners = slices.Clone(c.RequireRecords), slices.Clone(c.RequireOwners)
	for i := range c.Records {
		c.Records[i].Credentials = slices.Clone(c.Records[i].Credentials)
	}
	return c
}

// yield lets others run until a condition holds, within bounds.
func yield(times int, until func() bool) {
	for range times {
		if until() {
			return
		}
		runtime.Gosched()
	}
}

// recorder is a tester that keeps what it is told.
type recorder struct {
	mu       sync.Mutex
	failures []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) FailNow() { runtime.Goexit() }

// failures runs a rule and returns what it reports, and whether it made calls
// at once.
func failures(r rule, newStore func() apikey.Store) (found []string, raced bool) {
	var rec recorder
	var group sync.WaitGroup
	c := &check{t: &rec, sentence: r.sentence, newStore: newStore, rounds: 5}
	group.Go(func() { r.check(c) })
	group.Wait()
	return rec.failures, c.raced
}

// TestMain makes the garbage collector run less often, since the tests below
// make many small stores, and lets one goroutine run at a time, so that one that
// yields goes on after all others had their turn, however busy the machine is.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	runtime.GOMAXPROCS(1)
	m.Run()
}

// TestBrokenStores shows that every rule notices what it is there for, and
// that no rule reports what another is about: on each of 10 runs exactly the
// rule of the table fails. A rule that makes no calls at once does the same in
// each run, so that those which are not to fail are run once, and 10 times in
// the long form.
func TestBrokenStores(t *testing.T) {
	table := slices.Concat(brokenReads, brokenCommits, brokenRaces, brokenUsage, brokenDays, brokenOnce, brokenFit, brokenRequire)
	noticed := map[string]bool{}
	names := map[string]bool{}
	for _, b := range table {
		if names[b.name] {
			t.Errorf("two stores are named %q", b.name)
		}
		names[b.name], noticed[b.rule] = true, true
	}
	for _, r := range rules() {
		if !noticed[r.name] {
			t.Errorf("no broken store shows that the rule %q can fail", r.name)
		}
	}
	table = append(table, broken{"memstore itself", "", func(*overridden) {}})
	long := rounds() == 1000
	for _, b := range table {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			certain := map[string]bool{}
			for range 10 {
				for _, r := range rules() {
					if certain[r.name] && r.name != b.rule && !long {
						continue
					}
					found, raced := failures(r, func() apikey.Store { return override(b.spoil) })
					certain[r.name] = !raced
					switch {
					case r.name == b.rule && len(found) == 0:
						t.Fatalf("rule %q did not fail", r.name)
					case r.name != b.rule && len(found) > 0:
						t.Fatalf("rule %q failed, which is about something else:\n%s", r.name, strings.Join(found[:min(len(found), 3)], "\n"))
					case len(found) > 0 && !strings.Contains(found[0], r.sentence):
						t.Fatalf("a failure does not quote its sentence:\n%s", found[0])
					}
				}
			}
		})
	}
}
