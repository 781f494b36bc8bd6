package apikeylimit_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeylimit"
	"github.com/keyturn/apikey/apikeytest"
)

var ctx = context.Background()

// newLimiter returns a Limiter whose clock only the test moves.
func newLimiter(t testing.TB, o apikeylimit.Options) (*apikeylimit.Limiter, *apikeytest.Clock) {
	t.Helper()
	clock := &apikeytest.Clock{}
	o.Now = clock.Now
	l, err := apikeylimit.New(&o)
	must(t, err)
	return l, clock
}

func per(requests int, period time.Duration) apikey.Rate {
	return apikey.Rate{Requests: requests, Period: period}
}

func key(id string, r apikey.Rate) apikey.Key { return apikey.Key{ID: id, Rate: r} }

// take takes a request from what a key may make.
func take(t testing.TB, l *apikeylimit.Limiter, k apikey.Key) apikeyhttp.Quota {
	t.Helper()
	q, err := l.AllowKey(ctx, k)
	must(t, err)
	return q
}

// allowed counts how many of n requests are.
func allowed(t testing.TB, l *apikeylimit.Limiter, k apikey.Key, n int) int {
	t.Helper()
	count := 0
	for range n {
		if take(t, l, k).Allowed {
			count++
		}
	}
	return count
}

// fresh makes tokens that no test has used before.
var fresh atomic.Uint64

// guess has a client try bad tokens, all different, one after the other, and
// returns how many of n are checked.
func guess(t testing.TB, l *apikeylimit.Limiter, client string, n int) int {
	t.Helper()
	count := 0
	for range n {
		if tries(t, l, addr(client), fresh.Add(1)) {
			count++
		}
	}
	return count
}

// tries has a client try a bad token, and reports whether it is checked.
func tries(t testing.TB, l *apikeylimit.Limiter, client netip.Addr, token uint64) bool {
	t.Helper()
	a := apikeyhttp.Attempt{Client: client, Token: token}
	q, err := l.StartAttempt(ctx, a)
	must(t, err)
	if q.Allowed {
		must(t, l.EndAttempt(ctx, a, apikeyhttp.OutcomeInvalid))
	}
	return q.Allowed
}

// addr parses an address. The empty string is none.
func addr(text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(text)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
