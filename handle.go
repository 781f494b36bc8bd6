package apikey

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyturn/apikey/internal/pepper"
	"github.com/keyturn/apikey/internal/turns"
)

// core is what a Manager and all OwnerManagers made from it share.
type core struct {
	store        Store
	options      Options
	peppers      pepper.Ring
	reissueLimit ReissueLimit
	tokenLimit   ReissueLimit
	scopes       *Scopes      // that exist; nil: any
	turns        *turns.Turns // nil in a transaction of the application
	usage        *usageCounter
}

// handle has the calls that Manager and OwnerManager share, each written once.
// All that an OwnerManager may not do is decided in this file.
type handle struct {
	*core
	confined bool   // to the owner
	owner    string // empty for a Manager
	may      grant  // what a confined one may do
	err      error  // returned by every call: the store, the owner or an option is invalid
}

// grant is OwnerOptions, checked.
type grant struct {
	scopes       Scopes
	rate         Rate
	metadata     Metadata
	selfRotation time.Duration
}

var errNotMade = errors.New("apikey: a Manager is made by New, an OwnerManager by ForOwner")

// usable returns why no call of the handle can succeed: it was not made by New
// or ForOwner, or made of bad input.
func (h *handle) usable() error {
	if h.core == nil {
		return errNotMade
	}
	return h.err
}

// ready also rejects a call that was given up before it began.
func (h *handle) ready(ctx context.Context) error {
	if err := h.usable(); err != nil {
		return err
	}
	return ctx.Err()
}

// ownOnly completes the owner that a call is about. A confined handle accepts
// its own alone.
func (h *handle) ownOnly(owner *string) error {
	if !h.confined {
		return nil
	}
	if *owner != "" && *owner != h.owner {
		return &FieldError{Field: "owner", Code: "other_owner", Problem: "must be the owner that is logged in, or left out"}
	}
	*owner = h.owner
	return nil
}

// loadToChange is load for a change: an owner that is disabled can only read,
// and a key that manages keys stays within itself. It completes the cause.
func (h *handle) loadToChange(ctx context.Context, action Action, id string, c *cause) (Record, error) {
	record, err := h.fetch(ctx, id)
	if err != nil {
		return Record{}, err
	}
	if h.confined {
		if c.owner, err = h.enabledOwner(ctx, h.owner); err != nil {
			return Record{}, err
		}
		if c.acting, err = h.acting(ctx, c.at); err != nil {
			return Record{}, err
		}
		if err := c.acting.mayTouch(action, record.Key, h.may.selfRotation); err != nil {
			return Record{}, err
		}
	}
	return record, h.authorize(ctx, action, record.view(h.Now()))
}

// fetch reads a key. A key of another owner is ErrNotFound, and takes the same
// reads as an id that is not stored.
func (h *handle) fetch(ctx context.Context, id string) (Record, error) {
	if err := checkID(id); err != nil {
		return Record{}, err
	}
	record, err := h.store.Get(ctx, id, h.owner)
	if errors.Is(err, ErrNotFound) || err == nil && h.confined && record.Key.Owner != h.owner {
		return Record{}, ErrNotFound // without what the store adds: it is one answer
	}
	return record, err
}

// authorize asks the application about a call of an owner.
func (h *handle) authorize(ctx context.Context, action Action, key Key) error {
	if authorize := h.options.Authorize; h.confined && authorize != nil {
		if err := authorize(ctx, action, key); err != nil {
			return fmt.Errorf("%w: %w", ErrForbidden, err)
		}
	}
	return nil
}
