package apikey

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyturn/apikey/internal/micros"
)

// List returns keys in ascending order of id, at most q.Limit (100 if it is 0,
// never more than 1000), without deleted ones unless asked for. A page shorter
// than that is the last; the next one comes with q.After set to the id of this
// one's last key. An OwnerManager lists its owner's keys, without those for
// which Options.Authorize rejects ActionList.
//
// If keys in the range of the page are damaged, List returns the others
// together with a *DamagedError that names the damaged ones, as os.ReadDir does
// with entries. The page is as long as it would be without them.
func (h *handle) List(ctx context.Context, q Query) (keys []Key, err error) {
	defer wrap(&err, "list", "")
	var damaged DamagedError
	keys, err = h.list(ctx, q, nil, &damaged)
	return keys, damaged.with(err)
}

// list fills a page with the keys that the caller may see and keep, if given,
// returns true for.
func (h *handle) list(ctx context.Context, q Query, keep func(*Key) bool, damaged *DamagedError) ([]Key, error) {
	if err := h.ready(ctx); err != nil {
		return nil, err
	}
	if err := checkPage(&q.Limit); err != nil {
		return nil, err
	}
	if err := checkIdentifier("owner", q.Owner, maxOwnerLen); err != nil {
		return nil, err
	}
	if q.After != "" && checkID(q.After) != nil {
		return nil, &FieldError{Field: "after", Code: "malformed", Problem: "must be the id of a key"}
	}
	if q.CredentialID != "" {
		if err := checkCredentialID("credential_id", q.CredentialID); err != nil {
			return nil, err
		}
	}
	for _, t := range []*time.Time{&q.ExpiresFrom, &q.ExpiresBefore, &q.IssuedBefore, &q.DeletedBefore, &q.RetiredBefore} {
		if t.IsZero() {
			continue
		}
		if !storable(*t) {
			return nil, &FieldError{Field: "query", Code: "out_of_range", Problem: "must hold times of the years 1970 to 9999"}
		}
		*t = microseconds(*t)
	}
	if err := h.ownOnly(&q.Owner); err != nil {
		return nil, err
	}
	now := h.Now()
	var keys []Key
	for {
		page, err := h.store.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if err := page[i].readable(); err != nil {
				damaged.key(page[i].Key.ID, err)
				continue
			}
			key := page[i].Key
			key.look(now)
			if keep != nil && !keep(&key) {
				continue
			}
			if h.authorize(ctx, ActionList, key) != nil {
				continue
			}
			if keys = append(keys, key); len(keys) == q.Limit {
				return keys, nil
			}
		}
		if len(page) < q.Limit {
			return keys, nil
		}
		q.After = page[len(page)-1].Key.ID
	}
}

// RotationDue lists the Active keys whose current token is older than
// Options.RotateAfter and which are not rotating already. Of the query, Owner,
// After and Limit are used, as by List.
func (m *Manager) RotationDue(ctx context.Context, q Query) (keys []Key, err error) {
	defer wrap(&err, "rotation due", "")
	return m.due(ctx, func(now time.Time) (Query, error) {
		issued := m.options.RotateAfter.SubtractFrom(now).Add(time.Microsecond)
		if !storable(issued) {
			issued = micros.First
		}
		return Query{ExpiresFrom: now, IssuedBefore: issued, Owner: q.Owner, After: q.After, Limit: q.Limit}, nil
	})
}

// Expiring lists the Active keys that will end within the time given. Of the
// query, Owner, After and Limit are used, as by List.
func (m *Manager) Expiring(ctx context.Context, within time.Duration, q Query) (keys []Key, err error) {
	defer wrap(&err, "expiring", "")
	return m.due(ctx, func(now time.Time) (Query, error) {
		if within <= 0 {
			return Query{}, &FieldError{Field: "within", Code: "not_positive", Problem: "must be positive"}
		}
		until := earlier(now.Add(within), lastExpiry.Add(time.Microsecond))
		return Query{ExpiresFrom: now, ExpiresBefore: until, Owner: q.Owner, After: q.After, Limit: q.Limit}, nil
	})
}

// due lists the Active keys of a query, without rotating ones if it is about
// the age of their tokens.
func (m *Manager) due(ctx context.Context, query func(now time.Time) (Query, error)) ([]Key, error) {
	if err := m.ready(ctx); err != nil {
		return nil, err
	}
	now, err := m.now()
	if err != nil {
		return nil, err
	}
	q, err := query(now)
	if err != nil {
		return nil, err
	}
	var damaged DamagedError
	keys, err := m.list(ctx, q, func(k *Key) bool {
		return k.Status == StatusActive && (q.IssuedBefore.IsZero() || !k.Rotating)
	}, &damaged)
	return keys, damaged.with(err)
}

// eachOf calls do with every record that the query selects, as List returns it,
// and ignores an ErrConflict of do. It skips records that are damaged, and
// names them in damaged.
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
