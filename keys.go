package apikey

import (
	"time"

	"github.com/keyturn/apikey/internal/micros"
)

// Key is what an owner holds and names. Its ID never changes, whatever
// happens to its credentials, so that a host may refer to it for ever. A Key
// holds no secret and no digest, and nothing in it can be changed behind
// another's back: it may be copied, kept and shared freely.
type Key struct {
	ID       string // 20 random base62 characters
	Owner    string // the host's name for who holds the key; never changes
	Name     string
	Scopes   Scopes   // what the key may do
	Networks Networks // where it may be used from; none = anywhere
	Rate     Rate     // how often; zero = the host's default
	Metadata Metadata // the host's own

	CreatedAt time.Time

	// DisabledAt is when the key was disabled, zero if it is not; DisabledBy
	// is the actor, DisabledReason the reason. Locked says that it was disabled
	// through the Manager: its owner cannot enable, update or reissue it.
	DisabledAt     time.Time
	DisabledBy     string
	DisabledReason string
	Locked         bool

	DeletedAt time.Time // zero if it is not deleted

	// Prefix, CredentialID, IssuedAt and ExpiresAt are the current
	// credential's; in a Key from Validate those of the credential that was
	// presented. ExpiresAt is the first instant at which it is refused. A key
	// whose current credential has expired accepts no other either.
	Prefix       string
	CredentialID string
	IssuedAt     time.Time
	ExpiresAt    time.Time

	// RetiringID is the credential that the last rotation replaced, as long
	// as nothing else ended it. It is refused from its own ExpiresAt on.
	RetiringID string

	Revision int64 // counts the changes; see IfRevision

	// What follows is not stored in a Record but filled in by the Manager,
	// except in a Key from Validate, where it is zero. RetiringUntil is the
	// end of the retiring credential, LastUsedAt and Uses are sums over all
	// credentials that are still kept, as of the last Flush.
	RetiringUntil time.Time
	LastUsedAt    time.Time
	Uses          int64
}

// AccessKey returns the public half of the token: prefix, underscore,
// credential id. It is safe to show and to log.
func (k Key) AccessKey() string { return accessKey(k.Prefix, k.CredentialID) }

// Status returns what the key is at the instant now: give it Manager.Now. It is
// computed from the times in the key, never stored: the first that applies of StatusDeleted,
// StatusDisabled, StatusExpired, else StatusActive. A disabled owner shows in
// no key's status.
func (k Key) Status(now time.Time) Status {
	switch {
	case !k.DeletedAt.IsZero():
		return StatusDeleted
	case !k.DisabledAt.IsZero():
		return StatusDisabled
	case !now.Before(k.ExpiresAt):
		return StatusExpired
	default:
		return StatusActive
	}
}

// Rotating reports whether at the instant now (see Manager.Now) the overlap of a rotation is
// running, so that two tokens of the key are accepted (unless it is disabled
// or deleted). It is always false for a Key from Validate.
func (k Key) Rotating(now time.Time) bool {
	return k.RetiringID != "" && now.Before(k.RetiringUntil)
}

// Status is a key's state; see Key.Status.
type Status string

const (
	StatusActive   Status = "active"
	StatusDisabled Status = "disabled"
	StatusExpired  Status = "expired"
	StatusDeleted  Status = "deleted"
)

// Credential is one access key and access secret of a Key. A Key has at most
// two that are accepted: its current one and, during a rotation, the retiring
// one. Others are kept as history until they are swept.
type Credential struct {
	ID        string // 16 random base62 characters
	Prefix    string // of its token
	CreatedAt time.Time

	// ExpiresAt is the first instant at which the credential is refused, and
	// once it was replaced, when it ended or will end.
	ExpiresAt time.Time

	// RetireBefore is the end that the credential had of its own when a
	// rotation replaced it, past which ExtendRotation cannot move ExpiresAt;
	// zero before.
	RetireBefore time.Time

	// Scheme says how Digest was made; 0 is this package's own way. PepperID
	// names the pepper, 8 bytes. Both are empty with Digest in what a Manager
	// returns.
	Scheme   uint8
	PepperID string
	Digest   Digest // at most 255 bytes

	Seal string // opaque bytes

	// Usage, kept beside the Record by Store.AddUsage.
	LastUsedAt time.Time
	Uses       int64
}

// AccessKey returns the public half of the credential's token.
func (c Credential) AccessKey() string { return accessKey(c.Prefix, c.ID) }

func accessKey(prefix, id string) string { return prefix + "_" + id }

// Rate is a number of requests per period; Requests 0 is the host's default.
// This package only keeps it.
type Rate struct {
	Requests int
	Period   time.Duration
}

// Period is a length of time by the calendar, added in UTC as
// [time.Time.AddDate] does: one year after 29 February 2028 is 1 March 2029.
type Period struct {
	Years, Months, Days int
}

// AddTo returns the instant that lies the period after t.
func (p Period) AddTo(t time.Time) time.Time {
	return t.UTC().AddDate(p.Years, p.Months, p.Days)
}

// SubtractFrom returns the instant that lies the period before t.
func (p Period) SubtractFrom(t time.Time) time.Time {
	return t.UTC().AddDate(-p.Years, -p.Months, -p.Days)
}

// lastExpiry is the latest instant at which a key can end.
var lastExpiry = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// microseconds cuts a time to what stores keep: microseconds, in UTC, without
// a monotonic reading.
func microseconds(t time.Time) time.Time {
	return time.UnixMicro(t.UnixMicro()).UTC()
}

func storable(t time.Time) bool { return micros.Storable(t) }
