// Package memstore keeps keys in memory, for tests, for single programs whose
// keys may end with them, and as the measure for other stores. It is a complete
// [apikey.Store]: what it does not do is survive the program.
//
// The event log is never cut, so memory grows with the number of changes.
package memstore

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/micros"
)

// Store is an [apikey.Store] in memory. The zero value is empty and ready. It
// must not be copied after its first use.
type Store struct {
	mu          sync.RWMutex
	keys        map[string]*key
	credentials map[string]*credential
	owners      map[string]*owner
	byID        index // all keys, by id
	byOwner     index // all keys, by owner and id
	log         []apikey.Event
	logOf       map[string][]int // positions in log, by key id
	once        names
}

var _ apikey.Store = (*Store)(nil)

// New returns an empty Store.
func New() *Store { return &Store{} }

// Lookup implements [apikey.Store]. A result is kept in the entry once the
// Manager has asked for the rest of it, so for a right secret only: a wrong one
// changes nothing here.
func (s *Store) Lookup(ctx context.Context, credentialID string) (apikey.LookupResult, error) {
	if err := ctx.Err(); err != nil {
		return apikey.LookupResult{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.credentials[credentialID]
	if c == nil {
		return apikey.LookupResult{}, apikey.ErrNotFound
	}
	if c.foundAt == c.key.owner.state.Revision {
		return c.found, nil
	}
	result, key, owner := c.find()
	return apikey.DeferLookupResult(result.Credential(), func() (apikey.Key, apikey.Owner, error) {
		s.keep(c, result, key.Revision, owner.Revision)
		return result.Rest()
	}), nil
}

// keep keeps a result that was made of these revisions, if they are still there.
func (s *Store) keep(c *credential, result apikey.LookupResult, key, owner int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.key.revision == key && c.key.owner.state.Revision == owner {
		c.found, c.foundAt = result, owner
	}
}

// Get implements [apikey.Store].
func (s *Store) Get(ctx context.Context, id, owner string) (apikey.Record, error) {
	if err := ctx.Err(); err != nil {
		return apikey.Record{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	k := s.keys[id]
	if k == nil || owner != "" && k.owner.state.ID != owner {
		return apikey.Record{}, apikey.ErrNotFound
	}
	return k.record(), nil
}

// List implements [apikey.Store].
func (s *Store) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	keys := s.byID.after(func(k *key) bool { return k.id > q.After })
	switch {
	case q.CredentialID != "":
		keys = s.ofCredential(q)
	case q.Owner != "":
		keys = s.byOwner.after(func(k *key) bool {
			return k.owner.state.ID > q.Owner || k.owner.state.ID == q.Owner && k.id > q.After
		})
	}
	var records []apikey.Record
	for k := range keys {
		if q.Owner != "" && k.owner.state.ID != q.Owner || len(records) == q.Limit {
			break
		}
		if k.selected(q) {
			records = append(records, k.summary())
		}
	}
	return records, nil
}

// ofCredential returns the key of a credential, if it is after q.After.
func (s *Store) ofCredential(q apikey.Query) iter.Seq[*key] {
	return func(yield func(*key) bool) {
		if c := s.credentials[q.CredentialID]; c != nil && c.key.id > q.After {
			yield(c.key)
		}
	}
}

// selected reports whether a key is what a Query asks for.
func (k *key) selected(q apikey.Query) bool {
	retired := q.RetiredBefore.IsZero()
	for _, c := range k.credentials {
		retired = retired || c.id != k.current.id && c.expiresAt < micros.Of(q.RetiredBefore)
	}
	deleted := k.deletedAt != 0
	if !q.DeletedBefore.IsZero() {
		return deleted && k.deletedAt < micros.Of(q.DeletedBefore) && retired && k.within(q)
	}
	return (!deleted || q.IncludeDeleted) && retired && k.within(q)
}

// within applies the intervals of the current credential.
func (k *key) within(q apikey.Query) bool {
	return (q.ExpiresFrom.IsZero() || k.current.expiresAt >= micros.Of(q.ExpiresFrom)) &&
		(q.ExpiresBefore.IsZero() || k.current.expiresAt < micros.Of(q.ExpiresBefore)) &&
		(q.IssuedBefore.IsZero() || k.current.createdAt < micros.Of(q.IssuedBefore))
}

// Owner implements [apikey.Store].
func (s *Store) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	if err := ctx.Err(); err != nil {
		return apikey.Owner{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o := s.owners[id]; o != nil {
		return o.state, nil
	}
	return apikey.Owner{ID: id}, nil
}

// Events implements [apikey.Store].
func (s *Store) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	// The event with position n is at n-1.
	first, end := max(q.After.Seq, 0), int64(len(s.log))
	if q.Before.Seq > 0 {
		end = min(end, q.Before.Seq-1)
	}
	if first >= end {
		return nil, nil
	}
	if q.KeyID == "" {
		return slices.Clone(page(s.log[first:end], q)), nil
	}
	of := s.logOf[q.KeyID]
	from, _ := slices.BinarySearch(of, int(first))
	to, _ := slices.BinarySearch(of, int(end))
	var events []apikey.Event
	for _, at := range page(of[from:to], q) {
		events = append(events, s.log[at])
	}
	return events, nil
}

// page returns what a query asks for of all that it selects.
func page[T any](all []T, q apikey.EventQuery) []T {
	n := min(q.Limit, len(all))
	if q.Newest {
		return all[len(all)-n:]
	}
	return all[:n]
}

// AddUsage implements [apikey.Store].
func (s *Store) AddUsage(ctx context.Context, uses []apikey.Usage) error {
	if err := ctx.Err(); err != nil {
		return aborted(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range uses {
		c := s.credentials[u.CredentialID]
		if c == nil {
			continue
		}
		c.uses += u.Uses
		c.lastUsedAt = max(c.lastUsedAt, micros.Of(u.LastUsedAt))
		if c.days == nil {
			c.days = map[int64]dayUse{}
		}
		day := c.days[micros.Of(u.Day)]
		day.uses += u.Uses
		day.last = max(day.last, micros.Of(u.LastUsedAt))
		c.days[micros.Of(u.Day)] = day
	}
	return nil
}

// DailyUsage implements [apikey.Store].
func (s *Store) DailyUsage(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	k := s.keys[q.KeyID]
	if k == nil {
		return nil, nil
	}
	var uses []apikey.Usage
	for _, c := range k.credentials {
		for day, use := range c.days {
			if day == 0 || day < micros.Of(q.From) || day >= micros.Of(q.Until) {
				continue
			}
			uses = append(uses, apikey.Usage{
				KeyID: k.id, CredentialID: c.id, Day: micros.Time(day), Uses: use.uses, LastUsedAt: micros.Time(use.last),
			})
		}
	}
	slices.SortFunc(uses, func(a, b apikey.Usage) int {
		return cmp.Or(a.Day.Compare(b.Day), cmp.Compare(a.CredentialID, b.CredentialID))
	})
	return uses, nil
}

// PepperIDs implements [apikey.Store].
func (s *Store) PepperIDs(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	seen := map[string]bool{}
	var ids []string
	for _, c := range s.credentials {
		if !seen[c.pepperID] {
			seen[c.pepperID] = true
			ids = append(ids, c.pepperID)
		}
	}
	return ids, nil
}

// Check implements [apikey.Store]. A Store in memory is always fit for use.
func (s *Store) Check(ctx context.Context) error { return ctx.Err() }
