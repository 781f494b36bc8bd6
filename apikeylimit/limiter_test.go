package apikeylimit_test

import (
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeylimit"
)

// TestNotMade: a Limiter that nobody set up lets nobody through.
func TestNotMade(t *testing.T) {
	is := is.New(t)
	for _, l := range []*apikeylimit.Limiter{nil, {}} {
		q, err := l.AllowKey(t.Context(), apikey.Key{ID: "id"})
		is.True(err != nil && !q.Allowed)
		q, err = l.StartAttempt(t.Context(), apikeyhttp.Attempt{})
		is.True(err != nil && !q.Allowed)
		is.True(l.EndAttempt(t.Context(), apikeyhttp.Attempt{}, apikeyhttp.OutcomeInvalid) != nil)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		field   string
		options apikeylimit.Options
	}{
		{"default", apikeylimit.Options{Default: per(-1, time.Second)}},
		{"default", apikeylimit.Options{Default: per(1, -time.Second)}},
		{"default", apikeylimit.Options{Default: per(1, 0)}},
		{"default", apikeylimit.Options{Default: per(0, time.Second)}},
		{"invalid", apikeylimit.Options{Invalid: new(per(-1, time.Second))}},
		{"invalid", apikeylimit.Options{Invalid: new(per(1, -time.Second))}},
		{"invalid", apikeylimit.Options{Invalid: new(per(1, 0))}},
		{"invalid", apikeylimit.Options{Invalid: new(per(0, time.Second))}},
		{"max_wait", apikeylimit.Options{MaxWait: -1}},
		{"max_entries", apikeylimit.Options{MaxEntries: -1}},
	} {
		l, err := apikeylimit.New(&tt.options)
		field, _ := errors.AsType[*apikey.FieldError](err)
		if l != nil || field == nil || field.Field != tt.field {
			t.Errorf("%+v: %v, %v; want a FieldError of %s", tt.options, l, err, tt.field)
		}
	}
}

func TestDefaults(t *testing.T) {
	is := is.New(t)
	l, err := apikeylimit.New(nil)
	is.NoErr(err)
	is.Equal(take(t, l, key("A", apikey.Rate{})), apikeyhttp.Quota{Allowed: true}) // not limited, and no fields
	got := guess(t, l, "192.0.2.1", 100)
	is.True(60 <= got && got < 70) // 60 at once, and what has come in since

	l, _ = newLimiter(t, apikeylimit.Options{Default: per(2, time.Minute), Invalid: &apikey.Rate{}})
	is.Equal(allowed(t, l, key("A", apikey.Rate{}), 5), 2)
	is.Equal(allowed(t, l, key("B", per(3, time.Hour)), 5), 3) // its own rate comes first
	is.Equal(guess(t, l, "192.0.2.1", 1000), 1000)             // turned off
	is.Equal(quotaOf(t, l, "192.0.2.1"), apikeyhttp.Quota{Allowed: true})
}

// The options are the caller's to change afterwards.
func TestOptionsAreCopied(t *testing.T) {
	is := is.New(t)
	o := apikeylimit.Options{Invalid: new(per(2, time.Minute))}
	l, err := apikeylimit.New(&o)
	is.NoErr(err)
	o.Invalid.Requests = 1000
	is.Equal(guess(t, l, "192.0.2.1", 10), 2)
}

// TestQuota follows a bucket of 3 per 30 seconds.
func TestQuota(t *testing.T) {
	l, clock := newLimiter(t, apikeylimit.Options{})
	quota := func(allowed bool, remaining int, reset, retry time.Duration) apikeyhttp.Quota {
		return apikeyhttp.Quota{
			Allowed: allowed, RetryAfter: retry, Policy: "key",
			Requests: 3, Window: 30 * time.Second, Remaining: remaining, Reset: reset,
		}
	}
	const s = time.Second
	for i, step := range []struct {
		passed time.Duration
		want   apikeyhttp.Quota
	}{
		{0, quota(true, 2, 10*s, 0)},
		{0, quota(true, 1, 20*s, 0)},
		{0, quota(true, 0, 30*s, 0)},
		{0, quota(false, 0, 30*s, 10*s)},
		{0, quota(false, 0, 30*s, 10*s)}, // what is denied takes nothing
		{4 * s, quota(false, 0, 26*s, 6*s)},
		{6*s - 2, quota(false, 0, 20*s+2, 2)},
		{2, quota(true, 0, 30*s, 0)},
		{25 * s, quota(true, 1, 15*s, 0)}, // 2.5 were there
		{time.Hour, quota(true, 2, 10*s, 0)},
		{10 * s, quota(true, 2, 10*s, 0)}, // full at the instant that was told
	} {
		clock.Advance(step.passed)
		if diff := cmp.Diff(step.want, take(t, l, key("A", per(3, 30*s)))); diff != "" {
			t.Errorf("step %d:\n%s", i, diff)
		}
	}
}

