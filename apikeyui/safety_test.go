package apikeyui_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

// fill returns a form that would do for any dialog about a key.
func fill(key apikey.Key) url.Values {
	return url.Values{
		"revision": {"1"}, "once": {apikeyui.Once(key.Owner)}, "name": {key.Name + "x"}, "expires": {"2026-12-01"},
		"typed": {key.Name}, "choice": {"0"}, "overlap": {"0"}, "token": {"x"},
	}
}

// stored is all that is known of a key.
func stored(t testing.TB, keys *apikeytest.Manager, id string) any {
	t.Helper()
	record, err := keys.Store.Get(t.Context(), id, "")
	if err != nil {
		t.Fatal(err)
	}
	events, err := keys.Events(t.Context(), apikey.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	return []any{record, events}
}

// TestConfinement: each route about a key, with one that is another's, that
// there is not, or that is none, has one and the same answer and changes
// nothing.
func TestConfinement(t *testing.T) {
	s := newSite(t)
	theirs := s.keys.MustIssue(t, apikey.IssueParams{Owner: "grace", Name: "theirs"})
	before := stored(t, s.keys, theirs.Key.ID)
	ids := map[string]string{
		"another's": theirs.Key.ID, "random": "00000000000000000000", "short": "x", "malformed": theirs.Key.ID[:19] + "-",
		"escaped": "%41" + theirs.Key.ID[1:], "dots": "..", "an access key": theirs.AccessKey(), "a token": theirs.Token.Reveal(),
	}
	ada := s.browser(t, "ada")
	seen := 0
	for _, r := range apikeyui.Routes() {
		method, pattern := r[0], r[1]
		if !strings.Contains(pattern, "{id}") {
			continue
		}
		seen++
		t.Run(method+" "+pattern, func(t *testing.T) {
			is := is.New(t)
			var form url.Values
			if method == http.MethodPost {
				form = fill(theirs.Key)
			}
			at := func(id string) string { return strings.TrimSuffix(home, "/") + strings.Replace(pattern, "{id}", id, 1) }
			var first string
			for name, id := range ids {
				w := ada.do(method, at(id), form)
				if w.Code != 404 {
					t.Errorf("%s: status %d", name, w.Code)
				}
				if first == "" {
					first = w.Body.String()
				}
				if diff := cmp.Diff(first, w.Body.String()); diff != "" {
					t.Errorf("%s: another answer: %s", name, diff)
				}
			}
			if diff := cmp.Diff(before, stored(t, s.keys, theirs.Key.ID)); diff != "" {
				t.Errorf("changed: %s", diff)
			}
			// The owner itself finds something else there.
			own := newSite(t)
			key := own.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
			is.True(own.browser(t, "ada").do(method, at(key.ID), form).Code != 404)
		})
	}
	if seen < 18 {
		t.Errorf("only %d routes about keys", seen)
	}
}

// TestCrossSite: no form of another site changes anything, whatever the route;
// the same form of our own does.
func TestCrossSite(t *testing.T) {
	headers := map[string][]string{
		"cross-site":            {"Sec-Fetch-Site", "cross-site"},
		"same-site":             {"Sec-Fetch-Site", "same-site"},
		"unknown":               {"Sec-Fetch-Site", "elsewhere"},
		"another origin":        {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		"null origin":           {"Sec-Fetch-Site", "", "Origin", "null"},
		"another port":          {"Sec-Fetch-Site", "", "Origin", "http://example.com:8080"},
		"cross-site, own host":  {"Sec-Fetch-Site", "cross-site", "Origin", "http://example.com"},
		"cross-site, no origin": {"Sec-Fetch-Site", "cross-site", "Origin", ""},
		"another scheme":        {"Sec-Fetch-Site", "", "Origin", "ftp://example.com"},
		"http to https":         {"Sec-Fetch-Site", "", "Origin", "http://example.com", "X-Forwarded-Proto", "https"},
		"http, contradiction":   {"Origin", "http://example.com", "X-Forwarded-Proto", "https"},
	}
	changing := 0
	for _, r := range apikeyui.Routes() {
		method, pattern := r[0], r[1]
		if method == http.MethodGet {
			continue
		}
		t.Run(pattern, func(t *testing.T) {
			is := is.New(t)
			s := newSite(t)
			key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
			switch {
			case strings.HasSuffix(pattern, "/enable"):
				_, err := s.keys.ForOwner("ada", nil).Disable(t.Context(), key.ID)
				is.NoErr(err)
			case strings.HasSuffix(pattern, "/finish"), strings.HasSuffix(pattern, "/extend"):
				_, err := s.keys.Rotate(t.Context(), key.ID, 24*time.Hour)
				is.NoErr(err)
			}
			key, err := s.keys.Get(t.Context(), key.ID)
			is.NoErr(err)
			form := fill(key)
			if strings.HasSuffix(pattern, "/extend") {
				form.Set("overlap", "2")
			}
			form.Set("revision", map[int64]string{1: "1", 2: "2"}[key.Revision])
			before, calls := stored(t, s.keys, key.ID), s.keys.Store.Calls(apikeytest.Any)
			ada := s.browser(t, "ada")
			address := strings.TrimSuffix(home, "/") + strings.Replace(pattern, "{id}", key.ID, 1)
			for name, header := range headers {
				w := ada.do(http.MethodPost, address, form, header...)
				if w.Code != 403 || !strings.Contains(w.Body.String(), "another site") {
					t.Errorf("%s: status %d", name, w.Code)
				}
			}
			is.Equal(s.keys.Store.Calls(apikeytest.Any), calls)
			is.Equal(cmp.Diff(before, stored(t, s.keys, key.ID)), "")

			w := ada.do(http.MethodPost, address, form, "Origin", "http://example.com", "Sec-Fetch-Site", "")
			is.True(w.Code == 200 || w.Code == 303)
			if pattern == "/" || strings.HasSuffix(pattern, "/test") {
				return
			}
			changing++
			is.True(cmp.Diff(before, stored(t, s.keys, key.ID)) != "") // our own form does it
		})
	}
	if changing != 9 {
		t.Errorf("%d routes that change something", changing)
	}
}

// TestCrossScheme checks that a page loaded over http changes nothing on the
// https site of the same name, where someone on the network can write the page.
func TestCrossScheme(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	post := func(origin string) int {
		const secure = "https://example.com" + home // httptest sets Request.TLS
		return s.browser(t, "ada").do("POST", secure+"key/"+key.ID+"/disable", fill(key), "Sec-Fetch-Site", "", "Origin", origin).Code
	}
	is.Equal(post("http://example.com"), 403)
	is.Equal(post("null"), 403)
	is.Equal(post("https://example.com:8443"), 403)
	after, err := s.keys.Get(t.Context(), key.ID)
	is.NoErr(err)
	is.Equal(after.Revision, key.Revision)
	is.Equal(post("https://example.com"), 303)
}

// TestLooking: no route changes anything by GET or HEAD, or by another method.
func TestLooking(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	commits := s.keys.Store.Calls(apikeytest.Commit)
	ada := s.browser(t, "ada")
	for _, r := range apikeyui.Routes() {
		address := strings.TrimSuffix(home, "/") + strings.Replace(r[1], "{id}", key.ID, 1)
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND"} {
			w := ada.do(method, address+"?"+fill(key).Encode(), nil)
			if method != "GET" && method != "HEAD" && w.Code != 405 {
				t.Errorf("%s %s: %d", method, r[1], w.Code)
			}
			if w.Code == 405 && !strings.Contains(w.Header().Get("Allow"), r[0]) {
				t.Errorf("%s %s: allows %q", method, r[1], w.Header().Get("Allow"))
			}
		}
		// What stands in the address is no form.
		if r[0] == "POST" && strings.Contains(r[1], "{id}") {
			w := ada.do("POST", address+"?"+fill(key).Encode(), url.Values{})
			if r[1] != "/key/{id}/test" && w.Code != 400 {
				t.Errorf("POST %s with a query: %d", r[1], w.Code)
			}
		}
	}
	is.Equal(s.keys.Store.Calls(apikeytest.Commit), commits)
}

// TestHeaders: every answer has them, and nothing in it runs inline, is loaded
// from elsewhere, or is a cookie.
func TestHeaders(t *testing.T) {
	s := newSite(t)
	answers := map[string]http.Header{}
	pages := views(t, s, "billing")
	for name, p := range pages {
		answers[name] = p.header
	}
	ada := s.browser(t, "ada")
	for _, r := range apikeyui.Routes() {
		key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
		address := strings.TrimSuffix(home, "/") + strings.Replace(r[1], "{id}", key.ID, 1)
		var form url.Values
		if r[0] == "POST" {
			form = fill(key)
		}
		answers[r[0]+" "+r[1]] = ada.do(r[0], address, form).Header()
		answers["HEAD "+r[1]] = ada.do("HEAD", address, nil).Header()
		answers["cross-site "+r[1]] = ada.do("POST", address, url.Values{}, "Sec-Fetch-Site", "cross-site").Header()
	}
	answers["404"] = ada.do("GET", home+"a/b/c", nil).Header()
	answers["no slash"] = ada.do("GET", strings.TrimSuffix(home, "/"), nil).Header()
	answers["nobody"] = s.browser(t, "").do("GET", home, nil).Header()
	answers["too large"] = ada.do("POST", home+"new", url.Values{"name": {strings.Repeat("x", 1<<17)}}).Header()
	s.keys.Store.Fail(apikeytest.Failure{Forever: true})
	answers["store down"] = ada.do("GET", home, nil).Header()
	bad := newSite(t, func(o *apikeyui.Options) {
		o.OwnerOptions = func(*http.Request, string) (*apikey.OwnerOptions, error) {
			return nil, &apikey.FieldError{Field: "scopes"}
		}
	})
	answers["misconfigured"] = bad.browser(t, "ada").do("GET", home, nil).Header()

	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
			"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control": "no-store", "Set-Cookie": "",
	}
	for name, header := range answers {
		for field, value := range want {
			if field == "Cache-Control" && (strings.HasSuffix(name, ".css") || strings.HasSuffix(name, ".js")) && !strings.HasPrefix(name, "cross") {
				value = "public, max-age=86400"
			}
			if got := header.Get(field); got != value {
				t.Errorf("%s: %s is %q", name, field, got)
			}
		}
	}
	for name, p := range pages {
		p.root.walk(func(n *node) {
			for attr, value := range n.attr {
				if attr == "style" || strings.HasPrefix(attr, "on") || attr == "nonce" {
					t.Errorf("%s: %s in %s", name, attr, n.name)
				}
				if attr == "src" || attr == "href" || attr == "action" {
					if u, err := url.Parse(value); err != nil || u.IsAbs() || u.Host != "" || strings.HasPrefix(value, "/") {
						t.Errorf("%s: %s=%q leads away", name, attr, value)
					}
				}
			}
			if (n.name == "script" || n.name == "style") && strings.TrimSpace(n.content()) != "" {
				t.Errorf("%s: inline %s", name, n.name)
			}
		})
	}
}

