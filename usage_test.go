package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// touchStore records what is touched and fails on demand.
type touchStore struct {
	apikey.Store
	mu    sync.Mutex
	got   [][]apikey.Usage
	fail  func(call int) error
	calls int
}

func (s *touchStore) AddUsage(ctx context.Context, uses []apikey.Usage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.fail != nil {
		if err := s.fail(s.calls); err != nil {
			return err
		}
	}
	s.got = append(s.got, append([]apikey.Usage{}, uses...))
	return s.Store.AddUsage(ctx, uses)
}

func (s *touchStore) touched() [][]apikey.Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got
}

func (s *touchStore) failWith(fail func(call int) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func TestUsageIsCountedByDay(t *testing.T) {
	is := is.New(t)
	_, counting, mock := newManager(t, apikey.Options{})
	store := &touchStore{Store: counting.Store}
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: mock.Now})
	is.NoErr(err)
	ctx := t.Context()
	a := issue(t, m, apikey.IssueParams{})
	use := func(n int) {
		for range n {
			_, err := m.Validate(ctx, a.Token.Reveal())
			is.NoErr(err)
		}
	}
	use(2)
	m.Validate(ctx, a.Token.Reveal(), apikey.Scope("x")) // a refusal is no use
	midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	mock.Set(midnight.Add(-time.Microsecond))
	use(1)
	mock.Set(midnight)
	use(3)
	is.NoErr(m.Flush(ctx))
	is.NoErr(m.Flush(ctx)) // nothing is left to write
	mock.Add(time.Hour)
	use(1)
	is.NoErr(m.Flush(ctx))
	usage := func(day time.Time, uses int64, last time.Time) apikey.Usage {
		return apikey.Usage{KeyID: a.Key.ID, CredentialID: a.Key.CredentialID, Day: day, Uses: uses, LastUsedAt: last}
	}
	want := [][]apikey.Usage{
		{usage(midnight.AddDate(0, 0, -1), 3, midnight.Add(-time.Microsecond)), usage(midnight, 3, midnight)},
		{usage(midnight, 1, midnight.Add(time.Hour))},
	}
	if diff := cmp.Diff(want, store.got); diff != "" {
		t.Error(diff)
	}
	key, err := m.Get(ctx, a.Key.ID)
	is.NoErr(err)
	is.Equal(key.Uses, int64(7))
	is.Equal(key.LastUsedAt, midnight.Add(time.Hour))
	is.Equal(key.Revision, int64(1)) // a use is no change
}

// TestFlushFailures: what the store is sure not to have written is written
// later, what it may have written never again, what was not tried later too.
func TestFlushFailures(t *testing.T) {
	lost := errors.New("connection lost")
	for name, test := range map[string]struct {
		err  error
		want int64 // uses in the store, of 5,000, after a second flush
	}{
		"aborted": {errors.Join(apikey.ErrAborted, lost), 5000},
		"unknown": {lost, 4000},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			store := &touchStore{Store: memstore.New()}
			m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
			is.NoErr(err)
			ctx := t.Context()
			var tokens []string
			for range 2500 {
				tokens = append(tokens, issue(t, m, apikey.IssueParams{}).Token.Reveal())
				_, err := m.Validate(ctx, tokens[len(tokens)-1])
				is.NoErr(err)
			}
			store.fail = func(call int) error {
				if call == 2 {
					return test.err
				}
				return nil
			}
			ended, cancel := context.WithCancel(ctx)
			cancel()
			is.True(errors.Is(m.Flush(ended), context.Canceled)) // loses nothing
			err = m.Flush(ctx)
			is.True(errors.Is(err, lost))
			is.Equal(store.calls, 2)       // the third batch was not tried
			for _, token := range tokens { // counts of the same day, beside those put back
				_, err := m.Validate(ctx, token)
				is.NoErr(err)
			}
			is.NoErr(m.Flush(ctx))
			is.NoErr(m.Flush(ctx))
			var sum int64
			q := apikey.Query{Limit: 1000}
			for {
				page, err := m.List(ctx, q)
				is.NoErr(err)
				for _, k := range page {
					sum += k.Uses
					q.After = k.ID
				}
				if len(page) < q.Limit {
					break
				}
			}
			is.Equal(sum, test.want)
			for _, batch := range store.got {
				seen := map[apikey.Usage]bool{}
				for _, u := range batch {
					u.Uses, u.LastUsedAt = 0, time.Time{}
					is.True(!seen[u]) // one Usage of a credential and day
					seen[u] = true
				}
			}
		})
	}
}

