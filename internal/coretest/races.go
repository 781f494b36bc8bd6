package coretest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/apikey"
)

// atOnce runs n functions that wait for one another before they begin.
func atOnce(n int, do func(i int)) {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-begin
			do(i)
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
}

// racers is a fixture with a Manager on each of several Stores.
type racers struct {
	*fixture
	managers []*apikey.Manager
}

func newRacers(t testing.TB, newStores NewStores, options apikey.Options) *racers {
	t.Helper()
	stores := newStores(t)
	r := &racers{fixture: newFixture(t, func(testing.TB) apikey.Store { return stores[0] }, options)}
	r.managers = append(r.managers, r.m)
	for _, store := range stores[1:] {
		r.managers = append(r.managers, r.managerOn(store, options))
	}
	return r
}

// of returns the Manager for the i-th call.
func (r *racers) of(i int) *apikey.Manager { return r.managers[i%len(r.managers)] }

// validate returns the error of a Validate, on which all Managers must agree.
func (r *racers) validate(token apikey.Secret) error {
	r.Helper()
	_, first := r.managers[0].Validate(r.ctx, token.Reveal())
	for _, m := range r.managers[1:] {
		if _, err := m.Validate(r.ctx, token.Reveal()); err != first {
			r.Fatalf("one Manager: %v, another: %v", first, err)
		}
	}
	return first
}

// racesOnOneRevision: of 25 reissues that name one revision one succeeds.
func racesOnOneRevision(t *testing.T, newStores NewStores) {
	f := newRacers(t, newStores, apikey.Options{})
	for range rounds(20) {
		key := f.issue(apikey.IssueParams{}).Key
		issued, errs := make([]apikey.Issued, 25), make([]error, 25)
		atOnce(25, func(i int) {
			// Neither kind comes from one Manager alone.
			if m := f.of(i / 2); i%2 == 0 {
				issued[i], errs[i] = m.Regenerate(f.ctx, key.ID, apikey.IfRevision(key.Revision))
			} else {
				issued[i], errs[i] = m.Rotate(f.ctx, key.ID, time.Hour, apikey.IfRevision(key.Revision))
			}
		})
		won := 0
		for i, err := range errs {
			switch {
			case err == nil:
				won++
				f.no(f.validate(issued[i].Token))
			case !errors.Is(err, apikey.ErrConflict):
				t.Fatalf("error %v, want ErrConflict", err)
			case !issued[i].Token.IsZero():
				t.Fatal("a token with an ErrConflict")
			}
		}
		if won != 1 {
			t.Fatalf("%d succeeded, want 1", won)
		}
		if got := f.get(key.ID).Revision; got != key.Revision+1 {
			t.Fatalf("revision %d, want %d", got, key.Revision+1)
		}
	}
}

