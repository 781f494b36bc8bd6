package apikey

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"
)

// A request that is authenticated with a key carries it in its context. What
// an OwnerManager changes with such a context stays within that key, so a key
// that leaked makes no stronger one, and no handler can forget to check it.

// acting is the key that a change is made with. The nil one bounds nothing.
type acting struct {
	id      string
	stored  Key // as it is stored now
	shown   Key // as it was validated; the application may have narrowed it since
	ceiling func(Scopes) Scopes
}

// acting returns the key in the context of a call of an OwnerManager, or nil.
// It is read again, because it may have been disabled since it was validated.
func (h *handle) acting(ctx context.Context, now time.Time) (*acting, error) {
	if !h.confined {
		return nil, nil
	}
	shown, ok := FromContext(ctx)
	if !ok {
		return nil, nil
	}
	result, err := h.store.Lookup(ctx, shown.CredentialID)
	var f *found
	if err == nil {
		f, err = result.found.complete()
	}
	switch {
	case errors.Is(err, ErrNotFound), err == nil && (f.key.ID != shown.ID || f.key.Owner != h.owner):
		return nil, fmt.Errorf("%w: the request's key is not one of this owner", ErrForbidden)
	case err != nil:
		return nil, err
	case f.refusal(now) != nil:
		return nil, fmt.Errorf("%w: the request's key is no longer valid", ErrForbidden)
	}
	stored := f.key
	if f.credential.ID != stored.CredentialID {
		stored.ExpiresAt = earlier(f.credential.ExpiresAt, stored.ExpiresAt)
	}
	return &acting{id: stored.ID, stored: stored, shown: shown, ceiling: f.owner.bound}, nil
}

// mayTouch returns why the acting key may not make a change of a key.
func (k *acting) mayTouch(action Action, key Key, selfRotation time.Duration) error {
	if k == nil {
		return nil
	}
	if k.within(key) != nil {
		return fmt.Errorf("%w: the key exceeds the one of the request", ErrForbidden)
	}
	if !k.is(key) {
		return nil
	}
	switch action {
	case ActionRotate:
		if selfRotation > 0 {
			return nil
		}
	case ActionRegenerate, ActionFinishRotation, ActionExtendRotation:
	default:
		return nil
	}
	return fmt.Errorf("%w: a key may not do this to itself", ErrForbidden)
}

// is reports whether a key is the acting one.
func (k *acting) is(key Key) bool { return k != nil && key.ID == k.id }

// within rejects a key that exceeds the acting one. It compares the stored
// scopes of both, because a ceiling may be raised later, and what the
// validated key was allowed with what is allowed now.
func (k *acting) within(key Key) error {
	if k == nil {
		return nil
	}
	field := exceeds(key, k.stored)
	if field == "" {
		key.Scopes = k.ceiling(key.Scopes)
		field = exceeds(key, k.shown)
	}
	switch field {
	case "":
		return nil
	case "scopes":
		return &FieldError{Field: field, Code: "not_granted", Problem: "must be among those of the key that is used", Err: ErrScope}
	}
	return &FieldError{Field: field, Code: "not_granted", Problem: "must stay within that of the key that is used", Err: ErrForbidden}
}

// bound gives a new key the networks of the acting one, and a rate that is
// not faster.
func (k *acting) bound(key *Key) {
	if k == nil {
		return
	}
	key.Networks = k.stored.Networks
	for _, bound := range []Rate{k.stored.Rate, k.shown.Rate} {
		if faster(key.Rate, bound) {
			key.Rate = bound
		}
	}
}

// end bounds an expiry that nobody asked for.
func (k *acting) end(expiry time.Time) time.Time {
	if k == nil {
		return expiry
	}
	return earlier(expiry, earlier(k.stored.ExpiresAt, k.shown.ExpiresAt))
}

// exceeds returns the first field in which a key allows more than another one,
// or "". The Manager sets metadata and decides what it means, so it is not
// compared.
func exceeds(key, bound Key) string {
	for scope := range key.Scopes.All() {
		if !bound.Scopes.Allows(scope) {
			return "scopes"
		}
	}
	switch {
	case !key.Networks.within(bound.Networks):
		return "networks"
	case key.ExpiresAt.After(bound.ExpiresAt):
		return "expires_at"
	case faster(key.Rate, bound.Rate):
		return "rate"
	}
	return ""
}

// faster reports whether a rate allows more than a bound: more requests at
// once or more in the long run. The rate of a key without one is the
// application's default. It bounds nothing, and exceeds every other rate
// because it may change.
func faster(rate, bound Rate) bool {
	if bound.Requests == 0 {
		return false
	}
	if rate.Requests == 0 || rate.Requests > bound.Requests {
		return true
	}
	high, low := bits.Mul64(uint64(rate.Requests), uint64(bound.Period))
	boundHigh, boundLow := bits.Mul64(uint64(bound.Requests), uint64(rate.Period))
	return high > boundHigh || high == boundHigh && low > boundLow
}
