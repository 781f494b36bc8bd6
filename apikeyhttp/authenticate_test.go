package apikeyhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

func TestPeerAddress(t *testing.T) {
	tests := []struct {
		name, remote string
		networks     string
		status       int
	}{
		{"inside", "192.0.2.7:1234", "192.0.2.0/24", 200},
		{"outside", "192.0.3.7:1234", "192.0.2.0/24", 403},
		{"IPv4-mapped", "[::ffff:192.0.2.7]:1234", "192.0.2.0/24", 200},
		{"IPv6", "[2001:db8::7]:1234", "2001:db8::/32", 200},
		{"IPv6 outside", "[2001:db9::7]:1234", "2001:db8::/32", 403},
		{"zone", "[fe80::7%eth0]:1234", "fe80::/10", 200},
		{"anywhere", "192.0.2.7:1234", "", 200},
		{"no port", "192.0.2.7", "192.0.2.0/24", 403},
		{"unix socket", "@", "192.0.2.0/24", 403},
		{"empty", "", "192.0.2.0/24", 403},
		{"name", "localhost:1234", "127.0.0.0/8", 403},
		{"unix socket, anywhere", "@", "", 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			keys := apikeytest.New(t)
			networks, err := apikey.ParseNetworks(test.networks)
			must(t, err)
			token := keys.MustIssue(t, apikey.IssueParams{Networks: networks.Slice()}).Token.Reveal()
			served := newHandler()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = test.remote
			r.Header.Set("Authorization", "Bearer "+token)
			for _, name := range []string{"X-Forwarded-For", "X-Real-IP", "True-Client-IP", "CF-Connecting-IP"} {
				r.Header.Set(name, "192.0.2.7") // never believed
			}
			r.Header.Set("Forwarded", "for=192.0.2.7")
			want := expectation{status: test.status, code: "address_not_allowed"}
			if test.status == 200 {
				want.calls = 1
			}
			checkResponse(t, want, serve(newGuard(keys, nil).Authenticate(served), r), r.Method, served.calls)
		})
	}
}

func TestStoreTrouble(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	served := newHandler()
	handler := newGuard(keys, nil).Authenticate(served)
	status := func(ctx context.Context, token string) int {
		r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
		r.Header.Set("X-API-Key", token)
		return serve(handler, r).StatusCode
	}
	for _, err := range []error{nil, errors.New("connection refused"), context.DeadlineExceeded, apikey.ErrConflict} {
		keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Lookup, Err: err})
		is.Equal(status(t.Context(), token), 503)
		is.Equal(status(t.Context(), token), 200) // it is back
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	is.Equal(status(ended, token), 503)

	keys.Store.Fail(apikeytest.Failure{Forever: true})
	calls := keys.Store.Calls(apikeytest.Any)
	is.Equal(status(t.Context(), "malformed"), 401) // needs no store
	is.Equal(keys.Store.Calls(apikeytest.Any), calls)

	other := apikeytest.New(t, func(o *apikey.Options) {
		o.Peppers = []apikey.Secret{apikey.NewSecret(strings.Repeat("pepper", 6))}
	})
	record, err := other.Store.Get(t.Context(), other.MustIssue(t, apikey.IssueParams{}).Key.ID, "")
	is.NoErr(err)
	is.True(record.Credentials[0].PepperID != "")
	withoutPepper, err := apikey.New(other.Store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: other.Clock.Now})
	is.NoErr(err)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-API-Key", other.MustIssue(t, apikey.IssueParams{}).Token.Reveal())
	is.Equal(serve(newGuard(withoutPepper, nil).Authenticate(served), r).StatusCode, 503)
	is.Equal(served.calls, 4)
}

func TestContext(t *testing.T) {
	is := is.New(t)
	type name struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), name{}, "value"))
	served := newHandler()
	r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
	r.Header.Set("X-API-Key", "any")
	is.Equal(serve(newGuard(apikeytest.Allow(apikey.Key{ID: "one"}), nil).Authenticate(served), r).StatusCode, 200)
	got := served.request.Context()
	is.Equal(got.Value(name{}), "value")
	is.NoErr(got.Err())
	cancel()
	is.Equal(got.Err(), context.Canceled)
	_, ok := apikey.FromContext(r.Context()) // the request given is not changed
	is.True(!ok)
}

