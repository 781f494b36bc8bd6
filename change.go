package apikey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// access is who calls: the Manager, for whom everything is open, or an
// OwnerManager, which is confined to one owner. Both have the same operations;
// their rules are written once, on access.
type access struct {
	m        *Manager
	confined bool
	owner    string
	grant    Scopes   // all that an owner may give to a key
	rate     Rate     // of the keys that an owner issues
	metadata Metadata // of the keys that an owner issues

	selfRotation time.Duration // see OwnerOptions

	err error // the owner or an option is invalid
}

// operation is one kind of change.
type operation struct {
	name   string // in errors
	action Action
	rule   rule

	// retry runs the operation again, on the key as it then is, when someone
	// else changed the key in between. Only what means the same whatever came
	// in between may set it.
	retry bool

	// token is set if the change makes a new token.
	token bool
}

// keyTurn and ownerTurn name what changes of a key, or of an owner's row,
// take turns for.
func keyTurn(id string) string      { return "key " + id }
func ownerTurn(owner string) string { return "owner " + owner }

// change is the one way in which a stored key is changed: load, owner,
// authorize, rule, commit on the very revision that was authorized.
func (a access) change(ctx context.Context, op operation, id string, opts []ChangeOption) (Key, error) {
	record, err := a.tryChange(ctx, op, id, opts)
	if err != nil {
		return Key{}, failed(op.name, id, err)
	}
	return record.view(), nil
}

func (a access) tryChange(ctx context.Context, op operation, id string, opts []ChangeOption) (Record, error) {
	c, err := a.cause(ctx, opts)
	if err != nil {
		return Record{}, err
	}
	if slices.ContainsFunc(c.revisions, func(n int64) bool { return n < 1 }) {
		return Record{}, &FieldError{Field: "revision", Problem: "must be at least 1"}
	}
	turn := keyTurn(id)
	if !op.retry {
		turn = ownerTurn(a.owner)
	}
	var record Record
	var first int64 // the revision that the first attempt found
	err = a.m.attempts(ctx, turn, func(ctx context.Context) (lost bool, err error) {
		c := c
		if record, err = a.loadToChange(ctx, op.action, id, &c); err != nil {
			return false, err
		}
		if err := c.decidedAt(record.Key.Revision); err != nil {
			return false, err
		}
		if first == 0 {
			first = record.Key.Revision
		}
		if !op.retry && record.Key.Revision != first {
			return false, ErrConflict
		}
		event, err := op.rule(&record, c)
		if err == nil {
			err = c.acting.within(record.Key)
		}
		if err != nil || event.Kind == "" {
			return false, err
		}
		var with Commit
		if op.token {
			if with.Owners, err = c.countToken(); err != nil {
				return false, err
			}
		}
		record, err = a.m.writeWith(ctx, record, event, with)
		return errors.Is(err, ErrConflict) && (op.retry || with.Owners != nil), err
	})
	return record, err
}

// countToken returns the owner to commit with a new token, or none if the
// token does not count.
func (c *cause) countToken() ([]Owner, error) {
	owner := c.owner
	counted, err := owner.countToken(*c)
	if err != nil || !counted {
		return nil, err
	}
	return []Owner{owner}, nil
}

// cause checks who and why and reads the clock.
func (a access) cause(ctx context.Context, opts []ChangeOption) (cause, error) {
	if err := a.ready(ctx); err != nil {
		return cause{}, err
	}
	reason, revisions := read(opts)
	reason = visible(reason)
	if err := checkText("reason", reason, maxReasonLen); err != nil {
		return cause{}, err
	}
	actor := ActorFrom(ctx)
	if err := checkActor("actor", actor); err != nil {
		return cause{}, err
	}
	if actor == "" {
		actor = a.owner
	}
	now, err := a.m.now()
	return cause{
		at: now, actor: actor, reason: reason, revisions: revisions,
		byOwner: a.confined, reissue: a.m.reissue, tokens: a.m.tokens,
	}, err
}

// ready refuses calls of an OwnerManager that was made of bad input, and calls
// that were given up before they began.
func (a access) ready(ctx context.Context) error {
	if a.err != nil {
		return a.err
	}
	return ctx.Err()
}

// load reads a key and asks whether the caller may do it. A key of another
// owner is not there.
func (a access) load(ctx context.Context, action Action, id string) (Record, error) {
	record, err := a.fetch(ctx, id)
	if err != nil {
		return Record{}, err
	}
	return record, a.authorize(ctx, action, record.view())
}

