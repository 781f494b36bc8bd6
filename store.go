package apikey

import (
	"context"
	"errors"
	"time"
)

// A Store keeps Records, Owners, the event log and usage. It only stores: it
// knows no life cycle, never reads a clock and never decides whether a key is
// good. Everything it must do is said in this file, one sentence a rule; each
// sentence of a list below is a test of package storetest, which any Store
// passes before it is used:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t testing.TB) apikey.Store { return mystore.New() })
//	}
//
// A stored row that a Store cannot read, because something else has changed it,
// must not keep others from being read. Lookup (or its LookupResult.Rest), Get and
// Owner return an error that wraps ErrDamaged and names the key. List returns a
// Record with nothing but Key.ID and Err, Events an Event with nothing but
// Position.Seq, Position.Nonce if it can be read, and Err. Both errors wrap
// ErrDamaged.
//
// A Store is safe for concurrent use. Identifiers, owners and all other texts
// are compared byte for byte: a database column must not fold case, pad
// spaces or normalize Unicode. Times are kept to the microsecond, in UTC; the
// zero Time means unset.
//
// A Store in front of another, such as one that counts calls, embeds it and
// overrides what it changes.
//
//   - A call whose context has ended returns an error that wraps the context's.
type Store interface {
	// Lookup is the hot path, run for every request: one indexed read. If it
	// takes work to read the Key and the Owner, a Store leaves that to
	// DeferLookupResult, because the caller may not know the secret.
	//
	//   - Lookup returns the Credential with exactly that id, retired ones too, with its Key and the state of the Key's owner.
	//   - Lookup returns what a validation needs: DisabledBy and DisabledReason of the Key are zero, and of the Owner all but ID, DisabledAt, HasCeiling and Ceiling.
	//   - Lookup returns ErrNotFound for any other id.
	Lookup(ctx context.Context, credentialID string) (LookupResult, error)

	// Get reads one Record, of any owner if owner is empty. For a Record of
	// another owner a Store reads no Credentials, so that the time of the call
	// does not show whether the Record exists.
	//
	//   - Get returns the Record with exactly that id, with all its Credentials and their usage.
	//   - Get returns ErrNotFound for any other id.
	//   - With an owner, Get returns ErrNotFound for a Record of any other owner.
	//   - What Get, List and Events return is the caller's own: changing it changes nothing in the Store.
	//   - Every field of a Record comes back as it was committed, times in UTC to the microsecond, texts byte for byte.
	//   - Credentials are returned in the order of their CreatedAt, and of their ids where that is the same.
	Get(ctx context.Context, id, owner string) (Record, error)

	// List reads Records in pages; Query says which.
	//
	//   - List returns Records without Credentials.
	//   - In List, Key.LastUsedAt is the latest and Key.Uses the sum of all Credentials, and Key.RetiringUntil is the earlier ExpiresAt of the Key and of its retiring Credential, zero if there is none.
	//   - List returns Records in ascending byte order of their ids, only those after q.After, at most q.Limit.
	//   - Pages that each begin after the last id of the one before hold every Record exactly once; one shorter than q.Limit is the last.
	//   - List returns only what each set field of the Query asks for, and all of it.
	List(ctx context.Context, q Query) ([]Record, error)

	// Owner reads one owner's state.
	//
	//   - Owner returns the state that was committed last, or Owner{ID: owner} for an owner never committed.
	Owner(ctx context.Context, owner string) (Owner, error)

	// Commit applies a Commit; the type says how.
	//
	//   - Commit is all or nothing: no call sees a part of it, and after an error nothing of it is seen, no position is used and no event is kept.
	//   - What a Commit wrote is seen by every call that begins after it has returned.
	//   - A Record or Owner replaces the stored one only if its Revision equals the stored Revision, else ErrConflict, and is stored with the Revision after it.
	//   - A Record with Revision 0 is new, and ErrExists if its id is taken.
	//   - A Record with another Revision whose id is not stored is ErrConflict.
	//   - A Commit is ErrConflict unless each Record in RequireRecords is stored at its Revision and each Owner in RequireOwners is at its Revision, 0 for one never committed.
	//   - What a Commit requires is still at its Revision when the Commit becomes visible, however many Commits run at once.
	//   - A Commit never changes what it requires, and any number of Commits can require the same Revision.
	//   - A new Credential is ErrExists if its id is taken by another Record.
	//   - The Credentials of a Record become exactly those given; the usage of those that stay is kept, that of those that go is removed.
	//   - Commit ignores Key.RetiringUntil, Key.LastUsedAt, Key.Uses and a Credential's LastUsedAt and Uses; Lookup and Get return the first three zero.
	//   - Of concurrent Commits that replace the same Revision exactly one succeeds.
	//   - With a Limit, a Commit after which the owner of a new Record would have more than Limit Records that are not deleted is ErrLimit; expired and disabled ones count.
	//   - The Limit is exact, however many Commits run at once.
	//   - A Purge removes the Record with its Credentials and their usage, but no event, if its Revision equals the stored Revision, else ErrConflict.
	//   - A Commit with a name in Once that is stored is ErrExists.
	//   - Of concurrent Commits with the same name in Once exactly one succeeds.
	//   - A name in Once with a KeyID is removed by the Purge of that Record, a name without one never.
	//   - What Commit was given stays the caller's: changing it afterwards changes nothing in the Store.
	//   - A Commit whose context has already ended writes nothing, and its error is an ErrAborted.
	//   - Events get the next positions in their order; positions begin at 1 and have no gaps, and the Position of the last one is returned.
	//   - Who has seen position n can read every position up to n: the order of positions is the order in which Commits become visible.
	//
	// The errors ErrConflict, ErrExists, ErrLimit and ErrAborted mean that
	// nothing was written. After any other the Manager takes the outcome for
	// unknown, and commits the same again to find out. A Store may run a
	// Commit again by itself only while it is sure that nothing was written.
	Commit(ctx context.Context, c Commit) (Position, error)

	// Events reads the log.
	//
	//   - Events returns events in ascending order of position, only those after q.After.Seq, at most q.Limit, as they were committed.
	//   - With a KeyID, Events returns only the events of that key.
	//   - With a Before.Seq above 0, Events returns only events before that position.
	//   - Of more events than q.Limit, Events returns the first ones, with Newest the last ones.
	Events(ctx context.Context, q EventQuery) ([]Event, error)

	// OnceNames reads the names that were committed in Commit.Once.
	//
	//   - OnceNames returns names as they were committed, each with the position of the last Event of its Commit.
	//   - OnceNames returns names in ascending order of Seq, and in byte order of the Name where that is the same, only those after q.After, at most q.Limit.
	//   - With a Name, OnceNames returns only exactly that one.
	OnceNames(ctx context.Context, q OnceQuery) ([]OnceName, error)

	// AddUsage adds usage. A key is used far more often than it is changed, so
	// usage has a place of its own.
	//
	//   - AddUsage adds Uses to what is stored and moves last-used forward, never back.
	//   - AddUsage never changes anything else: not the Record, not its Revision, not the log.
	//   - AddUsage ignores a Credential that is not stored.
	//   - Concurrent calls of AddUsage lose no use.
	//
	// An error of AddUsage that is an ErrAborted means that nothing was added;
	// after any other the Manager drops what it gave rather than count twice.
	// No two uses of one call have the same Credential and Day.
	AddUsage(ctx context.Context, uses []Usage) error

	// DailyUsage reads the usage of one Key by day. Uses of which the day is not
	// known, such as restored totals, count in Credential.Uses only.
	//
	//   - DailyUsage returns one Usage for each Credential of the Key and each Day on which it was used: the sum of all Uses that AddUsage was given for that Day, and the latest LastUsedAt of that Day.
	//   - DailyUsage returns its list in ascending order of Day, and in byte order of the CredentialID where that is the same.
	//   - DailyUsage returns only Days at or after q.From and before q.Until.
	//   - DailyUsage never returns uses of which the Day is not known.
	//   - A change of the Record keeps the days of the Credentials that stay; a Credential that goes, by a change or a Purge, takes its days along, also if its id comes again.
	//   - DailyUsage returns only the uses of the Key with exactly that id; one that is not stored has none, which is no error.
	DailyUsage(ctx context.Context, q UsageQuery) ([]Usage, error)

	// PepperIDs reads which peppers are in use. Manager.Check compares them with
	// Options.Peppers.
	//
	//   - PepperIDs returns the PepperID of every stored Credential, retired ones too, each once and in any order.
	PepperIDs(ctx context.Context) ([]string, error)

	// Check reports whether the Store can be used: its schema is there and
	// current, and no setting endangers what is stored. Manager.Check calls it.
	// A Store that is always fit for use returns nil.
	//
	//   - Check returns nil if the Store is fit for use, and changes nothing that another call returns.
	Check(ctx context.Context) error
}

