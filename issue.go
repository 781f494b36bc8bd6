package apikey

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/keyturn/apikey/internal/pepper"
)

// IssueParams say what key to issue.
type IssueParams struct {
	// Owner is the host's name for who will hold the key: 1 to 255 bytes of
	// printable text, compared byte for byte. Through an OwnerManager it is
	// that one's, and may be left out.
	Owner string

	// Name is for people: 1 to 200 bytes of printable text. U+FE0F, the
	// invisible part of ordinary emoji, is removed first.
	Name string

	Scopes   []string          // see Scopes
	Networks []netip.Prefix    // see Networks
	Rate     Rate              // see Rate
	Metadata map[string]string // see NewMetadata

	// ExpiresAt is the first instant at which the key is refused, cut to the
	// microsecond; Lifetime is the time until then. At most one of them may
	// be set; with neither, Options.Lifetime applies.
	ExpiresAt time.Time
	Lifetime  Period

	// IdempotencyKey makes Issue safe to retry. The first call with a given
	// Owner and IdempotencyKey creates the key. Later calls return ErrExists
	// and an Issued with that key but no token. A call with other parameters
	// (all above) returns ErrIdempotencyMismatch, and once Sweep
	// has purged the key every call returns ErrDeleted. A Manager and the
	// OwnerManager of the same owner never share an IdempotencyKey. At most
	// 255 bytes of printable text.
	IdempotencyKey string
}

// Issued is a new token, which is returned this once, with its key.
type Issued struct {
	Key Key

	// Token is what the client sends: see docs/token-format.md.
	Token Secret
}

// AccessKey returns the public half of the token.
func (i Issued) AccessKey() string { return i.Key.AccessKey() }

// AccessSecret returns the secret half of the token: what follows the access
// key and an underscore.
func (i Issued) AccessSecret() Secret {
	text := i.Token.Reveal()
	if len(text) < secretLen+checksumLen {
		return Secret{}
	}
	return NewSecret(text[len(text)-secretLen-checksumLen:])
}

// Issue creates a key and returns it with its token. Its errors: a *FieldError
// for bad input and for IfRevision, because a new key has no revision;
// ErrOwnerDisabled; ErrLimit; ErrExists, ErrIdempotencyMismatch and ErrDeleted
// (see IssueParams.IdempotencyKey); ErrClock; ErrOutcomeUnknown, with the
// Issued; what the store returned. An Issue at the same time as a DisableOwner
// may still succeed; the key is rejected like all others of that owner.
//
// Through an OwnerManager the key gets the rate and metadata of the
// OwnerOptions. Scopes that the OwnerOptions do not include are rejected with a
// *FieldError that is an ErrScope, and another rate or other metadata with one
// that is an ErrForbidden. Too many new tokens are rejected with a
// *TooSoonError. If Options.Authorize returns an error, the call fails with
// ErrForbidden. If it rejects ActionGet for the key that an IdempotencyKey has
// created, the error is an ErrForbidden without the key.
func (h *handle) Issue(ctx context.Context, p IssueParams, opts ...ChangeOption) (issued Issued, err error) {
	defer func() { wrap(&err, "issue", issued.Key.ID) }()
	if err := h.ready(ctx); err != nil {
		return Issued{}, err
	}
	if err := h.ownOnly(&p.Owner); err != nil {
		return Issued{}, err
	}
	c, err := h.cause(ctx, opts)
	if err != nil {
		return Issued{}, err
	}
	if len(c.revisions) > 0 {
		return Issued{}, &FieldError{Field: "revision", Code: "inconsistent", Problem: "must not be given for a new key"}
	}
	if err := checkOwner(p.Owner); err != nil {
		return Issued{}, err
	}
	if err := checkIdentifier("idempotency_key", p.IdempotencyKey, maxOwnerLen); err != nil {
		return Issued{}, err
	}
	if err := h.checkInput(p); err != nil {
		return Issued{}, err
	}
	var record Record
	var secret Secret
	err = h.attempts(ctx, ownerTurn(p.Owner), func(ctx context.Context) (lost bool, err error) {
		record, secret, err = h.issueOnce(ctx, p, c)
		return h.confined && errors.Is(err, ErrConflict), err // of the owner
	})
	switch {
	case err == nil, errors.Is(err, ErrOutcomeUnknown):
		return Issued{record.view(h.Now()), secret}, err
	case p.IdempotencyKey != "" && (errors.Is(err, ErrExists) || errors.Is(err, ErrLimit) || errors.Is(err, ErrTooSoon)):
		// A repeat at a limit is a repeat first.
		return h.issuedBefore(ctx, record, err)
	}
	return Issued{}, err
}

// checkInput rejects malformed parameters before anything is read. Rate and
// metadata of an owner are compared with those of its OwnerOptions instead.
func (h *handle) checkInput(p IssueParams) error {
	input := Changes{Name: &p.Name, Scopes: &p.Scopes, Networks: &p.Networks}
	if !h.confined {
		input.Rate, input.Metadata = &p.Rate, &p.Metadata
	}
	return (&handle{core: h.core}).apply(new(Key), input, cause{})
}

