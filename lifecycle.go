package apikey

import (
	"fmt"
	"slices"
	"time"
)

// This file is the life cycle: pure functions of a Record and the instant. A
// rule gets a copy of the stored Record, changes it as the operation asks and
// returns the Event to commit with it; an Event without a Kind says that there
// is nothing to do. Nothing else in this module decides what may happen to a
// key, and found.refusal below alone decides what is accepted.

// cause is when, by whom and why a key is changed.
type cause struct {
	at     time.Time
	actor  string
	reason string

	revisions []int64 // of IfRevision

	// byOwner is set for a change through an OwnerManager, which a hold stops.
	byOwner bool
	reissue ReissueLimit // of one key; binds owners
	tokens  ReissueLimit // of all keys; binds owners
	owner   Owner        // as it is stored, for a change by the owner
	acting  *acting      // the key that the owner's request was made with
}

// rule is one operation of the life cycle.
type rule func(r *Record, c cause) (Event, error)

func (r *Record) event(kind EventKind, c cause) Event {
	return Event{
		At: c.at, Kind: kind,
		KeyID: r.Key.ID, Owner: r.Key.Owner, CredentialID: r.Key.CredentialID,
		Revision: r.Key.Revision + 1,
		Actor:    c.actor, Reason: c.reason,
	}
}

// refusal returns why a credential, whose secret was presented, is refused at
// the instant now, or nil. A credential is accepted only while its Key names
// it, as current or retiring: there are never more than two, and to end one at
// once the Key stops naming it, whatever any clock says.
func (f *found) refusal(now time.Time) error {
	retiring := f.credential.ID == f.key.RetiringID
	switch {
	case !f.key.DeletedAt.IsZero():
		return ErrDeleted
	case f.credential.ID != f.key.CredentialID && !(retiring && now.Before(f.credential.ExpiresAt)):
		return ErrReplaced
	case !f.owner.DisabledAt.IsZero():
		return ErrOwnerDisabled
	case !f.key.DisabledAt.IsZero():
		return ErrDisabled
	case !now.Before(f.credential.ExpiresAt), !now.Before(f.key.ExpiresAt):
		return ErrExpired // an expired key accepts its retiring credential neither
	}
	return nil
}

// mutable returns why a key cannot be changed at all, or, by its owner, while
// it is locked.
func (r *Record) mutable(c cause) error {
	switch {
	case !r.Key.DeletedAt.IsZero():
		return ErrDeleted
	case r.Key.Locked && c.byOwner:
		return ErrLocked
	}
	return nil
}

// active returns why a key that can be changed is not Active, or nil.
func (r *Record) active(c cause) error {
	switch r.Key.statusAt(c.at) {
	case StatusDisabled:
		return ErrDisabled
	case StatusExpired:
		return ErrExpired
	}
	return nil
}

// disable refuses every credential at once. Through the Manager it also holds
// the key, even if its owner had disabled it before.
func disable(r *Record, c cause) (Event, error) {
	switch k := &r.Key; {
	case !k.DeletedAt.IsZero():
		return Event{}, ErrDeleted
	case !k.DisabledAt.IsZero() && (k.Locked || c.byOwner):
		return Event{}, nil
	default:
		k.DisabledAt, k.DisabledBy, k.DisabledReason, k.Locked = c.at, c.actor, c.reason, !c.byOwner
		e := r.event(EventDisabled, c)
		if k.Locked {
			e.Data = NewMetadata(map[string]string{"locked": "true"})
		}
		return e, nil
	}
}

// enable ends what disable did. It never revives an expired key, so that it
// does not answer "done" for a key that stays refused.
func enable(r *Record, c cause) (Event, error) {
	if err := r.mutable(c); err != nil {
		return Event{}, err
	}
	if !c.at.Before(r.Key.ExpiresAt) {
		return Event{}, ErrExpired
	}
	if r.Key.DisabledAt.IsZero() {
		return Event{}, nil
	}
	r.activate()
	return r.event(EventEnabled, c), nil
}