// TestNobody: without a login there is nothing, and the reason is not shown.
func TestNobody(t *testing.T) {
	s := newSite(t)
	nobody := s.browser(t, "")
	for _, r := range apikeyui.Routes() {
		if strings.Contains(r[1], ".") {
			continue
		}
		w := nobody.do(r[0], strings.TrimSuffix(home, "/")+strings.Replace(r[1], "{id}", "00000000000000000000", 1), fill(apikey.Key{Owner: "ada"}))
		if w.Code != 403 || strings.Contains(w.Body.String(), "nobody is logged in") {
			t.Errorf("%s %s: %d", r[0], r[1], w.Code)
		}
	}
	if n := s.keys.Store.Calls(apikeytest.Any); n != 0 {
		t.Errorf("%d calls of the store", n)
	}
	// A host that names no owner, or one that cannot be, is refused as well.
	for _, owner := range []string{"\x00", strings.Repeat("x", 256)} {
		b := s.browser(t, owner)
		if code := b.do("GET", home, nil).Code; code != 500 {
			t.Errorf("owner %q: %d", owner[:1], code)
		}
		if code := b.do("POST", home+"new", fill(apikey.Key{Owner: owner})).Code; code != 500 {
			t.Errorf("owner %q: %d", owner[:1], code)
		}
	}
}