// LookupResult is what Lookup returns: a Credential with its Key and the state
// of the Key's owner. It cannot be changed, so a Store may return one many times
// and a hit copies nothing but the Key.
type LookupResult struct {
	found *found
}

type found struct {
	credential Credential
	key        Key
	owner      Owner
	tally      *Tally
	rest       func() (Key, Owner, error)
}

// NewLookupResult returns the result of a Store that has all of it at hand. The
// usage in the Credential may be zero. The Tally may be nil.
func NewLookupResult(c Credential, k Key, o Owner, t *Tally) LookupResult {
	return LookupResult{&found{credential: c, key: k, owner: o, tally: t}}
}

// DeferLookupResult returns the result of a Store that has to do work for the Key
// and the Owner. The Manager calls rest after it has verified the secret, so that
// a wrong secret takes the same time for each key. With an error, the Key that
// rest returns contains no more than the ID, if that is known.
func DeferLookupResult(c Credential, rest func() (Key, Owner, error)) LookupResult {
	return LookupResult{&found{credential: c, rest: rest}}
}

// Credential returns the Credential that was asked for.
func (r LookupResult) Credential() Credential {
	if r.found == nil {
		return Credential{}
	}
	return r.found.credential
}

// Rest returns the Key and the Owner. It fails if the Store fails to read them;
// the Key then contains no more than the ID.
func (r LookupResult) Rest() (Key, Owner, error) {
	f, err := r.found.complete()
	return f.key, f.owner, err
}

