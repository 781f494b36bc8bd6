package apikey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/apikey/internal/pepper"
)

// Manager issues keys, validates them and carries them through their life. It
// may do everything: hand OwnerManagers, from ForOwner, to code that acts for
// one owner. A Manager is safe for concurrent use.
type Manager struct {
	store   Store
	options Options
	peppers pepper.Ring
	reissue ReissueLimit
	tokens  ReissueLimit
	scopes  *Scopes // that exist; nil: any
	turns   *turns  // nil in a transaction of the application
	usage   *usageCounter
	all     access // of the Manager itself: everything
}

// Options of a Manager. Peppers is required. The zero value of any other
// field is its default.
type Options struct {
	// Prefix begins every token issued: 1 to 20 characters that match
	// [a-z][a-z0-9]*(_[a-z0-9]+)*. Default "ak". Tokens issued under another
	// prefix stay valid.
	Prefix string

	// Peppers are secrets of at least 32 random bytes, kept outside the
	// database. The first hashes new secrets, all verify. To replace one, put
	// the new one first, regenerate or rotate the keys in time, and remove the
	// old one once Check passes for a Manager without it. Required: New
	// rejects an empty list. See NoPepper and EphemeralPepper.
	Peppers []Secret

	// Lifetime is how long a new credential is valid. Default one year.
	Lifetime Period

	// MaxLifetime bounds what IssueParams and Changes can ask for. Default
	// one year. Nothing is valid past 9999-12-31T00:00:00Z.
	MaxLifetime Period

	// MaxKeysPerOwner is how many keys an owner may have that are not deleted; 0
	// = no limit.
	MaxKeysPerOwner int

	// ReissueLimit bounds how often an owner can have one key reissued: while
	// N of its credentials, the first one included, were created within the
	// Window, Regenerate and Rotate of an OwnerManager fail with a
	// *TooSoonError. N is at most 50. Default, nil: 5 in 24 hours.
	ReissueLimit *ReissueLimit

	// OwnerTokenLimit bounds how many new tokens an owner gets by Issue,
	// Regenerate and Rotate, over all its keys, deleted ones included: N at
	// once, and then one for each Window/N. More fail with a *TooSoonError. A
	// Manager's calls neither fail nor count. N is at most 1,000,000. Default,
	// nil: 100 in 24 hours.
	OwnerTokenLimit *ReissueLimit

	// Scopes, if set, are all scopes that exist. A scope that is not among
	// them is rejected where it is given to a key or an owner, so that a typo
	// is not granted. "orders:*" among them allows every scope that begins
	// with "orders:". Without it, "orders:*" can still be given if at least
	// one of them begins with "orders:", and covers all of these, also those
	// that you add later. What a key has already stays. Validate does not use
	// them. Default nil: any scope.
	Scopes []string

	// RotateAfter is the age of a credential from which RotationDue lists its
	// key. Default 90 days.
	RotateAfter Period

	// Retain is how long Sweep keeps deleted keys and old credentials.
	// Default 90 days.
	Retain Period

	// Authorize, if set, is asked before every call of an OwnerManager, with
	// the key as it is stored (for ActionIssue: as it would be); an error
	// refuses the call. It is not asked about the calls of a Manager. If it
	// changes a key itself, it must pass on its context.
	Authorize func(ctx context.Context, action Action, key Key) error

	// Observe, if set, is called for every Validate, for each flush of Run that
	// failed, and if nothing flushes. It runs before Validate returns and must
	// be safe for concurrent use.
	Observe func(ctx context.Context, o Observation)

	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Action names what Options.Authorize is asked about.
type Action string

const (
	ActionIssue          Action = "issue"
	ActionGet            Action = "get" // also Credentials, DailyUsage and Find
	ActionList           Action = "list"
	ActionEvents         Action = "events"
	ActionUpdate         Action = "update"
	ActionDisable        Action = "disable"
	ActionEnable         Action = "enable"
	ActionRegenerate     Action = "regenerate"
	ActionRotate         Action = "rotate"
	ActionFinishRotation Action = "finish_rotation"
	ActionExtendRotation Action = "extend_rotation"
	ActionDelete         Action = "delete"
)

// New returns a Manager on a Store. It copies the options and rejects bad
// ones, a missing pepper among them, with a *FieldError. It does no I/O: see
// Check.
func New(store Store, options *Options) (*Manager, error) {
	m, err := newManager(store, options)
	if err != nil {
		return nil, failed("new manager", "", err)
	}
	return m, nil
}

func newManager(store Store, options *Options) (*Manager, error) {
	if store == nil {
		return nil, &FieldError{Field: "store", Problem: "must not be nil"}
	}
	m := &Manager{
		store: store, usage: new(usageCounter), turns: new(turns),
		reissue: ReissueLimit{N: 5, Window: 24 * time.Hour}, tokens: ReissueLimit{N: 100, Window: 24 * time.Hour},
	}
	m.all = access{m: m}
	if options != nil {
		m.options = *options
	}
	o := &m.options
	if o.Prefix == "" {
		o.Prefix = "ak"
	}
	if problem := prefixProblem(o.Prefix); problem != "" {
		return nil, &FieldError{Field: "prefix", Problem: problem}
	}
	for _, p := range []struct {
		field  string
		period *Period
		def    Period
	}{
		{"lifetime", &o.Lifetime, Period{Years: 1}},
		{"max_lifetime", &o.MaxLifetime, Period{Years: 1}},
		{"rotate_after", &o.RotateAfter, Period{Days: 90}},
		{"retain", &o.Retain, Period{Days: 90}},
	} {
		if *p.period == (Period{}) {
			*p.period = p.def
		}
		if err := checkPeriod(p.field, *p.period); err != nil {
			return nil, err
		}
	}
	if start := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC); o.Lifetime.AddTo(start).After(o.MaxLifetime.AddTo(start)) {
		return nil, &FieldError{Field: "lifetime", Problem: "must not be longer than max_lifetime"}
	}
	if o.MaxKeysPerOwner < 0 {
		return nil, &FieldError{Field: "max_keys_per_owner", Problem: "must not be negative"}
	}
	if o.ReissueLimit != nil {
		m.reissue = *o.ReissueLimit
		if m.reissue.N < 0 || m.reissue.N > maxHistory/2 || m.reissue.N > 0 && m.reissue.Window <= 0 || m.reissue.Window < 0 {
			return nil, &FieldError{Field: "reissue_limit", Problem: "must be 1 to 50 in a positive window, or 0"}
		}
	}
	if o.OwnerTokenLimit != nil {
		m.tokens = *o.OwnerTokenLimit
		if n := m.tokens.N; n < 0 || n > 1_000_000 || m.tokens.Window < time.Duration(n)*time.Microsecond {
			return nil, &FieldError{Field: "owner_token_limit", Problem: "must be 1 to 1000000 in a window of at least as many microseconds, or 0"}
		}
	}
	var err error
	if o.Scopes != nil {
		scopes, err := NewScopes(o.Scopes...)
		if err != nil {
			return nil, err
		}
		m.scopes, o.Scopes = &scopes, nil
	}
	if m.peppers, err = newRing(o.Peppers); err != nil {
		return nil, err
	}
	o.Peppers = nil // the ring has them
	if o.Now == nil {
		o.Now = time.Now
	}
	return m, nil
}

