package apikeylimit_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeylimit"
)

// quotaOf returns what a client has left. The attempt has no outcome, and
// takes nothing.
func quotaOf(t testing.TB, l *apikeylimit.Limiter, client string) apikeyhttp.Quota {
	t.Helper()
	a := apikeyhttp.Attempt{Client: addr(client), Token: fresh.Add(1)}
	q, err := l.StartAttempt(ctx, a)
	must(t, err)
	if q.Allowed {
		must(t, l.EndAttempt(ctx, a, apikeyhttp.OutcomeUnknown))
	}
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
	guess(t, l, "192.0.2.1", 1)
	want.Remaining, want.Reset = 2, 10*time.Second
	if diff := cmp.Diff(want, quotaOf(t, l, "192.0.2.1")); diff != "" {
		t.Error(diff)
	}
	for range 20 { // reports of attempts that never started take no more than is left
		must(t, l.EndAttempt(ctx, apikeyhttp.Attempt{Client: addr("192.0.2.1"), Token: fresh.Add(1)}, apikeyhttp.OutcomeInvalid))
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

// A key and an address never share one.
func TestKeysAndAddresses(t *testing.T) {
	is := is.New(t)
	l, _ := newLimiter(t, apikeylimit.Options{Invalid: new(per(3, time.Minute))})
	is.Equal(guess(t, l, "192.0.2.1", 5), 3)
	is.Equal(allowed(t, l, key("192.0.2.1", per(3, time.Minute)), 5), 3)
}
