package apikeylimit_test

import (
	"math/big"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeylimit"
)

// model is a token bucket in exact numbers.
type model struct {
	rate  apikey.Rate
	level *big.Rat // requests that are there
}

func newModel(r apikey.Rate) *model { return &model{rate: r, level: big.NewRat(int64(r.Requests), 1)} }

func (m *model) pass(d time.Duration) {
	m.level.Add(m.level, m.in(max(d, 0)))
	if full := big.NewRat(int64(m.rate.Requests), 1); m.level.Cmp(full) > 0 {
		m.level = full
	}
}

// change keeps what is in the bucket, as far as it holds as much.
func (m *model) change(r apikey.Rate) {
	m.rate = r
	m.pass(0)
}

// take takes a request, although there may be a little less than one.
func (m *model) take() { m.level.Sub(m.level, big.NewRat(1, 1)) }

// missing returns how long it takes until n requests are there.
func (m *model) missing(n int) time.Duration {
	need := big.NewRat(int64(n), 1)
	need.Sub(need, m.level).Mul(need, big.NewRat(int64(m.rate.Period), int64(m.rate.Requests)))
	ns := new(big.Int).Quo(need.Num(), need.Denom())
	return time.Duration(max(ns.Int64(), 0))
}

// had reports whether n requests have been there for a time.
func (m *model) had(n int, d time.Duration) bool {
	need := m.in(d)
	return m.level.Cmp(need.Add(need, big.NewRat(int64(n), 1))) >= 0
}

// in returns how many requests come in in a time.
func (m *model) in(d time.Duration) *big.Rat {
	in := big.NewRat(int64(d), int64(m.rate.Period))
	return in.Mul(in, big.NewRat(int64(m.rate.Requests), 1))
}

// TestModel walks through random requests, times and changes of rates, beside
// the model: what it allows is allowed, and what it denies is denied, as far
// as a float64 and a nanosecond can tell.
func TestModel(t *testing.T) {
	walks := uint64(200)
	if os.Getenv("APIKEY_LONG") != "" {
		walks = 10_000
	}
	agreed, allowedCount, close := 0, 0, 0
	for seed := range walks {
		random := rand.New(rand.NewPCG(seed, 4))
		r := randomRate(random)
		l, clock := newLimiter(t, apikeylimit.Options{})
		m := newModel(r)
		var times []time.Duration // of what was allowed, on a clock that never goes back
		var passed time.Duration
		changed := false
		for step := range 400 {
			d := randomStep(random, r)
			clock.Advance(d)
			passed += max(d, 0)
			m.pass(d)
			if random.IntN(200) == 0 {
				changed, r = true, randomRate(random)
				m.change(r)
			}

			q := take(t, l, key("A", r))
			slack := slackOf(r)
			missing := m.missing(1)
			switch {
			case missing > slack && q.Allowed:
				t.Fatalf("seed %d, step %d, %v: allowed, %v too early", seed, step, r, missing)
			case !q.Allowed && m.had(1, slack):
				t.Fatalf("seed %d, step %d, %v: denied, but there", seed, step, r)
			case missing > 0 && missing <= slack:
				close++
			default:
				agreed++
			}
			if q.Allowed {
				m.take()
				times = append(times, passed)
				allowedCount++
			} else if off := q.RetryAfter - missing; off < -slack || off > slack {
				t.Fatalf("seed %d, step %d, %v: RetryAfter %v, want %v", seed, step, r, q.RetryAfter, missing)
			}
			// What was taken a nanosecond early may be more than a period's worth.
			full := min(m.missing(r.Requests), r.Period)
			if off := q.Reset - full; off < -slack || off > slack {
				t.Fatalf("seed %d, step %d, %v: Reset %v, want %v", seed, step, r, q.Reset, full)
			}
			if q.Remaining > 0 && m.missing(q.Remaining) > slack || m.had(q.Remaining+1, slack) {
				t.Fatalf("seed %d, step %d, %v: Remaining %d", seed, step, r, q.Remaining)
			}
		}
		if !changed {
			checkIntervals(t, seed, r, times)
		}
	}
	t.Logf("%d walks: %d decisions agree, %d of them or the rest allowed, %d within the slack", walks, agreed, allowedCount, close)
	if agreed < int(walks)*300 || allowedCount < int(walks)*40 {
		t.Errorf("the walks show little: %d agree, %d allowed", agreed, allowedCount)
	}
}

// checkIntervals: in any interval of length t at most Requests +
// Requests * t / Period were allowed.
func checkIntervals(t *testing.T, seed uint64, r apikey.Rate, times []time.Duration) {
	t.Helper()
	m := newModel(r)
	for i := range times {
		for j := i + r.Requests; j < len(times); j++ {
			length := times[j] - times[i] + slackOf(r)
			if most := m.in(length); most.Cmp(big.NewRat(int64(j-i+1-r.Requests), 1)) < 0 {
				t.Fatalf("seed %d, %v: %d requests in %v", seed, r, j-i+1, length)
			}
		}
	}
}

// slackOf returns the time within which the two need not agree: nanoseconds,
// and that of a ten-millionth of a request, since a float64 of a million has no
// more digits, and loses some in each of hundreds of steps.
func slackOf(r apikey.Rate) time.Duration { return 2 + r.Period/time.Duration(r.Requests)/1e7 }

func randomRate(random *rand.Rand) apikey.Rate {
	periods := []time.Duration{
		time.Microsecond, time.Millisecond, 1500 * time.Millisecond, time.Second, time.Minute, 7 * time.Minute, time.Hour,
		24 * time.Hour, 30 * 24 * time.Hour, 365 * 24 * time.Hour,
	}
	requests := []int{1, 2, 3, 7, 10, 60, 100, 1000, 1_000_000, 1 + random.IntN(100)}
	return per(requests[random.IntN(len(requests))], periods[random.IntN(len(periods))])
}

// randomStep is about the time between two requests, often exactly that.
func randomStep(random *rand.Rand, r apikey.Rate) time.Duration {
	one := max(r.Period/time.Duration(r.Requests), 1)
	switch random.IntN(12) {
	case 0:
		return 1
	case 1:
		return one
	case 2:
		return one - 1
	case 3:
		return one + 1
	case 4:
		return time.Duration(random.Int64N(int64(one) * 3))
	case 5:
		return -time.Duration(random.Int64N(int64(one) + 1))
	case 6:
		if random.IntN(20) == 0 {
			return time.Duration(random.Int64N(int64(r.Period) + 1))
		}
	}
	return 0
}
