package apikeyhttp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

// TestRequireAuthenticates checks that a route needs nothing but Require, and
// that a key that another middleware put into the context is not believed.
func TestRequireAuthenticates(t *testing.T) {
	scopes, err := apikey.NewScopes("orders:*")
	must(t, err)
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Scopes: []string{"orders:read"}})
	tests := []struct {
		name  string
		scope string
		token apikey.Secret
		want  expectation
	}{
		{"good", "orders:read", issued.Token, expectation{status: 200, calls: 1}},
		{"lacks", "orders:write", issued.Token, lacks("orders:write")},
		{"bad", "orders:read", apikey.NewSecret("any"), expectation{status: 401, code: "invalid_token"}},
		{"none", "orders:read", apikey.Secret{}, noCredential},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			served := newHandler()
			r := apikeytest.Request(t, "GET", "/", test.token)
			r = r.WithContext(apikey.NewContext(r.Context(), apikey.Key{Owner: "other", Scopes: scopes}))
			test.want.complete(0)
			checkResponse(t, test.want, serve(newGuard(keys, nil).Require(test.scope)(served), r), r.Method, served.calls)
			if test.want.calls == 1 && served.key.ID != issued.Key.ID {
				t.Errorf("the handler got key %q of %s", served.key.ID, served.key.Owner)
			}
		})
	}
}

// TestRequireNarrowed checks that a key that the application narrowed between
// two guards stays narrow, for the second guard and for the handler.
func TestRequireNarrowed(t *testing.T) {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Scopes: []string{"orders:*"}})
	narrow, err := apikey.NewScopes("orders:read")
	must(t, err)
	g := newGuard(keys, nil)
	for scope, status := range map[string]int{"orders:read": 200, "orders:write": 403} {
		is := is.New(t)
		served := newHandler()
		inner := g.Require(scope)(served)
		handler := g.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			key, _ := apikey.FromContext(r.Context())
			key.Scopes = narrow
			inner.ServeHTTP(w, r.WithContext(apikey.NewContext(r.Context(), key)))
		}))
		is.Equal(serve(handler, apikeytest.Request(t, "GET", "/", issued.Token)).StatusCode, status)
		is.Equal(served.calls == 1, status == 200)
		if served.calls == 1 {
			is.Equal(served.key.Scopes, narrow)
		}
	}
}

// TestRequireKnowsTheOptions checks that its answers follow the options.
func TestRequireKnowsTheOptions(t *testing.T) {
	tests := []struct {
		options apikeyhttp.Options
		want    string
	}{
		{apikeyhttp.Options{Realm: "shop"}, `Bearer realm="shop", error="insufficient_scope", scope="a b"`},
		{apikeyhttp.Options{Carriers: apikeyhttp.Header, Header: "Shop-Key"}, `ApiKey realm="api", header="Shop-Key", error="insufficient_scope", scope="a b"`},
		{apikeyhttp.Options{Carriers: apikeyhttp.Basic}, ""},
	}
	for _, test := range tests {
		is := is.New(t)
		served := newHandler()
		handler := newGuard(apikeytest.Allow(apikey.Key{}), &test.options).Require("b", "a", "b")(served)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		switch test.options.Carriers {
		case apikeyhttp.Header:
			r.Header.Set("Shop-Key", "any")
		case apikeyhttp.Basic:
			r.SetBasicAuth("any", "any")
		default:
			r.Header.Set("Authorization", "Bearer any")
		}
		got := serve(handler, r)
		is.Equal(got.StatusCode, 403)
		is.Equal(strings.Join(got.Header.Values("WWW-Authenticate"), "; "), test.want)
		is.Equal(served.calls, 0)
	}
}

func TestRequireStacked(t *testing.T) {
	is := is.New(t)
	scopes, err := apikey.NewScopes("a", "b")
	is.NoErr(err)
	g := newGuard(apikeytest.Allow(apikey.Key{Scopes: scopes}), nil)
	for second, status := range map[string]int{"b": 200, "c": 403} {
		served := newHandler()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-API-Key", "any")
		is.Equal(serve(g.Require("a")(g.Require(second)(served)), r).StatusCode, status)
		is.Equal(served.calls == 1, status == 200)
	}
}

// TestRequireMalformedScope checks that a malformed scope, and none, panic when
// the route is built.
func TestRequireMalformedScope(t *testing.T) {
	many := make([]string, 101)
	for i := range many {
		many[i] = "orders:" + strings.Repeat("x", i)
	}
	tests := map[string][]string{
		"empty":              {""},
		"empty among good":   {"read", ""},
		"space":              {"orders: x"},
		"two in one":         {"read orders:x"},
		"quote":              {`orders:"x`},
		"backslash":          {`orders:\`},
		"line break":         {"orders:x\r\nSet-Cookie: a=b"},
		"not ASCII":          {"orders:é"},
		"star":               {"*"},
		"star in the middle": {"orders:*:x"},
		"too long":           {"orders:" + strings.Repeat("x", 100)},
		"too many":           many,
		"none":               nil,
	}
	for name, scopes := range tests {
		if !doesPanic(func() { newGuard(apikeytest.Allow(apikey.Key{}), nil).Require(scopes...) }) {
			t.Errorf("%s: %q was accepted", name, scopes)
		}
	}
}

// TestScopeRule checks that Require and Validate decide the same.
func TestScopeRule(t *testing.T) {
	scopes := []string{"orders", "orders:read", "orders:read:own", "orders:*", "order:read", "orders:read:*"}
	for _, held := range scopes {
		for _, needed := range scopes {
			keys := apikeytest.New(t)
			token := keys.MustIssue(t, apikey.IssueParams{Scopes: []string{held}}).Token.Reveal()
			_, err := keys.Validate(t.Context(), token, apikey.Scope(needed))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("X-API-Key", token)
			served := newHandler()
			got := serve(newGuard(keys, nil).Require(needed)(served), r)
			if (err == nil) != (got.StatusCode == 200) || served.calls != map[bool]int{true: 1}[err == nil] {
				t.Errorf("%s held, %s needed: Validate says %v, Require %d", held, needed, err, got.StatusCode)
			}
		}
	}
}
