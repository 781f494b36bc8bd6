package apikeyhttp_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

func TestBasicIsOffByDefault(t *testing.T) {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	for _, options := range []*apikeyhttp.Options{nil, {}, {Carriers: apikeyhttp.Bearer | apikeyhttp.Header}} {
		is := is.New(t)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetBasicAuth(issued.AccessKey(), issued.AccessSecret().Reveal())
		served := newHandler()
		got := serve(newGuard(keys, options).Authenticate(served), r)
		is.Equal(got.StatusCode, 401)
		is.Equal(served.calls, 0)
		is.Equal(got.Header.Values("WWW-Authenticate"), []string{`Bearer realm="api"`}) // no browser asks for a password
		got = serve(newGuard(keys, options).Optional(served), r)
		is.Equal(got.StatusCode, 401)
		is.Equal(got.Header.Values("WWW-Authenticate"), []string{`Bearer realm="api"`})
	}
}

// TestBasicFromOtherSites sends what browsers send for pages of other sites,
// with credentials that they have stored.
func TestBasicFromOtherSites(t *testing.T) {
	type headers map[string]string
	tests := []struct {
		name, method string
		tls          bool
		headers      headers
		status       int
	}{
		{"a program", "POST", true, nil, 200},
		{"form of the same origin", "POST", true, headers{"Sec-Fetch-Site": "same-origin", "Origin": "https://example.com"}, 200},
		{"typed by the user", "POST", true, headers{"Sec-Fetch-Site": "none"}, 200},
		{"form of another site", "POST", true, headers{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403},
		{"form of another site, no Origin", "POST", true, headers{"Sec-Fetch-Site": "cross-site"}, 403},
		{"form of another subdomain", "POST", true, headers{"Sec-Fetch-Site": "same-site", "Origin": "https://a.example.com"}, 403},
		{"DELETE", "DELETE", true, headers{"Sec-Fetch-Site": "cross-site"}, 403},
		{"method of its own", "PURGE", true, headers{"Sec-Fetch-Site": "cross-site"}, 403},
		{"lower case", "get", true, headers{"Sec-Fetch-Site": "cross-site"}, 403},
		{"unknown value", "POST", true, headers{"Sec-Fetch-Site": "x"}, 403},
		{"old browser, other site", "POST", true, headers{"Origin": "https://evil.example"}, 403},
		{"old browser, null", "POST", true, headers{"Origin": "null"}, 403},
		{"old browser, same site", "POST", true, headers{"Origin": "https://example.com"}, 200},
		{"old browser, same host without TLS", "POST", true, headers{"Origin": "http://example.com"}, 403},
		{"old browser, same host without TLS, upper case", "POST", true, headers{"Origin": "HTTP://example.com"}, 403},
		{"old browser, no TLS", "POST", false, headers{"Origin": "http://example.com"}, 200},
		{"old browser, other port", "POST", false, headers{"Origin": "http://example.com:8080"}, 403},
		{"link on another site", "GET", true, headers{"Sec-Fetch-Site": "cross-site"}, 200},
		{"HEAD", "HEAD", true, headers{"Sec-Fetch-Site": "cross-site"}, 200},
		{"WebSocket of another site", "GET", true, headers{"Sec-Fetch-Site": "cross-site", "Upgrade": "websocket", "Origin": "https://evil.example"}, 403},
		{"WebSocket of another site, old browser", "GET", true, headers{"Upgrade": "websocket", "Origin": "https://evil.example"}, 403},
		{"WebSocket of the same host without TLS", "GET", true, headers{"Upgrade": "websocket", "Origin": "http://example.com"}, 403},
		{"WebSocket of the same site", "GET", true, headers{"Upgrade": "websocket", "Origin": "https://example.com"}, 200},
		{"WebSocket of a program", "GET", true, headers{"Upgrade": "websocket"}, 200},
	}
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	other := keys.MustIssue(t, apikey.IssueParams{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, wrap := range []func(*apikeyhttp.Guard, http.Handler) http.Handler{(*apikeyhttp.Guard).Authenticate, (*apikeyhttp.Guard).Optional} {
				is := is.New(t)
				v, l := &counter{Validator: keys}, &limiter{key: apikeyhttp.Quota{Allowed: true}, client: apikeyhttp.Quota{Allowed: true}}
				code := ""
				options := &apikeyhttp.Options{
					Carriers: apikeyhttp.Bearer | apikeyhttp.Basic, Limiter: l,
					Observe: func(_ *http.Request, o apikey.Observation) { code = o.Code },
				}
				send := func(set func(r *http.Request)) (*http.Response, *handler) {
					r := httptest.NewRequest(test.method, "/", nil)
					r.TLS = nil
					if test.tls {
						r.TLS = &tls.ConnectionState{}
					}
					for name, value := range test.headers {
						r.Header.Set(name, value)
					}
					set(r)
					served := newHandler()
					return serve(wrap(newGuard(v, options), served), r), served
				}
				got, served := send(func(r *http.Request) { r.SetBasicAuth(issued.AccessKey(), issued.AccessSecret().Reveal()) })
				is.Equal(got.StatusCode, test.status)
				is.Equal(served.calls == 1, test.status == 200)
				is.Equal(v.calls == 1, test.status == 200)
				if test.status == 403 {
					is.Equal(code, "cross_origin")
					is.Equal(got.Header.Values("WWW-Authenticate"), nil)
					is.Equal(len(l.clients)+len(l.keys), 0)
					got, _ = send(func(r *http.Request) { r.SetBasicAuth(issued.AccessKey(), other.AccessSecret().Reveal()) })
					is.Equal(got.StatusCode, 403) // a wrong secret is not distinguished
				}
				got, _ = send(func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+issued.Token.Reveal()) })
				is.Equal(got.StatusCode, 200) // no browser sends Bearer by itself
			}
		})
	}
}