// TestBoundaries: of any rate, exactly the bucket at once, and one more after
// exactly the time that RetryAfter tells.
func TestBoundaries(t *testing.T) {
	const day = 24 * time.Hour
	for _, r := range []apikey.Rate{
		per(1, time.Second), per(1, time.Minute), per(3, time.Second), per(7, 1500*time.Millisecond), per(10, time.Second),
		per(60, time.Minute), per(100, time.Minute), per(333, time.Minute), per(1000, time.Hour), per(999, day), per(5, 30*day),
		per(1, time.Microsecond), per(1000, time.Microsecond), per(1, 365*day),
	} {
		l, clock := newLimiter(t, apikeylimit.Options{})
		k := key("A", r)
		for round := range 3 {
			if got := allowed(t, l, k, r.Requests+10); got != r.Requests {
				t.Errorf("%v: %d at once", r, got)
			}
			q := take(t, l, k)
			if one := r.Period / time.Duration(r.Requests); q.RetryAfter < one || q.RetryAfter > one+2 {
				t.Errorf("%v: RetryAfter %v, one needs %v", r, q.RetryAfter, one)
			}
			if q.RetryAfter > 2 {
				clock.Advance(q.RetryAfter - 2)
				if take(t, l, k).Allowed {
					t.Errorf("%v: allowed before it was there", r)
				}
				clock.Advance(2)
			} else {
				clock.Advance(q.RetryAfter)
			}
			if got := allowed(t, l, k, 3); got != 1 {
				t.Errorf("%v: round %d: %d after RetryAfter, want 1", r, round, got)
			}
			clock.Advance(r.Period)
		}
	}
}

// TestAbsurdRates: none overflows, and none lets through more than it says.
func TestAbsurdRates(t *testing.T) {
	const century = 100 * 365 * 24 * time.Hour
	const n = 2000
	for _, tt := range []struct {
		rate apikey.Rate
		want int // of n, at once
	}{
		{per(1, century), 1},
		{per(1, math.MaxInt64), 1},
		{per(1, time.Duration(math.MaxInt64).Truncate(time.Microsecond)), 1},
		{per(3, math.MaxInt64), 3},
		{per(1000, math.MaxInt64), 1000},
		{per(1e9, math.MaxInt64), n},
		{per(1, 1), 1},
		{per(1e9, 1), n},
		{per(math.MaxInt, 1), n},
		{per(math.MaxInt, math.MaxInt64), n},
		{per(math.MaxInt, time.Minute), n},
	} {
		l, clock := newLimiter(t, apikeylimit.Options{})
		k := key("A", tt.rate)
		got := 0
		for range n {
			q := take(t, l, k)
			if q.Allowed {
				got++
			}
			if q.Remaining < 0 || q.Remaining >= tt.rate.Requests && tt.rate.Period > 1 || q.Reset < 0 || q.Reset > q.Window ||
				q.RetryAfter < 0 || q.RetryAfter > q.Window || q.Allowed == (q.RetryAfter > 0) {
				t.Fatalf("%v: %+v", tt.rate, q)
			}
		}
		if got != tt.want {
			t.Errorf("%v: %d of %d allowed, want %d", tt.rate, got, n, tt.want)
		}
		if got < n && tt.rate.Period > century {
			clock.Advance(math.MaxInt64 / 4)
			clock.Advance(math.MaxInt64 / 4) // 146 years
			if got := allowed(t, l, k, 2000); got != tt.want {
				t.Errorf("%v: %d after a period", tt.rate, got)
			}
		}
		if q := take(t, l, k); int64(q.Requests) > 999_999_999_999_999 || q.Window > century {
			t.Errorf("%v: %+v cannot be written", tt.rate, q)
		}
	}
}

// A rate that no Manager accepts is no permission.
func TestMalformedRates(t *testing.T) {
	l, _ := newLimiter(t, apikeylimit.Options{Default: per(1, time.Minute)})
	for _, r := range []apikey.Rate{per(-1, time.Minute), per(-1, 0), per(5, 0), per(5, -1), per(math.MinInt, math.MinInt64)} {
		q, err := l.AllowKey(ctx, key("Key0000000000000000A", r))
		field, _ := errors.AsType[*apikey.FieldError](err)
		if q != (apikeyhttp.Quota{}) || field == nil || field.Field != "rate" || !strings.Contains(err.Error(), "Key0000000000000000A") {
			t.Errorf("%v: %+v, %v", r, q, err)
		}
	}
	// Without a number of requests it is the host's default.
	is := is.New(t)
	is.Equal(allowed(t, l, key("A", per(0, -time.Minute)), 3), 1)
}

