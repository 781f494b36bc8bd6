package apikeylimit_test

import (
	"math"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeylimit"
)

// TestAllocations: a decision makes none, except for the first request of a key
// and the first bad key of an address.
func TestAllocations(t *testing.T) {
	l, _ := newLimiter(t, apikeylimit.Options{})
	k, client := key("A", per(10, time.Hour)), netip.MustParseAddr("2001:db8::1")
	newcomer := netip.MustParseAddr("2001:db8:1::1")
	must(t, l.CountInvalid(ctx, client))
	for name, decide := range map[string]func(){
		"AllowKey":    func() { l.AllowKey(ctx, k) },
		"AllowClient": func() { l.AllowClient(ctx, client) },
		"AllowClient of one who never sent a bad key": func() { l.AllowClient(ctx, newcomer) },
		"CountInvalid": func() { l.CountInvalid(ctx, client) },
	} {
		decide()
		if got := testing.AllocsPerRun(100, decide); got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
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
	client := netip.MustParseAddr("192.0.2.1")
	denied := key("denied", per(1, math.MaxInt64))
	for _, bb := range []struct {
		name   string
		decide func(n int)
	}{
		{"bare", func(int) { bare.Allow() }},
		{"1key", func(int) { l.AllowKey(ctx, keys[0]) }},
		{"1000keys", func(n int) { l.AllowKey(ctx, keys[n%1000]) }},
		{"denied", func(int) { l.AllowKey(ctx, denied) }},
		{"client", func(int) { l.AllowClient(ctx, client) }},
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
		must(b, l.CountInvalid(ctx, address(n)))
	}
	b.ReportAllocs()
	n := 100_000
	for b.Loop() {
		l.CountInvalid(ctx, address(n))
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
		must(b, l.CountInvalid(ctx, address(n)))
	}
	for b.Loop() {
		b.StopTimer()
		for n := newcomer - 100_000; n < newcomer; n++ {
			must(b, l.CountInvalid(ctx, address(n)))
		}
		b.StartTimer()
		l.CountInvalid(ctx, address(newcomer))
		newcomer++
	}
}
