package apikey

import (
	"context"
	"net/netip"
	"strconv"
	"time"

	"github.com/keyturn/apikey/internal/text"
)

// Changes say what Update changes. A nil field is left as it is; a pointer to
// an empty value clears it:
//
//	m.Update(ctx, id, apikey.Changes{Name: new("billing"), Scopes: new([]string{})})
type Changes struct {
	Name     *string // cannot be cleared
	Scopes   *[]string
	Networks *[]netip.Prefix
	Rate     *Rate
	Metadata *map[string]string

	// ExpiresAt moves the end of the current credential: after now, at most
	// its own creation plus Options.MaxLifetime. A key that has expired can
	// be made valid again so, if that bound allows it. It cannot be cleared.
	ExpiresAt *time.Time
}

// Update changes what a key is. It is allowed in every state but Deleted,
// keeps the key's tokens (but a rotation that an expired key was in has ended
// permanently), and returns the key as it is then. Changes that change nothing
// record nothing. Besides the errors that all changes share it returns a
// *FieldError for bad input, and one for "changes" if there are none.
//
// Through an OwnerManager a locked key is rejected with ErrLocked, scopes that
// the OwnerOptions do not include with a *FieldError that is an ErrScope, and a
// change of the rate or metadata with one that is an ErrForbidden.
func (h *handle) Update(ctx context.Context, id string, changes Changes, opts ...ChangeOption) (Key, error) {
	rule := func(r *Record, c cause) (Event, error) {
		if err := r.mutable(c); err != nil {
			return Event{}, err
		}
		if changes == (Changes{}) {
			return Event{}, &FieldError{Field: "changes", Code: "required", Problem: "must not be empty"}
		}
		before, ended := r.Key, ""
		if err := h.apply(&r.Key, changes, c); err != nil {
			return Event{}, err
		}
		if changes.ExpiresAt != nil {
			end, err := h.checkExpiry("expires_at", *changes.ExpiresAt, r.Key.IssuedAt, c.at)
			if err != nil {
				return Event{}, err
			}
			ended = r.moveEnd(end, c)
		}
		data := describe(r.Key, &before)
		if len(data) == 0 {
			return Event{}, nil
		}
		e := r.event(EventUpdated, c)
		if ended != "" {
			e = r.reissued(EventUpdated, c, ended)
		}
		e.Data = NewMetadata(data)
		return e, nil
	}
	return h.changed(ctx, operation{name: "update", action: ActionUpdate, rule: rule, retry: true}, id, opts)
}

// apply checks changes and makes them, all but ExpiresAt. An owner cannot give
// scopes that it was not granted; those that the key has already, from the
// host, may stay.
func (h *handle) apply(k *Key, changes Changes, c cause) error {
	if changes.Name != nil {
		name := text.Visible(*changes.Name)
		if err := checkName(name); err != nil {
			return err
		}
		k.Name = name
	}
	if changes.Scopes != nil {
		scopes, err := NewScopes(*changes.Scopes...)
		if err != nil {
			return err
		}
		if err := h.checkKnown(scopes, k.Scopes); err != nil {
			return err
		}
		for scope := range scopes.All() {
			if h.confined && !(h.may.scopes.Allows(scope) && c.owner.allows(scope)) && !k.Scopes.Allows(scope) {
				return &FieldError{Field: "scopes", Code: "not_granted", Problem: "must be among those that you may give", Err: ErrScope}
			}
		}
		k.Scopes = scopes
	}
	if h.confined && changes.Rate != nil && *changes.Rate != k.Rate {
		return &FieldError{Field: "rate", Code: "read_only", Problem: "is set by the host", Err: ErrForbidden}
	}
	if changes.Metadata != nil {
		metadata, err := checkedMetadata(*changes.Metadata)
		if h.confined && (err != nil || !metadata.Equal(k.Metadata)) {
			err = &FieldError{Field: "metadata", Code: "read_only", Problem: "is set by the host", Err: ErrForbidden}
		}
		if err != nil {
			return err
		}
		k.Metadata = metadata
	}
	if changes.Networks != nil {
		networks, err := NewNetworks(*changes.Networks...)
		if err != nil {
			return err
		}
		k.Networks = networks
	}
	if changes.Rate != nil {
		if err := checkRate(*changes.Rate); err != nil {
			return err
		}
		k.Rate = *changes.Rate
	}
	return nil
}

// describe writes down, for an event, the fields in which a key differs from
// what it was before; with nil, all that are set.
func describe(k Key, before *Key) map[string]string {
	was := Key{}
	if before != nil {
		was = *before
	}
	data := map[string]string{}
	if k.Name != was.Name {
		data["name"] = k.Name
	}
	if k.Scopes != was.Scopes {
		data["scopes"] = k.Scopes.String()
	}
	if !k.Networks.Equal(was.Networks) {
		data["networks"] = k.Networks.String()
	}
	if k.Rate != was.Rate {
		data["rate"] = strconv.Itoa(k.Rate.Requests) + " per " + k.Rate.Period.String()
	}
	if !k.ExpiresAt.Equal(was.ExpiresAt) {
		data["expires_at"] = formatTime(k.ExpiresAt)
	}
	if !k.Metadata.Equal(was.Metadata) {
		// Values may be the host's secrets, and a log is kept for ever.
		names := ""
		for name, value := range k.Metadata.All() {
			if old, ok := was.Metadata.Get(name); !ok || old != value {
				names += " " + name
			}
		}
		for name := range was.Metadata.All() {
			if _, ok := k.Metadata.Get(name); !ok {
				names += " -" + name
			}
		}
		data["metadata"] = names[1:]
	}
	return data
}
