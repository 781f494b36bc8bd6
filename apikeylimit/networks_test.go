package apikeylimit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeylimit"
)

// try sends a bad key that was never sent before, and returns the status.
func (s *stack) try(remoteAddr string) int {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = remoteAddr
	r.Header.Set("Authorization", fmt.Sprintf("Bearer guess-%d", fresh.Add(1)))
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w.Code
}

// guesses returns how many of n bad keys from an address get status 401.
func (s *stack) guesses(from string, n int) int {
	count := 0
	for range n {
		if s.try(netip.AddrPortFrom(netip.MustParseAddr(from), 4711).String()) == 401 {
			count++
		}
	}
	return count
}

// TestNoAddress checks that all connections without an address share one limit,
// which is 100 times the usual one, and that Observe reports them.
func TestNoAddress(t *testing.T) {
	is := is.New(t)
	s := newStack(t, apikeylimit.Options{Invalid: new(per(3, time.Minute))})
	observed := map[string]int{}
	s.options.Observe = func(_ *http.Request, o apikey.Observation) { observed[o.LogValue().String()]++ }
	s.handler = newGuard(t, s.Manager, s.options).Authenticate(s.handler)
	unknown := []string{"", "@", "192.0.2.1", "2001:db8::1", "[2001:db8::1]", "/run/app.sock", "192.0.2.1:", "192.0.2.1:99999", "client:80"}
	count := 0
	for n := range 1000 {
		if s.try(unknown[n%len(unknown)]) == 401 {
			count++
		}
	}
	is.Equal(count, 300)
	is.Equal(s.guesses(home, 10), 3) // clients with an address are not affected
	s.Advance(200 * time.Millisecond)
	is.Equal(s.try("@"), 401) // one more after a 300th of the period
	is.Equal(s.try(""), 429)
	reported := 0
	for text, n := range observed {
		if strings.Contains(text, "no_address=true") {
			reported += n
			is.True(!strings.Contains(text, "client="))
		}
	}
	is.Equal(reported, 1002)
}

// TestSharedNetworks checks which addresses share a limit.
func TestSharedNetworks(t *testing.T) {
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
		{"::192.0.2.1", "192.0.2.1", false}, // deprecated, and not routed
		{"::", "0.0.0.0", false},

		// NAT64
		{"64:ff9b::192.0.2.1", "192.0.2.1", true},
		{"64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false},
		{"64:ff9b:0:0:0:1:c000:201", "192.0.2.1", false}, // not in the /96
		{"64:ff9b::1:0:0:c000:201", "192.0.2.1", false},
		{"64:ff9b:1::192.0.2.1", "64:ff9b:1::192.0.2.1", true},
		{"64:ff9b:1::192.0.2.1", "64:ff9b:1::192.0.2.2", false},
		{"64:ff9b:1:c000:2:100::", "64:ff9b:1:c000:2:200::", false}, // as a /48 of RFC 6052
		{"64:ff9b:2::1", "64:ff9b:2::2", true},

		// 6to4
		{"2002:c000:201::1", "192.0.2.1", true},
		{"2002:c000:201::1", "2002:c000:201:ffff::1", true},
		{"2002:c000:201::1", "2002:c000:202::1", false},

		// Teredo: the same client by another server, with other flags and port
		{"2001:0:4136:e378:8000:63bf:3fff:fdfe", "192.0.2.1", true},
		{"2001:0:4136:e378:8000:63bf:3fff:fdfe", "2001:0:cb00:7101:0:1:3fff:fdfe", true},
		{"2001:0:4136:e378:8000:63bf:3fff:fdfe", "2001:0:4136:e378:8000:63bf:3fff:fdfd", false},
		{"2001:1:4136:e378:8000:63bf:3fff:fdfe", "192.0.2.1", false},
	} {
		is := is.New(t)
		s := newStack(t, apikeylimit.Options{Invalid: new(per(3, time.Minute))})
		is.Equal(s.guesses(tt.a, 5), 3)
		want := 3
		if tt.shared {
			want = 0
		}
		if got := s.guesses(tt.b, 5); got != want {
			t.Errorf("%s after %s: %d, want %d", tt.b, tt.a, got, want)
		}
	}
}

// TestLargerNetworks checks that a /56 has 4 times and a /48 has 16 times the
// limit of a /64, whatever part of it the bad keys come from.
func TestLargerNetworks(t *testing.T) {
	for _, tt := range []struct {
		name    string
		network func(n int) string // an address in the n-th /64
		want    int
	}{
		{"/64", func(n int) string { return fmt.Sprintf("2001:db8::%x", n) }, 60},
		{"/56", func(n int) string { return fmt.Sprintf("2001:db8:0:%x::1", n%256) }, 240},
		{"/48", func(n int) string { return fmt.Sprintf("2001:db8:0:%x::1", n) }, 960},
		{"/47", func(n int) string { return fmt.Sprintf("2001:db8:%x:%x::1", n%2, n/2) }, 1920},
		{"IPv4 /24", func(n int) string { return fmt.Sprintf("192.0.2.%d", n%256) }, 2500},
		{"6to4", func(n int) string { return fmt.Sprintf("2002:c000:201:%x::1", n) }, 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			s := newStack(t, apikeylimit.Options{})
			got := 0
			for n := range 2500 {
				got += s.guesses(tt.network(n), 1)
			}
			is.Equal(got, tt.want)
			is.Equal(s.guesses("2001:db9::1", 1), 1) // a network outside of it
			s.Advance(time.Minute)
			again := 0
			for n := range 2500 {
				again += s.guesses(tt.network(n), 1)
			}
			is.Equal(again, tt.want)
		})
	}
}

// TestLargestWait checks that the response names the network that is out of bad
// keys, and when that has one again.
func TestLargestWait(t *testing.T) {
	is := is.New(t)
	s := newStack(t, apikeylimit.Options{Invalid: new(per(2, time.Minute))})
	for n := range 4 { // 8 of a /56
		is.Equal(s.guesses(fmt.Sprintf("2001:db8:0:%x::1", n), 2), 2)
	}
	good := s.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	r := s.get(good, "2001:db8:0:5::1")
	s.expect(r, 429, "8", 0) // a 8th of a minute
	expectLimits(t, r, "invalid", 8, 60, 0, 60)
	r = s.get(good, "2001:db8:0:1::1")
	s.expect(r, 429, "30", 0) // the /64 has to wait longer
	expectLimits(t, r, "invalid", 2, 60, 0, 60)
	s.expect(s.get(good, "2001:db8:0:100::1"), 200, "", 1)
}
