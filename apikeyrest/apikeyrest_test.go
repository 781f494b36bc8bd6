package apikeyrest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

// apiCases say for each route how it is asked. Each acts on a key that is
// rotating, so that all succeed.
var apiCases = map[string]struct {
	body    string
	status  int
	event   apikey.EventKind // what was changed, "" = nothing
	secrets bool             // the answer holds a token
}{
	"GET /openapi.json":          {status: 200},
	"GET /keys":                  {status: 200},
	"POST /keys":                 {`{"name":"new"}`, 201, apikey.EventIssued, true},
	"GET /keys/{id}":             {status: 200},
	"PATCH /keys/{id}":           {`{"name":"changed"}`, 200, apikey.EventUpdated, false},
	"DELETE /keys/{id}":          {"", 200, apikey.EventDeleted, false},
	"POST /keys/{id}/disable":    {`{"reason":"why"}`, 200, apikey.EventDisabled, false},
	"POST /keys/{id}/enable":     {`{"reason":"why"}`, 200, "", false},
	"POST /keys/{id}/regenerate": {`{"reason":"why"}`, 200, apikey.EventRegenerated, true},
	"POST /keys/{id}/rotate":     {`{"overlap_seconds":60}`, 200, apikey.EventRotated, true},
	"POST /keys/{id}/finish":     {`{"reason":"why"}`, 200, apikey.EventRotationFinished, false},
	"POST /keys/{id}/extend":     {`{"overlap_seconds":60}`, 200, apikey.EventRotationExtended, false},
	"GET /keys/{id}/credentials": {status: 200},
	"GET /keys/{id}/events":      {status: 200},
}

// shop is an API with keys of two owners.
type shop struct {
	*apikeytest.Manager
	handler http.Handler
	secrets []apikey.Secret // of all tokens issued
	answers []string        // written out, but for those that hold a token by right
}

func newShop(t *testing.T, options ...func(*apikey.Options)) *shop {
	s := &shop{Manager: apikeytest.New(t, options...)}
	s.handler = newAPI(s.Manager.Manager, &apikeyrest.Options{
		// A header stands for the session that a host would look up.
		Owner: func(r *http.Request) (string, string, error) {
			return r.Header.Get("Session"), "user@" + r.Header.Get("Session"), nil
		},
		OwnerOptions: mayGive("orders:*"),
	})
	return s
}

// mayGive lets all owners give the same scopes.
func mayGive(scopes ...string) func(*http.Request, string) (*apikey.OwnerOptions, error) {
	return func(*http.Request, string) (*apikey.OwnerOptions, error) {
		return &apikey.OwnerOptions{Scopes: scopes}, nil
	}
}

// rotating issues a key of an owner and lets it rotate.
func (s *shop) rotating(t *testing.T, owner string) apikey.Key {
	t.Helper()
	issued := s.MustIssue(t, apikey.IssueParams{Owner: owner, Scopes: []string{"orders:read"}})
	rotated, err := s.Rotate(t.Context(), issued.Key.ID, time.Hour)
	must(t, err)
	s.secrets = append(s.secrets, issued.Token, rotated.Token)
	return rotated.Key
}

// ask sends a request as the owner "ada", with headers in pairs.
func (s *shop) ask(t *testing.T, method, target, body string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	if body != "" {
		r = httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Session", "ada")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Del(headers[i])
		if headers[i+1] != "" {
			r.Header[http.CanonicalHeaderKey(headers[i])] = strings.Split(headers[i+1], "\n")
		}
	}
	got := serve(s.handler, r)
	s.check(t, r, got)
	return got
}

// check holds an answer against what is true of all of them.
func (s *shop) check(t *testing.T, r *http.Request, got *http.Response) {
	t.Helper()
	text := read(t, got)
	got.Body = io.NopCloser(strings.NewReader(text))
	if r.URL.Path == "/openapi.json" && got.StatusCode < 400 {
		s.answers = append(s.answers, fmt.Sprint(got.Header, text))
		return
	}
	if got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %s: Cache-Control is %q", r.Method, r.URL, got.Header["Cache-Control"])
	}
	route := routeOf(r)
	var answer struct{ Token string }
	if apiCases[route].secrets && got.StatusCode != 204 {
		must(t, json.Unmarshal([]byte(text), &answer))
	}
	if answer.Token != "" && (got.StatusCode < 300 || strings.Contains(text, "outcome_unknown")) {
		s.secrets = append(s.secrets, apikey.NewSecret(answer.Token))
	} else {
		s.answers = append(s.answers, fmt.Sprint(got.Header, text))
	}
	if got.StatusCode >= 400 && r.Method != http.MethodHead {
		p := problemOf(t, got)
		if p.Status != got.StatusCode || p.Code == "" || p.Detail == "" {
			t.Errorf("%s %s: %d with %+v", r.Method, r.URL, got.StatusCode, p)
		}
		if !documented.codes[p.Code] {
			t.Errorf("code %s is not documented", p.Code)
		}
	}
	if known := documented.answers[route]; known != nil && (got.StatusCode != 404 || r.Method != "OPTIONS") && !known[fmt.Sprint(got.StatusCode)] {
		t.Errorf("%s: status %d is not documented", route, got.StatusCode)
	}
}

