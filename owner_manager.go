package apikey

import (
	"fmt"
	"time"
)

// OwnerManager is a Manager confined to one owner. Give it to code that acts
// for that owner. It has only the calls that an owner may make and sees only
// the owner's keys: other keys are ErrNotFound, as if they did not exist. It
// asks Options.Authorize before each call. Every call of a zero OwnerManager
// returns an error.
type OwnerManager struct{ handle }

// OwnerOptions describe what an owner may give to its keys. Take them from
// your application's own records, such as the owner's plan, never from the
// request.
type OwnerOptions struct {
	// Scopes are all scopes that the owner can give to a key, also of the
	// form "orders:*". Default none.
	Scopes []string

	// Rate and Metadata are set on every key that the owner issues. An owner
	// cannot change them, so an owner that deletes a key and issues a new one
	// keeps its rate.
	Rate     Rate
	Metadata map[string]string

	// SelfRotation lets a key rotate itself: if it is not 0, Rotate accepts
	// the key that authenticated the request (see FromContext). The overlap is
	// then SelfRotation, regardless of the one that Rotate is given, and the
	// new token expires when the old one would have. Default 0: it fails with
	// ErrForbidden.
	SelfRotation time.Duration
}

// ForOwner returns a Manager confined to an owner, with nil options one that
// gives no scopes. The owner must come from your application's login, never
// from the request. If the owner or an option is invalid, every call returns a
// *FieldError. The options are copied.
//
// If a call's context carries a validated key (see FromContext), what the call
// changes stays within that key: its scopes, networks, rate and expiry. A key
// that exceeds it in any of them cannot be changed, and neither can a key of
// another owner: both fail with ErrForbidden. Reading is not bound. A new key
// gets the networks of the validated key and expires with it, if nothing else
// is asked for.
func (m *Manager) ForOwner(owner string, options *OwnerOptions) *OwnerManager {
	o := &OwnerManager{handle{core: m.core, confined: true, owner: owner}}
	if options == nil {
		options = new(OwnerOptions)
	}
	if o.err = m.usable(); o.err == nil {
		o.err = o.configure(options)
	}
	return o
}

func (o *OwnerManager) configure(options *OwnerOptions) (err error) {
	if err := checkOwner(o.owner); err != nil {
		return err
	}
	if err := checkRate(options.Rate); err != nil {
		return err
	}
	if o.may.metadata, err = checkedMetadata(options.Metadata); err != nil {
		return err
	}
	if options.SelfRotation != 0 {
		if err := checkOverlap(options.SelfRotation); err != nil {
			return &FieldError{Field: "self_rotation", Code: "not_positive", Problem: "must be at least a microsecond, or 0"}
		}
	}
	o.may.rate, o.may.selfRotation = options.Rate, options.SelfRotation
	if o.may.scopes, err = NewScopes(options.Scopes...); err != nil {
		return err
	}
	return o.checkKnown(o.may.scopes, Scopes{})
}

// String names the owner.
func (o *OwnerManager) String() string { return fmt.Sprintf("keys of %q", o.owner) }

// Check returns the error that every call returns because the owner or an
// option is invalid, or nil.
func (o *OwnerManager) Check() error {
	return o.usable()
}
