package apikeyhttp_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// sentinels are the errors of package apikey, each with its answer: that to a
// call that manages keys, and that to Validate if it is another.
var sentinels = map[string]struct {
	err               error
	managed, rejected string
}{
	"ErrInvalid":             {apikey.ErrInvalid, "401 invalid_token", ""},
	"ErrDeleted":             {apikey.ErrDeleted, "409 deleted", "401 deleted"},
	"ErrReplaced":            {apikey.ErrReplaced, "401 replaced", ""},
	"ErrOwnerDisabled":       {apikey.ErrOwnerDisabled, "403 owner_disabled", "401 owner_disabled"},
	"ErrDisabled":            {apikey.ErrDisabled, "409 disabled", "401 disabled"},
	"ErrExpired":             {apikey.ErrExpired, "409 expired", "401 expired"},
	"ErrAddress":             {apikey.ErrAddress, "403 address_not_allowed", ""},
	"ErrScope":               {apikey.ErrScope, "403 scope_not_allowed", "403 insufficient_scope"},
	"ErrUnavailable":         {apikey.ErrUnavailable, "503 unavailable", ""},
	"ErrPepper":              {apikey.ErrPepper, "503 unavailable", ""},
	"ErrNotFlushed":          {apikey.ErrNotFlushed, "503 unavailable", ""},
	"ErrClock":               {apikey.ErrClock, "503 unavailable", ""},
	"ErrNotFound":            {apikey.ErrNotFound, "404 not_found", ""},
	"ErrLocked":              {apikey.ErrLocked, "403 locked", ""},
	"ErrNotRotating":         {apikey.ErrNotRotating, "409 not_rotating", ""},
	"ErrTooSoon":             {apikey.ErrTooSoon, "429 too_soon", ""},
	"ErrForbidden":           {apikey.ErrForbidden, "403 forbidden", ""},
	"ErrOutcomeUnknown":      {apikey.ErrOutcomeUnknown, "503 outcome_unknown", ""},
	"ErrConflict":            {apikey.ErrConflict, "409 conflict", ""},
	"ErrExists":              {apikey.ErrExists, "409 exists", ""},
	"ErrIdempotencyMismatch": {apikey.ErrIdempotencyMismatch, "422 idempotency_mismatch", ""},
	"ErrLimit":               {apikey.ErrLimit, "409 limit", ""},
	"ErrAborted":             {apikey.ErrAborted, "503 unavailable", ""},
	"ErrDamaged":             {apikey.ErrDamaged, "500 damaged", ""},
}

// named is an error of a call that manages keys.
type named struct{ error }

func (named) Operation() string { return "enable" }
func (n named) Unwrap() error   { return n.error }

func statusOf(err error) string {
	status, code := apikeyhttp.StatusOf(err)
	return fmt.Sprint(status, " ", code)
}

// TestStatusOf checks the answer to each sentinel error, alone, wrapped, and
// wrapped by an outage and by an unknown outcome.
func TestStatusOf(t *testing.T) {
	for name, s := range sentinels {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			if s.rejected == "" {
				s.rejected = s.managed
			}
			is.Equal(statusOf(s.err), s.rejected)
			is.Equal(statusOf(fmt.Errorf("traced: %w", s.err)), s.rejected)
			is.Equal(statusOf(named{s.err}), s.managed)
			is.Equal(statusOf(fmt.Errorf("traced: %w", named{s.err})), s.managed)
			is.Equal(apikeyhttp.InTable(s.err), true)
			if !errors.Is(s.err, apikey.ErrOutcomeUnknown) {
				is.Equal(statusOf(fmt.Errorf("%w: %w", s.err, apikey.ErrUnavailable)), "503 unavailable")
			}
			is.Equal(statusOf(fmt.Errorf("%w: %w", s.err, apikey.ErrOutcomeUnknown)), "503 outcome_unknown")
			if s.managed != "503 unavailable" {
				is.Equal(statusOf(named{&apikey.FieldError{Field: "id", Err: s.err}}), s.managed)
			}
		})
	}
	is := is.New(t)
	is.Equal(statusOf(nil), "200 ")
	is.Equal(statusOf(errors.New("connection refused")), "503 unavailable")
	is.Equal(statusOf(context.Canceled), "503 unavailable")
	is.Equal(statusOf(&apikey.FieldError{Field: "name"}), "400 invalid_field")
	is.Equal(statusOf(named{&apikey.FieldError{Field: "name"}}), "400 invalid_field")
}

