package apikey

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/apikey/internal/pepper"
	"github.com/keyturn/apikey/internal/turns"
)

// Manager issues keys, validates them and carries them through their life. It
// may do everything: hand OwnerManagers, from ForOwner, to code that acts for
// one owner. A Manager is safe for concurrent use. Every call of a zero Manager
// returns an error.
type Manager struct{ handle }

// Options of a Manager. Peppers is required. The zero value of any other
// field is its default.
type Options struct {
	// Prefix begins every token issued: 1 to 20 characters that match
	// [a-z][a-z0-9]*([_-][a-z0-9]+)*. Default "ak". Tokens issued under another
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

// New returns a Manager on a Store. It copies the options and rejects bad
// ones, a missing pepper among them, with a *FieldError. It does no I/O: see
// Check.
func New(store Store, options *Options) (_ *Manager, err error) {
	defer wrap(&err, "new manager", "")
	if isNil(store) {
		return nil, errNoStore
	}
	m := &Manager{handle{core: &core{
		store: store, usage: newUsageCounter(), turns: new(turns.Turns),
		reissueLimit: ReissueLimit{N: 5, Window: 24 * time.Hour}, tokenLimit: ReissueLimit{N: 100, Window: 24 * time.Hour},
	}}}
	if options != nil {
		m.options = *options
	}
	o := &m.options
	if o.Prefix == "" {
		o.Prefix = "ak"
	}
	if problem := prefixProblem(o.Prefix); problem != "" {
		return nil, &FieldError{Field: "prefix", Code: "malformed", Problem: problem}
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
		return nil, &FieldError{Field: "lifetime", Code: "past_maximum", Problem: "must not be longer than max_lifetime"}
	}
	if o.MaxKeysPerOwner < 0 {
		return nil, &FieldError{Field: "max_keys_per_owner", Code: "negative", Problem: "must not be negative"}
	}
	if o.ReissueLimit != nil {
		m.reissueLimit = *o.ReissueLimit
		if m.reissueLimit.N < 0 || m.reissueLimit.N > maxHistory/2 || m.reissueLimit.N > 0 && m.reissueLimit.Window <= 0 || m.reissueLimit.Window < 0 {
			return nil, &FieldError{Field: "reissue_limit", Code: "out_of_range", Problem: "must be 1 to 50 in a positive window, or 0"}
		}
	}
	if o.OwnerTokenLimit != nil {
		m.tokenLimit = *o.OwnerTokenLimit
		if n := m.tokenLimit.N; n < 0 || n > 1_000_000 || m.tokenLimit.Window < time.Duration(n)*time.Microsecond {
			return nil, &FieldError{Field: "owner_token_limit", Code: "out_of_range", Problem: "must be 1 to 1000000 in a window of at least as many microseconds, or 0"}
		}
	}
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
	if m.core == nil {
		return m
	}
	if isNil(store) {
		return &Manager{handle{core: m.core, err: errNoStore}}
	}
	other := *m.core
	other.store = store
	other.turns = nil // a change that waits for the transaction may have the turn
	return &Manager{handle{core: &other}}
}

// isNil reports whether a Store is nil, or a nil pointer that was made a Store.
func isNil(store Store) bool {
	v := reflect.ValueOf(store)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

var errNoStore = &FieldError{Field: "store", Code: "required", Problem: "must not be nil", Err: ErrAborted}

// Check reports problems at startup that would otherwise surface on requests:
// a store that is not fit for use (see Store.Check), a wrong clock (ErrClock),
// and stored credentials whose pepper is not configured (ErrPepper; the error
// names the ids of the missing peppers).
func (m *Manager) Check(ctx context.Context) (err error) {
	defer wrap(&err, "check", "")
	if err := m.ready(ctx); err != nil {
		return err
	}
	var errs []error
	if _, err := m.now(); err != nil {
		errs = append(errs, err)
	}
	unfit := m.store.Check(ctx)
	errs = append(errs, unfit)
	ids, err := m.store.PepperIDs(ctx)
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

// String returns "API key manager": a Manager printed by accident shows no
// more.
func (m *Manager) String() string { return "API key manager" }
