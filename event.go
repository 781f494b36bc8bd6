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

func newNonce() (n Nonce) {
	rand.Read(n[:]) // never fails: it ends the program instead
	return n
}

type actorKey struct{}

// WithActor returns a context under which every change is recorded as made by
// actor: whoever is logged in, a job's name, a support ticket. At most 255
// bytes of printable text; a change under another one is refused with a
// FieldError for "actor". Without an actor, a change through an OwnerManager
// is recorded as made by its owner, any other as made by "".
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorFrom returns the actor that WithActor put into the context, or "".
func ActorFrom(ctx context.Context) string {
	actor, _ := ctx.Value(actorKey{}).(string)
	return actor
}

type validatedKey struct{}

// keyContext carries a Key in one allocation, where context.WithValue would
// take two.
type keyContext struct {
	context.Context
	key Key
}

func (c *keyContext) Value(name any) any {
	if name == (validatedKey{}) {
		return &c.key
	}
	return c.Context.Value(name)
}

// NewContext returns a context that carries a validated key; middleware calls
// it.
func NewContext(ctx context.Context, key Key) context.Context {
	return &keyContext{ctx, key}
}

// FromContext returns the key that the request was authenticated with, and
// whether there is one.
func FromContext(ctx context.Context) (Key, bool) {
	if key, ok := ctx.Value(validatedKey{}).(*Key); ok {
		return *key, true
	}
	return Key{}, false
}

// noKeyContext hides the key of an outer context.
type noKeyContext struct{ context.Context }

func (c noKeyContext) Value(name any) any {
	if name == (validatedKey{}) {
		return nil
	}
	return c.Context.Value(name)
}

// WithoutKey returns a context in which FromContext finds no key. Middleware
// calls it for an anonymous request whose context comes from an authenticated
// one.
func WithoutKey(ctx context.Context) context.Context { return noKeyContext{ctx} }