// TestFlushWhileValidating loses no use and counts none twice, while two
// Managers of one Store validate and flush and the key is changed.
func TestFlushWhileValidating(t *testing.T) {
	is := is.New(t)
	store := memstore.New()
	var managers [2]*apikey.Manager
	for i := range managers {
		m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
		is.NoErr(err)
		managers[i] = m
	}
	a := issue(t, managers[0], apikey.IssueParams{})
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			m := managers[n%2]
			for i := range 1000 {
				if _, err := m.Validate(t.Context(), a.Token.Reveal()); err != nil {
					t.Error(err)
				}
				var err error
				switch {
				case i%3 == n%3:
					err = m.Flush(t.Context())
				case i%50 == 0 && n == 0:
					_, err = m.Update(t.Context(), a.Key.ID, apikey.Changes{Name: new(fmt.Sprint(i))})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	is.NoErr(managers[0].Flush(t.Context()))
	is.NoErr(managers[1].Flush(t.Context()))
	key, err := managers[0].Get(t.Context(), a.Key.ID)
	is.NoErr(err)
	is.Equal(key.Uses, int64(4000))
}

// oneTally is a Store that gives every Credential the same Tally.
type oneTally struct {
	apikey.Store
	tally apikey.Tally
}

func (s *oneTally) Lookup(ctx context.Context, id string) (apikey.LookupResult, error) {
	m, err := s.Store.Lookup(ctx, id)
	if err != nil {
		return m, err
	}
	key, owner, err := m.Rest()
	return apikey.NewLookupResult(m.Credential(), key, owner, &s.tally), err
}

// TestTallyIsNotTrusted: whatever Tally a Store gives, a use is counted for the
// key that was used, by the Manager that validated it.
func TestTallyIsNotTrusted(t *testing.T) {
	is := is.New(t)
	store := &oneTally{Store: memstore.New()}
	options := &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}}
	one, err := apikey.New(store, options)
	is.NoErr(err)
	other, err := apikey.New(store, options)
	is.NoErr(err)
	a, b := issue(t, one, apikey.IssueParams{}), issue(t, one, apikey.IssueParams{})
	use := func(m *apikey.Manager, token apikey.Secret, times int) {
		for range times {
			_, err := m.Validate(t.Context(), token.Reveal())
			is.NoErr(err)
		}
	}
	uses := func(id string) int64 {
		key, err := one.Get(t.Context(), id)
		is.NoErr(err)
		return key.Uses
	}
	use(one, a.Token, 2)
	use(one, b.Token, 3)
	use(other, b.Token, 5)
	is.NoErr(other.Flush(t.Context()))
	is.Equal(uses(a.Key.ID), int64(0))
	is.Equal(uses(b.Key.ID), int64(5))
	is.NoErr(one.Flush(t.Context()))
	is.Equal(uses(a.Key.ID), int64(2))
	is.Equal(uses(b.Key.ID), int64(8))
}

// noResult is a Store whose Lookup returns neither a result nor an error.
type noResult struct{ apikey.Store }

func (noResult) Lookup(context.Context, string) (apikey.LookupResult, error) {
	return apikey.LookupResult{}, nil
}

// TestNoLookupResult: a Store that returns nothing is no reason to let anyone in,
// or to panic.
func TestNoLookupResult(t *testing.T) {
	is := is.New(t)
	store := noResult{memstore.New()}
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	is.NoErr(err)
	a := issue(t, m, apikey.IssueParams{})
	_, err = m.Validate(t.Context(), a.Token.Reveal())
	is.True(errors.Is(err, apikey.ErrUnavailable))
	_, err = m.ForOwner("acme", nil).Disable(apikey.NewContext(t.Context(), a.Key), a.Key.ID)
	is.True(err != nil && !errors.Is(err, apikey.ErrNotFound))
	var none apikey.LookupResult
	is.Equal(none.Credential(), apikey.Credential{})
	_, _, err = none.Rest()
	is.True(err != nil)
}

// TestRun: it flushes every ten seconds, goes on over errors, and flushes once
// more at its end. The time that passes is that of the bubble.
func TestRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		is := is.New(t)
		lost := errors.New("connection lost")
		var observed []apikey.Observation
		store := &touchStore{Store: memstore.New()}
		m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Observe: func(_ context.Context, o apikey.Observation) {
			if o.Flush {
				observed = append(observed, o)
			}
		}})
		is.NoErr(err)
		a := issue(t, m, apikey.IssueParams{})
		use := func() { _, err := m.Validate(t.Context(), a.Token.Reveal()); is.NoErr(err) }

		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- m.Run(ctx) }()
		use()
		time.Sleep(9 * time.Second)
		synctest.Wait()
		is.Equal(len(store.touched()), 0)
		time.Sleep(time.Second)
		synctest.Wait()
		is.Equal(len(store.touched()), 1)
		use()
		store.failWith(func(int) error { return lost })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		is.Equal(len(observed), 1)
		is.True(errors.Is(observed[0].Err, lost))
		store.failWith(nil)
		use()
		cancel()
		is.NoErr(<-result)
		is.Equal(len(store.touched()), 2)
		is.Equal(store.touched()[1][0].Uses, int64(1))

		// The last flush's error is Run's.
		use()
		store.failWith(func(int) error { return lost })
		is.True(errors.Is(m.Run(ctx), lost))
	})
}

// TestNotFlushed checks that Observe reports once per hour that uses were
// counted and nothing flushes them, and nothing while a Flush comes in time.
func TestNotFlushed(t *testing.T) {
	is := is.New(t)
	var seen []apikey.Observation
	m, _, clock := newManager(t, apikey.Options{Observe: func(_ context.Context, o apikey.Observation) {
		if o.Flush {
			seen = append(seen, o)
		}
	}})
	a := issue(t, m, apikey.IssueParams{})
	use := func(after time.Duration) int {
		clock.Add(after)
		_, err := m.Validate(t.Context(), a.Token.Reveal())
		is.NoErr(err)
		return len(seen)
	}
	is.Equal(use(24*time.Hour), 0) // nothing was waiting
	is.Equal(use(time.Hour-time.Microsecond), 0)
	is.Equal(use(time.Microsecond), 1)
	is.Equal(use(time.Minute), 1)
	is.Equal(use(time.Hour), 2)
	is.Equal(seen[0], apikey.Observation{Flush: true, Err: apikey.ErrNotFlushed})
	is.NoErr(m.Flush(t.Context()))
	is.Equal(use(2*time.Hour), 2)
	is.Equal(use(59*time.Minute), 2)
	is.NoErr(m.Flush(t.Context()))
	is.Equal(use(59*time.Minute), 2)
}