// WithStore returns the same Manager on another Store: one that works inside of
// a transaction of the host (see sqlstore's Store.Tx), so that a key is made
// together with the host's own rows or not at all. It has the same options,
// and counts uses together with the first Manager: leave Flush and Run to that
// one, since a Flush into a transaction that is rolled back loses what it wrote.
// Every call on a nil Store fails, with a *FieldError.
func (m *Manager) WithStore(store Store) *Manager {
	if store == nil {
		store = noStore{}
	}
	other := *m
	other.store = store
	other.turns = nil // a change that waits for the transaction may have the turn
	other.all.m = &other
	return &other
}

// noStore is what a nil Store is taken for.
type noStore struct{}

var errNoStore = &FieldError{Field: "store", Problem: "must not be nil", Err: ErrAborted}

func (noStore) Lookup(context.Context, string) (LookupResult, error) {
	return LookupResult{}, errNoStore
}
func (noStore) Get(context.Context, string, string) (Record, error)      { return Record{}, errNoStore }
func (noStore) List(context.Context, Query) ([]Record, error)            { return nil, errNoStore }
func (noStore) Owner(context.Context, string) (Owner, error)             { return Owner{}, errNoStore }
func (noStore) Commit(context.Context, Commit) (Position, error)         { return Position{}, errNoStore }
func (noStore) Events(context.Context, EventQuery) ([]Event, error)      { return nil, errNoStore }
func (noStore) OnceNames(context.Context, OnceQuery) ([]OnceName, error) { return nil, errNoStore }
func (noStore) AddUsage(context.Context, []Usage) error                  { return errNoStore }

