package apikey

import (
	"context"
	"crypto/rand"
	"time"
)

// Event is one entry of the log: what happened to a key or an owner, when, by
// whom and why. It is written in the same transaction as the change, so that
// the log holds every change and no change that was not made. One log serves
// as audit trail, as source of notifications and to keep caches of other nodes
// fresh.
type Event struct {
	Position Position
	At       time.Time // of the node that made the change
	Kind     EventKind
	KeyID    string // empty for the events of an owner
	Owner    string

	// CredentialID is the current credential after the change.
	CredentialID string

	// OldCredentialID is the credential that the change ended, or whose end
	// it set: the one replaced by a regeneration or rotation, the retiring
	// one of a finished or extended rotation. OldExpiresAt is its new end.
	// A key.updated names one if it ended a rotation that an expired key was in.
	// After key.regenerated and key.rotation_finished no credential but
	// CredentialID is accepted, after key.rotated none but CredentialID and
	// OldCredentialID, whatever was retiring before.
	OldCredentialID string
	OldExpiresAt    time.Time

	Revision int64 // of the key or owner after the change
	Actor    string
	Reason   string

	// Data holds what else changed, by field name. It never holds a secret
	// or a digest.
	Data Metadata

	Seal string // opaque bytes

	// Err is set in an Event that is stored but cannot be read; it wraps
	// ErrDamaged. Only Position is set then, its Nonce if it can be read. A
	// follower continues after it. If it keeps state by key, it has to assume
	// that any key or owner was changed.
	Err error
}

// EventKind names what happened. Kinds are stored: they are only ever added,
// and whoever reads them must pass over those it does not know.
type EventKind string

const (
	EventIssued           EventKind = "key.issued"
	EventUpdated          EventKind = "key.updated"
	EventDisabled         EventKind = "key.disabled"
	EventEnabled          EventKind = "key.enabled"
	EventRegenerated      EventKind = "key.regenerated"
	EventRotated          EventKind = "key.rotated"
	EventRotationFinished EventKind = "key.rotation_finished"
	EventRotationExtended EventKind = "key.rotation_extended"
	EventDeleted          EventKind = "key.deleted"
	EventSwept            EventKind = "key.swept"  // old credentials were removed
	EventPurged           EventKind = "key.purged" // a deleted key was removed
	EventOwnerDisabled    EventKind = "owner.disabled"
	EventOwnerEnabled     EventKind = "owner.enabled"

	EventOwnerScopesSet     EventKind = "owner.scopes_set" // Data has them as "scopes"
	EventOwnerScopesCleared EventKind = "owner.scopes_cleared"

	EventRestored      EventKind = "key.restored"   // written by backup.Restore
	EventOwnerRestored EventKind = "owner.restored" // written by backup.Restore
)

// Events returns the log in ascending order, from the event after q.After on,
// at most q.Limit (100 if it is 0, never more than 1000). With q.Newest it
// returns the end of the log in place of its beginning. An OwnerManager returns
// the events of one key of its owner, which q.KeyID names.
//
// An event that is damaged is returned with its Err set, so that a follower of
// the log can continue after it.
func (h *handle) Events(ctx context.Context, q EventQuery) (events []Event, err error) {
	defer wrap(&err, "events", q.KeyID)
	if err := h.ready(ctx); err != nil {
		return nil, err
	}
	if h.confined {
		if _, err := h.load(ctx, ActionEvents, q.KeyID); err != nil {
			return nil, err
		}
	}
	if err := checkPage(&q.Limit); err != nil {
		return nil, err
	}
	if q.After.Seq < 0 {
		return nil, &FieldError{Field: "after", Code: "negative", Problem: "must not be negative"}
	}
	if q.Before.Seq < 0 {
		return nil, &FieldError{Field: "before", Code: "negative", Problem: "must not be negative"}
	}
	if q.KeyID != "" {
		if err := checkID(q.KeyID); err != nil {
			return nil, err
		}
	}
	return h.store.Events(ctx, q)
}

func newNonce() (n Nonce) {
	rand.Read(n[:]) // never fails: it ends the program instead
	return n
}
