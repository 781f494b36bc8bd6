package apikeylimit_test

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeylimit"
)

func quotaOf(t testing.TB, l *apikeylimit.Limiter, client string) apikeyhttp.Quota {
	t.Helper()
	q, err := l.AllowClient(ctx, netip.MustParseAddr(client))
	must(t, err)
	return q
}

func TestClientQuota(t *testing.T) {
	l, clock := newLimiter(t, apikeylimit.Options{Invalid: new(per(3, 30*time.Second))})
	want := apikeyhttp.Quota{
		Allowed: true, Policy: "invalid", Requests: 3, Window: 30 * time.Second, Remaining: 3,
	}
	for range 10 { // looking takes nothing
		if diff := cmp.Diff(want, quotaOf(t, l, "192.0.2.1")); diff != "" {
			t.Fatal(diff)
		}
	}
	must(t, l.CountInvalid(ctx, netip.MustParseAddr("192.0.2.1")))
	want.Remaining, want.Reset = 2, 10*time.Second
	if diff := cmp.Diff(want, quotaOf(t, l, "192.0.2.1")); diff != "" {
		t.Error(diff)
	}
	for range 20 { // bad keys that were in flight take no more than there is
		must(t, l.CountInvalid(ctx, netip.MustParseAddr("192.0.2.1")))
	}
	clock.Advance(time.Second)
	want.Allowed, want.Remaining, want.Reset, want.RetryAfter = false, 0, 29*time.Second, 9*time.Second
	if diff := cmp.Diff(want, quotaOf(t, l, "192.0.2.1")); diff != "" {
		t.Error(diff)
	}
	clock.Advance(9 * time.Second)
	want.Allowed, want.Remaining, want.Reset, want.RetryAfter = true, 1, 20*time.Second, 0
	if diff := cmp.Diff(want, quotaOf(t, l, "192.0.2.1")); diff != "" {
		t.Error(diff)
	}
}

// TestGuesses: N at once, then one more each N-th of the period.
func TestGuesses(t *testing.T) {
	is := is.New(t)
	l, clock := newLimiter(t, apikeylimit.Options{Invalid: new(per(60, time.Minute))})
	is.Equal(guess(t, l, "192.0.2.1", 500), 60)
	total := 0
	for range 600 {
		clock.Advance(100 * time.Millisecond)
		total += guess(t, l, "192.0.2.1", 5)
	}
	is.Equal(total, 60)
}

// TestAddresses: which ones share a bucket.
func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		a, b   string
		shared bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"2001:db8:0:1::", "2001:db8:0:1:8000::", true},
		{"2001:db8:0:fffe::", "2001:db8:0:ffff::", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"::192.0.2.1", "192.0.2.1", false},
		{"::", "0.0.0.0", false},
	} {
		is := is.New(t)
		l, _ := newLimiter(t, apikeylimit.Options{Invalid: new(per(3, time.Minute))})
		is.Equal(guess(t, l, tt.a, 5), 3)
		want := 3
		if tt.shared {
			want = 0
		}
		if got := guess(t, l, tt.b, 5); got != want {
			t.Errorf("%s after %s: %d, want %d", tt.b, tt.a, got, want)
		}
	}
}

// All clients whose address is not known would share one bucket.
func TestUnknownAddress(t *testing.T) {
	is := is.New(t)
	l, _ := newLimiter(t, apikeylimit.Options{})
	is.Equal(guess(t, l, "", 1000), 1000)
	q, err := l.AllowClient(ctx, netip.Addr{})
	is.NoErr(err)
	is.Equal(q, apikeyhttp.Quota{Allowed: true})
}

// A key and an address never share one.
func TestKeysAndAddresses(t *testing.T) {
	is := is.New(t)
	l, _ := newLimiter(t, apikeylimit.Options{Invalid: new(per(3, time.Minute))})
	is.Equal(guess(t, l, "192.0.2.1", 5), 3)
	is.Equal(allowed(t, l, key("192.0.2.1", per(3, time.Minute)), 5), 3)
}

// TestGuessesInFlight: beside the bucket, only those get through that were let
// in before it was empty.
func TestGuessesInFlight(t *testing.T) {
	l, _ := newLimiter(t, apikeylimit.Options{Invalid: new(per(100, time.Minute))})
	client := netip.MustParseAddr("192.0.2.1")
	const clients = 8
	var through atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range 200 {
				if q, err := l.AllowClient(ctx, client); err != nil || !q.Allowed {
					continue
				}
				through.Add(1)
				if err := l.CountInvalid(ctx, client); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := through.Load(); got < 100 || got > 100+clients-1 {
		t.Errorf("%d guesses got through, want 100 and at most %d more", got, clients-1)
	}
}
