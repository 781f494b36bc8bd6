package apikeylimit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

// Options of New. The zero value of a field is its default.
type Options struct {
	// Default is the rate of keys that have none of their own. Default, the
	// zero Rate: such keys are not limited.
	Default apikey.Rate

	// Invalid is how many bad keys may come from an address; see the package
	// comment for larger networks. Default, nil: 60 per minute. The zero Rate
	// does not limit them.
	Invalid *apikey.Rate

	// MaxWait is how long an attempt waits while as many attempts from its
	// network are running as it has bad keys left. Default 5 seconds.
	MaxWait time.Duration

	// MaxEntries is how many keys, networks and wrong tokens are kept in
	// memory; see the package comment. Default 100,000 of each.
	MaxEntries int

	// Now is the clock. It must be safe for concurrent use, and must not call
	// the Limiter. Default time.Now.
	Now func() time.Time
}

// Limiter is an [apikeyhttp.Limiter] that counts in memory. It is safe for
// concurrent use, and one may serve many Authenticates, which then share its
// limits. It starts no goroutine.
type Limiter struct {
	fallback apikey.Rate // of keys without a rate; zero = not limited
	keys     *keys
	attempts *attempts // nil = not limited
}

var _ apikeyhttp.Limiter = (*Limiter)(nil)

// New returns a Limiter. Options, nil for all defaults, are copied; what is
// refused in them is a *apikey.FieldError of "default", "invalid",
// "max_wait" or "max_entries".
func New(options *Options) (*Limiter, error) {
	var o Options
	if options != nil {
		o = *options
	}
	l := &Limiter{fallback: o.Default}
	invalid := apikey.Rate{Requests: 60, Period: time.Minute}
	if o.Invalid != nil {
		invalid = *o.Invalid
	}
	if l.fallback != (apikey.Rate{}) && !limits(l.fallback) {
		return nil, &apikey.FieldError{Field: "default", Code: "not_positive", Problem: mustBePositive}
	}
	if invalid != (apikey.Rate{}) && !limits(invalid) {
		return nil, &apikey.FieldError{Field: "invalid", Code: "not_positive", Problem: mustBePositive}
	}
	if o.MaxEntries < 0 {
		return nil, &apikey.FieldError{Field: "max_entries", Code: "negative", Problem: "must not be negative"}
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = 100_000
	}
	if o.MaxWait < 0 {
		return nil, &apikey.FieldError{Field: "max_wait", Code: "negative", Problem: "must not be negative"}
	}
	if o.MaxWait == 0 {
		o.MaxWait = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l.keys = &keys{buckets: newTable[string](o.MaxEntries, newClock(o.Now))}
	if limits(invalid) {
		l.attempts = newAttempts(o, invalid)
	}
	return l, nil
}

const mustBePositive = "must have a number of requests and a period above zero, or neither"

// AllowKey takes one request from the bucket of the key. Its errors: a
// *apikey.FieldError of "rate", if the key has a rate that no Manager accepts;
// the Limiter was not made by New. The key is not let through then.
func (l *Limiter) AllowKey(_ context.Context, key apikey.Key) (apikeyhttp.Quota, error) {
	if !l.made() {
		return apikeyhttp.Quota{}, errNotMade
	}
	rate := key.Rate
	if rate.Requests == 0 {
		rate = l.fallback
	}
	if rate.Requests == 0 {
		return apikeyhttp.Quota{Allowed: true}, nil
	}
	if !limits(rate) {
		err := &apikey.FieldError{Field: "rate", Code: "not_positive", Problem: mustBePositive}
		return apikeyhttp.Quota{}, fmt.Errorf("apikeylimit: key %s: %w", key.ID, err)
	}
	q := l.keys.take(key.ID, rate)
	q.Policy = "key"
	return q, nil
}

// StartAttempt reserves a bad key in each network of the client. It waits, in
// the order of the calls, while all that are left are reserved. Its errors: ctx
// has ended; ErrBusy; the Limiter was not made by New.
func (l *Limiter) StartAttempt(ctx context.Context, a apikeyhttp.Attempt) (apikeyhttp.Quota, error) {
	if !l.made() {
		return apikeyhttp.Quota{}, errNotMade
	}
	if l.attempts == nil {
		return apikeyhttp.Quota{Allowed: true}, nil
	}
	return l.attempts.start(ctx, a)
}

// EndAttempt gives back what StartAttempt has reserved, and takes one bad key
// from each network of the client if the outcome is OutcomeInvalid and the
// token has not come from there within Options.Invalid.Period. The only error
// is that the Limiter was not made by New.
func (l *Limiter) EndAttempt(_ context.Context, a apikeyhttp.Attempt, o apikeyhttp.Outcome) error {
	if !l.made() {
		return errNotMade
	}
	if l.attempts != nil {
		l.attempts.end(a.Client, a.Token, o)
	}
	return nil
}

var errNotMade = errors.New("apikeylimit: the Limiter was not made by New")

// made reports whether the Limiter comes from New: the zero one would limit
// nothing.
func (l *Limiter) made() bool { return l != nil && l.keys != nil }

// keys limits the requests of keys.
//
// One lock is enough: it is held for less than the time that the check of a
// key takes, and reading the clock under it keeps times in order.
type keys struct {
	mu      sync.Mutex
	buckets *table[string]
}

func (k *keys) take(id string, r apikey.Rate) apikeyhttp.Quota {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.buckets.take(id, r)
}

// limits reports whether a rate says something.
func limits(r apikey.Rate) bool { return r.Requests > 0 && r.Period > 0 }
