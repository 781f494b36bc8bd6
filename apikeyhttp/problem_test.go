package apikeyhttp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

// TestAccept checks that the answer does not depend on Accept.
func TestAccept(t *testing.T) {
	handler := newGuard(apikeytest.Deny(nil), nil).Authenticate(newHandler())
	want := read(t, serve(handler, httptest.NewRequest(http.MethodGet, "/", nil)))
	for _, accept := range [][]string{
		nil, {""}, {"*/*"}, {"text/plain"}, {"application/json"}, {"image/png", "text/html"}, {"application/problem+json;q=0"},
		{strings.Repeat("text/plain;q=0.5,", 50_000)},
	} {
		is := is.New(t)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Accept"] = accept
		got := serve(handler, r)
		is.Equal(got.Header.Get("Content-Type"), "application/problem+json")
		is.Equal(got.Header.Get("Vary"), "")
		body := read(t, got)
		is.Equal(body, want)
		is.True(json.Valid([]byte(body)))
	}
}

// TestHeadersOfOthers: what handlers before set is kept, except what spoke of
// another body.
func TestHeadersOfOthers(t *testing.T) {
	is := is.New(t)
	gone := []string{
		"Content-Encoding", "Etag", "Last-Modified", "Accept-Ranges", "Content-Digest", "Content-Disposition", "Content-Language",
		"Content-Location", "Content-Range", "Location", "Repr-Digest", "Trailer", "Transfer-Encoding",
	}
	handler := newGuard(apikeytest.Deny(nil), nil).Authenticate(newHandler())
	w := httptest.NewRecorder()
	for _, name := range []string{"Vary", "Access-Control-Allow-Origin", "Strict-Transport-Security"} {
		w.Header().Set(name, "before")
	}
	for _, name := range append(gone, "Content-Type", "Content-Length", "Cache-Control") {
		w.Header().Set(name, "99")
	}
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	got := w.Result().Header
	is.Equal(got.Values("Vary"), []string{"before"})
	is.Equal(got.Get("Access-Control-Allow-Origin"), "before")
	is.Equal(got.Get("Strict-Transport-Security"), "before")
	for _, name := range gone {
		is.Equal(got.Get(name), "")
	}
	is.Equal(got.Get("Cache-Control"), "no-store")
	is.Equal(got.Get("Content-Type"), "application/problem+json")
}

// TestWriteProblem: the host has the body, and cannot lose the rest.
func TestWriteProblem(t *testing.T) {
	is := is.New(t)
	var problems []apikeyhttp.Problem
	form := "text/html; charset=utf-8"
	options := &apikeyhttp.Options{Realm: "shop", WriteProblem: func(r *http.Request, p apikeyhttp.Problem) (string, []byte) {
		problems = append(problems, p)
		return form, []byte("<h1>" + p.Code + "</h1>")
	}}
	scopes, err := apikey.NewScopes("orders:read")
	is.NoErr(err)
	v := apikeytest.Allow(apikey.Key{Scopes: scopes})
	handler := newGuard(v, options).Require("orders:write")(newHandler())

	got := serve(handler, httptest.NewRequest(http.MethodGet, "/", nil))
	is.Equal(got.StatusCode, 401)
	is.Equal(got.Header.Get("Content-Type"), form)
	is.Equal(got.Header.Get("Content-Length"), "22")
	is.Equal(got.Header.Get("Cache-Control"), "no-store")
	is.Equal(got.Header.Values("WWW-Authenticate")[0], `Bearer realm="shop"`)
	is.Equal(read(t, got), "<h1>no_credential</h1>")

	is.Equal(read(t, serve(handler, apikeytest.Request(t, "GET", "/", apikey.NewSecret("any")))), "<h1>insufficient_scope</h1>")
	is.Equal(read(t, serve(handler, httptest.NewRequest(http.MethodHead, "/", nil))), "")

	form = "" // leave it to the package
	got = serve(handler, httptest.NewRequest(http.MethodGet, "/", nil))
	is.Equal(got.Header.Get("Content-Type"), "application/problem+json")

	none := apikeyhttp.Problem{Type: "about:blank", Title: "Unauthorized", Status: 401, Code: "no_credential", Detail: "The request holds no API key."}
	want := []apikeyhttp.Problem{none, {
		Type: "about:blank", Title: "Forbidden", Status: 403, Code: "insufficient_scope",
		Detail: "The API key lacks a scope that is needed here: orders:write", Scope: "orders:write",
	}, none, none}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Error(diff)
	}
}

// TestRefusalsShareNothing: who changes a header of one answer in place changes
// no other.
func TestRefusalsShareNothing(t *testing.T) {
	for name, err := range map[string]error{"bad key": nil, "unavailable": apikey.ErrUnavailable} {
		handler := newGuard(apikeytest.Deny(err), nil).Authenticate(bare)
		refuse := func() http.Header {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, request("x"))
			return w.Header()
		}
		first := refuse()
		want := first.Clone()
		for _, values := range first {
			for i := range values {
				values[i] = "changed"
			}
		}
		if diff := cmp.Diff(want, refuse()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
