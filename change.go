package apikey

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keyturn/apikey/internal/text"
)

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

	invalid error // of the parameters, returned before anything is read
}

// change is the one way in which a stored key is changed: load, owner,
// authorize, rule, commit on the very revision that was authorized. With
// ErrOutcomeUnknown it returns the record as well.
func (h *handle) change(ctx context.Context, op operation, id string, opts []ChangeOption) (record Record, err error) {
	defer wrap(&err, op.name, id)
	c, err := h.cause(ctx, opts)
	if err != nil {
		return Record{}, err
	}
	if op.invalid != nil {
		return Record{}, op.invalid
	}
	if slices.ContainsFunc(c.revisions, func(n int64) bool { return n < 1 }) {
		return Record{}, &FieldError{Field: "revision", Code: "out_of_range", Problem: "must be at least 1"}
	}
	turn := keyTurn(id)
	if !op.retry {
		turn = ownerTurn(h.owner)
	}
	var first int64 // the revision that the first attempt found
	err = h.attempts(ctx, turn, func(ctx context.Context) (lost bool, err error) {
		c := c
		if record, err = h.loadToChange(ctx, op.action, id, &c); err != nil {
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
		record, err = h.writeWith(ctx, record, event, with)
		return errors.Is(err, ErrConflict) && (op.retry || with.Owners != nil), err
	})
	return record, err
}

// changed is change for calls that return the key.
func (h *handle) changed(ctx context.Context, op operation, id string, opts []ChangeOption) (Key, error) {
	record, err := h.change(ctx, op, id, opts)
	if err != nil {
		return Key{}, err
	}
	return record.view(h.Now()), nil
}

// cause checks who and why and reads the clock.
func (h *handle) cause(ctx context.Context, opts []ChangeOption) (cause, error) {
	if err := h.ready(ctx); err != nil {
		return cause{}, err
	}
	reason, revisions := read(opts)
	reason = text.Visible(reason)
	if err := checkText("reason", reason, maxReasonLen); err != nil {
		return cause{}, err
	}
	actor := ActorFrom(ctx)
	if err := checkActor("actor", actor); err != nil {
		return cause{}, err
	}
	if actor == "" {
		actor = h.owner
	}
	now, err := h.now()
	return cause{
		at: now, actor: actor, reason: reason, revisions: revisions,
		byOwner: h.confined, reissue: h.reissueLimit, tokens: h.tokenLimit,
	}, err
}

// load reads a key and asks whether the caller may do it. A key of another
// owner is not there.
func (h *handle) load(ctx context.Context, action Action, id string) (Record, error) {
	if err := h.ready(ctx); err != nil {
		return Record{}, err
	}
	record, err := h.fetch(ctx, id)
	if err != nil {
		return Record{}, err
	}
	return record, h.authorize(ctx, action, record.view(h.Now()))
}

func (m *core) enabledOwner(ctx context.Context, id string) (Owner, error) {
	owner, err := m.store.Owner(ctx, id)
	if err == nil && owner.Disabled() {
		err = ErrOwnerDisabled
	}
	return owner, err
}

// write commits a changed record with its event and returns it as it is stored
// then. With ErrOutcomeUnknown it returns it as well.
func (m *core) write(ctx context.Context, r Record, e Event) (Record, error) {
	return m.writeWith(ctx, r, e, Commit{})
}

// writeWith is write in one Commit with something else.
func (m *core) writeWith(ctx context.Context, r Record, e Event, c Commit) (Record, error) {
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
func (m *core) commit(ctx context.Context, c Commit, look func() (verdict, error)) error {
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
