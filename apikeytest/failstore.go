package apikeytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/keyturn/apikey"
)

// ErrStore is what a FailStore fails with if the Failure names no other error.
var ErrStore = errors.New("apikeytest: store failed")

// Method names a method of [apikey.Store].
type Method int

// The methods; Any, the zero value, is each of them.
const (
	Any Method = iota
	Lookup
	Get
	List
	OwnerState // Store.Owner
	Commit
	ReadEvents // Store.Events
	AddUsage
	DailyUsage
	OnceNames
	PepperIDs
	Check
	methods
)

// String returns the name that the method has there.
func (m Method) String() string {
	if m < 0 || m >= methods {
		return "unknown"
	}
	return [methods]string{"Any", "Lookup", "Get", "List", "Owner", "Commit", "Events", "AddUsage", "DailyUsage", "OnceNames", "PepperIDs", "Check"}[m]
}

// Failure says which calls of a FailStore fail, and how. The zero value lets
// the next call of any method fail with ErrStore.
type Failure struct {
	// Method is the method that fails.
	Method Method

	// Nth is which call fails, counted from Fail on: 1, and 0, is the next.
	Nth int

	// Forever lets all calls after the Nth fail as well, until Recover.
	Forever bool

	// Done makes the call first, and then reports the error in place of what
	// came of it: an answer that was lost on the way. Else the call is not
	// made.
	Done bool

	// Err is the error. Default ErrStore, of which the Manager cannot know
	// whether anything was written; wrap apikey.ErrAborted to say that
	// nothing was.
	Err error
}

// FailStore is an [apikey.Store] in front of another that counts the calls,
// and fails when told to. It is safe for concurrent use.
type FailStore struct {
	store apikey.Store

	mu       sync.Mutex
	calls    [methods]int
	failures []*failure      // in the order of Fail
	damaged  map[string]bool // key ids
	gaps     map[int64]bool  // positions of damaged events
}

// failure is a Failure that counts down to its call.
type failure struct {
	Failure
	left int // 0 = due
}

var _ apikey.Store = (*FailStore)(nil)

// NewFailStore returns a FailStore that passes all calls on to the store.
func NewFailStore(store apikey.Store) *FailStore { return &FailStore{store: store} }

// Fail adds a failure. Several may be set: each counts the calls of its method
// on its own, and a call for which more than one is due fails as the first of
// them says.
func (s *FailStore) Fail(f Failure) {
	if f.Err == nil {
		f.Err = ErrStore
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, &failure{f, f.Nth})
}

// Recover removes all failures and repairs what Damage and DamageEvent damaged.
func (s *FailStore) Recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures, s.damaged, s.gaps = nil, nil, nil
}

// Damage makes the store behave as if the stored row of a key could not be
// read: Lookup, Get and List report an error that wraps apikey.ErrDamaged for
// this key only.
func (s *FailStore) Damage(keyID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.damaged == nil {
		s.damaged = map[string]bool{}
	}
	s.damaged[keyID] = true
}

// DamageEvent makes the store behave as if the event at a position could not be
// read.
func (s *FailStore) DamageEvent(seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gaps == nil {
		s.gaps = map[int64]bool{}
	}
	s.gaps[seq] = true
}

func (s *FailStore) anyDamage() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.damaged) > 0
}

// damage returns the error of a key if it is damaged.
func (s *FailStore) damage(keyID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.damaged[keyID] {
		return nil
	}
	return fmt.Errorf("apikeytest: key %s: %w", keyID, apikey.ErrDamaged)
}