// racesWithoutRevision: whatever comes at once, what holds in the end is what
// the log says.
func racesWithoutRevision(t *testing.T, newStores NewStores) {
	f := newRacers(t, newStores, apikey.Options{})
	for round := range rounds(20) {
		first := f.issue(apikey.IssueParams{})
		id := first.Key.ID
		issued := make([]apikey.Issued, 25)
		atOnce(25, func(i int) {
			var err error
			m := f.of(i / 2)
			switch {
			case i == 24 && round%2 == 0:
				_, err = m.Delete(f.ctx, id)
			case i%8 == 7:
				_, err = m.Disable(f.ctx, id)
			case i%2 == 0:
				issued[i], err = m.Regenerate(f.ctx, id)
			default:
				issued[i], err = m.Rotate(f.ctx, id, time.Hour)
			}
			for _, allowed := range []error{nil, apikey.ErrConflict, apikey.ErrDeleted, apikey.ErrDisabled} {
				if errors.Is(err, allowed) {
					return
				}
			}
			t.Errorf("operation %d: %v", i, err)
		})
		issued = append(issued, first)
		tokens := map[string]apikey.Secret{}
		for _, one := range issued {
			if !one.Token.IsZero() {
				tokens[one.Key.CredentialID] = one.Token
			}
		}

		// Replay the log: what should be accepted now?
		events := f.events(id)
		accepted := map[string]bool{}
		current, off := "", false
		for i, e := range events {
			if e.Revision != int64(i)+1 {
				t.Fatalf("revision %d of event %d", e.Revision, i)
			}
			switch e.Kind {
			case apikey.EventIssued, apikey.EventRegenerated:
				current, off = e.CredentialID, false
				accepted = map[string]bool{current: true}
			case apikey.EventRotated:
				accepted = map[string]bool{current: true, e.CredentialID: true}
				current = e.CredentialID
			case apikey.EventDisabled, apikey.EventDeleted:
				off = true
			default:
				t.Fatalf("event %s", e.Kind)
			}
		}
		if len(accepted) > 2 || f.get(id).CredentialID != current {
			t.Fatalf("current credential is not the log's last")
		}
		for cid, token := range tokens {
			if got, want := f.validate(token) == nil, accepted[cid] && !off; got != want {
				t.Fatalf("a token is accepted: %v, by the log: %v", got, want)
			}
		}
		f.clock.Add(time.Hour)
		for cid, token := range tokens {
			if got, want := f.validate(token) == nil, cid == current && !off; got != want {
				t.Fatalf("after the overlap a token is accepted: %v, by the log: %v", got, want)
			}
		}
	}
}

// racesForTheLimit: the limit of keys holds, also if all come at once.
func racesForTheLimit(t *testing.T, newStores NewStores) {
	f := newRacers(t, newStores, apikey.Options{MaxKeysPerOwner: 5})
	for round := range rounds(2) {
		who := fmt.Sprint("owner", round)
		callers := 100
		if round >= 100 {
			callers = 25 // enough to race, and quicker
		}
		errs := make([]error, callers)
		atOnce(callers, func(i int) {
			_, errs[i] = f.of(i).Issue(f.ctx, apikey.IssueParams{Owner: who, Name: "test"})
		})
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, apikey.ErrLimit) {
				t.Fatal(err)
			}
		}
		keys, err := f.m.List(f.ctx, apikey.Query{Owner: who})
		f.no(err)
		if won != 5 || len(keys) != 5 {
			t.Fatalf("%d succeeded, %d keys, want 5", won, len(keys))
		}
		// Disabled keys count, deleted ones do not.
		_, err = f.m.Disable(f.ctx, keys[0].ID)
		f.no(err)
		if _, err := f.m.Issue(f.ctx, apikey.IssueParams{Owner: who, Name: "test"}); !errors.Is(err, apikey.ErrLimit) {
			t.Fatalf("at the limit with a disabled key: %v", err)
		}
		_, err = f.m.Delete(f.ctx, keys[0].ID)
		f.no(err)
		f.issue(apikey.IssueParams{Owner: who})
	}
}

// usageNeverRevives: usage that is flushed while a key is disabled does not
// write an older state of the key.
func usageNeverRevives(t *testing.T, newStores NewStores) {
	f := newRacers(t, newStores, apikey.Options{})
	for range rounds(20) {
		issued := f.issue(apikey.IssueParams{})
		for i := range 4 {
			_, err := f.of(i).Validate(f.ctx, issued.Token.Reveal())
			f.no(err)
		}
		atOnce(1+2*len(f.managers), func(i int) {
			var err error
			switch i {
			case 0:
				_, err = f.m.Disable(f.ctx, issued.Key.ID)
			default:
				err = f.of(i).Flush(f.ctx)
			}
			if err != nil {
				t.Error(err)
			}
		})
		if err := f.validate(issued.Token); err != apikey.ErrDisabled {
			t.Fatalf("a disabled key: %v", err)
		}
		if key := f.get(issued.Key.ID); key.Uses != 4 || key.Revision != 2 {
			t.Fatalf("%d uses at revision %d, want 4 at 2", key.Uses, key.Revision)
		}
	}
}