func (r *Record) activate() {
	k := &r.Key
	k.DisabledAt, k.DisabledBy, k.DisabledReason, k.Locked = time.Time{}, "", "", false
}

// regenerate ends every older credential at once and makes the key Active.
func regenerate(fresh Credential) rule {
	return func(r *Record, c cause) (Event, error) {
		if err := r.mutable(c); err != nil {
			return Event{}, err
		}
		if err := r.tooSoon(c); err != nil {
			return Event{}, err
		}
		old := r.Key.CredentialID
		r.end(r.Key.RetiringID, c.at)
		r.end(old, c.at)
		r.Key.RetiringID = ""
		r.activate()
		r.install(fresh)
		return r.reissued(EventRegenerated, c, old), nil
	}
}

// rotate installs a new credential beside the current one, which retires for
// the time of the overlap but never lives longer than it would have. The
// retiring one of an earlier rotation ends.
func rotate(fresh Credential, overlap time.Duration) rule {
	return func(r *Record, c cause) (Event, error) {
		if err := r.mutable(c); err != nil {
			return Event{}, err
		}
		if err := r.active(c); err != nil {
			return Event{}, err
		}
		if err := r.tooSoon(c); err != nil {
			return Event{}, err
		}
		old := r.Key.CredentialID
		r.end(r.Key.RetiringID, c.at)
		if retiring := r.credential(old); retiring != nil {
			retiring.RetireBefore = retiring.ExpiresAt
			retiring.ExpiresAt = earlier(retiring.RetireBefore, microseconds(c.at.Add(overlap)))
		}
		r.Key.RetiringID = old
		r.install(fresh)
		return r.reissued(EventRotated, c, old), nil
	}
}

// finishRotation ends the overlap now.
func finishRotation(r *Record, c cause) (Event, error) {
	if _, err := r.retiring(c); err != nil {
		return Event{}, err
	}
	old := r.Key.RetiringID
	r.end(old, c.at)
	r.Key.RetiringID = ""
	return r.reissued(EventRotationFinished, c, old), nil
}

// extendRotation moves the overlap's end, never past the end that the retiring
// credential had of its own.
func extendRotation(overlap time.Duration) rule {
	return func(r *Record, c cause) (Event, error) {
		retiring, err := r.retiring(c)
		if err != nil {
			return Event{}, err
		}
		retiring.ExpiresAt = earlier(retiring.RetireBefore, microseconds(c.at.Add(overlap)))
		return r.reissued(EventRotationExtended, c, retiring.ID), nil
	}
}

// moveEnd moves the end of the current credential. The rotation that an expired
// key was in had ended with it: if it is given more time, only the current
// credential comes back. The id of the one that does not is returned.
func (r *Record) moveEnd(end time.Time, c cause) (ended string) {
	if !c.at.Before(r.Key.ExpiresAt) && r.Key.RetiringID != "" {
		ended = r.Key.RetiringID
		r.end(ended, r.Key.ExpiresAt)
		r.Key.RetiringID = ""
	}
	r.Key.ExpiresAt = end
	if current := r.credential(r.Key.CredentialID); current != nil {
		current.ExpiresAt = end
	}
	return ended
}

// remove makes the key a tombstone, which nothing revives.
func remove(r *Record, c cause) (Event, error) {
	if !r.Key.DeletedAt.IsZero() {
		return Event{}, nil
	}
	r.Key.DeletedAt = c.at
	return r.event(EventDeleted, c), nil
}

// sweep drops the credentials that are not accepted any more and ended before
// the instant given.
func sweep(endedBefore time.Time) rule {
	return func(r *Record, c cause) (Event, error) {
		before := len(r.Credentials)
		r.Credentials = slices.DeleteFunc(r.Credentials, func(old Credential) bool {
			return old.ID != r.Key.CredentialID && old.ExpiresAt.Before(endedBefore)
		})
		if len(r.Credentials) == before {
			return Event{}, nil
		}
		if r.credential(r.Key.RetiringID) == nil {
			r.Key.RetiringID = ""
		}
		e := r.event(EventSwept, c)
		e.Data = NewMetadata(map[string]string{"credentials": fmt.Sprint(before - len(r.Credentials))})
		return e, nil
	}
}

