package apikey_test

import (
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// gateStore stops calls where a test wants them.
type gateStore struct {
	apikey.Store
	get     func(ctx context.Context) // before a Get returns what it has read
	commit  func(ctx context.Context) // before a Commit
	commits atomic.Int64
}

func (s *gateStore) Get(ctx context.Context, id, owner string) (apikey.Record, error) {
	r, err := s.Store.Get(ctx, id, owner)
	if s.get != nil {
		s.get(ctx)
	}
	return r, err
}

func (s *gateStore) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	o, err := s.Store.Owner(ctx, id)
	if s.get != nil {
		s.get(ctx)
	}
	return o, err
}

func (s *gateStore) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	s.commits.Add(1)
	if s.commit != nil {
		s.commit(ctx)
	}
	return s.Store.Commit(ctx, c)
}

func newGated(t testing.TB, options apikey.Options) (*apikey.Manager, *gateStore) {
	t.Helper()
	store := &gateStore{Store: memstore.New()}
	options.Peppers = []apikey.Secret{apikey.NoPepper()}
	m, err := apikey.New(store, &options)
	if err != nil {
		t.Fatal(err)
	}
	return m, store
}

// bubble runs a test in a bubble of package synctest. In FIPS 140 mode it skips
// it: the entropy source measures how much time passes, and in a bubble none
// does, so that package rand panics.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if fips140.Enabled() {
		t.Skip("package rand needs a clock that runs")
	}
	synctest.Test(t, f)
}

// barrier returns a function in which the first n callers wait for each other.
func barrier(n int) func(context.Context) {
	var mu sync.Mutex
	all := make(chan struct{})
	return func(context.Context) {
		mu.Lock()
		n--
		if n == 0 {
			close(all)
		}
		wait := n >= 0
		mu.Unlock()
		if wait {
			<-all
		}
	}
}

// TestWorstRace checks that 200 changes that all read the same revision before
// one of them commits make at most 400 commits, and that none fails.
func TestWorstRace(t *testing.T) {
	const n = 200
	for name, change := range map[string]func(ctx context.Context, m *apikey.Manager, id string, i int) error{
		"update": func(ctx context.Context, m *apikey.Manager, id string, i int) error {
			return second(m.Update(ctx, id, apikey.Changes{Name: new(fmt.Sprint("name ", i))}))
		},
		"update by the owner": func(ctx context.Context, m *apikey.Manager, id string, i int) error {
			return second(m.ForOwner("acme", nil).Update(ctx, id, apikey.Changes{Name: new(fmt.Sprint("name ", i))}))
		},
		"owner scopes": func(ctx context.Context, m *apikey.Manager, _ string, i int) error {
			return second(m.SetOwnerScopes(ctx, "acme", []string{fmt.Sprint("a:", i)}))
		},
		"issue by the owner": func(ctx context.Context, m *apikey.Manager, _ string, i int) error {
			return second(m.ForOwner("acme", nil).Issue(ctx, apikey.IssueParams{Name: "x"}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				m, store := newGated(t, apikey.Options{OwnerTokenLimit: &apikey.ReissueLimit{N: 1000, Window: time.Hour}})
				id := issue(t, m, apikey.IssueParams{}).Key.ID
				store.commits.Store(0)
				store.get = barrier(n)
				began := time.Now()
				var failed atomic.Int64
				var wg sync.WaitGroup
				for i := range n {
					wg.Go(func() {
						if err := change(t.Context(), m, id, i); err != nil {
							failed.Add(1)
						}
					})
				}
				wg.Wait()
				if f, c := failed.Load(), store.commits.Load(); f != 0 || c > 2*n {
					t.Errorf("%d of %d failed, %d commits", f, n, c)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("pauses took %s", took)
				}
			})
		})
	}
}

// TestWaitingEndsWithContext checks that a change that waits for its turn ends
// with its context, that it stored nothing, and that changes elsewhere do not
// wait: of another key, in a transaction, and one that lost to nobody.
func TestWaitingEndsWithContext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		is := is.New(t)
		m, store := newGated(t, apikey.Options{})
		id, other := issue(t, m, apikey.IssueParams{}).Key.ID, issue(t, m, apikey.IssueParams{}).Key.ID
		update := func(ctx context.Context, m *apikey.Manager, id, name string) error {
			return second(m.Update(ctx, id, apikey.Changes{Name: &name}))
		}
		type hold struct{}
		type stale struct{}
		release := make(chan struct{})
		attempts := 0
		store.get = func(ctx context.Context) {
			if done, ok := ctx.Value(stale{}).(*bool); ok && !*done {
				*done = true
				is.NoErr(store.bypass(t, id)) // another change comes in between
			}
		}
		store.commit = func(ctx context.Context) {
			if ctx.Value(hold{}) != nil {
				if attempts++; attempts == 2 {
					<-release
				}
			}
		}
		holder := make(chan error, 1)
		ctx := context.WithValue(context.WithValue(t.Context(), hold{}, true), stale{}, new(bool))
		go func() { holder <- update(ctx, m, id, "holder") }()
		synctest.Wait()

		waiting, cancel := context.WithCancel(context.WithValue(t.Context(), stale{}, new(bool)))
		waiter := make(chan error, 1)
		go func() { waiter <- update(waiting, m, id, "waiter") }()
		synctest.Wait()
		select {
		case err := <-waiter:
			t.Fatalf("did not wait: %v", err)
		default:
		}
		began := time.Now()
		is.NoErr(update(t.Context(), m, other, "other key"))
		is.NoErr(update(context.WithValue(t.Context(), stale{}, new(bool)), m.WithStore(store), id, "in a transaction"))
		is.NoErr(update(t.Context(), m, id, "lost to nobody"))
		is.True(time.Since(began) < time.Second)
		cancel()
		is.True(errors.Is(<-waiter, context.Canceled))
		key, err := m.Get(t.Context(), id)
		is.NoErr(err)
		is.Equal(key.Name, "lost to nobody")
		close(release)
		is.NoErr(<-holder)
	})
}

