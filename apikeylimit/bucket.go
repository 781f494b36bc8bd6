package apikeylimit

import (
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

// The bounds of a rate. Up to the first, a float64 holds every whole number;
// past the second, waiting times come near the end of a Duration, where a
// rate.Limiter allows what it should not.
const (
	maxRequests int64 = 999_999_999_999_999
	maxPeriod         = 100 * 365 * 24 * time.Hour
)

// bucket holds the requests of one key, or of one address. Its methods are
// called by one at a time, with a now that never goes back: a rate.Limiter
// whose time went back would count the same time twice, or stand still.
type bucket struct {
	rate   apikey.Rate // bounded
	tokens *rate.Limiter
	full   time.Time // when it is full again
}

func newBucket(r apikey.Rate) *bucket {
	r = bounded(r)
	return &bucket{rate: r, tokens: rate.NewLimiter(perSecond(r), r.Requests)}
}

// take takes one request, if there is one. A rate that has changed holds from
// now on, for what is left.
func (b *bucket) take(now time.Time, r apikey.Rate) apikeyhttp.Quota {
	if r = bounded(r); r != b.rate {
		b.rate = r
		b.tokens.SetLimitAt(now, perSecond(r))
		b.tokens.SetBurstAt(now, r.Requests)
	}
	allowed := b.tokens.AllowN(now, 1)
	q := b.look(now)
	b.full = now.Add(q.Reset)
	if allowed {
		q.Allowed, q.RetryAfter = true, 0
	}
	return q
}

// look returns what take would, and takes nothing.
func (b *bucket) look(now time.Time) apikeyhttp.Quota {
	tokens, limit := b.tokens.TokensAt(now), float64(perSecond(b.rate))
	q := apikeyhttp.Quota{
		// As a rate.Limiter decides: what is there within a nanosecond counts.
		Allowed:  (1-tokens)/limit*1e9 < 1,
		Requests: b.rate.Requests,
		Window:   b.rate.Period,
		Reset:    b.refill(float64(b.rate.Requests) - tokens),
	}
	if q.Allowed {
		q.Remaining = int(min(math.Floor(tokens+limit/1e9), float64(b.rate.Requests)))
	} else {
		q.RetryAfter = b.refill(1 - tokens)
	}
	return q
}

// full returns what look would of a bucket that was not used yet.
func full(r apikey.Rate) apikeyhttp.Quota {
	r = bounded(r)
	return apikeyhttp.Quota{Allowed: true, Requests: r.Requests, Window: r.Period, Remaining: r.Requests}
}

// refill returns how long it takes until so many requests are there, to the
// nearest nanosecond. Rounded up, the error of a float64 could make 21 seconds
// out of 20 in a header; rounded down, no time at all out of a nanosecond.
func (b *bucket) refill(requests float64) time.Duration {
	period := float64(b.rate.Period)
	return time.Duration(math.Round(min(requests*period/float64(b.rate.Requests), period)))
}

func bounded(r apikey.Rate) apikey.Rate {
	return apikey.Rate{Requests: int(min(int64(r.Requests), maxRequests)), Period: min(r.Period, maxPeriod)}
}

func perSecond(r apikey.Rate) rate.Limit {
	return rate.Limit(float64(r.Requests) / r.Period.Seconds())
}