// TestRateChanged: with the next request, and never with a full bucket.
func TestRateChanged(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from, to apikey.Rate
		used     int
		passed   time.Duration
		want     int // at once, after the change
	}{
		{"raised when empty", per(10, time.Minute), per(100, time.Minute), 10, 0, 0},
		{"raised when half full", per(10, time.Minute), per(100, time.Minute), 5, 0, 5},
		{"lowered when full", per(100, time.Minute), per(10, time.Minute), 1, time.Minute, 10},
		{"lowered when empty", per(100, time.Minute), per(10, time.Minute), 100, 0, 0},
		{"what came in before came in at the old rate", per(60, time.Minute), per(600, time.Minute), 60, 7 * time.Second, 7},
		{"a longer period", per(60, time.Minute), per(60, time.Hour), 60, 0, 0},
		{"made unlimited", per(1, time.Minute), apikey.Rate{}, 1, 0, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			l, clock := newLimiter(t, apikeylimit.Options{})
			is.Equal(allowed(t, l, key("A", tt.from), tt.used), tt.used)
			clock.Advance(tt.passed)
			is.Equal(allowed(t, l, key("A", tt.to), 200), tt.want)
		})
	}

	t.Run("to and fro", func(t *testing.T) {
		is := is.New(t)
		l, clock := newLimiter(t, apikeylimit.Options{})
		is.Equal(allowed(t, l, key("A", per(10, time.Minute)), 20), 10)
		for range 50 {
			is.Equal(allowed(t, l, key("A", per(100, time.Hour)), 2), 0)
			is.Equal(allowed(t, l, key("A", per(10, time.Minute)), 2), 0)
		}
		clock.Advance(6 * time.Second)
		q := take(t, l, key("A", per(100, time.Second)))
		is.True(q.Allowed)
		is.Equal(q.Requests, 100)
		clock.Advance(10 * time.Millisecond) // at the new rate
		is.Equal(allowed(t, l, key("A", per(100, time.Second)), 5), 1)
	})
}

// TestClockBack: going back neither hands out requests nor stops the bucket.
func TestClockBack(t *testing.T) {
	is := is.New(t)
	l, clock := newLimiter(t, apikeylimit.Options{})
	k := key("A", per(10, 10*time.Second))
	is.Equal(allowed(t, l, k, 20), 10)

	clock.Advance(-time.Hour)
	is.Equal(allowed(t, l, k, 20), 0)
	clock.Advance(3 * time.Second) // refills from there on
	is.Equal(allowed(t, l, k, 20), 3)

	for range 100 { // to and fro: only what passes counts
		clock.Advance(time.Second)
		clock.Advance(-time.Second)
		is.Equal(allowed(t, l, k, 20), 0)
	}
	clock.Set(time.Time{}.Add(-1 << 62))
	is.Equal(allowed(t, l, k, 20), 0)
	clock.Set(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)) // skips: full, no more
	is.Equal(allowed(t, l, k, 20), 10)
}

// TestConcurrentExact: of all requests at one instant, exactly as many as the
// bucket holds.
func TestConcurrentExact(t *testing.T) {
	l, clock := newLimiter(t, apikeylimit.Options{})
	k := key("A", per(1000, time.Minute))
	for round, want := range []int64{1000, 50, 1000} {
		var got atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 250 {
					if q, err := l.AllowKey(ctx, k); err == nil && q.Allowed {
						got.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if got.Load() != want {
			t.Errorf("round %d: %d of 4000 allowed, want %d", round, got.Load(), want)
		}
		clock.Advance([]time.Duration{3 * time.Second, time.Hour, 0}[round])
	}
}

// TestRetryAfterIsTrue: whoever waits exactly that long is allowed, and told
// so, whatever a float64 makes of the rate.
func TestRetryAfterIsTrue(t *testing.T) {
	for _, period := range []time.Duration{time.Microsecond, time.Second, time.Minute, time.Hour, 24 * time.Hour} {
		for requests := 1; requests <= 200; requests++ {
			r := per(requests, period)
			l, clock := newLimiter(t, apikeylimit.Options{Invalid: &r})
			guess(t, l, "192.0.2.1", requests)
			allowed(t, l, key("A", r), requests)
			clock.Advance(period / time.Duration(7*requests)) // a part of one comes in
			q := quotaOf(t, l, "192.0.2.1")
			if k := take(t, l, key("A", r)); q.Allowed || k.Allowed || q.RetryAfter != k.RetryAfter {
				t.Fatalf("%v: %+v, %+v", r, q, k)
			}
			clock.Advance(q.RetryAfter)
			if q := quotaOf(t, l, "192.0.2.1"); !q.Allowed || q.Remaining != 1 {
				t.Errorf("%v: after RetryAfter %+v", r, q)
			}
			if q := take(t, l, key("A", r)); !q.Allowed || q.Remaining != 0 || q.Reset > period {
				t.Errorf("%v: after RetryAfter %+v", r, q)
			}
		}
	}
}