// loadToChange is load for a change: an owner that is disabled can only read,
// and a key that manages keys stays within itself. It completes the cause.
func (a access) loadToChange(ctx context.Context, action Action, id string, c *cause) (Record, error) {
	record, err := a.fetch(ctx, id)
	if err != nil {
		return Record{}, err
	}
	if a.confined {
		if c.owner, err = a.m.enabledOwner(ctx, a.owner); err != nil {
			return Record{}, err
		}
		if c.acting, err = a.acting(ctx, c.at); err != nil {
			return Record{}, err
		}
		if err := c.acting.mayTouch(action, record.Key, a.selfRotation); err != nil {
			return Record{}, err
		}
	}
	return record, a.authorize(ctx, action, record.view())
}

// fetch reads a key. A key of another owner is ErrNotFound, and takes the same
// reads as an id that is not stored.
func (a access) fetch(ctx context.Context, id string) (Record, error) {
	if err := checkID(id); err != nil {
		return Record{}, err
	}
	record, err := a.m.store.Get(ctx, id, a.owner)
	if errors.Is(err, ErrNotFound) || err == nil && a.confined && record.Key.Owner != a.owner {
		return Record{}, ErrNotFound // without what the store adds: it is one answer
	}
	return record, err
}

func (m *Manager) enabledOwner(ctx context.Context, id string) (Owner, error) {
	owner, err := m.store.Owner(ctx, id)
	if err == nil && owner.Disabled() {
		err = ErrOwnerDisabled
	}
	return owner, err
}

// authorize asks the host about a call of an owner.
func (a access) authorize(ctx context.Context, action Action, key Key) error {
	if authorize := a.m.options.Authorize; a.confined && authorize != nil {
		if err := authorize(ctx, action, key); err != nil {
			return fmt.Errorf("%w: %w", ErrForbidden, err)
		}
	}
	return nil
}

// write commits a changed record with its event and returns it as it is stored
// then. With ErrOutcomeUnknown it returns it as well.
func (m *Manager) write(ctx context.Context, r Record, e Event) (Record, error) {
	return m.writeWith(ctx, r, e, Commit{})
}

// writeWith is write in one Commit with something else.
func (m *Manager) writeWith(ctx context.Context, r Record, e Event, c Commit) (Record, error) {
	e.Position.Nonce = newNonce()
	r.Nonce = e.Position.Nonce
	c.Records, c.Events = []Record{r}, []Event{e}
	for i := range c.Owners {
		c.Owners[i].Nonce = r.Nonce
	}
	err := m.commit(ctx, c, func() (verdict, error) {
		stored, err := m.store.Get(ctx, r.Key.ID, "")
		switch {
		case errors.Is(err, ErrNotFound):
			return notMade, nil
		case err != nil:
			return unclear, err
		default:
			return judge(stored, r, e.Kind), nil
		}
	})
	r.Key.Revision++
	return r, err
}

// judge tells from the stored record whether ours was written.
func judge(stored, ours Record, kind EventKind) verdict {
	later := stored.Key.Revision - (ours.Key.Revision + 1)
	switch {
	case stored.Nonce == ours.Nonce:
		return made
	case later <= 0:
		return notMade // nothing was, or another change came instead
	case kind != EventIssued && kind != EventRegenerated && kind != EventRotated:
		return unclear
	case stored.credential(ours.Key.CredentialID) != nil:
		return made // and was changed since
	case later < maxHistory/2:
		return notMade // its credential would still be kept
	}
	return unclear
}

// verdict is what a read says of a commit whose answer was lost.
type verdict int

const (
	unclear verdict = iota
	made
	notMade
)

// commit commits. If the answer is lost it commits the same again: compare-
// and-swap lets at most one of the two land, and if the second does not, look
// tells whether the first one had. A change is reported as not made only if
// the store's answer to the second rules out that the first can still land.
func (m *Manager) commit(ctx context.Context, c Commit, look func() (verdict, error)) error {
	_, lost := m.store.Commit(ctx, c)
	if lost == nil || definite(lost) {
		return lost
	}
	_, err := m.store.Commit(ctx, c)
	if err == nil {
		return nil
	}
	answer, lookErr := look()
	switch {
	case answer == made:
		return nil
	case answer == notMade && (errors.Is(err, ErrConflict) || errors.Is(err, ErrExists)):
		return err // the first one, if it is still under way, will meet the same
	}
	// The definite answer to the second is not the answer to the call: an
	// ErrConflict in here would be taken for one.
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, errors.Join(lost, lookErr))
}

// definite reports whether an error of Commit means that nothing was written.
func definite(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrExists) ||
		errors.Is(err, ErrLimit) || errors.Is(err, ErrAborted)
}

// view returns the key of a record from Get as callers see it.
func (r *Record) view() Key {
	k := r.Key
	k.RetiringUntil, k.LastUsedAt, k.Uses = r.usage()
	return k
}
