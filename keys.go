package apikey

import (
	"time"
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

	// What follows is not stored in a Record but filled in by the Manager.

	// Status is the key's status when the call that returned the Key read the
	// clock; see StatusAt. Rotating reports whether the overlap of a rotation
	// was running then: RetiringID is accepted as well, unless the key is
	// disabled or deleted. A Key from Validate is always StatusActive, and
	// Rotating if its token is the retiring one.
	Status   Status
	Rotating bool

	// RetiringUntil is the end of the retiring credential, LastUsedAt and Uses
	// are sums over all credentials that are still kept, as of the last Flush.
	// They are zero in a Key from Validate.
	RetiringUntil time.Time
	LastUsedAt    time.Time
	Uses          int64
}

// AccessKey returns the public half of the token: prefix, underscore,
// credential id. It is safe to show and to log.
func (k Key) AccessKey() string { return accessKey(k.Prefix, k.CredentialID) }

// StatusAt returns the key's status at time t, which is computed from the times
// in the key and never stored: the first that applies of StatusDeleted,
// StatusDisabled, StatusExpired, otherwise StatusActive. It assumes that nobody
// changes the key until then. A disabled owner shows in no key's status.
func (k Key) StatusAt(t time.Time) Status { return k.statusAt(t) }

func (k *Key) statusAt(t time.Time) Status {
	switch {
	case !k.DeletedAt.IsZero():
		return StatusDeleted
	case !k.DisabledAt.IsZero():
		return StatusDisabled
	case !t.Before(k.ExpiresAt):
		return StatusExpired
	default:
		return StatusActive
	}
}

// view returns the key of a record as callers see it at an instant.
func (r *Record) view(now time.Time) Key {
	k := r.Key
	k.RetiringUntil, k.LastUsedAt, k.Uses = r.usage()
	k.look(now)
	return k
}

// look fills in what a key is at an instant.
func (k *Key) look(now time.Time) {
	k.Status = k.statusAt(now)
	k.Rotating = k.RetiringID != "" && now.Before(k.RetiringUntil)
}

// Status is a key's state; see Key.StatusAt.
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