// Check tells at start-up what would otherwise fail request by request: a
// store that is not fit for use (if it is a Checker), a clock that is wrong
// (ErrClock), and stored credentials whose pepper is not configured
// (ErrPepper; the error names the ids of the missing peppers). With a Store
// that is no PepperLister it reads every record.
func (m *Manager) Check(ctx context.Context) error {
	if err := m.check(ctx); err != nil {
		return failed("check", "", err)
	}
	return nil
}

func (m *Manager) check(ctx context.Context) error {
	var errs []error
	if _, err := m.now(); err != nil {
		errs = append(errs, err)
	}
	var unfit error
	if checker, ok := StoreAs[Checker](m.store); ok {
		unfit = checker.Check(ctx)
		errs = append(errs, unfit)
	}
	ids, err := m.pepperIDs(ctx)
	if err != nil && unfit == nil { // else it says no more than that
		errs = append(errs, err)
	}
	var missing []string
	for _, id := range ids {
		if m.peppers.Find(id) == nil {
			name := pepper.Name(id)
			if id == pepper.New(noPepper).ID {
				name += " (of NoPepper; list it as well)"
			}
			missing = append(missing, name)
		}
	}
	if missing != nil {
		slices.Sort(missing)
		errs = append(errs, fmt.Errorf("%w: %s", ErrPepper, strings.Join(missing, ", ")))
	}
	return errors.Join(errs...)
}

func (m *Manager) pepperIDs(ctx context.Context) ([]string, error) {
	if lister, ok := StoreAs[PepperLister](m.store); ok {
		return lister.PepperIDs(ctx)
	}
	seen := map[string]bool{}
	err := m.eachRecord(ctx, Query{IncludeDeleted: true}, func(r Record) error {
		r, err := m.store.Get(ctx, r.Key.ID, "")
		if errors.Is(err, ErrNotFound) {
			return nil // purged meanwhile
		}
		for _, c := range r.Credentials {
			seen[c.PepperID] = true
		}
		return err
	})
	var ids []string
	for id := range seen {
		ids = append(ids, id)
	}
	return ids, err
}

// Now returns the time by Options.Now, as keys keep it: what Key.Status and
// Key.Rotating should be given, also in tests whose clock stands still.
func (m *Manager) Now() time.Time { return microseconds(m.options.Now()) }

// String returns "API key manager": a Manager printed by accident shows no
// more.
func (m *Manager) String() string { return "API key manager" }

// now reads the clock, once for each call.
func (m *Manager) now() (time.Time, error) {
	t := m.options.Now()
	if !storable(t) {
		return time.Time{}, ErrClock
	}
	return microseconds(t), nil
}

// operationError names the operation and, where there is one, the key.
type operationError struct {
	operation string
	keyID     string
	err       error
}

// failed makes an operationError. A malformed id is left out: it is whatever
// was put where an id belongs, which could be a token.
func failed(operation, keyID string, err error) error {
	if checkID(keyID) != nil {
		keyID = ""
	}
	return &operationError{operation, keyID, err}
}

func (e *operationError) Error() string {
	s := "apikey: " + e.operation
	if e.keyID != "" {
		s += " " + e.keyID
	}
	return s + ": " + strings.TrimPrefix(e.err.Error(), "apikey: ")
}

func (e *operationError) Unwrap() error { return e.err }

// Operation returns the name of the call. By it, package apikeyhttp
// distinguishes a key that a call cannot change from one that Validate rejects.
func (e *operationError) Operation() string { return e.operation }
