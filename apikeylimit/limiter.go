package apikeylimit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

// Options of New. The zero value of a field is its default.
type Options struct {
	// Default is the rate of keys that have none of their own. Default, the
	// zero Rate: such keys are not limited.
	Default apikey.Rate

	// Invalid is how many bad keys may come from an address. Default, nil: 60
	// a minute. The zero Rate does not limit them.
	Invalid *apikey.Rate

	// MaxEntries is how many keys, and how many addresses, are kept in
	// memory; see the package comment. Default 100,000.
	MaxEntries int

	// Now is the clock. It must be safe for concurrent use, and must not call
	// the Limiter. Default time.Now.
	Now func() time.Time
}

// Limiter is an [apikeyhttp.Limiter] that counts in memory. It is safe for
// concurrent use, and one may serve many Authenticates, which then share its
// limits. It starts no goroutine.
type Limiter struct {
	fallback  apikey.Rate // of keys without a rate; zero = not limited
	invalid   apikey.Rate // zero = not limited
	keys      *table[string]
	addresses *table[netip.Addr]
}

var _ apikeyhttp.Limiter = (*Limiter)(nil)

// New returns a Limiter. Options, nil for all defaults, are copied; what is
// refused in them is a *apikey.FieldError of "default", "invalid" or
// "max_entries".
func New(options *Options) (*Limiter, error) {
	var o Options
	if options != nil {
		o = *options
	}
	l := &Limiter{fallback: o.Default, invalid: apikey.Rate{Requests: 60, Period: time.Minute}}
	if o.Invalid != nil {
		l.invalid = *o.Invalid
	}
	if l.fallback != (apikey.Rate{}) && !limits(l.fallback) {
		return nil, &apikey.FieldError{Field: "default", Problem: mustBePositive}
	}
	if l.invalid != (apikey.Rate{}) && !limits(l.invalid) {
		return nil, &apikey.FieldError{Field: "invalid", Problem: mustBePositive}
	}
	if o.MaxEntries < 0 {
		return nil, &apikey.FieldError{Field: "max_entries", Problem: "must not be negative"}
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = 100_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l.keys = newTable[string](o.MaxEntries, o.Now)
	l.addresses = newTable[netip.Addr](o.MaxEntries, o.Now)
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
		err := &apikey.FieldError{Field: "rate", Problem: mustBePositive}
		return apikeyhttp.Quota{}, fmt.Errorf("apikeylimit: key %s: %w", key.ID, err)
	}
	q := l.keys.take(key.ID, rate)
	q.Policy = "key"
	return q, nil
}

// AllowClient reports whether bad keys may still come from an address. The only
// error is that the Limiter was not made by New.
func (l *Limiter) AllowClient(_ context.Context, client netip.Addr) (apikeyhttp.Quota, error) {
	if !l.made() {
		return apikeyhttp.Quota{}, errNotMade
	}
	if !l.limitsClient(client) {
		return apikeyhttp.Quota{Allowed: true}, nil
	}
	q := l.addresses.look(network(client), l.invalid)
	q.Policy = "invalid"
	return q, nil
}

// CountInvalid takes one from the bucket of the address, if there is one left
// in it. The only error is that the Limiter was not made by New.
func (l *Limiter) CountInvalid(_ context.Context, client netip.Addr) error {
	if !l.made() {
		return errNotMade
	}
	if l.limitsClient(client) {
		l.addresses.take(network(client), l.invalid)
	}
	return nil
}

var errNotMade = errors.New("apikeylimit: the Limiter was not made by New")

// made reports whether the Limiter comes from New: the zero one would limit
// nothing.
func (l *Limiter) made() bool { return l != nil && l.keys != nil }

func (l *Limiter) limitsClient(client netip.Addr) bool {
	return l.invalid.Requests != 0 && client.IsValid()
}

// network returns what an address counts by. Of IPv6, a site gets a /64 at
// least, and can take any address in it.
func network(client netip.Addr) netip.Addr {
	client = client.Unmap()
	if client.Is4() {
		return client
	}
	return netip.PrefixFrom(client.WithZone(""), 64).Masked().Addr()
}

// limits reports whether a rate says something.
func limits(r apikey.Rate) bool { return r.Requests > 0 && r.Period > 0 }
