package apikey

import (
	"context"
	"errors"
	"time"
)

// Owner returns the state of an owner; one that was never disabled has the
// zero state with its ID.
func (m *Manager) Owner(ctx context.Context, owner string) (Owner, error) {
	o, err := m.owner(ctx, owner)
	if err != nil {
		return Owner{}, failed("owner", "", err)
	}
	return o, nil
}

func (m *Manager) owner(ctx context.Context, owner string) (Owner, error) {
	if err := m.all.ready(ctx); err != nil {
		return Owner{}, err
	}
	if err := checkOwner(owner); err != nil {
		return Owner{}, err
	}
	return m.store.Owner(ctx, owner)
}

// DisableOwner refuses all keys of an owner at once, present and future, in one
// write that leaves the keys as they are; its OwnerManagers can still look but
// not change anything, except for changes that had begun before. It is
// idempotent. It returns the owner's state.
func (m *Manager) DisableOwner(ctx context.Context, owner, reason string) (Owner, error) {
	return m.changeOwner(ctx, "disable owner", EventOwnerDisabled, owner, reason)
}

// EnableOwner ends what DisableOwner did: the owner's keys are again what they
// were. It is idempotent.
func (m *Manager) EnableOwner(ctx context.Context, owner, reason string) (Owner, error) {
	return m.changeOwner(ctx, "enable owner", EventOwnerEnabled, owner, reason)
}

func (m *Manager) changeOwner(ctx context.Context, name string, kind EventKind, id, reason string) (Owner, error) {
	owner, err := m.tryChangeOwner(ctx, kind, id, reason)
	if err != nil {
		return Owner{}, failed(name, "", err)
	}
	return owner, nil
}

func (m *Manager) tryChangeOwner(ctx context.Context, kind EventKind, id, reason string) (Owner, error) {
	c, err := m.all.cause(ctx, reason)
	if err != nil {
		return Owner{}, err
	}
	for attempt := 1; ; attempt++ {
		owner, err := m.owner(ctx, id)
		if err != nil {
			return Owner{}, err
		}
		if owner.Disabled() == (kind == EventOwnerDisabled) {
			return owner, nil
		}
		if kind == EventOwnerDisabled {
			owner.DisabledAt, owner.DisabledBy, owner.DisabledReason = c.at, c.actor, c.reason
		} else {
			owner.DisabledAt, owner.DisabledBy, owner.DisabledReason = time.Time{}, "", ""
		}
		owner.Nonce = newNonce()
		event := Event{
			Position: Position{Nonce: owner.Nonce}, At: c.at, Kind: kind, Owner: id,
			Revision: owner.Revision + 1, Actor: c.actor, Reason: c.reason,
		}
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
		if errors.Is(err, ErrConflict) && attempt < maxAttempts {
			continue
		}
		owner.Revision++
		return owner, err
	}
}
