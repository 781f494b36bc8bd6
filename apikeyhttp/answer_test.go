package apikeyhttp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

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
		{wrapped(&wrapper2{apikey.ErrUnavailable, &apikey.FieldError{Field: "dsn"}}), 503, "unavailable"},
		{apikey.ErrForbidden, 503, "unavailable"},       // no answer of Validate's
		{named{apikey.ErrDisabled}, 503, "unavailable"}, // of another call
		{wrapped(apikey.ErrExpired), 401, "expired"},
		{wrapped(&wrapper2{apikey.ErrUnavailable, apikey.ErrInvalid}), 503, "unavailable"},
		{wrapped(&wrapper2{apikey.ErrExpired, apikey.ErrUnavailable}), 503, "unavailable"},
	}
	for _, test := range tests {
		t.Run(test.err.Error(), func(t *testing.T) {
			served := newHandler()
			handler := newGuard(apikeytest.Deny(test.err), nil).Authenticate(served)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Authorization", "Bearer any")
			want := expectation{status: test.status, code: test.code}
			want.complete(0)
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

// expectation is what a request should get.
type expectation struct {
	status     int
	code       string
	scope      string
	challenges []string
	calls      int
	principal  string // the id of the key that the handler gets
}

// complete adds the challenges that go with a code, of a middleware that reads
// Bearer and other carriers.
func (e *expectation) complete(carriers apikeyhttp.Carrier) {
	switch {
	case e.code == "no_credential":
		e.challenges = []string{`Bearer realm="api"`}
	case e.code == "invalid_request":
		e.challenges = []string{`Bearer realm="api", error="invalid_request"`}
	case e.status == 401:
		e.challenges = []string{`Bearer realm="api", error="invalid_token"`}
	case e.scope != "":
		e.challenges = []string{`Bearer realm="api", error="insufficient_scope", scope="` + e.scope + `"`}
	case e.code == "insufficient_scope":
		e.challenges = []string{`Bearer realm="api", error="insufficient_scope"`}
	}
	if carriers&apikeyhttp.Basic != 0 && e.status == 401 {
		e.challenges = append(e.challenges, `Basic realm="api", charset="UTF-8"`)
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
	if want.status == 503 || want.status == 429 {
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
	if want.code == "quota_exceeded" {
		wanted.Type = "https://iana.org/assignments/http-problem-types#quota-exceeded"
		wanted.Title = "Request cannot be satisfied as assigned quota has been exceeded"
	}
	wanted.Code, wanted.Scope = want.code, want.scope
	if diff := cmp.Diff(wanted, problem); diff != "" {
		t.Error("problem", diff)
	}
}
