package apikeyhttp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

// carriers are the ways to put a token into a request.
var carriers = []struct {
	name    string
	carrier apikeyhttp.Carrier
	set     func(r *http.Request, token string)
}{
	{"Bearer", apikeyhttp.Bearer, func(r *http.Request, token string) { r.Header.Set("Authorization", "Bearer "+token) }},
	{"Header", apikeyhttp.Header, func(r *http.Request, token string) { r.Header.Set("X-API-Key", token) }},
	{"Basic", apikeyhttp.Basic, func(r *http.Request, token string) {
		cut := strings.LastIndexByte(token, '_')
		r.SetBasicAuth(token[:max(cut, 0)], token[cut+1:])
	}},
}

// states are what can become of a key. Each function makes a key that way and
// returns a token of it; refused is the code, empty if the token is accepted.
var states = []struct {
	name    string
	make    func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string
	status  int
	code    string
	isValid bool
}{
	{name: "active", isValid: true, make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		return keys.MustIssue(t, p).Token.Reveal()
	}},
	{name: "rotating, old", isValid: true, make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		_, err := keys.Rotate(t.Context(), issued.Key.ID, time.Hour, "")
		must(t, err)
		return issued.Token.Reveal()
	}},
	{name: "rotating, new", isValid: true, make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		rotated, err := keys.Rotate(t.Context(), keys.MustIssue(t, p).Key.ID, time.Hour, "")
		must(t, err)
		return rotated.Token.Reveal()
	}},
	{name: "overlap over", status: 401, code: "replaced", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		_, err := keys.Rotate(t.Context(), issued.Key.ID, time.Hour, "")
		must(t, err)
		keys.Advance(time.Hour)
		return issued.Token.Reveal()
	}},
	{name: "regenerated, old", status: 401, code: "replaced", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		_, err := keys.Regenerate(t.Context(), issued.Key.ID, "")
		must(t, err)
		return issued.Token.Reveal()
	}},
	{name: "disabled", status: 401, code: "disabled", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		_, err := keys.Disable(t.Context(), issued.Key.ID, "")
		must(t, err)
		return issued.Token.Reveal()
	}},
	{name: "owner disabled", status: 401, code: "owner_disabled", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		_, err := keys.DisableOwner(t.Context(), issued.Key.Owner, "")
		must(t, err)
		return issued.Token.Reveal()
	}},
	{name: "expired", status: 401, code: "expired", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		keys.Clock.Set(issued.Key.ExpiresAt)
		return issued.Token.Reveal()
	}},
	{name: "deleted", status: 401, code: "deleted", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		_, err := keys.Delete(t.Context(), issued.Key.ID, "")
		must(t, err)
		return issued.Token.Reveal()
	}},
	{name: "other network", status: 403, code: "address_not_allowed", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		p.Networks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		return keys.MustIssue(t, p).Token.Reveal()
	}},
	{name: "own network", isValid: true, make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		p.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // as in httptest.NewRequest
		return keys.MustIssue(t, p).Token.Reveal()
	}},
	{name: "unknown", status: 401, code: "invalid_token", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		return apikeytest.New(t).MustIssue(t, p).Token.Reveal()
	}},
	{name: "wrong secret", status: 401, code: "invalid_token", make: wrongSecret},
	{name: "malformed", status: 401, code: "invalid_token", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		return keys.MustIssue(t, p).Token.Reveal() + "0"
	}},
	{name: "store down", status: 503, code: "unavailable", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		keys.Store.Fail(apikeytest.Failure{Forever: true})
		return issued.Token.Reveal()
	}},
}

// wrongSecret returns a token with the access key of a key of the Manager and
// a secret that is well-formed, with its checksum, but another's.
func wrongSecret(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
	// The checksum covers the access key. A restored store finds the access
	// key again, under the digest of another secret.
	issued := keys.MustIssue(t, p)
	record, err := keys.Store.Get(t.Context(), issued.Key.ID)
	must(t, err)
	record.Credentials[0].Digest = apikey.Digest(strings.Repeat("x", 32))
	_, err = keys.Store.Commit(t.Context(), apikey.Commit{Records: []apikey.Record{record}, Events: []apikey.Event{{Kind: apikey.EventUpdated}}})
	must(t, err)
	return issued.Token.Reveal()
}

// TestMatrix sends the token of a key in every state by every carrier to
// routes that need scopes the key has or lacks.
func TestMatrix(t *testing.T) {
	routes := []struct {
		name   string
		scopes []string
		lacks  bool
	}{
		{"no scope", nil, false},
		{"held", []string{"orders:read"}, false},
		{"covered", []string{"users:write", "orders:read"}, false},
		{"lacking", []string{"orders:write"}, true},
		{"one lacking", []string{"orders:write", "orders:read"}, true},
	}
	for _, state := range states {
		for _, carrier := range carriers {
			for _, route := range routes {
				t.Run(state.name+"/"+carrier.name+"/"+route.name, func(t *testing.T) {
					keys := apikeytest.New(t)
					token := state.make(t, keys, apikey.IssueParams{Scopes: []string{"orders:read", "users:*"}})
					want := expectation{status: state.status, code: state.code}
					switch {
					case state.isValid && !route.lacks:
						want = expectation{status: 200, calls: 1}
					case state.isValid:
						needed, err := apikey.NewScopes(route.scopes...)
						must(t, err)
						want = expectation{status: 403, code: "insufficient_scope", scope: needed.String()}
					}
					want.complete()

					served := newHandler()
					handler := apikeyhttp.Authenticate(keys, nil)(apikeyhttp.Require(route.scopes...)(served))
					for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
						served.calls = 0
						r := httptest.NewRequest(method, "/orders", nil)
						carrier.set(r, token)
						checkResponse(t, want, serve(handler, r), method, served.calls)
					}
				})
			}
		}
	}
}

