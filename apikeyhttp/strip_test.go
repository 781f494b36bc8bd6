package apikeyhttp_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

// TestRemoveCredential looks at all that a server behind a reverse proxy gets.
func TestRemoveCredential(t *testing.T) {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			is := is.New(t)
			var got string
			backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				dump, err := httputil.DumpRequest(r, true)
				is.NoErr(err)
				got = string(dump)
			}))
			defer backend.Close()
			target, err := url.Parse(backend.URL)
			is.NoErr(err)
			proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}

			r := httptest.NewRequest(http.MethodPost, "/orders?page=1&x=a%20b", strings.NewReader("body"))
			r.Header.Set("X-Other", "kept")
			carrier.set(r, issued.Token.Reveal())
			before := r.Clone(t.Context())
			handler := newGuard(keys, anyCarrier).Authenticate(newGuard(keys, anyCarrier).StripCredential(proxy))
			is.Equal(serve(handler, r).StatusCode, 200)

			apikeytest.AssertNoLeak(t, issued.Token, got)
			is.True(!strings.Contains(got, issued.AccessKey()))
			for _, kept := range []string{"X-Other: kept", "body", "/orders"} {
				is.True(strings.Contains(got, kept))
			}
			// The request outside is what it was.
			if diff := cmp.Diff(before.Header, r.Header); diff != "" {
				t.Error(diff)
			}
			is.Equal(r.URL.String(), before.URL.String())
			is.Equal(r.RequestURI, before.RequestURI)
		})
	}
}

func TestRemovedQuery(t *testing.T) {
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	byQuery := &apikeyhttp.Options{Carriers: apikeyhttp.Query}
	tests := []struct {
		name, query, want string
	}{
		{"alone", "api_key=TOKEN", ""},
		{"first", "api_key=TOKEN&a=1&b=%20+x", "a=1&b=%20+x"},
		{"last", "a=1&a=2&&api_key=TOKEN", "a=1&a=2&"},
		{"escaped name", "a=1&%61pi_key=TOKEN", "a=1"},
		{"other case", "API_KEY=1&api_key=TOKEN", "API_KEY=1"},
		{"name without a value", "a&api_key=TOKEN", "a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			served := newHandler()
			handler := newGuard(keys, byQuery).Authenticate(newGuard(keys, byQuery).StripCredential(served))
			r := httptest.NewRequest(http.MethodGet, "/orders?"+strings.Replace(test.query, "TOKEN", token, 1), nil)
			is.Equal(serve(handler, r).StatusCode, 200)
			is.Equal(served.request.URL.RawQuery, test.want)
			want := "/orders"
			if test.want != "" {
				want += "?" + test.want
			}
			is.Equal(served.request.RequestURI, want)
		})
	}
}

// TestRemovedCopies: where else the parameter may have come to stand.
func TestRemovedCopies(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	token := issued.Token.Reveal()
	served := newHandler()
	handler := newGuard(keys, anyCarrier).Authenticate(newGuard(keys, anyCarrier).StripCredential(served))
	for referer, kept := range map[string]bool{
		"https://shop.example/?page=2":             true,
		"https://shop.example/?api_key=" + token:   false,
		"https://shop.example/?api%5fkey=" + token: false,
		"%zz?api_key=" + token:                     false,
	} {
		r := httptest.NewRequest(http.MethodGet, "/?a=1&api_key="+token, nil)
		r.Header.Set("Referer", referer)
		is.NoErr(r.ParseForm())
		is.Equal(serve(handler, r).StatusCode, 200)
		is.Equal(served.request.Form, url.Values{"a": {"1"}})
		is.Equal(r.Form.Get("api_key"), token)
		is.Equal(served.request.Header.Get("Referer") != "", kept)
	}

	r := httptest.NewRequest(http.MethodGet, "/?api_key="+token, nil)
	clear := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawQuery = "" // as a host may do by itself
		newGuard(keys, anyCarrier).StripCredential(served).ServeHTTP(w, r)
	})
	is.Equal(serve(newGuard(keys, anyCarrier).Authenticate(clear), r).StatusCode, 200)
	is.Equal(served.request.RequestURI, "/")
}

// TestRemovedOfStacked: what any of them reads is taken out, and what none
// reads is left.
func TestRemovedOfStacked(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	served := newHandler()
	bearer, own := &apikeyhttp.Options{Carriers: apikeyhttp.Bearer}, &apikeyhttp.Options{Carriers: apikeyhttp.Header, Header: "Shop-Key"}
	handler := newGuard(keys, bearer).Authenticate(newGuard(keys, own).Authenticate(newGuard(keys, own).StripCredential(served)))
	r := httptest.NewRequest(http.MethodGet, "/?api_key=kept", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Shop-Key", token)
	r.Header.Set("X-API-Key", "kept")
	is.Equal(serve(handler, r).StatusCode, 200)
	if diff := cmp.Diff(http.Header{"X-Api-Key": {"kept"}}, served.request.Header); diff != "" {
		t.Error(diff)
	}
	is.Equal(served.request.URL.RawQuery, "api_key=kept")
	is.Equal(served.key.Owner, "owner")
}

// TestRemovedByHeader: an Authorization that no carrier reads is another's.
func TestRemovedByHeader(t *testing.T) {
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	served := newHandler()
	byHeader := newGuard(keys, &apikeyhttp.Options{Carriers: apikeyhttp.Header})
	handler := byHeader.Authenticate(byHeader.StripCredential(served))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer kept")
	r.Header.Set("X-API-Key", token)
	serve(handler, r)
	if diff := cmp.Diff(http.Header{"Authorization": {"Bearer kept"}}, served.request.Header); diff != "" {
		t.Error(diff)
	}
}

// TestStripCredentialAlone checks that the token is removed without a guard in
// front.
func TestStripCredentialAlone(t *testing.T) {
	is := is.New(t)
	served := newHandler()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer any")
	is.Equal(serve(newGuard(apikeytest.Deny(nil), nil).StripCredential(served), r).StatusCode, 200)
	is.Equal(len(served.request.Header), 0)
}
