package apikeyhttp_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

// recorder is a Validator that takes everything and remembers it.
type recorder struct{ tokens []string }

func (v *recorder) Validate(_ context.Context, token string, _ ...apikey.Requirement) (apikey.Key, error) {
	v.tokens = append(v.tokens, token)
	return apikey.Key{}, nil
}

// FuzzAuthorization gives the header parser up to two Authorization lines and
// two of the header carrier, with any carriers turned on.
func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{
		"", " ", "Bearer", "Bearer x", "bearer  x", "Bearer x y", "Bearer x,y", "Bearer\tx", "Bearer \x00",
		"Basic", "Basic YTpi", "basic YTpi", "Basic YTpi,YTpi", "Basic Og==", "Ba\u017fic YTpi",
		`Digest a="b", c="d"`, ",", ", Bearer x", "Bearer, x", "ak_7Hq2mV9xKc4RtZ1b_N0sPq8LwE3yGd6TfXa5JuB2vChM4oRkS40RH4r",
	} {
		f.Add(seed, "", seed, "", uint8(1), uint8(0), uint8(7))
		f.Add(seed, "Bearer x", "x", "", uint8(2), uint8(0), uint8(1))
		f.Add("", "", seed, "", uint8(0), uint8(1), uint8(2))
		f.Add(seed, "", seed, "", uint8(1), uint8(1), uint8(0))
	}
	f.Fuzz(func(t *testing.T, line1, line2, own1, own2 string, lines, owns, on uint8) {
		authorization := []string{line1, line2}[:lines%3]
		own := []string{own1, own2}[:owns%3]
		on %= 8
		header := http.Header{}
		if len(authorization) > 0 {
			header["Authorization"] = authorization
		}
		if len(own) > 0 {
			header["X-Api-Key"] = own
		}
		v, got := authenticateWith(header, apikeyhttp.Carrier(on))

		switch status := got.Code; {
		case status == 200 && len(v.tokens) == 1:
		case (status == 400 || status == 401) && len(v.tokens) == 0:
		default:
			t.Fatalf("status %d after %d tokens", status, len(v.tokens))
		}
		if got.Code != 200 {
			if !refusals()[got.Body.String()] {
				t.Fatalf("answer %q", got.Body)
			}
			return
		}
		token := v.tokens[0]
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("token %q", token)
		}
		if on == 0 {
			on = uint8(apikeyhttp.Bearer | apikeyhttp.Header)
		}
		if on&uint8(apikeyhttp.Header) == 0 {
			own = nil
		}
		if on&uint8(apikeyhttp.Bearer|apikeyhttp.Basic) == 0 {
			authorization = nil
		}
		values := append(append([]string{}, authorization...), own...)
		if len(values) != 1 {
			t.Fatalf("a token from %d values", len(values))
		}
		scheme, rest, _ := strings.Cut(values[0], " ")
		switch {
		case len(own) == 1:
			if token != own[0] {
				t.Fatalf("token %q from %q", token, own[0])
			}
		case strings.ToLower(scheme) == "bearer" && on&uint8(apikeyhttp.Bearer) != 0:
			if token != strings.TrimLeft(rest, " ") {
				t.Fatalf("token %q from %q", token, values[0])
			}
		case strings.ToLower(scheme) == "basic" && on&uint8(apikeyhttp.Basic) != 0:
			checkBasic(t, strings.TrimLeft(rest, " "), token)
		default:
			t.Fatalf("token %q from %q", token, values[0])
		}
		if strings.Contains(token, ",") && !strings.EqualFold(scheme, "basic") {
			t.Fatalf("token %q is a list", token)
		}
	})
}

// FuzzBasic gives the Basic carrier any credentials, and any text where
// encoded ones should be.
func FuzzBasic(f *testing.F) {
	for _, seed := range []string{
		"", ":", "a:", ":b", "a:b", "a:b:c", "a_b:c", "a:b_c", "a: b", "a:b\n", "a\x00:b", "é:b", "a",
		"ak_7Hq2mV9xKc4RtZ1b:N0sPq8LwE3yGd6TfXa5JuB2vChM4oRkS40RH4r",
		"ak:7Hq2mV9xKc4RtZ1b_N0sPq8LwE3yGd6TfXa5JuB2vChM4oRkS40RH4r",
	} {
		f.Add(seed, false)
		f.Add(base64.StdEncoding.EncodeToString([]byte(seed)), true)
	}
	f.Add("YTp=", true)
	f.Add("YTpi\n", true)
	f.Add("YTpjZB==", true)
	f.Fuzz(func(t *testing.T, text string, encoded bool) {
		if !encoded {
			text = base64.StdEncoding.EncodeToString([]byte(text))
		}
		header := http.Header{"Authorization": {"Basic " + text}}
		v, got := authenticateWith(header, apikeyhttp.Basic)
		if got.Code == 200 {
			checkBasic(t, strings.TrimLeft(text, " "), v.tokens[0])
			return
		}
		if len(v.tokens) != 0 {
			t.Fatalf("status %d after a token", got.Code)
		}
		// What is refused is malformed, or no pair of visible texts.
		user, password, ok := (&http.Request{Header: header}).BasicAuth()
		if ok && user != "" && password != "" && len(text) <= 4096 && !strings.ContainsAny(text, " \t,\r\n") &&
			base64.StdEncoding.EncodeToString([]byte(user+":"+password)) == text &&
			!strings.Contains(password, "_") &&
			!strings.ContainsFunc(user+password, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("refused %q", text)
		}
	})
}

// checkBasic checks that credentials which were accepted are what net/http
// reads, and the only way to write them.
func checkBasic(t *testing.T, encoded, token string) {
	t.Helper()
	r := &http.Request{Header: http.Header{"Authorization": {"Basic " + encoded}}}
	user, password, ok := r.BasicAuth()
	if !ok || user == "" || password == "" || user+"_"+password != token || strings.Contains(password, "_") {
		t.Fatalf("token %q from %q and %q", token, user, password)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		t.Fatalf("token %q", token)
	}
	r.SetBasicAuth(user, password)
	if again := r.Header.Get("Authorization"); again != "Basic "+encoded {
		t.Fatalf("%q is encoded as %q", encoded, again)
	}
}

func authenticateWith(header http.Header, on apikeyhttp.Carrier) (*recorder, *httptest.ResponseRecorder) {
	v := &recorder{}
	w := httptest.NewRecorder()
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	handler := newGuard(v, &apikeyhttp.Options{Carriers: on}).Authenticate(next)
	handler.ServeHTTP(w, &http.Request{Method: http.MethodGet, Header: header, RemoteAddr: "192.0.2.1:1234"})
	return v, w
}

// refusals returns the bodies that a request without an accepted credential
// can get.
var refusals = sync.OnceValue(func() map[string]bool {
	bodies := map[string]bool{}
	for _, header := range []http.Header{{}, {"X-Api-Key": {""}}, {"X-Api-Key": {"é"}}} {
		_, got := authenticateWith(header, 0)
		bodies[got.Body.String()] = true
	}
	return bodies
})
