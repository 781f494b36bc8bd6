package apikeylimit_test

import (
	"context"
	"net/netip"
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

// guess has a client try bad keys, as Authenticate does, and returns how many
// of n get through.
func guess(t testing.TB, l *apikeylimit.Limiter, client string, n int) int {
	t.Helper()
	var addr netip.Addr
	if client != "" {
		addr = netip.MustParseAddr(client)
	}
	count := 0
	for range n {
		q, err := l.AllowClient(ctx, addr)
		must(t, err)
		if q.Allowed {
			count++
			must(t, l.CountInvalid(ctx, addr))
		}
	}
	return count
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
