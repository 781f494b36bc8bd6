package apikey

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyturn/apikey/internal/micros"
)

// Regenerate replaces the token of a key: every older one is refused before
// the call returns, the new one is valid for a fresh Options.Lifetime, and the
// key is Active, also if it was disabled, locked or expired. Of several at the
// same time those that lose fail with ErrConflict. With ErrOutcomeUnknown the
// Issued is returned as well.
func (m *Manager) Regenerate(ctx context.Context, id string, opts ...ChangeOption) (Issued, error) {
	return m.all.regenerate(ctx, id, opts)
}

// Regenerate replaces the token of a key of the owner; see Manager.Regenerate.
// A locked key is rejected with ErrLocked, too many new tokens with a *TooSoonError.
func (o *OwnerManager) Regenerate(ctx context.Context, id string, opts ...ChangeOption) (Issued, error) {
	return o.access.regenerate(ctx, id, opts)
}

func (a access) regenerate(ctx context.Context, id string, opts []ChangeOption) (Issued, error) {
	return a.reissue(ctx, "regenerate", ActionRegenerate, regenerate, id, opts)
}

// Rotate gives a key a new token beside the present one, which stays valid for
// the overlap, but never longer than it would have been. A token that was
// retiring from a rotation before is refused at once: there are never three.
// The key must be Active (else ErrDisabled, ErrExpired, ErrDeleted), the
// overlap at least a microsecond.
func (m *Manager) Rotate(ctx context.Context, id string, overlap time.Duration, opts ...ChangeOption) (Issued, error) {
	return m.all.rotate(ctx, id, overlap, opts)
}

// Rotate gives a key of the owner a new token; see Manager.Rotate. A locked key
// is rejected with ErrLocked, too many new tokens with a *TooSoonError. If the key
// is the one of the request, see OwnerOptions.SelfRotation.
func (o *OwnerManager) Rotate(ctx context.Context, id string, overlap time.Duration, opts ...ChangeOption) (Issued, error) {
	return o.access.rotate(ctx, id, overlap, opts)
}

func (a access) rotate(ctx context.Context, id string, overlap time.Duration, opts []ChangeOption) (Issued, error) {
	if err := checkOverlap(overlap); err != nil {
		return Issued{}, failed("rotate", id, err)
	}
	rule := func(fresh Credential) rule {
		return func(r *Record, c cause) (Event, error) {
			if !c.acting.is(r.Key) {
				return rotate(fresh, overlap)(r, c)
			}
			if retiring, err := r.retiring(c); err == nil {
				return Event{}, &TooSoonError{At: retiring.ExpiresAt} // its overlap is not cut short
			}
			return rotate(fresh, a.selfRotation)(r, c)
		}
	}
	return a.reissue(ctx, "rotate", ActionRotate, rule, id, opts)
}

// reissue is Regenerate and Rotate. It never runs again over a conflict: two
// that both succeeded would leave one of the new tokens dead on arrival.
func (a access) reissue(ctx context.Context, name string, action Action, make func(Credential) rule, id string, opts []ChangeOption) (Issued, error) {
	var secret Secret
	rule := func(r *Record, c cause) (Event, error) {
		if err := r.mutable(c); err != nil {
			return Event{}, err
		}
		end := c.acting.end(a.m.defaultExpiry(c.at))
		if c.acting.is(r.Key) {
			end = earlier(r.Key.ExpiresAt, a.m.options.MaxLifetime.AddTo(c.at))
		}
		expiry, err := a.m.checkExpiry("lifetime", end, c.at, c.at)
		if err != nil {
			return Event{}, err
		}
		var fresh Credential
		fresh, secret = a.m.newCredential(c.at, expiry)
		return make(fresh)(r, c)
	}
	record, err := a.tryChange(ctx, operation{name: name, action: action, rule: rule, token: true}, id, opts)
	switch {
	case err == nil:
		return Issued{record.view(), secret}, nil
	case errors.Is(err, ErrOutcomeUnknown):
		return Issued{record.view(), secret}, failed(name, id, err)
	}
	return Issued{}, failed(name, id, err)
}