// bypass changes a key behind the Manager's back.
func (s *gateStore) bypass(t testing.TB, id string) error {
	r, err := s.Store.Get(t.Context(), id, "")
	if err == nil {
		r.Key.Name += "x"
		_, err = s.Store.Commit(t.Context(), apikey.Commit{Records: []apikey.Record{r}, Events: []apikey.Event{{Kind: "x", KeyID: id}}})
	}
	return err
}

// TestSlowTurns checks that a change waits as long as others take their turns,
// and goes on without its turn if one of them does not end.
func TestSlowTurns(t *testing.T) {
	for _, test := range []struct {
		name    string
		commit  time.Duration // how long one takes
		changes int
		want    int64 // commits
	}{
		{"many that are slow", 3 * time.Second, 20, 39},
		{"one that hangs", time.Minute, 3, 6},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				m, store := newGated(t, apikey.Options{})
				id := issue(t, m, apikey.IssueParams{}).Key.ID
				store.commits.Store(0)
				store.get = barrier(test.changes)
				var wg sync.WaitGroup
				first := barrier(test.changes)
				store.commit = func(ctx context.Context) {
					second := store.commits.Load() > int64(test.changes)
					first(ctx)
					if second {
						<-time.After(test.commit) // by the clock of the bubble
					}
				}
				for i := range test.changes {
					wg.Go(func() {
						if _, err := m.Update(t.Context(), id, apikey.Changes{Name: new(fmt.Sprint("name ", i))}); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if got := store.commits.Load(); got != test.want {
					t.Errorf("%d commits, want %d", got, test.want)
				}
			})
		})
	}
}

// TestChangeInAuthorize checks that Options.Authorize may change the key that
// it is asked about, also while its caller has the turn, and wait for nothing.
func TestChangeInAuthorize(t *testing.T) {
	bubble(t, func(t *testing.T) {
		is := is.New(t)
		var m *apikey.Manager
		var store *gateStore
		var asked atomic.Int64
		m, store = newGated(t, apikey.Options{Authorize: func(ctx context.Context, a apikey.Action, k apikey.Key) error {
			if n := asked.Add(1); n < 4 {
				if err := store.bypass(t, k.ID); err != nil {
					return err
				}
				return second(m.Update(ctx, k.ID, apikey.Changes{Rate: &apikey.Rate{Requests: int(n), Period: time.Second}}))
			}
			return nil
		}})
		id := issue(t, m, apikey.IssueParams{}).Key.ID
		lost := false
		store.get = func(ctx context.Context) {
			if asked.Load() > 1 && !lost {
				lost = true
				is.NoErr(store.bypass(t, id)) // so that the change in Authorize asks for a turn
			}
		}
		began := time.Now()
		_, err := m.ForOwner("acme", nil).Disable(t.Context(), id)
		is.NoErr(err)
		is.True(time.Since(began) < time.Second)
		is.Equal(asked.Load(), int64(4))
	})
}

// conflictStore loses every commit.
type conflictStore struct {
	apikey.Store
	commits int
}

func (s *conflictStore) Commit(context.Context, apikey.Commit) (apikey.Position, error) {
	s.commits++
	return apikey.Position{}, apikey.ErrConflict
}

// TestAttemptsAreBounded checks that a change that always loses ends with
// ErrConflict after 100 commits, with pauses that the context ends.
func TestAttemptsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		is := is.New(t)
		m, store := newGated(t, apikey.Options{})
		id := issue(t, m, apikey.IssueParams{}).Key.ID
		losing := &conflictStore{Store: store}
		for _, m := range []*apikey.Manager{m.WithStore(losing), newOn(t, losing)} {
			for name, change := range map[string]func(ctx context.Context) error{
				"disable":       func(ctx context.Context) error { return second(m.Disable(ctx, id)) },
				"disable owner": func(ctx context.Context) error { return second(m.DisableOwner(ctx, "acme")) },
				"owner's issue": func(ctx context.Context) error {
					return second(m.ForOwner("acme", nil).Issue(ctx, apikey.IssueParams{Name: "x"}))
				},
				"owner's rotate": func(ctx context.Context) error { return second(m.ForOwner("acme", nil).Rotate(ctx, id, time.Hour)) },
			} {
				losing.commits = 0
				began := time.Now()
				err := change(t.Context())
				if !errors.Is(err, apikey.ErrConflict) || losing.commits != 100 {
					t.Errorf("%s: %v after %d commits", name, err, losing.commits)
				}
				if took := time.Since(began); took == 0 || took > 5*time.Second {
					t.Errorf("%s took %s", name, took)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				began = time.Now()
				err = change(ctx)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 100*time.Millisecond {
					t.Errorf("%s: %v after %s", name, err, time.Since(began))
				}
				cancel()
			}
			// Without a second token nothing runs twice.
			losing.commits = 0
			_, err := m.Rotate(t.Context(), id, time.Hour)
			is.True(errors.Is(err, apikey.ErrConflict))
			is.Equal(losing.commits, 1)
		}
	})
}

func newOn(t testing.TB, store apikey.Store) *apikey.Manager {
	t.Helper()
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