// TestNoLeak looks for the secret in whatever leaves the program.
func TestNoLeak(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	for _, state := range states {
		for _, carrier := range carriers {
			keys := apikeytest.New(t, func(o *apikey.Options) {
				o.Observe = func(ctx context.Context, o apikey.Observation) {
					logger.InfoContext(ctx, "validated", "observation", o)
				}
			})
			token := state.make(t, keys, apikey.IssueParams{Scopes: []string{"orders:read"}})
			handler := newGuard(keys, anyCarrier).Require("orders:write")(newHandler())
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			carrier.set(r, token)
			dump, err := httputil.DumpResponse(serve(handler, r), true)
			must(t, err)
			carrier.set(r, token+"_")
			second, err := httputil.DumpResponse(serve(handler, r), true)
			must(t, err)
			secret := apikey.NewSecret(token[strings.LastIndexByte(token, '_')+1:])
			apikeytest.AssertNoLeak(t, secret, string(dump), string(second), log.String())
		}
	}
	if log.Len() == 0 {
		t.Error("nothing was logged")
	}
}

// TestNothingIsReflected sends markers wherever a request can hold one.
func TestNothingIsReflected(t *testing.T) {
	const marker = "m4rker"
	for _, value := range []string{"Bearer " + marker, "Basic " + base64Of(marker+":"+marker), marker + " x", marker + ", " + marker} {
		r := httptest.NewRequest(marker, "/"+marker+"?"+marker, strings.NewReader(marker))
		r.Host = marker
		r.Header.Set("Authorization", value)
		r.Header.Set("Accept", marker)
		r.Header.Set("Origin", marker)
		dump, err := httputil.DumpResponse(serve(newGuard(apikeytest.Deny(nil), nil).Authenticate(newHandler()), r), true)
		must(t, err)
		if bytes.Contains(dump, []byte(marker)) {
			t.Errorf("%s", dump)
		}
	}
}

// TestOverTheWire sends what no client library would, through a real server.
func TestOverTheWire(t *testing.T) {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	server := httptest.NewServer(newGuard(keys, &apikeyhttp.Options{
		Carriers: apikeyhttp.Bearer | apikeyhttp.Header | apikeyhttp.Basic,
	}).Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	defer server.Close()
	fill := strings.NewReplacer("TOKEN", issued.Token.Reveal(),
		"B64", base64Of(issued.AccessKey()+":"+issued.AccessSecret().Reveal()))
	tests := []struct {
		name, headers string
		status        int
	}{
		{"Bearer", "Authorization: Bearer TOKEN", 200},
		{"case of names", "AUTHORIZATION: bearer TOKEN", 200},
		{"header", "x-api-key:TOKEN", 200},
		{"spaces around", "x-api-key: \t TOKEN \t ", 200},
		{"Basic", "Authorization: Basic B64", 200},
		{"two lines", "Authorization: Bearer TOKEN\r\nauthorization: Bearer TOKEN", 400},
		{"two headers", "X-API-Key: TOKEN\r\nx-api-KEY: TOKEN", 400},
		{"two carriers", "X-API-Key: TOKEN\r\nAuthorization: Basic B64", 400},
		{"empty line", "X-API-Key:\r\nAuthorization: Bearer TOKEN", 400},
		{"list", "X-API-Key: TOKEN, TOKEN", 400},
		{"folded list", "Authorization: Bearer TOKEN\r\n TOKEN", 400},
		{"underscores", "X_API_Key: TOKEN", 401},
		{"nothing", "X-Other: TOKEN", 401},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			is.NoErr(err)
			defer conn.Close()
			_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+fill.Replace(test.headers)+"\r\n\r\n")
			is.NoErr(err)
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			is.NoErr(err)
			defer response.Body.Close()
			is.Equal(response.StatusCode, test.status)
			is.True(test.status == 200 || response.Header.Get("Content-Type") == "application/problem+json")
		})
	}
}
