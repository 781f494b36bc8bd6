package apikeyhttp_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

func TestQuery(t *testing.T) {
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	only := apikeyhttp.Query
	tests := []struct {
		name     string
		carriers apikeyhttp.Carrier
		query    string
		headers  map[string]string
		status   int
	}{
		{"off by default", 0, "api_key=TOKEN", nil, 401},
		{"off, beside a header", 0, "api_key=TOKEN", map[string]string{"X-API-Key": token}, 200},
		{"on", only, "api_key=TOKEN", nil, 200},
		{"among others", only, "a=1&api_key=TOKEN&b=2", nil, 200},
		{"escaped", only, "api%5fkey=TOKEN", nil, 200},
		{"none", only, "", nil, 401},
		{"another parameter", only, "apikey=TOKEN", nil, 401},
		{"other case", only, "API_KEY=TOKEN", nil, 401},
		{"empty", only, "api_key=", nil, 400},
		{"name alone", only, "api_key", nil, 400},
		{"twice", only, "api_key=TOKEN&api_key=TOKEN", nil, 400},
		{"twice, one escaped", only, "api_key=TOKEN&%61pi_key=TOKEN", nil, 400},
		{"space", only, "api_key=+TOKEN", nil, 400},
		{"list", only, "api_key=TOKEN,TOKEN", nil, 400},
		{"control", only, "api_key=TOKEN%00", nil, 401},
		{"bad", only, "api_key=TOKENx", nil, 401},
		{"semicolon", only, "a=1;api_key=TOKEN", nil, 400},
		{"bad escape elsewhere", only, "a=%zz&api_key=TOKEN", nil, 400},
		{"headers are not read", only, "api_key=TOKEN", map[string]string{"X-API-Key": "other", "Authorization": "Bearer other"}, 200},
		{"and a header", every(), "api_key=TOKEN", map[string]string{"X-API-Key": token}, 400},
		{"and Bearer", every(), "api_key=TOKEN", map[string]string{"Authorization": "Bearer " + token}, 400},
		{"and an unknown scheme", every(), "api_key=TOKEN", map[string]string{"Authorization": "Digest x"}, 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.URL.RawQuery = strings.ReplaceAll(test.query, "TOKEN", token)
			for name, value := range test.headers {
				r.Header.Set(name, value)
			}
			served := newHandler()
			got := serve(newGuard(keys, &apikeyhttp.Options{Carriers: test.carriers}).Authenticate(served), r)
			is.Equal(got.StatusCode, test.status)
			is.Equal(served.calls == 1, test.status == 200)
			if test.carriers == only {
				switch test.status {
				case 200: // no shared cache keeps what only the key may see, and no other site gets the URL
					is.Equal(got.Header.Get("Cache-Control"), "private")
					is.Equal(got.Header.Get("Referrer-Policy"), "no-referrer")
				case 401:
					is.True(strings.HasPrefix(got.Header.Get("WWW-Authenticate"), `ApiKey realm="api", parameter="api_key"`))
				}
			}
		})
	}
}

func TestOtherParameter(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	handler := newGuard(keys, &apikeyhttp.Options{Carriers: apikeyhttp.Query, Parameter: "key"}).Authenticate(newHandler())
	is.Equal(serve(handler, httptest.NewRequest(http.MethodGet, "/?key="+token, nil)).StatusCode, 200)
	is.Equal(serve(handler, httptest.NewRequest(http.MethodGet, "/?api_key="+token, nil)).StatusCode, 401)
}

// FuzzQuery gives the Query carrier any query, and looks at what a server
// behind would get of it.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"", "api_key=x", "a=1&api_key=x&b=2", "api_key=x&api_key=y", "%61pi_key=x", "api_key=%78", "api_key=+", "api_key",
		"api_key=x;b=1", "a=%zz&api_key=x", "&&api_key=x&&", "api_key==x", "api_key=x,y", "=&api_key=x", "api_key=%00", "api+key=x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		v, served := &recorder{}, newHandler()
		byQuery := newGuard(v, &apikeyhttp.Options{Carriers: apikeyhttp.Query})
		handler := byQuery.Authenticate(byQuery.StripCredential(served))
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/", RawQuery: query}, RequestURI: "/?" + query, RemoteAddr: "192.0.2.1:1234"}
		got := serve(handler, r)
		if got.StatusCode != 200 {
			if len(v.tokens) != 0 || served.calls != 0 || !refusals()[read(t, got)] {
				t.Fatalf("status %d after %d tokens and %d calls", got.StatusCode, len(v.tokens), served.calls)
			}
			return
		}
		want, err := url.ParseQuery(query)
		if err != nil || len(want["api_key"]) != 1 || want["api_key"][0] != v.tokens[0] {
			t.Fatalf("token %q from %q", v.tokens, query)
		}
		if strings.ContainsFunc(v.tokens[0], func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }) {
			t.Fatalf("token %q", v.tokens[0])
		}
		want.Del("api_key")
		rest, err := url.ParseQuery(served.request.URL.RawQuery)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, rest); diff != "" {
			t.Fatal(diff)
		}
		if uri := strings.TrimSuffix("/?"+served.request.URL.RawQuery, "?"); served.request.RequestURI != uri {
			t.Fatalf("URI %q, want %q", served.request.RequestURI, uri)
		}
	})
}

// FuzzQueryValues compares what is read of a query with url.ParseQuery.
func FuzzQueryValues(f *testing.F) {
	for _, seed := range []string{
		"", "&", "api_key=x", "api_key", "api_key=", "a=1&api_key=x", "api_key=x&api_key=y&api_key=z", "%61pi_key=%78", "api_key=a=b", "api_key=+", "a+b=%20",
		"a;b", "api_key=x;", "%", "%a", "%zz=1", "a=%", "a=%f", "%61%70%69%5f%6b%65%79=x", "%61%70%69%5F%6B%65%79", "=x", "é=é", "%00",
		strings.Repeat("&", 9_999), strings.Repeat("&", 10_000),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		got, ok := apikeyhttp.QueryValues(query, "api_key")
		all, err := url.ParseQuery(query)
		if ok != (err == nil) {
			t.Fatalf("well-formed %v, want %v", ok, err == nil)
		}
		want := all["api_key"]
		if want = want[:min(len(want), 2)]; ok && !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}