// issueOnce returns the record also with an error of Commit or a limit.
func (h *handle) issueOnce(ctx context.Context, p IssueParams, c cause) (record Record, secret Secret, err error) {
	record = Record{Key: Key{Owner: p.Owner, CreatedAt: c.at, Rate: h.may.rate, Metadata: h.may.metadata}}
	if c.owner, err = h.enabledOwner(ctx, p.Owner); err != nil {
		return record, secret, err
	}
	if c.acting, err = h.acting(ctx, c.at); err != nil {
		return record, secret, err
	}
	c.acting.bound(&record.Key)
	asked := Changes{Name: &p.Name, Scopes: &p.Scopes}
	if len(p.Networks) > 0 {
		asked.Networks = &p.Networks
	}
	if p.Rate != (Rate{}) {
		asked.Rate = &p.Rate
	}
	if len(p.Metadata) > 0 {
		asked.Metadata = &p.Metadata
	}
	if err := h.apply(&record.Key, asked, c); err != nil {
		return record, secret, err
	}
	expiry, err := h.expiry(p, c)
	if err != nil {
		return record, secret, err
	}
	var fresh Credential
	fresh, secret = h.newCredential(c.at, expiry)
	record.install(fresh)
	if err := c.acting.within(record.Key); err != nil {
		return record, secret, err
	}
	with := Commit{Limit: h.options.MaxKeysPerOwner}
	record.Key.ID = randomBase62(keyIDLen)
	if p.IdempotencyKey != "" {
		record.Key.ID = h.derivedID(p.Owner, p.IdempotencyKey)
		record.IssueHash = issueHash(record.Key.ID, p)
		with.Once = []OnceName{{Name: onceIssued(record.Key.ID)}}
	}
	if err := h.authorize(ctx, ActionIssue, record.view(c.at)); err != nil {
		return record, secret, err
	}
	if with.Owners, err = c.countToken(); err != nil {
		return record, secret, err
	}
	event := record.event(EventIssued, c)
	event.Data = NewMetadata(describe(record.Key, nil))
	record, err = h.writeWith(ctx, record, event, with)
	return record, secret, err
}

// expiry returns when a key issued now ends, as asked for or by default, and
// refuses what is not after now or past the bounds.
func (m *core) expiry(p IssueParams, c cause) (time.Time, error) {
	now := c.at
	switch {
	case !p.ExpiresAt.IsZero() && p.Lifetime != Period{}:
		return time.Time{}, &FieldError{Field: "lifetime", Code: "inconsistent", Problem: "must not be set together with expires_at"}
	case !p.ExpiresAt.IsZero():
		return m.checkExpiry("expires_at", p.ExpiresAt, now, now)
	case p.Lifetime != Period{}:
		if err := checkPeriod("lifetime", p.Lifetime); err != nil {
			return time.Time{}, err
		}
		return m.checkExpiry("lifetime", p.Lifetime.AddTo(now), now, now)
	}
	return m.checkExpiry("lifetime", c.acting.end(m.defaultExpiry(now)), now, now)
}

// defaultExpiry returns when a credential made now ends if nothing is asked.
func (m *core) defaultExpiry(now time.Time) time.Time {
	end := earlier(m.options.Lifetime.AddTo(now), m.options.MaxLifetime.AddTo(now))
	return earlier(end, lastExpiry)
}

// checkExpiry refuses an end that is not after now, or past what a credential
// created at an instant may have.
func (m *core) checkExpiry(field string, end, created, now time.Time) (time.Time, error) {
	if end.After(lastExpiry) {
		return time.Time{}, &FieldError{Field: field, Code: "past_maximum", Problem: "must not end after 9999-12-31T00:00:00Z"}
	}
	if !end.After(now) || !microseconds(end).After(now) {
		return time.Time{}, &FieldError{Field: field, Code: "in_past", Problem: "must end at least a microsecond from now"}
	}
	if end.After(m.options.MaxLifetime.AddTo(created)) {
		return time.Time{}, &FieldError{Field: field, Code: "past_maximum", Problem: "must not end after the longest lifetime allowed"}
	}
	return microseconds(end), nil
}

// newCredential makes a credential and its token.
func (m *core) newCredential(now, expiry time.Time) (Credential, Secret) {
	id, secret := randomBase62(credentialIDLen), randomBase62(secretLen)
	hash := m.peppers[0]
	return Credential{
		ID: id, Prefix: m.options.Prefix, CreatedAt: now, ExpiresAt: expiry,
		Scheme: pepper.Scheme, PepperID: hash.ID, Digest: Digest(hash.Digest(id, secret)),
	}, NewSecret(formatToken(token{m.options.Prefix, id, secret}))
}