func (s *shop) checkLeaks(t *testing.T) {
	t.Helper()
	for _, secret := range s.secrets {
		if len(s.answers) == 0 {
			return
		}
		apikeytest.AssertNoLeak(t, secret, s.answers...)
	}
}

// stored is all that is stored of an owner's keys, and the log.
func (s *shop) stored(t *testing.T) string {
	t.Helper()
	s.Store.Recover()
	keys, err := s.List(t.Context(), apikey.Query{IncludeDeleted: true})
	must(t, err)
	var records []apikey.Record
	for _, key := range keys {
		record, err := s.Store.Get(t.Context(), key.ID, "")
		must(t, err)
		records = append(records, record)
	}
	return fmt.Sprintf("%+v %+v", records, apikeytest.Events(t, s))
}

// routeOf names the route of a request, as in apiCases; HEAD is GET.
func routeOf(r *http.Request) string {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) > 2 {
		parts[2] = "{id}"
	}
	return method + " " + strings.Join(parts, "/")
}

func problemOf(t *testing.T, r *http.Response) apikeyhttp.Problem {
	t.Helper()
	text := read(t, r)
	r.Body = io.NopCloser(strings.NewReader(text))
	var p apikeyhttp.Problem
	if r.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(text), &p) != nil {
		t.Errorf("no problem details but %s: %q", r.Header.Get("Content-Type"), text)
	}
	return p
}

// decode reads an answer that must have the status.
func decode(t *testing.T, r *http.Response, status int) map[string]any {
	t.Helper()
	var object map[string]any
	text := read(t, r)
	must(t, json.Unmarshal([]byte(text), &object))
	if r.StatusCode != status {
		t.Fatalf("status %d, not %d: %s", r.StatusCode, status, text)
	}
	return object
}

// refused reads the problem of an answer that must have the status.
func refused(t *testing.T, r *http.Response, status int, code string) apikeyhttp.Problem {
	t.Helper()
	p := problemOf(t, r)
	if r.StatusCode != status || p.Code != code {
		t.Errorf("status %d %s, not %d %s: %s", r.StatusCode, p.Code, status, code, p.Detail)
	}
	return p
}

// TestRoutes asks each route as it should be, by HEAD as well, and with
// every method that it does not have.
func TestRoutes(t *testing.T) {
	routes := apikeyrest.Routes()
	is.New(t).Equal(len(routes), len(apiCases))
	for _, route := range routes {
		name := route.Method + " " + route.Pattern
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			c, ok := apiCases[name]
			if !ok {
				t.Fatal("the route has no case")
			}
			s := newShop(t)
			key := s.rotating(t, "ada")
			path := strings.Replace(route.Pattern, "{id}", key.ID, 1)
			before := len(apikeytest.Events(t, s))

			if route.Method == http.MethodGet {
				head := s.ask(t, "HEAD", path, "")
				is.Equal(read(t, head), "")
				get := s.ask(t, "GET", path, "")
				is.Equal(fmt.Sprint(get.ContentLength), get.Header.Get("Content-Length"))
				is.Equal(cmp.Diff(get.Header, head.Header), "")
			}
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "get", "X"} {
				has := slices.ContainsFunc(routes, func(r apikeyrest.Route) bool {
					return r.Pattern == route.Pattern && (r.Method == method || method == "HEAD" && r.Method == "GET")
				})
				if has {
					continue
				}
				got := s.ask(t, method, path, "")
				if method != "HEAD" {
					refused(t, got, 405, "method_not_allowed")
				}
				is.True(slices.Contains(strings.Split(got.Header.Get("Allow"), ", "), route.Method))
			}
			options := s.ask(t, "OPTIONS", path, "", "Session", "")
			is.Equal(options.StatusCode, 204)
			is.True(strings.Contains(options.Header.Get("Allow"), route.Method))
			is.Equal(len(apikeytest.Events(t, s)), before)

			got := s.ask(t, route.Method, path, c.body)
			is.Equal(got.StatusCode, c.status)
			is.Equal(strings.Contains(read(t, got), `"token"`) && !route.Open, c.secrets)
			events := apikeytest.Events(t, s)[before:]
			if c.event == "" {
				is.Equal(len(events), 0)
			} else {
				is.Equal(len(events), 1)
				is.Equal(events[0].Kind, c.event)
				is.Equal(events[0].Owner, "ada")
				is.Equal(events[0].Actor, "user@ada")
			}
			s.checkLeaks(t)
		})
	}
}

