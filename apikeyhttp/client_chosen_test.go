package apikeyhttp_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/keyturn/apikey/apikeyhttp"
)

// pieces are what a client's part of a header is put together from.
var pieces = []string{`"`, `\`, `,`, `;`, `=`, ` `, `x`, `:`, `for=192.0.2.1`, `,for=192.0.2.1;`, `for="192.0.2.1"`, `x="`, `;x="`, `,for=10.0.0.3`, `192.0.2.1`, `[2001:db8::1]`}

// arrangements yields all texts of up to n pieces.
func arrangements(n int, yield func(string)) {
	yield("")
	if n == 0 {
		return
	}
	for _, piece := range pieces {
		arrangements(n-1, func(rest string) { yield(piece + rest) })
	}
}

// quotedString writes a quoted-string of RFC 9110.
func quotedString(text string) string { return `"` + escape.Replace(text) + `"` }

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// chosen checks that the client of a request from a proxy is the one that the
// proxy named, or, unless exactly is set, nobody.
func (p proxied) chosen(t *testing.T, exactly bool, lines ...string) {
	client, near := p.address(&http.Request{Header: http.Header{p.header: lines}, RemoteAddr: "10.0.0.1:1234"})
	switch {
	case client == honest && near == honest:
	case !exactly && !client.IsValid() && proxies.Contains(near):
	default:
		t.Fatalf("client %v, counted as %v, for %s: %q", client, near, p.header, lines)
	}
}

// proxied reads one header of trusted proxies.
type proxied struct {
	header  string
	address func(*http.Request) (client, near netip.Addr)
}

var (
	honest    = netip.MustParseAddr("198.51.100.9")
	proxies   = netip.MustParsePrefix("10.0.0.0/8")
	forwarded = by("Forwarded")
	appended  = by("X-Forwarded-For")
)

func by(header string) proxied {
	return proxied{header, apikeyhttp.ClientAddress(&apikeyhttp.Options{TrustedProxies: []netip.Prefix{proxies}, ProxyHeader: header})}
}

// TestNoClientChoosesItsAddress tries all arrangements of the characters that
// structure the headers in what the client sends, and in what proxies take over
// from the client into an element of their own.
func TestNoClientChoosesItsAddress(t *testing.T) {
	const length = 3
	t.Run("sent by the client", func(t *testing.T) {
		arrangements(length, func(sent string) {
			for _, honest := range []string{"198.51.100.9", "198.51.100.9:4711", "::ffff:198.51.100.9"} {
				appended.chosen(t, true, sent+", "+honest)
				appended.chosen(t, true, sent, honest+",10.0.0.2")
			}
			for _, honest := range []string{"for=198.51.100.9", `proto=https;host="a;b";for="198.51.100.9:4711"`} {
				forwarded.chosen(t, true, sent+", "+honest)
				forwarded.chosen(t, true, sent+","+honest+", for=10.0.0.2")
				forwarded.chosen(t, true, sent, honest, "for=10.0.0.2")
			}
		})
	})
	t.Run("taken over by the proxy", func(t *testing.T) {
		arrangements(length, func(host string) {
			quoted := quotedString(host)
			forwarded.chosen(t, false, "for=198.51.100.9;host="+quoted)
			forwarded.chosen(t, false, "for=192.0.2.1, host="+quoted+";for=198.51.100.9;proto=http")
			forwarded.chosen(t, false, "for=198.51.100.9;host="+quoted+",for=10.0.0.2")
			forwarded.chosen(t, false, "for=198.51.100.9;host="+quoted, "for=10.0.0.2;host="+quoted)
			// A proxy that escapes nothing but lets no quote through.
			if !strings.Contains(host, `"`) {
				forwarded.chosen(t, false, `for=198.51.100.9;host="`+host+`"`)
				forwarded.chosen(t, false, `host="`+host+`";for=198.51.100.9;proto="`+host+`"`)
			}
		})
	})
	t.Run("taken over twice", func(t *testing.T) {
		arrangements(2, func(first string) {
			arrangements(2, func(second string) {
				forwarded.chosen(t, false, "host="+quotedString(first)+";for=198.51.100.9;proto="+quotedString(second))
				forwarded.chosen(t, false, first+", host="+quotedString(second)+";for=198.51.100.9")
				forwarded.chosen(t, false, "for=192.0.2.1;host="+quotedString(first)+",for=198.51.100.9;host="+quotedString(second))
			})
		})
	})
}

// FuzzChosenAddress does the same with any text.
func FuzzChosenAddress(f *testing.F) {
	for _, seed := range []string{"", `a,for=192.0.2.1;x`, `a",for=192.0.2.1;x="b`, `\`, `\",for=192.0.2.1;x=\"`, `,for=192.0.2.1;x=`, ";;", "a\x00b"} {
		f.Add(seed, seed)
		f.Add("for=192.0.2.1;x=\"", seed)
	}
	f.Fuzz(func(t *testing.T, sent, host string) {
		forwarded.chosen(t, true, sent+", for=198.51.100.9")
		forwarded.chosen(t, false, sent+", for=198.51.100.9;host="+quotedString(host))
		forwarded.chosen(t, false, sent, "host="+quotedString(host)+";for=198.51.100.9;proto="+quotedString(sent))
		forwarded.chosen(t, false, sent, "for=198.51.100.9;host="+quotedString(host)+", for=10.0.0.2;host="+quotedString(sent))
		appended.chosen(t, true, sent+", 198.51.100.9")
		appended.chosen(t, true, sent, "198.51.100.9, 10.0.0.2")
	})
}