// expectation is what a request should get.
type expectation struct {
	status     int
	code       string
	scope      string
	challenges []string
	calls      int
}

// complete adds the challenges that go with a code, of a middleware with all
// defaults.
func (e *expectation) complete() {
	const basic = `Basic realm="api", charset="UTF-8"`
	switch {
	case e.code == "no_credential":
		e.challenges = []string{`Bearer realm="api"`, basic}
	case e.code == "invalid_request":
		e.challenges = []string{`Bearer realm="api", error="invalid_request"`}
	case e.status == 401:
		e.challenges = []string{`Bearer realm="api", error="invalid_token"`, basic}
	case e.scope != "":
		e.challenges = []string{`Bearer realm="api", error="insufficient_scope", scope="` + e.scope + `"`}
	case e.code == "insufficient_scope":
		e.challenges = []string{`Bearer realm="api", error="insufficient_scope"`}
	}
}

// checkResponse compares a response with what was expected.
func checkResponse(t *testing.T, want expectation, got *http.Response, method string, calls int) {
	t.Helper()
	body := read(t, got)
	if got.StatusCode != want.status || calls != want.calls {
		t.Fatalf("status %d with %d handler calls, want %d with %d: %s", got.StatusCode, calls, want.status, want.calls, body)
	}
	if diff := cmp.Diff(want.challenges, got.Header.Values("WWW-Authenticate")); diff != "" {
		t.Error("challenges", diff)
	}
	if want.status == 200 {
		return
	}
	headers := map[string]string{
		"Content-Type":           "application/problem+json",
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
		"Retry-After":            "",
	}
	if want.status == 503 {
		headers["Retry-After"] = "1"
	}
	for name, value := range headers {
		if got.Header.Get(name) != value {
			t.Errorf("%s: %q, want %q", name, got.Header.Get(name), value)
		}
	}
	if method == http.MethodHead {
		if body != "" || got.Header.Get("Content-Length") == "0" {
			t.Errorf("HEAD with Content-Length %s and body %q", got.Header.Get("Content-Length"), body)
		}
		return
	}
	var problem struct {
		Type, Title, Code, Detail, Scope string
		Status                           int
	}
	if err := json.Unmarshal([]byte(body), &problem); err != nil {
		t.Fatal(err)
	}
	if problem.Detail == "" {
		t.Error("no detail")
	}
	problem.Detail = ""
	wanted := problem
	wanted.Type, wanted.Title, wanted.Status = "about:blank", http.StatusText(want.status), want.status
	wanted.Code, wanted.Scope = want.code, want.scope
	if diff := cmp.Diff(wanted, problem); diff != "" {
		t.Error("problem", diff)
	}
}

// TestEveryErrorHasItsAnswer drives each error that Validate can return
// through a stub.
func TestEveryErrorHasItsAnswer(t *testing.T) {
	wrapped := func(err error) error { return &wrapper{err} }
	tests := []struct {
		err    error
		status int
		code   string
	}{
		{apikey.ErrInvalid, 401, "invalid_token"},
		{apikey.ErrDeleted, 401, "deleted"},
		{apikey.ErrReplaced, 401, "replaced"},
		{apikey.ErrOwnerDisabled, 401, "owner_disabled"},
		{apikey.ErrDisabled, 401, "disabled"},
		{apikey.ErrExpired, 401, "expired"},
		{apikey.ErrAddress, 403, "address_not_allowed"},
		{apikey.ErrScope, 403, "insufficient_scope"},
		{apikey.ErrUnavailable, 503, "unavailable"},
		{apikey.ErrPepper, 503, "unavailable"},
		{apikey.ErrClock, 503, "unavailable"},
		{apikey.ErrNotFound, 503, "unavailable"}, // no answer of Validate's
		{apikeytest.ErrStore, 503, "unavailable"},
		{&apikey.FieldError{Field: "scope", Problem: "must be a scope"}, 500, "server_error"},
		{&apikey.FieldError{Field: "scope", Problem: "must be a scope", Err: apikey.ErrScope}, 500, "server_error"},
		{wrapped(apikey.ErrExpired), 401, "expired"},
		{wrapped(&wrapper2{apikey.ErrUnavailable, apikey.ErrInvalid}), 503, "unavailable"},
		{wrapped(&wrapper2{apikey.ErrExpired, apikey.ErrUnavailable}), 503, "unavailable"},
	}
	for _, test := range tests {
		t.Run(test.err.Error(), func(t *testing.T) {
			served := newHandler()
			handler := apikeyhttp.Authenticate(apikeytest.Deny(test.err), nil)(served)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Authorization", "Bearer any")
			want := expectation{status: test.status, code: test.code}
			want.complete()
			checkResponse(t, want, serve(handler, r), r.Method, served.calls)
		})
	}
}

type wrapper struct{ err error }

func (w *wrapper) Error() string { return "wrapped: " + w.err.Error() }
func (w *wrapper) Unwrap() error { return w.err }

type wrapper2 [2]error

func (w *wrapper2) Error() string   { return w[0].Error() + ": " + w[1].Error() }
func (w *wrapper2) Unwrap() []error { return w[:] }

// TestUnearnedRefusalsAreIdentical compares whole responses, byte for byte.
func TestUnearnedRefusalsAreIdentical(t *testing.T) {
	keys := apikeytest.New(t)
	handler := apikeyhttp.Authenticate(keys, nil)(newHandler())
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
	handler := apikeyhttp.Authenticate(keys, nil)(served)
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
		is.Equal(serve(apikeyhttp.Authenticate(keys, nil)(served), r).StatusCode, 200)
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