// retiring returns the credential whose overlap is running.
func (r *Record) retiring(c cause) (*Credential, error) {
	if err := r.mutable(c); err != nil {
		return nil, err
	}
	retiring := r.credential(r.Key.RetiringID)
	if retiring == nil || !c.at.Before(retiring.ExpiresAt) || !c.at.Before(r.Key.ExpiresAt) {
		return nil, ErrNotRotating
	}
	return retiring, nil
}

// credential returns the credential with an id, or nil.
func (r *Record) credential(id string) *Credential {
	for i := range r.Credentials {
		if r.Credentials[i].ID == id {
			return &r.Credentials[i]
		}
	}
	return nil
}

// end writes down that a credential ends now, unless it had ended before. That
// it is refused from now on comes from the Key not naming it.
func (r *Record) end(id string, now time.Time) {
	if old := r.credential(id); old != nil {
		old.ExpiresAt = earlier(old.ExpiresAt, now)
	}
}

// maxHistory bounds a Record: a key that is reissued all day sheds its oldest
// credentials.
const maxHistory = 100

// install makes a credential the current one.
func (r *Record) install(fresh Credential) {
	k := &r.Key
	k.Prefix, k.CredentialID, k.IssuedAt, k.ExpiresAt = fresh.Prefix, fresh.ID, fresh.CreatedAt, fresh.ExpiresAt
	r.Credentials = append(r.Credentials, fresh)
	for len(r.Credentials) > maxHistory {
		oldest := slices.IndexFunc(r.Credentials, func(old Credential) bool {
			return old.ID != k.CredentialID && old.ID != k.RetiringID
		})
		r.Credentials = slices.Delete(r.Credentials, oldest, oldest+1)
	}
}

// reissued completes the event of a change that ended a credential or set its
// end.
func (r *Record) reissued(kind EventKind, c cause, old string) Event {
	e := r.event(kind, c)
	e.OldCredentialID = old
	if ended := r.credential(old); ended != nil {
		e.OldExpiresAt = ended.ExpiresAt
	}
	if kind == EventRegenerated || kind == EventRotated {
		e.Data = NewMetadata(map[string]string{"expires_at": formatTime(r.Key.ExpiresAt)})
	}
	return e
}

// ownerRule is one change of an owner, like rule.
type ownerRule func(o *Owner, c cause) (Event, error)

func (o *Owner) event(kind EventKind, c cause) Event {
	return Event{At: c.at, Kind: kind, Owner: o.ID, Revision: o.Revision + 1, Actor: c.actor, Reason: c.reason}
}

func disableOwner(o *Owner, c cause) (Event, error) {
	if o.Disabled() {
		return Event{}, nil
	}
	o.DisabledAt, o.DisabledBy, o.DisabledReason = c.at, c.actor, c.reason
	return o.event(EventOwnerDisabled, c), nil
}

func enableOwner(o *Owner, c cause) (Event, error) {
	if !o.Disabled() {
		return Event{}, nil
	}
	o.DisabledAt, o.DisabledBy, o.DisabledReason = time.Time{}, "", ""
	return o.event(EventOwnerEnabled, c), nil
}

func setCeiling(scopes Scopes) ownerRule {
	return func(o *Owner, c cause) (Event, error) {
		if o.HasCeiling && o.Ceiling == scopes {
			return Event{}, nil
		}
		o.HasCeiling, o.Ceiling = true, scopes
		e := o.event(EventOwnerScopesSet, c)
		e.Data = NewMetadata(map[string]string{"scopes": scopes.String()})
		return e, nil
	}
}

func clearCeiling(o *Owner, c cause) (Event, error) {
	if !o.HasCeiling {
		return Event{}, nil
	}
	o.HasCeiling, o.Ceiling = false, Scopes{}
	return o.event(EventOwnerScopesCleared, c), nil
}
