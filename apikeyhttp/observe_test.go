package apikeyhttp_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

// TestObserve: each request is told of once, whatever became of it.
func TestObserve(t *testing.T) {
	keys := apikeytest.New(t)
	good := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Scopes: []string{"orders:read"}})
	disabled := keys.MustIssue(t, apikey.IssueParams{Owner: "bob"})
	_, err := keys.Disable(t.Context(), disabled.Key.ID)
	must(t, err)
	unknown := apikeytest.New(t).MustIssue(t, apikey.IssueParams{}).Token
	client := netip.MustParseAddr("192.0.2.1")
	trouble := errors.New("limiter down")
	allowed := apikeyhttp.Quota{Allowed: true}
	admitted := apikey.Observation{
		KeyID: good.Key.ID, AccessKey: good.AccessKey(), Owner: "ada", Carrier: apikeyhttp.Bearer.String(), Client: client,
	}
	with := func(o apikey.Observation, status int, code string) apikey.Observation {
		o.Status, o.Code = status, code
		return o
	}
	tests := []struct {
		name    string
		token   apikey.Secret
		scope   string
		limiter *limiter
		change  func(r *http.Request)
		want    apikey.Observation
	}{
		{name: "admitted", token: good.Token, scope: "orders:read", want: admitted},
		{name: "lacks scope", token: good.Token, scope: "orders:write", want: with(admitted, 403, "insufficient_scope")},
		{name: "disabled", token: disabled.Token, want: apikey.Observation{
			Status: 401, Code: "disabled", AccessKey: disabled.AccessKey(), Client: client, Err: apikey.ErrDisabled,
		}},
		{name: "unknown", token: unknown, want: apikey.Observation{
			Status: 401, Code: "invalid_token", Client: client, Err: apikey.ErrInvalid,
		}},
		{name: "malformed", token: apikey.NewSecret("a\x01b"), want: apikey.Observation{
			Status: 401, Code: "invalid_token", Client: client,
		}},
		{name: "none", want: apikey.Observation{Status: 401, Code: "no_credential", Client: client}},
		{name: "two", token: good.Token, change: func(r *http.Request) { r.Header.Set("X-API-Key", "x") },
			want: apikey.Observation{Status: 400, Code: "invalid_request", Client: client}},
		{name: "over its limit", token: good.Token, limiter: &limiter{client: allowed}, want: with(admitted, 429, "quota_exceeded")},
		{name: "client over its limit", token: good.Token, limiter: &limiter{key: allowed}, want: apikey.Observation{
			Status: 429, Code: "quota_exceeded", Client: client,
		}},
		{name: "limiter down", token: good.Token, limiter: &limiter{key: allowed, client: allowed, err: trouble}, want: apikey.Observation{
			Status: 503, Code: "unavailable", Client: client, Err: trouble,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []apikey.Observation
			options := &apikeyhttp.Options{Observe: func(_ *http.Request, o apikey.Observation) { got = append(got, o) }}
			if test.limiter != nil {
				options.Limiter = test.limiter
			}
			handler := newGuard(keys, options).Authenticate(newHandler())
			if test.scope != "" {
				handler = newGuard(keys, options).Authenticate(newGuard(keys, nil).Require(test.scope)(newHandler()))
			}
			r := apikeytest.Request(t, "GET", "/", test.token)
			if test.change != nil {
				test.change(r)
			}
			serve(handler, r)
			if diff := cmp.Diff([]apikey.Observation{test.want}, got, cmpopts.EquateErrors(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestObserveStacked: what is told is the last decision, whoever is told.
func TestObserveStacked(t *testing.T) {
	outer, inner := apikeytest.New(t), apikeytest.New(t)
	first := outer.MustIssue(t, apikey.IssueParams{Owner: "first"})
	second := inner.MustIssue(t, apikey.IssueParams{Owner: "second", Scopes: []string{"a"}})
	expired := inner.MustIssue(t, apikey.IssueParams{Lifetime: apikey.Period{Time: time.Hour}})
	inner.Advance(2 * time.Hour)
	client := netip.MustParseAddr("192.0.2.1")
	own := &apikeyhttp.Options{Carriers: apikeyhttp.Header}
	tests := []struct {
		name        string
		bearer, own apikey.Secret
		inner       func(http.Handler) http.Handler
		want        apikey.Observation
	}{
		{"another key", first.Token, second.Token, newGuard(inner, own).Authenticate, apikey.Observation{
			KeyID: second.Key.ID, AccessKey: second.AccessKey(), Owner: "second", Carrier: apikeyhttp.Header.String(), Client: client,
		}},
		{"another key that expired", first.Token, expired.Token, newGuard(inner, own).Authenticate, apikey.Observation{
			Status: 401, Code: "expired", AccessKey: expired.AccessKey(), Client: client, Err: apikey.ErrExpired,
		}},
		{"anonymous before", apikey.Secret{}, second.Token, newGuard(inner, own).Authenticate, apikey.Observation{
			KeyID: second.Key.ID, AccessKey: second.AccessKey(), Owner: "second", Carrier: apikeyhttp.Header.String(), Client: client,
		}},
		{"anonymous behind", first.Token, apikey.Secret{}, newGuard(outer, own).Optional, apikey.Observation{
			KeyID: first.Key.ID, AccessKey: first.AccessKey(), Owner: "first", Carrier: apikeyhttp.Bearer.String(), Client: client,
		}},
		{"lacks a scope", first.Token, second.Token, func(next http.Handler) http.Handler {
			return newGuard(inner, own).Require("a")(newGuard(inner, own).Require("b")(next))
		}, apikey.Observation{
			Status: 403, Code: "insufficient_scope",
			KeyID: second.Key.ID, AccessKey: second.AccessKey(), Owner: "second", Carrier: apikeyhttp.Header.String(), Client: client,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []apikey.Observation
			options := &apikeyhttp.Options{Carriers: apikeyhttp.Bearer, Observe: func(_ *http.Request, o apikey.Observation) { got = append(got, o) }}
			logged := ""
			served := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { logged = apikeyhttp.LogAttr(r.Context()).String() })
			handler := newGuard(outer, options).Optional(test.inner(served))
			r := apikeytest.Request(t, "GET", "/", test.bearer)
			if !test.own.IsZero() {
				r.Header.Set("X-API-Key", test.own.Reveal())
			}
			serve(handler, r)
			if diff := cmp.Diff([]apikey.Observation{test.want}, got, cmpopts.EquateErrors(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
			if test.want.Status == 0 && !strings.Contains(logged, test.want.KeyID) {
				t.Errorf("LogAttr is %s", logged)
			}
		})
	}
}

func TestObserveAPanic(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	observed := 0
	options := &apikeyhttp.Options{Observe: func(*http.Request, apikey.Observation) { observed++ }}
	handler := newGuard(keys, options).Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("handler") }))
	func() {
		defer func() { is.Equal(recover(), "handler") }()
		serve(handler, apikeytest.Request(t, "GET", "/", keys.MustIssue(t, apikey.IssueParams{}).Token))
	}()
	is.Equal(observed, 1)
}

// TestLog reads the lines that a host's log has of requests, with the hostile
// texts that a request can hold.
func TestLog(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Owner: "a b level=ERROR"})
	for _, format := range []string{"json", "text"} {
		var log bytes.Buffer
		options := &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}
		logger := slog.New(slog.NewJSONHandler(&log, options))
		if format == "text" {
			logger = slog.New(slog.NewTextHandler(&log, options))
		}
		handler := newGuard(keys, &apikeyhttp.Options{Observe: func(r *http.Request, o apikey.Observation) {
			logger.InfoContext(r.Context(), "request", "apikey", o)
		}}).Optional(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			logger.InfoContext(r.Context(), "handler", apikeyhttp.LogAttr(r.Context()))
		}))
		serve(handler, apikeytest.Request(t, "GET", "/", issued.Token))
		serve(handler, httptest.NewRequest("GET", "/", nil))
		serve(handler, apikeytest.Request(t, "GET", "/", apikey.NewSecret("x\n"+issued.Token.Reveal())))
		id, access := issued.Key.ID, issued.AccessKey()
		want := map[string]string{
			"json": `{"level":"INFO","msg":"handler","apikey":{"key_id":"` + id + `","access_key":"` + access + `","owner":"a b level=ERROR","carrier":"bearer","client":"192.0.2.1"}}
{"level":"INFO","msg":"request","apikey":{"key_id":"` + id + `","access_key":"` + access + `","owner":"a b level=ERROR","carrier":"bearer","client":"192.0.2.1"}}
{"level":"INFO","msg":"handler","apikey":{"client":"192.0.2.1"}}
{"level":"INFO","msg":"request","apikey":{"client":"192.0.2.1"}}
{"level":"INFO","msg":"request","apikey":{"status":401,"code":"invalid_token","client":"192.0.2.1"}}
`,
			"text": `level=INFO msg=handler apikey.key_id=` + id + ` apikey.access_key=` + access + ` apikey.owner="a b level=ERROR" apikey.carrier=bearer apikey.client=192.0.2.1
level=INFO msg=request apikey.key_id=` + id + ` apikey.access_key=` + access + ` apikey.owner="a b level=ERROR" apikey.carrier=bearer apikey.client=192.0.2.1
level=INFO msg=handler apikey.client=192.0.2.1
level=INFO msg=request apikey.client=192.0.2.1
level=INFO msg=request apikey.status=401 apikey.code=invalid_token apikey.client=192.0.2.1
`,
		}
		if diff := cmp.Diff(want[format], log.String()); diff != "" {
			t.Error(diff)
		}
		apikeytest.AssertNoLeak(t, issued.Token, log.String())
	}
	is.Equal(apikeyhttp.LogAttr(context.Background()).Value.Resolve().Kind(), slog.KindGroup)
}

// TestForeignTokens: of a text that is no token of ours nothing is told, since
// no part of it is known to be public.
func TestForeignTokens(t *testing.T) {
	is := is.New(t)
	var got apikey.Observation
	options := &apikeyhttp.Options{Observe: func(_ *http.Request, o apikey.Observation) { got = o }}
	handler := newGuard(apikeytest.Deny(apikey.ErrExpired), options).Authenticate(newHandler())
	serve(handler, apikeytest.Request(t, "GET", "/", apikey.NewSecret("legacy_"+strings.Repeat("s3cret_", 8))))
	is.Equal(got.Code, "expired")
	is.Equal(got.AccessKey, "")
}

func TestCarrierString(t *testing.T) {
	is := is.New(t)
	is.Equal(every().String(), "bearer,header,basic,query")
	is.Equal(apikeyhttp.Basic.String(), "basic")
	is.Equal(apikeyhttp.Carrier(0).String(), "")
}