// TestConfinement checks that each route treats another owner's key, a key that
// does not exist and a malformed id in the same way.
func TestConfinement(t *testing.T) {
	for _, route := range apikeyrest.Routes() {
		if !strings.Contains(route.Pattern, "{id}") {
			continue
		}
		name := route.Method + " " + route.Pattern
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			s.rotating(t, "ada")
			other := s.rotating(t, "bob").ID
			before := s.stored(t)
			want := ""
			for _, id := range []string{
				other, "00000000000000000000", strings.Repeat("0", 21), "0", "x' OR 1=1", other + "%00", "%2e", "%C3%28", "*", "..%2Fkeys",
				strings.Repeat("a", 5000), "-", other[:19] + "%20",
			} {
				for _, tag := range []string{"", "*", `"1"`, `"99"`} {
					body := apiCases[name].body
					got := s.ask(t, route.Method, strings.Replace(route.Pattern, "{id}", url.PathEscape(strings.ReplaceAll(id, "%", "")), 1), body, "If-Match", tag)
					answer := fmt.Sprint(got.StatusCode, got.Header, read(t, got))
					if want == "" {
						want = answer
						refused(t, s.ask(t, route.Method, strings.Replace(route.Pattern, "{id}", id, 1), body), 404, "not_found")
					}
					if answer != want {
						t.Errorf("%q, If-Match %q: %s, not %s", id, tag, answer, want)
					}
				}
			}
			if after := s.stored(t); after != before {
				t.Errorf("changed: %s, not %s", after, before)
			}
		})
	}

	// What a list shows is the owner's own, whatever page is asked for.
	s := newShop(t)
	mine := s.rotating(t, "ada").ID
	others := s.rotating(t, "bob").ID
	for _, query := range []string{"", "?deleted=true", "?limit=1000"} {
		text := read(t, s.ask(t, "GET", "/keys"+query, ""))
		if !strings.Contains(text, mine) || strings.Contains(text, others) {
			t.Errorf("%s: %s", query, text)
		}
	}
}

func TestUnknownPaths(t *testing.T) {
	s := newShop(t)
	key := s.rotating(t, "ada")
	for _, path := range []string{
		"/", "/Keys", "/keys/", "//keys", "/keys//", "/keys/" + key.ID + "/", "/keys/" + key.ID + "/Disable", "/keys/" + key.ID + "/delete",
		"/keys/" + key.ID + "/disable/", "/keys/./" + key.ID, "/keys/../keys", "/keys//disable", "/openapi", "/openapi.json/", "/keys/" + key.ID + "/rotate/x",
		"/keys/" + key.ID + "%2Frotate", "/keys%2F" + key.ID, "/keys%2f" + key.ID + "/rotate", "/keys/" + key.ID + "/rotate%2F",
	} {
		for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS"} {
			got := s.ask(t, method, path, "")
			p := refused(t, got, 404, "not_found")
			if got.Header.Get("Location") != "" || strings.Contains(p.Detail, key.ID) {
				t.Errorf("%s: %v", path, got.Header)
			}
		}
	}
}

// TestStoreDown lets the store fail at each of its calls in turn.
func TestStoreDown(t *testing.T) {
	for _, route := range apikeyrest.Routes() {
		if route.Open {
			continue
		}
		name := route.Method + " " + route.Pattern
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			s := newShop(t)
			path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
			before := s.stored(t)
			failed := 0
			for nth := 1; ; nth++ {
				s.Store.Fail(apikeytest.Failure{Nth: nth, Err: fmt.Errorf("%w: host db.internal is down", apikey.ErrAborted)})
				got := s.ask(t, route.Method, path, apiCases[name].body)
				if got.StatusCode == apiCases[name].status {
					break
				}
				failed++
				is.True(!strings.Contains(read(t, got), "db.internal"))
				is.Equal(got.StatusCode, 503)
				is.Equal(got.Header.Get("Retry-After"), "1")
				is.Equal(s.stored(t), before)
			}
			is.True(failed > 0)

			// For good, and so that nobody knows what became of it.
			if event := apiCases[name].event; event != "" {
				s := newShop(t)
				path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
				before := s.stored(t)
				s.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Forever: true})
				got := s.ask(t, route.Method, path, apiCases[name].body)
				text := read(t, got)
				got.Body = io.NopCloser(strings.NewReader(text))
				refused(t, got, 503, "outcome_unknown")
				is.Equal(strings.Contains(text, `"token"`), apiCases[name].secrets)
				is.Equal(got.Header.Get("Retry-After") == "", apiCases[name].secrets) // asking again would make another
				is.Equal(s.stored(t), before)
				s.checkLeaks(t)
			}
		})
	}
}

// TestOutcomeUnknown: the change was made though the answer was lost for
// good, and the token that is shown works.
func TestOutcomeUnknown(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	path := "/keys/" + s.rotating(t, "ada").ID
	s.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Done: true})
	s.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Nth: 2})
	s.Store.Fail(apikeytest.Failure{Method: apikeytest.Get, Nth: 2})
	answer := decode(t, s.ask(t, "POST", path+"/regenerate", ""), 503)
	is.Equal(answer["code"], "outcome_unknown")
	is.Equal("/keys/"+answer["key_id"].(string), path)
	s.Store.Recover()
	_, err := s.Validate(t.Context(), answer["token"].(string))
	is.NoErr(err)
}