// FinishRotation ends the overlap of a rotation now: the older token is refused
// before the call returns. ErrNotRotating if none is running.
func (m *Manager) FinishRotation(ctx context.Context, id string, opts ...ChangeOption) (Key, error) {
	return m.all.change(ctx, opFinishRotation, id, opts)
}

// FinishRotation ends the overlap of a rotation now; see
// Manager.FinishRotation.
func (o *OwnerManager) FinishRotation(ctx context.Context, id string, opts ...ChangeOption) (Key, error) {
	return o.access.change(ctx, opFinishRotation, id, opts)
}

var opFinishRotation = operation{name: "finish rotation of", action: ActionFinishRotation, rule: finishRotation}

// ExtendRotation lets the overlap of a rotation end at now + overlap, later or
// earlier than it would have, but never past the end that the older token had
// of its own. ErrNotRotating if none is running.
func (m *Manager) ExtendRotation(ctx context.Context, id string, overlap time.Duration, opts ...ChangeOption) (Key, error) {
	return m.all.extendRotation(ctx, id, overlap, opts)
}

// ExtendRotation moves the end of an overlap; see Manager.ExtendRotation.
func (o *OwnerManager) ExtendRotation(ctx context.Context, id string, overlap time.Duration, opts ...ChangeOption) (Key, error) {
	return o.access.extendRotation(ctx, id, overlap, opts)
}

func (a access) extendRotation(ctx context.Context, id string, overlap time.Duration, opts []ChangeOption) (Key, error) {
	op := operation{name: "extend rotation of", action: ActionExtendRotation, rule: extendRotation(overlap)}
	if err := checkOverlap(overlap); err != nil {
		return Key{}, failed(op.name, id, err)
	}
	return a.change(ctx, op, id, opts)
}

func checkOverlap(overlap time.Duration) error {
	if overlap < time.Microsecond {
		return &FieldError{Field: "overlap", Problem: "must be at least a microsecond"}
	}
	return nil
}

// RotationDue lists the Active keys whose current token is older than
// Options.RotateAfter and which are not rotating already. Of the query, Owner,
// After and Limit are used, as by List.
func (m *Manager) RotationDue(ctx context.Context, q Query) ([]Key, error) {
	return m.due(ctx, "rotation due", func(now time.Time) (Query, error) {
		issued := m.options.RotateAfter.SubtractFrom(now).Add(time.Microsecond)
		if !storable(issued) {
			issued = micros.First
		}
		return Query{ExpiresFrom: now, IssuedBefore: issued, Owner: q.Owner, After: q.After, Limit: q.Limit}, nil
	})
}

// Expiring lists the Active keys that will end within the time given. Of the
// query, Owner, After and Limit are used, as by List.
func (m *Manager) Expiring(ctx context.Context, within time.Duration, q Query) ([]Key, error) {
	return m.due(ctx, "expiring", func(now time.Time) (Query, error) {
		if within <= 0 {
			return Query{}, &FieldError{Field: "within", Problem: "must be positive"}
		}
		until := earlier(now.Add(within), lastExpiry.Add(time.Microsecond))
		return Query{ExpiresFrom: now, ExpiresBefore: until, Owner: q.Owner, After: q.After, Limit: q.Limit}, nil
	})
}

func (m *Manager) due(ctx context.Context, name string, query func(now time.Time) (Query, error)) ([]Key, error) {
	now, err := m.now()
	if err != nil {
		return nil, failed(name, "", err)
	}
	q, err := query(now)
	if err != nil {
		return nil, failed(name, "", err)
	}
	return m.all.list(ctx, name, ActionList, q, func(k Key) bool {
		return k.Status(now) == StatusActive && (q.IssuedBefore.IsZero() || !k.Rotating(now))
	})
}