// TestStatusOfEveryError checks that no sentinel error of the root package is
// missing above.
func TestStatusOfEveryError(t *testing.T) {
	declared, listed := map[string]bool{}, map[string]bool{}
	files, err := filepath.Glob("../*.go")
	must(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(filepath.Base(name), "transfer") {
			continue // an export is no matter of HTTP
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 && strings.HasPrefix(v.Names[0].Name, "Err") {
				declared[v.Names[0].Name] = true
			}
			return true
		})
	}
	for name := range sentinels {
		listed[name] = true
	}
	if diff := cmp.Diff(declared, listed); diff != "" {
		t.Error(diff)
	}
}

// TestStatusOfCalls checks that the calls of a Manager and an OwnerManager name
// themselves, and that Validate does not.
func TestStatusOfCalls(t *testing.T) {
	keys := apikeytest.New(t)
	issue := func() apikey.Issued { return keys.MustIssue(t, apikey.IssueParams{Owner: "ada"}) }
	mine := keys.ForOwner("ada", &apikey.OwnerOptions{Scopes: []string{"orders:read"}})
	ctx := t.Context()
	tests := []struct {
		name string
		call func() error
		want string
	}{
		{"disabled", func() error {
			i := issue()
			must(t, second(keys.Disable(ctx, i.Key.ID)))
			return second(keys.Rotate(ctx, i.Key.ID, time.Hour))
		}, "409 disabled"},
		{"deleted", func() error {
			i := issue()
			must(t, second(keys.Delete(ctx, i.Key.ID)))
			return second(mine.Enable(ctx, i.Key.ID))
		}, "409 deleted"},
		{"scope", func() error {
			return second(mine.Issue(ctx, apikey.IssueParams{Name: "a", Scopes: []string{"users:read"}}))
		}, "403 scope_not_allowed"},
		{"no such key", func() error { return second(mine.Get(ctx, "00000000000000000000")) }, "404 not_found"},
		{"expired", func() error {
			i := issue()
			keys.Advance(366 * 24 * time.Hour)
			return second(keys.Enable(ctx, i.Key.ID))
		}, "409 expired"},
		{"owner disabled", func() error {
			must(t, second(keys.DisableOwner(ctx, "ada")))
			return second(mine.Issue(ctx, apikey.IssueParams{Name: "a"}))
		}, "403 owner_disabled"},
		{"Validate", func() error { return second(keys.Validate(ctx, issued(keys).Token.Reveal(), apikey.Scope("a"))) }, "403 insufficient_scope"},
	}
	for _, test := range tests {
		if got := statusOf(test.call()); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func issued(keys *apikeytest.Manager) apikey.Issued {
	return keys.MustIssue(new(testing.T), apikey.IssueParams{Owner: "other"})
}

func second[T any](_ T, err error) error { return err }

// TestProblemWrite checks that a handler of the application answers as the
// middleware does.
func TestProblemWrite(t *testing.T) {
	is := is.New(t)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"of another body"`)
		apikeyhttp.Problem{Status: 503, Code: "unavailable", Detail: "Later."}.Write(w, r, nil)
	})
	got := serve(handler, apikeytest.Request(t, "GET", "/", apikey.Secret{}))
	is.Equal(got.StatusCode, 503)
	is.Equal(got.Header.Get("Retry-After"), "1")
	is.Equal(got.Header.Get("Cache-Control"), "no-store")
	is.Equal(got.Header.Get("Content-Type"), "application/problem+json")
	is.Equal(got.Header.Get("Etag"), "")
	is.Equal(read(t, got), `{"type":"about:blank","title":"Service Unavailable","status":503,"code":"unavailable","detail":"Later."}`+"\n")
}
