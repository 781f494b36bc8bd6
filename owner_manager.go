package apikey

import (
	"fmt"
	"time"
)

// OwnerManager is a Manager confined to one owner. Give it to code that acts
// for that owner. It has only the calls that an owner may make and sees only
// the owner's keys: other keys are ErrNotFound, as if they did not exist. It
// asks Options.Authorize before each call.
type OwnerManager struct {
	access access
}

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
}

// ForOwner returns a Manager confined to an owner, with nil options one that
// gives no scopes. The owner must come from your application's login, never
// from the request. If the owner or an option is invalid, every call returns a
// *FieldError. The options are copied.
func (m *Manager) ForOwner(owner string, options *OwnerOptions) *OwnerManager {
	a := access{m: m, confined: true, owner: owner}
	if options == nil {
		options = new(OwnerOptions)
	}
	a.err = a.configure(options)
	return &OwnerManager{a}
}

func (a *access) configure(options *OwnerOptions) error {
	if err := checkOwner(a.owner); err != nil {
		return err
	}
	if err := checkRate(options.Rate); err != nil {
		return err
	}
	var err error
	if a.metadata, err = checkedMetadata(options.Metadata); err != nil {
		return err
	}
	a.rate = options.Rate
	a.grant, err = NewScopes(options.Scopes...)
	return err
}

// Now returns the time by Options.Now; see Manager.Now.
func (o *OwnerManager) Now() time.Time { return o.access.m.Now() }

// String names the owner.
func (o *OwnerManager) String() string { return fmt.Sprintf("keys of %q", o.access.owner) }
