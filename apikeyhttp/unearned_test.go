package apikeyhttp_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

// TestUnearnedRefusalsAreIdentical compares whole responses, byte for byte.
func TestUnearnedRefusalsAreIdentical(t *testing.T) {
	keys := apikeytest.New(t)
	handler := newGuard(keys, anyCarrier).Authenticate(newHandler())
	params := apikey.IssueParams{}
	live := keys.MustIssue(t, params).Token.Reveal()
	tokens := map[string]string{
		"wrong secret":   wrongSecret(t, keys, params),
		"unknown":        apikeytest.New(t).MustIssue(t, params).Token.Reveal(),
		"wrong checksum": live[:len(live)-1] + string(other(live[len(live)-1])),
		"other prefix":   "b" + live[1:],
		"short":          live[:len(live)-1],
		"one character":  "x",
		"no token":       "s3cret!\"$%&/()=?",
		"not ASCII":      "clé_\xff\xfe",
		"control":        "a\x01b\x7f",
		"long":           strings.Repeat("x", 5000),
	}
	first := ""
	for name, token := range tokens {
		for _, carrier := range carriers {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			carrier.set(r, token)
			dump, err := httputil.DumpResponse(serve(handler, r), true)
			must(t, err)
			if first == "" {
				first = string(dump)
				if !strings.Contains(first, " 401 ") {
					t.Fatal(first)
				}
			}
			if diff := cmp.Diff(first, string(dump)); diff != "" {
				t.Errorf("%s by %s: %s", name, carrier.name, diff)
			}
		}
	}
}

// TestChangedTokens changes one character of a live token at a time.
func TestChangedTokens(t *testing.T) {
	keys := apikeytest.New(t)
	served := newHandler()
	handler := newGuard(keys, anyCarrier).Authenticate(served)
	live := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	changed := map[string]bool{}
	for i := range len(live) {
		changed[live[:i]+string(other(live[i]))+live[i+1:]] = true
		changed[live[:i]+live[i+1:]] = true
		changed[live[:i]+"0"+live[i:]] = true
		changed[live[:i]+strings.ToUpper(live[i:i+1])+live[i+1:]] = true
		changed[live[:i]+strings.ToLower(live[i:i+1])+live[i+1:]] = true
		if i > 0 {
			changed[live[:i-1]+live[i:i+1]+live[i-1:i]+live[i+1:]] = true
		}
	}
	delete(changed, live)
	for token := range changed {
		for _, carrier := range carriers {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			carrier.set(r, token)
			if status := serve(handler, r).StatusCode; status != 401 {
				t.Errorf("status %d by %s", status, carrier.name)
			}
		}
	}
	if served.calls != 0 {
		t.Errorf("%d handler calls", served.calls)
	}
}

// TestSameKeyByEveryCarrier compares what the handler gets.
func TestSameKeyByEveryCarrier(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{
		Owner: "ada", Scopes: []string{"orders:*"}, Rate: apikey.Rate{Requests: 5, Period: time.Second},
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Metadata: map[string]string{"plan": "gold"},
	})
	want, err := keys.Validate(t.Context(), issued.Token.Reveal(), apikey.From(netip.MustParseAddr("192.0.2.1")))
	is.NoErr(err)
	for _, carrier := range carriers {
		served := newHandler()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		carrier.set(r, issued.Token.Reveal())
		is.Equal(serve(newGuard(keys, anyCarrier).Authenticate(served), r).StatusCode, 200)
		is.Equal(served.calls, 1)
		is.Equal(served.key, want)
	}
}

// other returns another character of base62.
func other(c byte) byte {
	if c == 'x' {
		return 'y'
	}
	return 'x'
}
