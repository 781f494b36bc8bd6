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

func TestRequireWithoutAuthenticate(t *testing.T) {
	for _, scopes := range [][]string{nil, {"orders:read"}} {
		served := newHandler()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer any") // nobody checked it
		want := expectation{status: 500, code: "server_error"}
		want.complete(0)
		checkResponse(t, want, serve(apikeyhttp.Require(scopes...)(served), r), r.Method, served.calls)
	}
}

func TestRequireOfAnotherMiddleware(t *testing.T) {
	is := is.New(t)
	scopes, err := apikey.NewScopes("orders:*")
	is.NoErr(err)
	served := newHandler()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(apikey.NewContext(r.Context(), apikey.Key{Scopes: scopes}))
	is.Equal(serve(apikeyhttp.Require("orders:read")(served), r).StatusCode, 200)
	is.Equal(served.calls, 1)

	want := expectation{status: 403, code: "insufficient_scope", scope: "users:read"}
	want.complete(0)
	served = newHandler()
	checkResponse(t, want, serve(apikeyhttp.Require("users:read")(served), r), r.Method, served.calls)
}

// TestRequireKnowsTheOptions checks that its answers are those of the
// Authenticate in front.
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
		handler := apikeyhttp.Authenticate(apikeytest.Allow(apikey.Key{}), &test.options)(apikeyhttp.Require("b", "a", "b")(served))
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
	authenticate := apikeyhttp.Authenticate(apikeytest.Allow(apikey.Key{Scopes: scopes}), nil)
	for second, status := range map[string]int{"b": 200, "c": 403} {
		served := newHandler()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-API-Key", "any")
		is.Equal(serve(authenticate(apikeyhttp.Require("a")(apikeyhttp.Require(second)(served))), r).StatusCode, status)
		is.Equal(served.calls == 1, status == 200)
	}
}

// TestRequireMalformedScope checks that a malformed scope lets nobody in,
// whatever the key may do.
func TestRequireMalformedScope(t *testing.T) {
	all, err := apikey.NewScopes("orders:*", "read")
	must(t, err)
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
	}
	for name, scopes := range tests {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			for _, header := range []string{"X-API-Key", "Other"} {
				served := newHandler()
				handler := apikeyhttp.Authenticate(apikeytest.Allow(apikey.Key{Scopes: all}), nil)(apikeyhttp.Require(scopes...)(served))
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header.Set(header, "any")
				want := expectation{status: 500, code: "server_error"}
				if header == "Other" { // Authenticate comes first
					want = expectation{status: 401, code: "no_credential"}
					want.complete(0)
				}
				checkResponse(t, want, serve(handler, r), r.Method, served.calls)
			}
			served := newHandler()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			is.Equal(serve(apikeyhttp.Require(scopes...)(served), r).StatusCode, 500)
			is.Equal(served.calls, 0)
		})
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
			got := serve(apikeyhttp.Authenticate(keys, nil)(apikeyhttp.Require(needed)(served)), r)
			if (err == nil) != (got.StatusCode == 200) || served.calls != map[bool]int{true: 1}[err == nil] {
				t.Errorf("%s held, %s needed: Validate says %v, Require %d", held, needed, err, got.StatusCode)
			}
		}
	}
}