// Calls returns how often a method was called, whether it failed or not; of
// Any, how often all were.
func (s *FailStore) Calls(m Method) int {
	if m < 0 || m >= methods {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[m]
}

// Lookup implements [apikey.Store].
func (s *FailStore) Lookup(ctx context.Context, credentialID string) (apikey.LookupResult, error) {
	return call(s, Lookup, func() (apikey.LookupResult, error) {
		m, err := s.store.Lookup(ctx, credentialID)
		if err != nil || !s.anyDamage() {
			return m, err
		}
		return apikey.DeferLookupResult(m.Credential(), func() (apikey.Key, apikey.Owner, error) {
			key, owner, err := m.Rest()
			if err != nil {
				return key, owner, err
			}
			if err := s.damage(key.ID); err != nil {
				return apikey.Key{ID: key.ID}, apikey.Owner{}, err
			}
			return key, owner, nil
		}), nil
	})
}

// Get implements [apikey.Store].
func (s *FailStore) Get(ctx context.Context, id, owner string) (apikey.Record, error) {
	return call(s, Get, func() (apikey.Record, error) {
		r, err := s.store.Get(ctx, id, owner)
		if err == nil {
			err = s.damage(id)
		}
		if err != nil {
			return apikey.Record{}, err
		}
		return r, nil
	})
}

// List implements [apikey.Store].
func (s *FailStore) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	return call(s, List, func() ([]apikey.Record, error) {
		list, err := s.store.List(ctx, q)
		for i := range list {
			if err := s.damage(list[i].Key.ID); err != nil {
				list[i] = apikey.Record{Key: apikey.Key{ID: list[i].Key.ID}, Err: err}
			}
		}
		return list, err
	})
}

// Owner implements [apikey.Store].
func (s *FailStore) Owner(ctx context.Context, owner string) (apikey.Owner, error) {
	return call(s, OwnerState, func() (apikey.Owner, error) { return s.store.Owner(ctx, owner) })
}

// Commit implements [apikey.Store].
func (s *FailStore) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	return call(s, Commit, func() (apikey.Position, error) { return s.store.Commit(ctx, c) })
}

// Events implements [apikey.Store].
func (s *FailStore) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	return call(s, ReadEvents, func() ([]apikey.Event, error) {
		list, err := s.store.Events(ctx, q)
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, e := range list {
			if seq := e.Position.Seq; s.gaps[seq] {
				list[i] = apikey.Event{Position: e.Position, Err: fmt.Errorf("apikeytest: event %d: %w", seq, apikey.ErrDamaged)}
			}
		}
		return list, err
	})
}

// OnceNames implements [apikey.Store].
func (s *FailStore) OnceNames(ctx context.Context, q apikey.OnceQuery) ([]apikey.OnceName, error) {
	return call(s, OnceNames, func() ([]apikey.OnceName, error) { return s.store.OnceNames(ctx, q) })
}

// AddUsage implements [apikey.Store].
func (s *FailStore) AddUsage(ctx context.Context, uses []apikey.Usage) error {
	_, err := call(s, AddUsage, func() (struct{}, error) { return struct{}{}, s.store.AddUsage(ctx, uses) })
	return err
}

// DailyUsage implements [apikey.Store].
func (s *FailStore) DailyUsage(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
	return call(s, DailyUsage, func() ([]apikey.Usage, error) { return s.store.DailyUsage(ctx, q) })
}

// PepperIDs implements [apikey.Store].
func (s *FailStore) PepperIDs(ctx context.Context) ([]string, error) {
	return call(s, PepperIDs, func() ([]string, error) { return s.store.PepperIDs(ctx) })
}

// Check implements [apikey.Store].
func (s *FailStore) Check(ctx context.Context) error {
	_, err := call(s, Check, func() (struct{}, error) { return struct{}{}, s.store.Check(ctx) })
	return err
}

// call counts a call and makes it, or lets it fail. The store is called
// without the lock, so that calls at the same time stay so.
func call[T any](s *FailStore, m Method, do func() (T, error)) (T, error) {
	f, failed := s.count(m)
	if !failed {
		return do()
	}
	if f.Done {
		do() // whatever comes of it, its answer is lost
	}
	var nothing T
	return nothing, f.Err
}

// count counts a call and returns the failure that is due for it.
func (s *FailStore) count(m Method) (due Failure, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[Any]++
	s.calls[m]++
	s.failures = slices.DeleteFunc(s.failures, func(f *failure) bool {
		if f.Method != Any && f.Method != m {
			return false
		}
		if f.left > 0 {
			f.left--
		}
		if f.left > 0 {
			return false
		}
		if !failed {
			due, failed = f.Failure, true
		}
		return !f.Forever
	})
	return due, failed
}