// Swept says what Sweep removed.
type Swept struct {
	Keys        int // deleted keys, with all that belonged to them
	Credentials int // ended credentials of keys that stay
}

// Sweep removes what was deleted, and credentials that ended, longer than
// Options.Retain ago. Nothing depends on it: what it removes had been refused
// all along, and is unknown from then on. The log is kept. A host runs it from
// time to time, on one node or on several; what another changes or sweeps in
// between is left to the next time. On an error it returns what it had done.
//
// A key that is damaged is left as it is. Sweep continues with the others, and
// then returns a *DamagedError.
func (m *Manager) Sweep(ctx context.Context) (Swept, error) {
	var done Swept
	c, err := m.all.cause(ctx, nil)
	if err == nil {
		cutoff := m.options.Retain.SubtractFrom(c.at)
		if storable(cutoff) {
			err = m.sweep(ctx, c, cutoff, &done)
		}
	}
	if err != nil {
		return done, failed("sweep", "", err)
	}
	return done, nil
}

func (m *Manager) sweep(ctx context.Context, c cause, cutoff time.Time, done *Swept) error {
	var damaged DamagedError
	err := m.eachOf(ctx, Query{DeletedBefore: cutoff}, &damaged, func(r Record) error {
		event := r.event(EventPurged, c)
		event.Position.Nonce = newNonce()
		ref := RecordRef{r.Key.ID, r.Key.Revision}
		err := m.commit(ctx, Commit{Purge: []RecordRef{ref}, Events: []Event{event}}, func() (verdict, error) {
			switch _, err := m.store.Get(ctx, r.Key.ID, ""); {
			case errors.Is(err, ErrNotFound):
				return made, nil // by us or by another: it is gone
			case err != nil:
				return unclear, err
			}
			return notMade, nil
		})
		if err == nil {
			done.Keys++
		}
		return err
	})
	if err != nil {
		return damaged.with(err)
	}
	// The reissue limit counts credentials: what it needs is kept.
	cutoff = earlier(cutoff, c.at.Add(-m.reissue.Window))
	if !storable(cutoff) {
		return damaged.with(nil)
	}
	err = m.eachOf(ctx, Query{RetiredBefore: cutoff}, &damaged, func(r Record) error {
		r, err := m.store.Get(ctx, r.Key.ID, "")
		if errors.Is(err, ErrNotFound) {
			return nil // purged meanwhile
		}
		if err != nil {
			return err
		}
		before := len(r.Credentials)
		event, err := sweep(cutoff)(&r, c)
		if err != nil || event.Kind == "" {
			return err
		}
		if _, err := m.write(ctx, r, event); err != nil {
			return err
		}
		done.Credentials += before - len(r.Credentials)
		return nil
	})
	return damaged.with(err)
}

// eachRecord calls do with every record that the query selects, as List returns
// it, and ignores an ErrConflict of do. It passes over records that are damaged
// and names them in the error that it returns at the end.
func (m *Manager) eachRecord(ctx context.Context, q Query, do func(Record) error) error {
	var damaged DamagedError
	return damaged.with(m.eachOf(ctx, q, &damaged, do))
}

// eachOf is eachRecord for several queries, which collects the damaged ones of
// all.
func (m *Manager) eachOf(ctx context.Context, q Query, damaged *DamagedError, do func(Record) error) error {
	q.Limit = defaultPage
	for {
		page, err := m.store.List(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page {
			q.After = r.Key.ID
			err := r.readable()
			if err == nil {
				err = do(r)
			}
			switch {
			case err == nil, errors.Is(err, ErrConflict):
			case errors.Is(err, ErrDamaged):
				damaged.key(r.Key.ID, err)
			default:
				return fmt.Errorf("key %s: %w", r.Key.ID, err)
			}
		}
		if len(page) < q.Limit {
			return nil
		}
	}
}
