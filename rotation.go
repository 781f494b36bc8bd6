package apikey

import (
	"context"
	"errors"
	"time"
)

// Regenerate replaces the token of a key: every older one is rejected before
// the call returns, the new one is valid for a fresh Options.Lifetime, and the
// key is Active, also if it was disabled, locked or expired. Through an
// OwnerManager a locked key is rejected with ErrLocked, and too many new tokens
// with a *TooSoonError. Of several calls at the same time those that lose fail
// with ErrConflict. With ErrOutcomeUnknown the Issued is returned as well.
func (h *handle) Regenerate(ctx context.Context, id string, opts ...ChangeOption) (Issued, error) {
	op := operation{name: "regenerate", action: ActionRegenerate, token: true}
	return h.reissue(ctx, op, regenerate, id, opts)
}

// Rotate gives a key a new token next to the current one, which stays valid for
// the overlap, but never longer than it would have been. A token that was
// retiring from an earlier rotation is rejected immediately: there are never
// three. Rotate returns ErrDisabled, ErrExpired or ErrDeleted if the key is not
// Active, and a *FieldError for an overlap below a microsecond. Through an
// OwnerManager a locked key is rejected with ErrLocked, and too many new tokens
// with a *TooSoonError; see OwnerOptions.SelfRotation for a key that rotates
// itself. With ErrOutcomeUnknown the Issued is returned as well.
func (h *handle) Rotate(ctx context.Context, id string, overlap time.Duration, opts ...ChangeOption) (Issued, error) {
	op := operation{name: "rotate", action: ActionRotate, token: true, invalid: checkOverlap(overlap)}
	return h.reissue(ctx, op, func(fresh Credential) rule { return h.rotate(fresh, overlap) }, id, opts)
}

// rotate is the rule of the same name, with the overlap that a key gives itself.
func (h *handle) rotate(fresh Credential, overlap time.Duration) rule {
	return func(r *Record, c cause) (Event, error) {
		if !c.acting.is(r.Key) {
			return rotate(fresh, overlap)(r, c)
		}
		if retiring, err := r.retiring(c); err == nil {
			return Event{}, &TooSoonError{At: retiring.ExpiresAt} // its overlap is not cut short
		}
		return rotate(fresh, h.may.selfRotation)(r, c)
	}
}

// reissue is Regenerate and Rotate. It never runs again over a conflict: two
// that both succeeded would leave one of the new tokens dead on arrival.
func (h *handle) reissue(ctx context.Context, op operation, install func(Credential) rule, id string, opts []ChangeOption) (Issued, error) {
	var secret Secret
	op.rule = func(r *Record, c cause) (Event, error) {
		if err := r.mutable(c); err != nil {
			return Event{}, err
		}
		end := c.acting.end(h.defaultExpiry(c.at))
		if c.acting.is(r.Key) {
			end = earlier(r.Key.ExpiresAt, h.options.MaxLifetime.AddTo(c.at))
		}
		expiry, err := h.checkExpiry("lifetime", end, c.at, c.at)
		if err != nil {
			return Event{}, err
		}
		var fresh Credential
		fresh, secret = h.newCredential(c.at, expiry)
		return install(fresh)(r, c)
	}
	record, err := h.change(ctx, op, id, opts)
	if err != nil && !errors.Is(err, ErrOutcomeUnknown) {
		return Issued{}, err
	}
	return Issued{record.view(h.Now()), secret}, err
}

// FinishRotation ends the overlap of a rotation now: the older token is
// rejected before the call returns. It returns ErrNotRotating if none is
// running.
func (h *handle) FinishRotation(ctx context.Context, id string, opts ...ChangeOption) (Key, error) {
	return h.changed(ctx, opFinishRotation, id, opts)
}

var opFinishRotation = operation{name: "finish rotation of", action: ActionFinishRotation, rule: finishRotation}

// ExtendRotation lets the overlap of a rotation end at now + overlap, later or
// earlier than it would have, but never past the expiry that the older token
// had of its own. It returns ErrNotRotating if none is running.
func (h *handle) ExtendRotation(ctx context.Context, id string, overlap time.Duration, opts ...ChangeOption) (Key, error) {
	op := operation{
		name: "extend rotation of", action: ActionExtendRotation, rule: extendRotation(overlap), invalid: checkOverlap(overlap),
	}
	return h.changed(ctx, op, id, opts)
}

func checkOverlap(overlap time.Duration) error {
	if overlap < time.Microsecond {
		return &FieldError{Field: "overlap", Code: "not_positive", Problem: "must be at least a microsecond"}
	}
	return nil
}
