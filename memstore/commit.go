package memstore

import (
	"context"
	"fmt"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/micros"
)

// Commit implements [apikey.Store]: under one lock it first checks everything,
// then writes everything.
func (s *Store) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	if err := ctx.Err(); err != nil {
		return apikey.Position{}, aborted(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(c); err != nil {
		return apikey.Position{}, err
	}
	if s.keys == nil {
		s.keys = map[string]*key{}
		s.credentials = map[string]*credential{}
		s.owners = map[string]*owner{}
		s.logOf = map[string][]int{}
		s.byID.compare, s.byOwner.compare = compareID, compareOwner
	}
	for _, o := range c.Owners {
		o.Revision++
		o.DisabledAt = micros.Time(micros.Of(o.DisabledAt))
		o.TokensUntil = micros.Time(micros.Of(o.TokensUntil))
		s.owner(o.ID).state = o
	}
	for _, r := range c.Records {
		s.put(r)
	}
	for _, ref := range c.Purge {
		s.purge(s.keys[ref.ID])
	}
	s.once.add(c.Once, int64(len(s.log)+len(c.Events)))
	var last apikey.Position
	for _, e := range c.Events {
		e.Position.Seq = int64(len(s.log)) + 1
		e.At = micros.Time(micros.Of(e.At))
		e.OldExpiresAt = micros.Time(micros.Of(e.OldExpiresAt))
		if e.KeyID != "" {
			s.logOf[e.KeyID] = append(s.logOf[e.KeyID], len(s.log))
		}
		s.log = append(s.log, e)
		last = e.Position
	}
	return last, nil
}

// aborted says that nothing was written.
func aborted(err error) error { return fmt.Errorf("%w: %w", apikey.ErrAborted, err) }

// check refuses a Commit of which anything does not fit what is stored.
func (s *Store) check(c apikey.Commit) error {
	for _, r := range c.Records {
		stored := s.keys[r.Key.ID]
		switch {
		case r.Key.Revision == 0 && stored != nil:
			return apikey.ErrExists
		case r.Key.Revision != 0 && (stored == nil || stored.revision != r.Key.Revision):
			return apikey.ErrConflict
		}
		for i := range r.Credentials {
			if taken := s.credentials[r.Credentials[i].ID]; taken != nil && taken.key != stored {
				return apikey.ErrExists
			}
		}
	}
	for _, o := range c.Owners {
		if s.ownerRevision(o.ID) != o.Revision {
			return apikey.ErrConflict
		}
	}
	for _, ref := range c.Purge {
		if stored := s.keys[ref.ID]; stored == nil || stored.revision != ref.Revision {
			return apikey.ErrConflict
		}
	}
	for _, ref := range c.RequireRecords {
		if stored := s.keys[ref.ID]; stored == nil || stored.revision != ref.Revision {
			return apikey.ErrConflict
		}
	}
	for _, ref := range c.RequireOwners {
		if s.ownerRevision(ref.ID) != ref.Revision {
			return apikey.ErrConflict
		}
	}
	if c.Limit > 0 {
		if err := s.checkLimit(c); err != nil {
			return err
		}
	}
	return s.once.check(c.Once, c.Purge)
}

func (s *Store) ownerRevision(id string) int64 {
	if stored := s.owners[id]; stored != nil {
		return stored.state.Revision
	}
	return 0
}

// checkLimit counts what each owner of a new Record would have afterwards.
func (s *Store) checkLimit(c apikey.Commit) error {
	change := map[string]int{}
	limited := map[string]bool{}
	for _, r := range c.Records {
		if stored := s.keys[r.Key.ID]; stored != nil && stored.deletedAt == 0 {
			change[r.Key.Owner]--
		}
		if r.Key.DeletedAt.IsZero() {
			change[r.Key.Owner]++
		}
		if r.Key.Revision == 0 {
			limited[r.Key.Owner] = true
		}
	}
	for _, ref := range c.Purge {
		if stored := s.keys[ref.ID]; stored.deletedAt == 0 {
			change[stored.owner.state.ID]--
		}
	}
	for id := range limited {
		have := change[id]
		if o := s.owners[id]; o != nil {
			have += o.live
		}
		if have > c.Limit {
			return apikey.ErrLimit
		}
	}
	return nil
}

// put writes a Record.
func (s *Store) put(r apikey.Record) {
	k := s.keys[r.Key.ID]
	if k == nil {
		k = &key{id: r.Key.ID, owner: s.owner(r.Key.Owner)}
		s.keys[k.id] = k
		s.byID.insert(k)
		s.byOwner.insert(k)
	} else if k.deletedAt == 0 {
		k.owner.live--
	}
	if r.Key.DeletedAt.IsZero() {
		k.owner.live++
	}
	k.set(&r)

	old := k.credentials
	k.credentials = make([]*credential, len(r.Credentials))
	for i := range r.Credentials {
		c := s.credentials[r.Credentials[i].ID]
		if c == nil {
			c = &credential{key: k}
			s.credentials[r.Credentials[i].ID] = c
		}
		c.set(&r.Credentials[i])
		c.kept = true
		k.credentials[i] = c
	}
	for _, c := range old {
		if !c.kept {
			delete(s.credentials, c.id)
		}
	}
	k.current = nil
	for _, c := range k.credentials {
		c.kept = false
		if c.id == r.Key.CredentialID {
			k.current = c
		}
	}
	if k.current == nil {
		// The contract has no such Record; it is kept as the Key describes it.
		k.current = &credential{
			id: r.Key.CredentialID, prefix: r.Key.Prefix, createdAt: micros.Of(r.Key.IssuedAt), expiresAt: micros.Of(r.Key.ExpiresAt),
		}
	}
	sortCredentials(k.credentials)
}

func (s *Store) purge(k *key) {
	if k.deletedAt == 0 {
		k.owner.live--
	}
	for _, c := range k.credentials {
		delete(s.credentials, c.id)
	}
	s.once.purge(k.id)
	delete(s.keys, k.id)
	s.byID.remove(k)
	s.byOwner.remove(k)
}

// owner returns the row of an owner, a new one if there is none.
func (s *Store) owner(id string) *owner {
	o := s.owners[id]
	if o == nil {
		o = &owner{state: apikey.Owner{ID: id}}
		s.owners[id] = o
	}
	return o
}