var errNoResult = errors.New("the Store returned a LookupResult that no constructor has made")

// complete returns all that was found.
func (f *found) complete() (*found, error) {
	switch {
	case f == nil:
		return &found{}, errNoResult
	case f.rest == nil:
		return f, nil
	}
	key, owner, err := f.rest()
	return &found{credential: f.credential, key: key, owner: owner}, err
}

// Record is what a Store keeps as one aggregate: a Key with all its
// Credentials, replaced as a whole under compare-and-swap on Key.Revision.
// Key.CredentialID, Prefix, IssuedAt and ExpiresAt are those of one of the
// Credentials; Key.Owner is the same in every Revision.
type Record struct {
	Key         Key
	Credentials []Credential
	Nonce       Nonce  // of the event that wrote this Record last
	IssueHash   string // 32 bytes if the key was issued with an IdempotencyKey, else empty
	Seal        string // opaque bytes

	// Err is set in a Record of List that cannot be read; it wraps ErrDamaged.
	// Only Key.ID is set then.
	Err error
}

// Owner is the state of an owner as a whole.
type Owner struct {
	ID string

	// DisabledAt is when the owner was disabled, with all its keys; zero
	// while it is enabled. DisabledBy is the actor, DisabledReason the reason.
	DisabledAt     time.Time
	DisabledBy     string
	DisabledReason string

	// Ceiling bounds the scopes of all the owner's keys if HasCeiling is set;
	// see Manager.SetOwnerScopes.
	HasCeiling bool
	Ceiling    Scopes

	// TokensUntil is when the last token that the owner got stops counting
	// against Options.OwnerTokenLimit; zero if it never got one.
	TokensUntil time.Time

	Revision int64 // counts the changes; 0 if there was none
	Nonce    Nonce // of the event that wrote this Owner last
	Seal     string
}

// Disabled reports whether the owner is disabled as a whole.
func (o Owner) Disabled() bool { return !o.DisabledAt.IsZero() }

// allows reports whether the owner's ceiling allows a scope.
func (o Owner) allows(scope string) bool { return !o.HasCeiling || o.Ceiling.Allows(scope) }

// bound returns what the owner's ceiling leaves of the scopes of a key.
func (o Owner) bound(scopes Scopes) Scopes {
	if !o.HasCeiling {
		return scopes
	}
	return scopes.both(o.Ceiling)
}

