package apikey

import (
	"context"
	"errors"
	"slices"
)

// Owner returns the state of an owner. One that never changed has the zero
// state with its ID.
func (m *Manager) Owner(ctx context.Context, owner string) (_ Owner, err error) {
	defer wrap(&err, "owner", "")
	if err := m.ready(ctx); err != nil {
		return Owner{}, err
	}
	return m.readOwner(ctx, owner)
}

func (m *Manager) readOwner(ctx context.Context, owner string) (Owner, error) {
	if err := checkOwner(owner); err != nil {
		return Owner{}, err
	}
	return m.store.Owner(ctx, owner)
}

// DisableOwner rejects all keys of an owner at once, present and future, in one
// write that leaves the keys as they are. Its OwnerManagers can still read but
// not change anything, except for changes that began before. It is idempotent.
// It returns the owner's state.
func (m *Manager) DisableOwner(ctx context.Context, owner string, opts ...ChangeOption) (Owner, error) {
	return m.changeOwner(ctx, "disable owner", owner, disableOwner, opts)
}

// EnableOwner reverses DisableOwner: the owner's keys work again as before. It
// is idempotent.
func (m *Manager) EnableOwner(ctx context.Context, owner string, opts ...ChangeOption) (Owner, error) {
	return m.changeOwner(ctx, "enable owner", owner, enableOwner, opts)
}

// SetOwnerScopes sets the ceiling of an owner: from now on all its keys,
// present and future, allow only what both their own scopes and these allow.
// It leaves the keys as they are, so a higher ceiling gives their scopes back.
// Validate returns a key with the scopes that are left. Without any scopes,
// also for nil, the owner's keys allow nothing that needs a scope.
//
// Call it when an owner may do less than before, such as after a downgrade:
// narrower OwnerOptions alone leave the owner its old keys and new tokens for
// them. It is idempotent, and returns the owner's state. A scope that is not
// among Options.Scopes is rejected with a *FieldError for "scopes".
func (m *Manager) SetOwnerScopes(ctx context.Context, owner string, scopes []string, opts ...ChangeOption) (Owner, error) {
	ceiling, err := NewScopes(scopes...)
	rule := func(o *Owner, c cause) (Event, error) {
		if err == nil {
			err = m.checkKnown(ceiling, o.Ceiling)
		}
		if err != nil {
			return Event{}, err
		}
		return setCeiling(ceiling)(o, c)
	}
	return m.changeOwner(ctx, "set scopes of owner", owner, rule, opts)
}

// ClearOwnerScopes removes the ceiling of an owner: its keys allow again what
// their own scopes allow. It is idempotent, and returns the owner's state.
func (m *Manager) ClearOwnerScopes(ctx context.Context, owner string, opts ...ChangeOption) (Owner, error) {
	return m.changeOwner(ctx, "clear scopes of owner", owner, clearCeiling, opts)
}

func (m *Manager) changeOwner(ctx context.Context, name, id string, rule ownerRule, opts []ChangeOption) (owner Owner, err error) {
	defer func() {
		if err != nil {
			owner, err = Owner{}, failed(name, "", err)
		}
	}()
	c, err := m.cause(ctx, opts)
	if err != nil {
		return Owner{}, err
	}
	if slices.ContainsFunc(c.revisions, func(n int64) bool { return n < 0 }) {
		return Owner{}, &FieldError{Field: "revision", Code: "negative", Problem: "must not be negative"}
	}
	err = m.attempts(ctx, ownerTurn(id), func(ctx context.Context) (lost bool, err error) {
		if owner, err = m.readOwner(ctx, id); err != nil {
			return false, err
		}
		if err := c.decidedAt(owner.Revision); err != nil {
			return false, err
		}
		event, err := rule(&owner, c)
		if err != nil || event.Kind == "" {
			return false, err
		}
		owner.Nonce = newNonce()
		event.Position.Nonce = owner.Nonce
		err = m.commit(ctx, Commit{Owners: []Owner{owner}, Events: []Event{event}}, func() (verdict, error) {
			stored, err := m.store.Owner(ctx, id)
			switch {
			case err != nil:
				return unclear, err
			case stored.Nonce == owner.Nonce:
				return made, nil
			case stored.Revision > owner.Revision+1:
				return unclear, nil
			}
			return notMade, nil
		})
		owner.Revision++
		return errors.Is(err, ErrConflict), err
	})
	return owner, err
}
