package apikeyhttp_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

// TestClientAddress: 10.0.0.0/8, 2001:db8:f::/48 and fe80::/10 are the host's
// proxies.
func TestClientAddress(t *testing.T) {
	const forwarded = "Forwarded"
	tests := []struct {
		name   string
		header string // "" is X-Forwarded-For
		peer   string
		lines  []string
		want   string // "" is no address
	}{
		{"no proxy", "", "192.0.2.7:80", nil, "192.0.2.7"},
		{"stranger claims", "", "192.0.2.7:80", []string{"198.51.100.1"}, "192.0.2.7"},
		{"stranger claims a proxy", "", "192.0.2.7:80", []string{"198.51.100.1, 10.0.0.1"}, "192.0.2.7"},
		{"no peer", "", "@", []string{"198.51.100.1"}, ""},
		{"one proxy", "", "10.0.0.1:80", []string{"198.51.100.1"}, "198.51.100.1"},
		{"IPv4-mapped proxy", "", "[::ffff:10.0.0.1]:80", []string{"198.51.100.1"}, "198.51.100.1"},
		{"IPv6 proxy", "", "[2001:db8:f::1]:80", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 stranger", "", "[2001:db8:e::1]:80", []string{"198.51.100.1"}, "2001:db8:e::1"},
		{"two proxies", "", "10.0.0.1:80", []string{"198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"spoofed on the left", "", "10.0.0.1:80", []string{"10.9.9.9, 192.0.2.1, 198.51.100.1"}, "198.51.100.1"},
		{"spoofed behind two proxies", "", "10.0.0.1:80", []string{"192.0.2.1, 198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"two lines", "", "10.0.0.1:80", []string{"192.0.2.1", "198.51.100.1"}, "198.51.100.1"},
		{"two lines, proxy in the last", "", "10.0.0.1:80", []string{"192.0.2.1, 198.51.100.1", "10.0.0.2"}, "198.51.100.1"},
		{"all proxies", "", "10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, ""},
		{"a proxy that names nobody", "", "10.0.0.1:80", nil, ""},
		{"empty", "", "10.0.0.1:80", []string{""}, ""},
		{"empty at the end", "", "10.0.0.1:80", []string{"198.51.100.1,"}, ""},
		{"empty line at the end", "", "10.0.0.1:80", []string{"198.51.100.1", ""}, ""},
		{"garbage", "", "10.0.0.1:80", []string{"198.51.100.1, garbage"}, ""},
		{"garbage left of the client", "", "10.0.0.1:80", []string{"garbage, 198.51.100.1"}, "198.51.100.1"},
		{"garbage behind a proxy", "", "10.0.0.1:80", []string{"198.51.100.1, unknown, 10.0.0.2"}, ""},
		{"with port", "", "10.0.0.1:80", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		{"IPv6", "", "10.0.0.1:80", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 in brackets", "", "10.0.0.1:80", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"IPv6 with port", "", "10.0.0.1:80", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		{"IPv4 in brackets", "", "10.0.0.1:80", []string{"[198.51.100.1]"}, ""},
		{"mapped", "", "10.0.0.1:80", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"mapped proxy behind a proxy", "", "10.0.0.1:80", []string{"198.51.100.1, ::ffff:10.0.0.2"}, "198.51.100.1"},
		{"zone", "", "10.0.0.1:80", []string{"2001:db8::7%eth0"}, ""},
		{"zone with port", "", "10.0.0.1:80", []string{"[2001:db8::7%eth0]:80"}, ""},
		{"mapped with a zone", "", "10.0.0.1:80", []string{"[::ffff:198.51.100.1%eth0]:80"}, ""},
		{"mapped with a zone, no port", "", "10.0.0.1:80", []string{"::ffff:198.51.100.1%eth0"}, ""},
		{"brackets twice", "", "10.0.0.1:80", []string{"[[2001:db8::7]:80]"}, ""},
		{"IPv6, groups and port", "", "10.0.0.1:80", []string{"2001:db8:1:2:3:4:5:6:4711"}, ""},
		{"quoted", "", "10.0.0.1:80", []string{`"198.51.100.1"`}, ""},
		{"Forwarded syntax", "", "10.0.0.1:80", []string{"for=198.51.100.1"}, ""},
		{"name", "", "10.0.0.1:80", []string{"localhost"}, ""},
		{"leading zero", "", "10.0.0.1:80", []string{"198.051.100.1"}, ""},
		{"port too large", "", "10.0.0.1:80", []string{"198.51.100.1:65536"}, ""},
		{"tabs", "", "10.0.0.1:80", []string{"\t198.51.100.1\t"}, "198.51.100.1"},
		{"proxy with a zone", "", "[fe80::1%eth0]:80", []string{"198.51.100.1"}, "198.51.100.1"},
		{"proxy with a zone that names nobody", "", "[fe80::1%eth0]:80", nil, ""},
		{"the other header", "", "10.0.0.1:80", nil, ""},
		{"31 proxies", "", "10.0.0.1:80", []string{"198.51.100.1" + strings.Repeat(", 10.0.0.2", 31)}, "198.51.100.1"},
		{"32 proxies", "", "10.0.0.1:80", []string{"198.51.100.1" + strings.Repeat(", 10.0.0.2", 32)}, ""},

		{"Forwarded", forwarded, "10.0.0.1:80", []string{"for=198.51.100.1"}, "198.51.100.1"},
		{"Forwarded by a stranger", forwarded, "192.0.2.7:80", []string{"for=198.51.100.1"}, "192.0.2.7"},
		{"case", forwarded, "10.0.0.1:80", []string{"FOR=198.51.100.1"}, "198.51.100.1"},
		{"others around", forwarded, "10.0.0.1:80", []string{`proto=https; for=198.51.100.1 ;by=10.0.0.1;host="example.com:80"`}, "198.51.100.1"},
		{"quoted", forwarded, "10.0.0.1:80", []string{`for="198.51.100.1:4711"`}, "198.51.100.1"},
		{"quoted IPv6", forwarded, "10.0.0.1:80", []string{`For="[2001:db8::7]:4711"`}, "2001:db8::7"},
		{"IPv6 unquoted", forwarded, "10.0.0.1:80", []string{`for=[2001:db8::7]`}, ""},
		{"port unquoted", forwarded, "10.0.0.1:80", []string{`for=198.51.100.1:80`}, ""},
		{"several", forwarded, "10.0.0.1:80", []string{`for=192.0.2.1, for=198.51.100.1;proto=http, for=10.0.0.2`}, "198.51.100.1"},
		{"several lines", forwarded, "10.0.0.1:80", []string{`for=192.0.2.1`, `for=198.51.100.1`}, "198.51.100.1"},
		{"unknown", forwarded, "10.0.0.1:80", []string{`for=unknown`}, ""},
		{"obfuscated", forwarded, "10.0.0.1:80", []string{`for=_hidden`}, ""},
		{"obfuscated port", forwarded, "10.0.0.1:80", []string{`for="198.51.100.1:_port"`}, ""},
		{"no for", forwarded, "10.0.0.1:80", []string{`for=192.0.2.1, proto=https`}, ""},
		{"two for", forwarded, "10.0.0.1:80", []string{`for=192.0.2.1;for=198.51.100.1`}, ""},
		{"empty for", forwarded, "10.0.0.1:80", []string{`for=;for=198.51.100.1`}, ""},
		{"for alone", forwarded, "10.0.0.1:80", []string{`for`}, ""},
		{"quote opened by the client", forwarded, "10.0.0.1:80", []string{`for="10.0.0.3";x=", for=198.51.100.1`}, "198.51.100.1"},
		{"quote opened by the client, quoted", forwarded, "10.0.0.1:80", []string{`for=192.0.2.1;x=", for="198.51.100.1"`}, "198.51.100.1"},
		{"backslash by the client", forwarded, "10.0.0.1:80", []string{`for=192.0.2.1;x="\, for=198.51.100.1`}, "198.51.100.1"},
		{"comma in the host", forwarded, "10.0.0.1:80", []string{`for=198.51.100.1;host="a, for=192.0.2.1"`}, ""},
		{"comma in the host, escaped quotes", forwarded, "10.0.0.1:80", []string{`for=198.51.100.1;host="a\", for=192.0.2.1;x=\""`}, ""},
		{"quote not closed", forwarded, "10.0.0.1:80", []string{`for="198.51.100.1`}, ""},
		{"quote within", forwarded, "10.0.0.1:80", []string{`for=198.51.100.1";x="`}, ""},
		{"semicolon in quotes", forwarded, "10.0.0.1:80", []string{`x=";for=192.0.2.1;";for=198.51.100.1`}, "198.51.100.1"},
		{"escaped quotes", forwarded, "10.0.0.1:80", []string{`host="a\";for=192.0.2.1;x=\"b";for=198.51.100.1`}, "198.51.100.1"},
		{"escaped backslash", forwarded, "10.0.0.1:80", []string{`host="a\\";for=198.51.100.1`}, "198.51.100.1"},
		{"cut in quotes", forwarded, "10.0.0.1:80", []string{`for=198.51.100.9;host="a,for=192.0.2.1;x"`}, ""},
		{"cut in quotes, nothing behind", forwarded, "10.0.0.1:80", []string{`for=198.51.100.9;host="a,for=192.0.2.1"`}, ""},
		{"cut in quotes, semicolon behind", forwarded, "10.0.0.1:80", []string{`for=198.51.100.9;host="a,for=192.0.2.1;"`}, ""},
		{"cut in quotes, value behind", forwarded, "10.0.0.1:80", []string{`for=198.51.100.9;host="a,for=192.0.2.1;x="`}, ""},
		{"cut in quotes, in the first of two", forwarded, "10.0.0.1:80", []string{`host="a,for=192.0.2.1;x=";for=198.51.100.9;proto="b"`}, ""},
		{"cut in quotes, behind a proxy", forwarded, "10.0.0.1:80", []string{`for=198.51.100.9;host="a,for=192.0.2.1;x", for=10.0.0.2`}, ""},
		{"pair without a value", forwarded, "10.0.0.1:80", []string{`for=198.51.100.1;x`}, ""},
		{"pair without a name", forwarded, "10.0.0.1:80", []string{`for=198.51.100.1;=x`}, ""},
		{"empty value", forwarded, "10.0.0.1:80", []string{`for=198.51.100.1;x=`}, ""},
		{"empty quoted value", forwarded, "10.0.0.1:80", []string{`for=198.51.100.1;x=""`}, "198.51.100.1"},
		{"empty pairs", forwarded, "10.0.0.1:80", []string{`;for=198.51.100.1;;proto=http;`}, "198.51.100.1"},
		{"space before the equals sign", forwarded, "10.0.0.1:80", []string{`for =198.51.100.1`}, ""},
		{"space behind the equals sign", forwarded, "10.0.0.1:80", []string{`for= 198.51.100.1`}, ""},
		{"text behind the quotes", forwarded, "10.0.0.1:80", []string{`for="198.51.100.1"x`}, ""},
		{"control character in quotes", forwarded, "10.0.0.1:80", []string{"for=198.51.100.1;x=\"\x01\""}, ""},
		{"backslash in for", forwarded, "10.0.0.1:80", []string{`for="198.51.100.\1"`}, ""},
		{"two for, quoted", forwarded, "10.0.0.1:80", []string{`for=198.51.100.1;FOR="198.51.100.1"`}, ""},
		{"two for, the first empty", forwarded, "10.0.0.1:80", []string{`for="";for=198.51.100.1`}, ""},
		{"IPv6 with a port without brackets", forwarded, "10.0.0.1:80", []string{`for="2001:db8::1:4711"`}, ""},
		{"IPv6 without brackets", forwarded, "10.0.0.1:80", []string{`for="2001:db8::1"`}, ""},
		{"mapped without brackets", forwarded, "10.0.0.1:80", []string{`for="::ffff:198.51.100.1"`}, ""},
		{"mapped in brackets", forwarded, "10.0.0.1:80", []string{`for="[::ffff:198.51.100.1]"`}, "198.51.100.1"},
		{"mapped with a zone", forwarded, "10.0.0.1:80", []string{`for="[::ffff:198.51.100.1%eth0]:80"`}, ""},
		{"brackets twice", forwarded, "10.0.0.1:80", []string{`for="[[2001:db8::7]:80]"`}, ""},
		{"one bracket", forwarded, "10.0.0.1:80", []string{`for="[2001:db8::7"`}, ""},
		{"IPv4 in brackets, quoted", forwarded, "10.0.0.1:80", []string{`for="[198.51.100.1]"`}, ""},
		{"very long", forwarded, "10.0.0.1:80", []string{`for="[2001:db8::7]:` + strings.Repeat("0", 100) + `1"`}, ""},
		{"X-Forwarded-For syntax", forwarded, "10.0.0.1:80", []string{`198.51.100.1`}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			var got netip.Addr
			options := &apikeyhttp.Options{
				TrustedProxies: prefixes("10.0.0.0/8", "2001:db8:f::/48", "fe80::/10"),
				ProxyHeader:    test.header,
				Observe:        func(_ *http.Request, o apikey.Observation) { got = o.Client },
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = test.peer
			read, other := "X-Forwarded-For", "Forwarded"
			if test.header != "" {
				read, other = other, read
			}
			r.Header[read] = test.lines
			r.Header[other] = []string{"for=203.0.113.9", "203.0.113.9"} // never read
			r.Header.Set("X-Real-IP", "203.0.113.9")

			keys := apikeytest.New(t)
			bound := func(networks ...netip.Prefix) int {
				r.Header.Set("X-API-Key", keys.MustIssue(t, apikey.IssueParams{Networks: networks}).Token.Reveal())
				return serve(newGuard(keys, options).Authenticate(newHandler()), r).StatusCode
			}
			var want netip.Addr
			if test.want != "" {
				want = netip.MustParseAddr(test.want)
			}
			is.Equal(bound(), 200)
			is.Equal(got, want)
			if !want.IsValid() {
				is.Equal(bound(prefixes("0.0.0.0/0", "::/0")...), 403)
				return
			}
			is.Equal(bound(netip.PrefixFrom(want, want.BitLen())), 200)
			is.Equal(bound(netip.PrefixFrom(want.Next(), want.BitLen())), 403)
		})
	}
}

// TestTrustedProxiesAreCopied changes them afterwards.
func TestTrustedProxiesAreCopied(t *testing.T) {
	is := is.New(t)
	options := &apikeyhttp.Options{TrustedProxies: prefixes("10.0.0.0/8")}
	keys := apikeytest.New(t)
	handler := newGuard(keys, options).Authenticate(newHandler())
	options.TrustedProxies[0] = netip.MustParsePrefix("192.0.2.0/24")
	r := httptest.NewRequest(http.MethodGet, "/", nil) // from 192.0.2.1
	r.Header.Set("X-Forwarded-For", "198.51.100.1")
	r.Header.Set("X-API-Key", keys.MustIssue(t, apikey.IssueParams{Networks: prefixes("198.51.100.0/24")}).Token.Reveal())
	is.Equal(serve(handler, r).StatusCode, 403)
}

// TestNoCredentialDecidesAboutTheAddress sends the same claim with each
// carrier, a good and a bad token, and none.
func TestNoCredentialDecidesAboutTheAddress(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	for _, carrier := range carriers {
		for _, text := range []string{token, "malformed"} {
			var got netip.Addr
			options := *anyCarrier
			options.TrustedProxies = prefixes("192.0.2.0/24")
			options.Observe = func(_ *http.Request, o apikey.Observation) { got = o.Client }
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("X-Forwarded-For", "198.51.100.1")
			carrier.set(r, text)
			serve(newGuard(keys, &options).Authenticate(newHandler()), r)
			is.Equal(got.String(), "198.51.100.1")
		}
	}
}

// FuzzClientAddress: whatever a client sends, the entry that the proxy adds
// behind it decides.
func FuzzClientAddress(f *testing.F) {
	for _, seed := range []string{
		"", "10.0.0.1", `for="10.0.0.1`, `for="10.0.0.1";x="`, `for=10.0.0.1;x="\`, ",", `"`, `\`, `for=10.0.0.1;for`, "a;b;c", `"[2001:db8::1]:80`,
		strings.Repeat("10.0.0.1,", 40),
	} {
		f.Add(seed, "")
		f.Add("10.0.0.1", seed)
	}
	f.Fuzz(func(t *testing.T, first, second string) {
		for header, added := range map[string][]string{
			"X-Forwarded-For": {"198.51.100.1", "198.51.100.1:80"},
			"Forwarded":       {"for=198.51.100.1", `for="198.51.100.1:80"`, `proto=https;for="198.51.100.1";host="example.com"`},
		} {
			for _, entry := range added {
				var got netip.Addr
				handler := newGuard(apikeytest.Allow(apikey.Key{}), &apikeyhttp.Options{
					TrustedProxies: prefixes("10.0.0.0/8"), ProxyHeader: header,
					Observe: func(_ *http.Request, o apikey.Observation) { got = o.Client },
				}).Authenticate(newHandler())
				for _, lines := range [][]string{{first, second + ", " + entry}, {first, second, entry}, {second + "," + entry + ",10.0.0.2", " 10.0.0.3"}} {
					if header == "Forwarded" {
						for i := range lines {
							lines[i] = strings.ReplaceAll(strings.ReplaceAll(lines[i], ",10.0.0.2", ",for=10.0.0.2"), " 10.0.0.3", "for=10.0.0.3")
						}
					}
					r := &http.Request{Method: http.MethodGet, Header: http.Header{header: lines, "X-Api-Key": {"any"}}, RemoteAddr: "10.0.0.1:1234"}
					serve(handler, r)
					if got != netip.MustParseAddr("198.51.100.1") {
						t.Fatalf("%v for %q", got, lines)
					}
				}
			}
		}
	})
}