// Commit is one change, all or nothing. It holds at least one Event, and names
// each Owner, each Record and each Credential at most once: an Owner to write or
// to require, a Record to write, to purge or to require. A Store need not notice
// one that is named twice.
//
// Databases take their locks in this order, which no two Commits can turn into
// a deadlock: owners in ascending order of id, Records in ascending order of
// id, the counter of positions, and then the names in Once. Required rows are
// locked in the same order.
type Commit struct {
	Records []Record    // each replaces its Key.Revision; 0 = new
	Owners  []Owner     // each replaces its Revision; 0 = never changed
	Purge   []RecordRef // Records to remove
	Events  []Event     // Seq is given by the Store
	Limit   int         // > 0: at most so many Records, not deleted, for the owner of each new Record

	// RequireRecords and RequireOwners name what must be at a Revision and is
	// not changed.
	RequireRecords []RecordRef
	RequireOwners  []OwnerRef

	// Once lists names that can be committed once, ever. It makes a Commit
	// that was made before fail, also after its Records have been purged.
	Once []OnceName
}

// OnceName is a name that can be committed once.
type OnceName struct {
	Name  string // 1 to 255 bytes
	KeyID string // the key that the name belongs to; empty: the name is permanent
	Seq   int64  // position of the last Event of the Commit; set by the Store
}

// OnceQuery selects names.
type OnceQuery struct {
	Name  string   // only this one, if set
	After OnceName // only names after its Seq, or with the same Seq and after its Name
	Limit int      // at most so many; a Store is always given one > 0
}

// RecordRef names one Revision of a Record.
type RecordRef struct {
	ID       string
	Revision int64
}

// OwnerRef names one Revision of an Owner.
type OwnerRef struct {
	ID       string
	Revision int64 // 0 = never changed
}

// Query selects Records. The zero value of a field asks for nothing; several
// set fields must all hold. Intervals are half-open: From <= t < Before. Times
// have no more than microseconds; the Manager cuts what it is given.
type Query struct {
	Owner string // only this owner's
	After string // only ids after this one
	Limit int    // at most so many; a Store is always given one > 0

	// IncludeDeleted also returns deleted Records, which are left out
	// otherwise.
	IncludeDeleted bool

	// CredentialID returns only the Record that has this Credential.
	CredentialID string

	ExpiresFrom   time.Time // only Key.ExpiresAt at or after it
	ExpiresBefore time.Time // only Key.ExpiresAt before it
	IssuedBefore  time.Time // only Key.IssuedAt before it

	// DeletedBefore returns only Records deleted before it, whatever
	// IncludeDeleted says.
	DeletedBefore time.Time

	// RetiredBefore returns only Records that hold a Credential other than
	// the current one which ended before it.
	RetiredBefore time.Time
}

// EventQuery selects events of the log.
type EventQuery struct {
	After  Position // only positions after After.Seq
	Before Position // only positions before Before.Seq, if that is not 0
	KeyID  string   // only this key's
	Limit  int      // at most so many; a Store is always given one > 0

	// Newest asks, where there are more than Limit, for the last ones in
	// place of the first. They are in ascending order all the same. The page
	// before begins with Before set to the Position of the first of them.
	Newest bool
}

// Position is an event's place in the log. Seq is 1 for the first event and
// one more for each next. Nonce is random: a follower that asks again for the
// last event it has seen, and finds another Nonce there, knows that the log
// was replaced (a restored backup, a failover that lost events).
type Position struct {
	Seq   int64
	Nonce Nonce
}

// Nonce is 16 random bytes that name one event.
type Nonce [16]byte

// Usage is what one Credential was used on one day: for AddUsage since the last
// one, from DailyUsage in all.
type Usage struct {
	KeyID        string
	CredentialID string
	Day          time.Time // 00:00 UTC of the day the uses belong to; zero if it is not known
	Uses         int64     // > 0
	LastUsedAt   time.Time
}

// UsageQuery selects the uses of one Key. All fields are set, and both days are
// 00:00 UTC.
type UsageQuery struct {
	KeyID string
	From  time.Time // the first day
	Until time.Time // the day after the last one
}
