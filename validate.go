package apikey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/keyturn/apikey/internal/pepper"
)

// Validator is what checks tokens: a Manager, or a stand-in for tests.
type Validator interface {
	Validate(ctx context.Context, token string, requirements ...Requirement) (Key, error)
}

// Requirement is one thing that a request needs of its key; see Scope and From.
// Validate rejects the zero Requirement with a *FieldError for "requirement", because it
// would be met by every key.
type Requirement struct {
	scope string
	addr  netip.Addr
	kind  requirementKind
}

type requirementKind uint8

const (
	requireNothing requirementKind = iota
	requireScope
	requireAddress
	requireBadScope
)

// Scope needs the key's scopes to allow a scope: see Scopes.Allows. Validate
// refuses a malformed one with a *FieldError for "scope".
func Scope(scope string) Requirement {
	if scopeProblem(scope) != "" {
		return Requirement{kind: requireBadScope}
	}
	return Requirement{kind: requireScope, scope: scope}
}

// From gives the address that the request came from, which a key that is bound
// to networks needs. The zero Addr is no address.
func From(addr netip.Addr) Requirement { return Requirement{kind: requireAddress, addr: addr} }

// Validate checks a token as the client sent it, and whether its key meets the
// requirements. It is the one way to accept a request. It returns the key, named by
// the access key that was presented and with the scopes that its owner's
// ceiling leaves (see SetOwnerScopes), and counts the use in memory (see Flush);
// it writes nothing.
//
// A refusal is one of these errors, in the order in which they are looked for.
// Only who knows the secret is told more than the first:
//
//   - ErrInvalid: no token, no such access key, or the wrong secret
//   - ErrDeleted
//   - ErrReplaced: regenerated, or the overlap of its rotation has ended
//   - ErrOwnerDisabled
//   - ErrDisabled
//   - ErrExpired: valid is what now < ExpiresAt is
//   - ErrAddress: not From one of the key's networks, or From nowhere known
//   - ErrScope
//
// Every other error is no answer about the key: ErrUnavailable with its cause,
// or a *FieldError for a malformed Requirement. The request must not be served, and
// the client should be told 503 or 500, not that its key is bad.
//
// A text that is no token, by its shape or its checksum, costs no read of the
// clock and no call of the Store; any other costs one Lookup.
func (m *Manager) Validate(ctx context.Context, token string, requirements ...Requirement) (key Key, err error) {
	if m == nil {
		// A nil *Manager makes a Validator that is not nil, so that no
		// middleware can notice.
		return Key{}, unavailable(errNotMade)
	}
	if err := m.usable(); err != nil {
		return Key{}, unavailable(err)
	}
	var o Observation
	if err = wellFormed(requirements); err == nil {
		if t, ok := parseToken(token); ok {
			o.AccessKey = token[:len(t.prefix)+1+len(t.credentialID)]
			err = m.validate(ctx, t, requirements, &key, &o)
		} else {
			err = ErrInvalid
		}
	}
	if m.options.Observe != nil {
		o.Err, o.Canceled = err, errors.Is(ctx.Err(), context.Canceled)
		m.options.Observe(ctx, o)
	}
	return key, err
}

// validate fills in the key only if it accepts it, and the observation as soon
// as the secret is known to be right.
func (m *Manager) validate(ctx context.Context, t token, requirements []Requirement, key *Key, o *Observation) error {
	result, err := m.store.Lookup(ctx, t.credentialID)
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			// The same work as for a credential that is there.
			m.peppers[0].Verify(t.credentialID, t.secret, noDigest)
			return ErrInvalid
		}
		return unavailable(err)
	}
	f := result.found
	if f == nil {
		return unavailable(errNoResult)
	}
	c := &f.credential
	hash := m.peppers.Find(c.PepperID)
	if hash == nil || c.Scheme != pepper.Scheme {
		return unavailable(ErrPepper)
	}
	if !hash.Verify(t.credentialID, t.secret, string(c.Digest)) || c.Prefix != t.prefix {
		return ErrInvalid
	}
	// The rest is read for a caller who knows the secret only: how long that
	// takes depends on the key.
	f, err = f.complete()
	o.KeyID, o.Owner = f.key.ID, f.key.Owner
	if err != nil {
		return unavailable(err)
	}
	now, err := m.now()
	if err != nil {
		return unavailable(err)
	}
	if err := f.refusal(now); err != nil {
		return err
	}
	scopes := f.owner.bound(f.key.Scopes)
	if err := f.key.meets(requirements, scopes); err != nil {
		return err
	}
	*key = f.key
	key.Scopes, key.Status, key.Rotating = scopes, StatusActive, c.ID != key.CredentialID
	if key.Rotating {
		key.Prefix, key.CredentialID, key.IssuedAt = c.Prefix, c.ID, c.CreatedAt
		key.ExpiresAt = earlier(c.ExpiresAt, key.ExpiresAt)
	}
	m.usage.count(f.tally, key.ID, c.ID, now)
	if m.options.Observe != nil && m.usage.overdue(now) {
		m.observeFlush(ctx, ErrNotFlushed)
	}
	return nil
}

// noDigest is compared where there is no credential, so that an unknown access
// key costs the work of a known one. It is the digest of nothing.
var noDigest = string(make([]byte, pepper.DigestLen))

func wellFormed(requirements []Requirement) error {
	for i := range requirements {
		switch requirements[i].kind {
		case requireNothing:
			return &FieldError{Field: "requirement", Code: "malformed", Problem: "must be made by Scope or From"}
		case requireBadScope:
			return &FieldError{Field: "scope", Code: "malformed", Problem: "must be a scope"}
		}
	}
	return nil
}

// meets returns why a key, with the scopes that its owner's ceiling leaves, does
// not meet the requirements of a request, or nil.
func (k *Key) meets(requirements []Requirement, scopes Scopes) error {
	if k.Networks.Len() > 0 {
		inside := false
		for i := range requirements {
			if requirements[i].kind == requireAddress {
				if inside = k.Networks.Contains(requirements[i].addr); !inside {
					break
				}
			}
		}
		if !inside {
			return ErrAddress
		}
	}
	for i := range requirements {
		if requirements[i].kind == requireScope && !scopes.Allows(requirements[i].scope) {
			return ErrScope
		}
	}
	return nil
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }
