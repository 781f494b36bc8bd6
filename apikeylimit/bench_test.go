package apikeylimit_test

import (
	"math"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeylimit"
)

// TestAllocations checks that a decision allocates nothing, except for the
// first request of a key and the first bad token of an address.
func TestAllocations(t *testing.T) {
	l, _ := newLimiter(t, apikeylimit.Options{})
	k := key("A", per(10, time.Hour))
	decide := map[string]func(){"AllowKey": func() { l.AllowKey(ctx, k) }}
	for _, client := range []string{"", "192.0.2.1", "2001:db8::1"} {
		for name, outcome := range map[string]apikeyhttp.Outcome{
			"valid": apikeyhttp.OutcomeValid, "invalid": apikeyhttp.OutcomeInvalid, "rejected": apikeyhttp.OutcomeRejected,
			"unknown": apikeyhttp.OutcomeUnknown,
		} {
			a := apikeyhttp.Attempt{Client: addr(client), Token: fresh.Add(1)}
			decide["attempt from "+client+" with a token that is "+name] = func() { attempt(l, a, outcome) }
		}
	}
	for name, decide := range decide {
		decide()
		if got := testing.AllocsPerRun(100, decide); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

// attempt makes an attempt, as Authenticate does.
func attempt(l *apikeylimit.Limiter, a apikeyhttp.Attempt, o apikeyhttp.Outcome) {
	if q, err := l.StartAttempt(ctx, a); err == nil && q.Allowed {
		l.EndAttempt(ctx, a, o)
	}
}

// BenchmarkAllowKey compares with a rate.Limiter that has no key to look up and
// says nothing but yes or no.
func BenchmarkAllowKey(b *testing.B) {
	keys := make([]apikey.Key, 1000)
	for i := range keys {
		keys[i] = key("Key0000000000000"+strconv.Itoa(1000+i), per(1e9, time.Second))
	}
	l, err := apikeylimit.New(nil)
	must(b, err)
	bare := rate.NewLimiter(1e9, 1e9)
	four := apikeyhttp.Attempt{Client: addr("192.0.2.1")}
	six := apikeyhttp.Attempt{Client: addr("2001:db8::1")}
	denied := key("denied", per(1, math.MaxInt64))
	for _, bb := range []struct {
		name   string
		decide func(n int)
	}{
		{"bare", func(int) { bare.Allow() }},
		{"1key", func(int) { l.AllowKey(ctx, keys[0]) }},
		{"1000keys", func(n int) { l.AllowKey(ctx, keys[n%1000]) }},
		{"denied", func(int) { l.AllowKey(ctx, denied) }},
		{"ipv4", func(int) { attempt(l, four, apikeyhttp.OutcomeValid) }},
		{"ipv6", func(int) { attempt(l, six, apikeyhttp.OutcomeValid) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				bb.decide(n)
				n++
			}
		})
		b.Run(bb.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			var start atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				n := int(start.Add(500))
				for pb.Next() {
					bb.decide(n)
					n++
				}
			})
		})
	}
}

// BenchmarkNewcomer is an address that takes the place of another one.
func BenchmarkNewcomer(b *testing.B) {
	l, err := apikeylimit.New(nil)
	must(b, err)
	for n := range 100_000 {
		attempt(l, apikeyhttp.Attempt{Client: address(n), Token: uint64(n)}, apikeyhttp.OutcomeInvalid)
	}
	b.ReportAllocs()
	n := 100_000
	for b.Loop() {
		attempt(l, apikeyhttp.Attempt{Client: address(n), Token: uint64(n)}, apikeyhttp.OutcomeInvalid)
		n++
	}
}

// BenchmarkWorst is the one newcomer who comes after all the others have been
// used again, so that their order has to be made anew.
func BenchmarkWorst(b *testing.B) {
	l, err := apikeylimit.New(&apikeylimit.Options{Invalid: new(per(60, time.Hour))})
	must(b, err)
	newcomer := 100_000
	for n := range newcomer {
		attempt(l, apikeyhttp.Attempt{Client: address(n), Token: uint64(n)}, apikeyhttp.OutcomeInvalid)
	}
	for b.Loop() {
		b.StopTimer()
		for n := newcomer - 100_000; n < newcomer; n++ {
			attempt(l, apikeyhttp.Attempt{Client: address(n), Token: uint64(n)}, apikeyhttp.OutcomeInvalid)
		}
		b.StartTimer()
		attempt(l, apikeyhttp.Attempt{Client: address(newcomer), Token: uint64(newcomer)}, apikeyhttp.OutcomeInvalid)
		newcomer++
	}
}
