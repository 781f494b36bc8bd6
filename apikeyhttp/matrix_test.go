package apikeyhttp_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

// routes are the ways to protect a handler. Each says what a request with the
// token of a valid key gets, with scopes orders:read and users:*, and what one
// without a credential.
var routes = []struct {
	name      string
	uses      string // the functions of the package and the methods of a Guard
	protect   func(v apikey.Validator, next http.Handler) http.Handler
	valid     expectation
	anonymous expectation
	refused   *expectation // what one with the token of no valid key gets, if it is always the same
}{
	{"authenticated", "Authenticate", func(v apikey.Validator, next http.Handler) http.Handler {
		return newGuard(v, anyCarrier).Authenticate(next)
	}, served, noCredential, nil},
	{"held scope", "Require", required("orders:read"), served, noCredential, nil},
	{"covered scope", "Require", required("users:write", "orders:read"), served, noCredential, nil},
	{"lacking scope", "Require", required("orders:write"), lacks("orders:write"), noCredential, nil},
	{"one lacking scope", "Require", required("orders:write", "orders:read"), lacks("orders:read orders:write"), noCredential, nil},
	{"optional", "Optional", func(v apikey.Validator, next http.Handler) http.Handler {
		return newGuard(v, anyCarrier).Optional(next)
	}, served, served, nil},
	{"optional, scope", "Optional Require", func(v apikey.Validator, next http.Handler) http.Handler {
		return newGuard(v, anyCarrier).Optional(required("orders:read")(v, next))
	}, served, noCredential, nil},
	{"optional, lacking scope", "Optional Require", func(v apikey.Validator, next http.Handler) http.Handler {
		return newGuard(v, anyCarrier).Optional(required("orders:write")(v, next))
	}, lacks("orders:write"), noCredential, nil},
	{"optional, authenticated", "Optional Authenticate", func(v apikey.Validator, next http.Handler) http.Handler {
		return newGuard(v, anyCarrier).Optional(newGuard(v, anyCarrier).Authenticate(next))
	}, served, noCredential, nil},
	{"authenticated twice", "Authenticate Require", func(v apikey.Validator, next http.Handler) http.Handler {
		return newGuard(v, anyCarrier).Authenticate(required("orders:read")(v, next))
	}, served, noCredential, nil},
	{"removed", "Authenticate StripCredential", func(v apikey.Validator, next http.Handler) http.Handler {
		return newGuard(v, anyCarrier).Authenticate(newGuard(v, anyCarrier).StripCredential(next))
	}, served, noCredential, nil},
	{"removed, authenticated", "Authenticate StripCredential", func(v apikey.Validator, next http.Handler) http.Handler {
		return newGuard(v, anyCarrier).Authenticate(newGuard(v, anyCarrier).StripCredential(newGuard(v, anyCarrier).Authenticate(next)))
	}, noCredential, noCredential, nil},
	{"key limited", "Authenticate", limitedTo(apikeyhttp.Quota{}, apikeyhttp.Quota{Allowed: true}), exceeded, noCredential, nil},
	{"client limited", "Authenticate", limitedTo(apikeyhttp.Quota{Allowed: true}, apikeyhttp.Quota{}), exceeded, noCredential, &exceeded},
	{"managed by a key", "Authenticate", func(v apikey.Validator, next http.Handler) http.Handler {
		api, err := apikeyrest.New(v.(*apikeytest.Manager).Manager, &apikeyrest.Options{Owner: ownerOfKey})
		if err != nil {
			panic(err)
		}
		return newGuard(v, anyCarrier).Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			get := r.Clone(r.Context()) // a route that is there for every method of the matrix
			get.Method, get.URL.Path = http.MethodGet, "/keys"
			get.URL.RawQuery = ""
			api.ServeHTTP(w, get)
		}))
	}, served, noCredential, nil},
	{"not limited", "Authenticate", limitedTo(apikeyhttp.Quota{Allowed: true}, apikeyhttp.Quota{Allowed: true}), served, noCredential, nil},
}

var (
	served       = expectation{status: 200, calls: 1}
	noCredential = expectation{status: 401, code: "no_credential"}
	exceeded     = expectation{status: 429, code: "quota_exceeded"}
)

// ownerOfKey lets the owner of a key manage all keys of that owner.
func ownerOfKey(r *http.Request) (owner, actor string, err error) {
	key, ok := apikey.FromContext(r.Context())
	if !ok {
		return "", "", errors.New("no key")
	}
	return key.Owner, key.ID, nil
}

func lacks(scopes string) expectation {
	return expectation{status: 403, code: "insufficient_scope", scope: scopes}
}

func required(scopes ...string) func(apikey.Validator, http.Handler) http.Handler {
	return func(v apikey.Validator, next http.Handler) http.Handler {
		return newGuard(v, anyCarrier).Require(scopes...)(next)
	}
}

