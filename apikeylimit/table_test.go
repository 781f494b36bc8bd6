package apikeylimit_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeylimit"
)

// address returns an address in the n-th /48 of 2a00::/16.
func address(n int) netip.Addr {
	a := [16]byte{0x2a}
	binary.BigEndian.PutUint32(a[2:], uint32(n))
	return netip.AddrFrom16(a)
}

// TestFlood checks that of addresses without end, with one bad token each, no
// more than MaxEntries networks and tokens are kept, and that nobody is kept
// out.
func TestFlood(t *testing.T) {
	const entries, addresses = 1000, 5000
	l, clock := newLimiter(t, apikeylimit.Options{MaxEntries: entries})
	var most apikeylimit.Entries
	for n := range addresses {
		if !tries(t, l, address(n), uint64(n)) {
			t.Fatalf("address %d is kept out", n)
		}
		if n%100 == 0 {
			clock.Advance(time.Millisecond)
		}
		now := apikeylimit.EntriesOf(l)
		most.Networks, most.Repeats = max(most.Networks, now.Networks), max(most.Repeats, now.Repeats)
		most.Tokens, most.Running = max(most.Tokens, now.Tokens), max(most.Running, now.Running)
	}
	want := apikeylimit.Entries{Networks: entries, Tokens: entries}
	if diff := cmp.Diff(want, most); diff != "" {
		t.Error(diff)
	}
}

// TestKeysAreBounded checks the same of keys, with the default of MaxEntries.
func TestKeysAreBounded(t *testing.T) {
	l, _ := newLimiter(t, apikeylimit.Options{Default: per(10, time.Minute)})
	for n := range 150_000 {
		take(t, l, key("Key0000000000"+strconv.Itoa(1_000_000+n), per(0, 0)))
	}
	if got := apikeylimit.EntriesOf(l).Keys; got != 100_000 {
		t.Errorf("%d keys are kept", got)
	}
}

// TestFullOnesGoFirst: there is room for newcomers as long as some buckets are
// full again, and no other bucket is lost for them.
func TestFullOnesGoFirst(t *testing.T) {
	is := is.New(t)
	l, clock := newLimiter(t, apikeylimit.Options{MaxEntries: 10})
	slow, fast := per(5, 24*time.Hour), per(5, time.Second)
	for _, id := range []string{"slow1", "slow2", "slow3"} {
		is.Equal(allowed(t, l, key(id, slow), 9), 5)
	}
	for n := range 1000 {
		is.Equal(allowed(t, l, key("fast"+strconv.Itoa(n), fast), 9), 5)
		if n >= 6 {
			clock.Advance(time.Second) // those before are full again
		}
	}
	for _, id := range []string{"slow1", "slow2", "slow3"} {
		is.Equal(allowed(t, l, key(id, slow), 9), 0)
	}
}

// TestSoonestFullGoes: without a full one, the one that would be full soonest
// gives way, as it is now and not as it was when it came.
func TestSoonestFullGoes(t *testing.T) {
	is := is.New(t)
	l, _ := newLimiter(t, apikeylimit.Options{MaxEntries: 3})
	r := per(5, time.Minute)
	is.Equal(allowed(t, l, key("A", r), 1), 1)
	is.Equal(allowed(t, l, key("B", r), 2), 2)
	is.Equal(allowed(t, l, key("C", r), 3), 3)
	is.Equal(allowed(t, l, key("A", r), 4), 4) // empty now

	is.Equal(allowed(t, l, key("D", r), 4), 4) // in the place of B
	is.Equal(allowed(t, l, key("A", r), 1), 0)
	is.Equal(allowed(t, l, key("C", r), 3), 2)
	is.Equal(allowed(t, l, key("D", r), 2), 1)
	is.Equal(allowed(t, l, key("B", r), 9), 5) // forgotten: begins anew
}

// TestFloodDoesNotFree: with addresses that are used once, one that is out of
// guesses gets no others.
func TestFloodDoesNotFree(t *testing.T) {
	is := is.New(t)
	l, _ := newLimiter(t, apikeylimit.Options{MaxEntries: 100, Invalid: new(per(5, time.Minute))})
	is.Equal(guess(t, l, "192.0.2.1", 10), 5)
	for n := range 10_000 {
		tries(t, l, address(n), uint64(n))
	}
	is.Equal(guess(t, l, "192.0.2.1", 10), 0)
	is.Equal(guess(t, l, "192.0.2.2", 10), 5) // another one is as free as ever
}

// TestLookingTakesNoRoom: a client that has sent no bad key is not remembered.
func TestLookingTakesNoRoom(t *testing.T) {
	is := is.New(t)
	l, _ := newLimiter(t, apikeylimit.Options{MaxEntries: 1, Invalid: new(per(5, time.Minute))})
	is.Equal(guess(t, l, "192.0.2.1", 10), 5)
	for n := range 1000 {
		a := apikeyhttp.Attempt{Client: address(n), Token: uint64(n)}
		_, err := l.StartAttempt(ctx, a)
		is.NoErr(err)
		is.NoErr(l.EndAttempt(ctx, a, apikeyhttp.OutcomeValid))
	}
	is.Equal(guess(t, l, "192.0.2.1", 10), 0)
}

// TestOrderAgainstScan compares which bucket gives way with a plain search for
// the one that is full soonest, over random uses.
func TestOrderAgainstScan(t *testing.T) {
	steps := 20_000
	if os.Getenv("APIKEY_LONG") != "" {
		steps = 2_000_000
	}
	const most = 20
	random := rand.New(rand.NewPCG(1, 2))
	l, clock := newLimiter(t, apikeylimit.Options{MaxEntries: most})
	start := clock.Now()
	full := make(map[string]time.Duration) // of what must be remembered
	lost := 0
	for step := range steps {
		clock.Advance(time.Duration(random.IntN(200)) * time.Millisecond)
		now := clock.Now().Sub(start)
		n := random.IntN(30)
		id, r := strconv.Itoa(n), per(100, time.Duration(60+n)*time.Second)
		q := take(t, l, key(id, r))
		old, known := full[id]
		if !known && len(full) == most {
			soonest := ""
			for other, at := range full {
				if soonest == "" || at < full[soonest] {
					soonest = other
				}
			}
			delete(full, soonest)
			lost++
		}
		one := r.Period / 100
		want := max(now, old) + one // each request moves it by the time of one
		if got := now + q.Reset; !q.Allowed || got < want-1000 || got > want+1000 {
			t.Fatalf("step %d, key %s: full at %v, want %v", step, id, got, want)
		}
		full[id] = now + q.Reset
	}
	if lost < steps/20 {
		t.Errorf("only %d of %d steps made room", lost, steps)
	}
}
