package apikey

import (
	"context"
	"errors"
	"time"
)

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
func (m *Manager) Sweep(ctx context.Context) (done Swept, err error) {
	defer wrap(&err, "sweep", "")
	c, err := m.cause(ctx, nil)
	if err != nil {
		return done, err
	}
	if cutoff := m.options.Retain.SubtractFrom(c.at); storable(cutoff) {
		err = m.sweep(ctx, c, cutoff, &done)
	}
	return done, err
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
	cutoff = earlier(cutoff, c.at.Add(-m.reissueLimit.Window))
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