func limitedTo(key, client apikeyhttp.Quota) func(apikey.Validator, http.Handler) http.Handler {
	return func(v apikey.Validator, next http.Handler) http.Handler {
		options := *anyCarrier
		options.Limiter = &limiter{key: key, client: client}
		return newGuard(v, &options).Authenticate(next)
	}
}

// limiter answers what it was told to, and counts.
type limiter struct {
	key, client            apikeyhttp.Quota
	err                    error
	keys, clients, invalid []string
	outcomes               []apikeyhttp.Outcome
	tokens                 []uint64
}

func (l *limiter) AllowKey(_ context.Context, key apikey.Key) (apikeyhttp.Quota, error) {
	l.keys = append(l.keys, key.ID)
	return l.key, l.err
}

func (l *limiter) StartAttempt(_ context.Context, a apikeyhttp.Attempt) (apikeyhttp.Quota, error) {
	l.clients = append(l.clients, a.Client.String())
	l.tokens = append(l.tokens, a.Token)
	return l.client, l.err
}

func (l *limiter) EndAttempt(ctx context.Context, a apikeyhttp.Attempt, o apikeyhttp.Outcome) error {
	l.outcomes = append(l.outcomes, o)
	if o == apikeyhttp.OutcomeInvalid {
		l.invalid = append(l.invalid, a.Client.String())
	}
	if ctx.Done() != nil || ctx.Err() != nil {
		return errors.New("the end of an attempt could be canceled")
	}
	return l.err
}

// TestMatrix sends the token of a key in every state by every carrier over
// every route.
func TestMatrix(t *testing.T) {
	for _, route := range routes {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead, http.MethodOptions} {
			for _, state := range states {
				for _, carrier := range carriers {
					t.Run(route.name+"/"+method+"/"+state.name+"/"+carrier.name, func(t *testing.T) {
						keys := apikeytest.New(t)
						token := state.make(t, keys, apikey.IssueParams{Scopes: []string{"orders:read", "users:*"}})
						want := expectation{status: state.status, code: state.code}
						switch {
						case state.isValid:
							want = route.valid
						case route.refused != nil:
							want = *route.refused
						}
						r := httptest.NewRequest(method, "/orders", nil)
						carrier.set(r, token)
						checkRoute(t, route.protect, keys, want, r)
					})
				}
			}
			t.Run(route.name+"/"+method+"/anonymous", func(t *testing.T) {
				checkRoute(t, route.protect, apikeytest.New(t), route.anonymous, httptest.NewRequest(method, "/orders", nil))
			})
		}
	}
}

func checkRoute(t *testing.T, protect func(apikey.Validator, http.Handler) http.Handler, keys *apikeytest.Manager, want expectation, r *http.Request) {
	t.Helper()
	want.complete(apikeyhttp.Basic)
	served := newHandler()
	issued, err := keys.List(t.Context(), apikey.Query{})
	if err == nil && want.calls == 1 && len(issued) == 1 {
		want.principal = issued[0].ID
	}
	checkResponse(t, want, serve(protect(keys, served), r), r.Method, served.calls)
	if served.key.ID != want.principal {
		t.Errorf("principal %q, want %q", served.key.ID, want.principal)
	}
}

// TestMatrixIsComplete compares the matrix with the code: each carrier, each
// refusal of a key, and each function that makes a handler has a case.
func TestMatrixIsComplete(t *testing.T) {
	var have apikeyhttp.Carrier
	for _, c := range carriers {
		have |= c.carrier
	}
	if have != every() {
		t.Errorf("carriers %v, want %v", have, every())
	}

	codes, want := map[string]bool{}, map[string]bool{"": true} // "" is accepted
	for _, s := range states {
		codes[s.code] = true
	}
	for _, code := range apikeyhttp.Codes() {
		want[code] = true
	}
	delete(want, "insufficient_scope") // is a matter of the route
	if diff := cmp.Diff(want, codes); diff != "" {
		t.Error("states", diff)
	}

	used, made := map[string]bool{}, map[string]bool{}
	for _, route := range routes {
		for name := range strings.FieldsSeq(route.uses) {
			used[name] = true
		}
	}
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		must(t, err)
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Name.IsExported() && makesHandler(f) {
				made[f.Name.Name] = true
			}
		}
	}
	if diff := cmp.Diff(made, used); diff != "" {
		t.Error("routes", diff)
	}
}

// makesHandler reports whether a function returns a handler or a middleware.
func makesHandler(f *ast.FuncDecl) bool {
	found := false
	if f.Type.Results != nil {
		ast.Inspect(f.Type.Results, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Handler" {
				found = true
			}
			return true
		})
	}
	return found
}
