package apikeyrest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

func TestOwner(t *testing.T) {
	secret := "session of eve"
	tests := []struct {
		name, owner, actor string
		err                error
		status             int
		code               string
	}{
		{"nobody", "", "", nil, 403, "forbidden"},
		{"no login", "ada", "", errors.New(secret), 403, "forbidden"},
		{"not there by chance", "ada", "", apikey.ErrNotFound, 403, "forbidden"},
		{"login down", "ada", "", fmt.Errorf("%s: %w", secret, apikey.ErrUnavailable), 503, "unavailable"},
		{"too late", "ada", "", context.DeadlineExceeded, 503, "unavailable"},
		{"gone", "ada", "", context.Canceled, 503, "unavailable"},
		{"owner not printable", "a\nb", "", nil, 500, "server_error"},
		{"owner too long", strings.Repeat("a", 256), "", nil, 500, "server_error"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newShop(t)
			key := s.rotating(t, "ada")
			before := s.stored(t)
			s.handler = newAPI(s.Manager.Manager, &apikeyrest.Options{
				Owner: func(*http.Request) (string, string, error) { return test.owner, test.actor, test.err },
			})
			for _, route := range apikeyrest.Routes() {
				if route.Open {
					continue
				}
				path := strings.Replace(route.Pattern, "{id}", key.ID, 1)
				got := s.ask(t, route.Method, path, apiCases[route.Method+" "+route.Pattern].body)
				if p := refused(t, got, test.status, test.code); strings.Contains(p.Detail, secret) {
					t.Error(p.Detail)
				}
			}
			if s.stored(t) != before {
				t.Error("something was changed")
			}
		})
	}

	is := is.New(t)
	s := newShop(t)
	s.handler = newAPI(s.Manager.Manager, &apikeyrest.Options{
		Owner: func(r *http.Request) (string, string, error) { return "ada", r.Header.Get("Actor"), nil },
	})
	refused(t, s.ask(t, "POST", "/keys", `{"name":"a"}`, "Actor", "a\u202eb"), 500, "server_error")
	is.Equal(s.ask(t, "POST", "/keys", `{"name":"a"}`, "Actor", "").StatusCode, 201)
	is.Equal(apikeytest.Events(t, s)[0].Actor, "ada")
}

func TestOptions(t *testing.T) {
	owner := func(*http.Request) (string, string, error) { return "ada", "", nil }
	for _, test := range []struct {
		name    string
		options *apikeyrest.Options
		field   string
	}{
		{"nil", nil, "options"},
		{"no owner", &apikeyrest.Options{}, "owner"},
		{"origin with a wildcard", &apikeyrest.Options{Owner: owner, Origins: []string{"https://*.example.com"}}, "origins"},
		{"origin in upper case", &apikeyrest.Options{Owner: owner, Origins: []string{"https://APP.example.com"}}, "origins"},
		{"scheme in upper case", &apikeyrest.Options{Owner: owner, Origins: []string{"HTTPS://app.example.com"}}, "origins"},
		{"origin with the usual port", &apikeyrest.Options{Owner: owner, Origins: []string{"https://app.example.com:443"}}, "origins"},
		{"origin not ASCII", &apikeyrest.Options{Owner: owner, Origins: []string{"https://bücher.example"}}, "origins"},
		{"origin with an empty port", &apikeyrest.Options{Owner: owner, Origins: []string{"https://app.example.com:"}}, "origins"},
		{"origin with a path", &apikeyrest.Options{Owner: owner, Origins: []string{"https://app.example.com/"}}, "origins"},
		{"origin without a host", &apikeyrest.Options{Owner: owner, Origins: []string{"https://:8443"}}, "origins"},
		{"origin of another scheme", &apikeyrest.Options{Owner: owner, Origins: []string{"ftp://app.example.com"}}, "origins"},
		{"good origins", &apikeyrest.Options{Owner: owner, Origins: []string{"http://localhost:8080", "https://xn--bcher-kva.example:8443"}}, ""},
		{"bad origin", &apikeyrest.Options{Owner: owner, Origins: []string{"app.example.com"}}, "origins"},
		{"good", &apikeyrest.Options{Owner: owner, OwnerOptions: mayGive("a:*"), Origins: []string{"https://app.example.com"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			api, err := apikeyrest.New(apikeytest.New(t).Manager, test.options)
			is.Equal(api == nil, err != nil)
			if test.field == "" {
				is.NoErr(err)
				return
			}
			field, ok := errors.AsType[*apikey.FieldError](err)
			is.True(ok)
			is.Equal(field.Field, test.field)
		})
	}
	is := is.New(t)
	_, err := apikeyrest.New(nil, &apikeyrest.Options{Owner: owner})
	field, ok := errors.AsType[*apikey.FieldError](err)
	is.True(ok)
	is.Equal(field.Field, "manager")
}

// TestPrefix mounts the API below a prefix, where the Location of a new key
// must lead to it.
func TestPrefix(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	mux := http.NewServeMux()
	mux.Handle("/v1/account/", http.StripPrefix("/v1/account", s.handler))
	server := httptest.NewServer(mux)
	defer server.Close()
	send := func(method, target string, body []byte) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, target, bytes.NewReader(body))
		must(t, err)
		r.Header.Set("Session", "ada")
		if body != nil {
			r.Header.Set("Content-Type", "application/json")
		}
		got, err := server.Client().Do(r)
		must(t, err)
		t.Cleanup(func() { got.Body.Close() })
		return got
	}
	issued := send("POST", server.URL+"/v1/account/keys", []byte(`{"name":"a"}`))
	is.Equal(issued.StatusCode, 201)
	location, err := issued.Location()
	must(t, err)
	key := decode(t, send("GET", location.String(), nil), 200)
	is.Equal(decode(t, issued, 201)["key"].(map[string]any)["id"], key["id"])
	is.True(strings.HasPrefix(location.Path, "/v1/account/keys/"))
	is.Equal(send("HEAD", location.String(), nil).StatusCode, 200)
}

// TestObserve: what no answer shows, the host is told.
func TestObserve(t *testing.T) {
	down := errors.New("dial tcp db.internal: refused")
	noLogin := errors.New("no session")
	var got []apikey.Observation
	s := newShop(t)
	key := s.rotating(t, "ada")
	s.handler = newAPI(s.Manager.Manager, &apikeyrest.Options{
		Owner: func(r *http.Request) (string, string, error) {
			if r.Header.Get("Session") == "" {
				return "", "", noLogin
			}
			return "ada", "", nil
		},
		Observe: func(_ *http.Request, o apikey.Observation) { got = append(got, o) },
	})
	tests := []struct {
		name, method, target, body, session string
		failure                             apikeytest.Method
		want                                apikey.Observation
	}{
		{"done", "GET", "/keys/" + key.ID, "", "ada", 0, apikey.Observation{Owner: "ada", KeyID: key.ID}},
		{"listed", "GET", "/keys", "", "ada", 0, apikey.Observation{Owner: "ada"}},
		{"no login", "GET", "/keys/" + key.ID, "", "", 0, apikey.Observation{Status: 403, Code: "forbidden", KeyID: key.ID, Err: noLogin}},
		{"not an id", "GET", "/keys/a%0Ab", "", "ada", 0, apikey.Observation{Status: 404, Code: "not_found", Owner: "ada", Err: apikey.ErrNotFound}},
		{"bad input", "POST", "/keys", `{"name":7}`, "ada", 0, apikey.Observation{Status: 400, Code: "invalid_field", Owner: "ada"}},
		{"store down", "GET", "/keys/" + key.ID, "", "ada", apikeytest.Get, apikey.Observation{Status: 503, Code: "unavailable", Owner: "ada", KeyID: key.ID, Err: down}},
		{"outcome unknown", "POST", "/keys/" + key.ID + "/regenerate", "", "ada", apikeytest.Commit, apikey.Observation{Status: 503, Code: "outcome_unknown", Owner: "ada", KeyID: key.ID}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got = nil
			s.Store.Recover()
			if test.failure != 0 {
				s.Store.Fail(apikeytest.Failure{Method: test.failure, Forever: true, Err: down})
			}
			s.ask(t, test.method, test.target, test.body, "Session", test.session)
			if diff := cmp.Diff([]apikey.Observation{test.want}, got, cmpopts.EquateErrors(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRotationOver reads a key whose overlap has ended.
func TestRotationOver(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	key := s.rotating(t, "ada")
	view := decode(t, s.ask(t, "GET", "/keys/"+key.ID, ""), 200)
	is.Equal(view["rotating"], true)
	s.Advance(48 * time.Hour)
	got := s.ask(t, "GET", "/keys/"+key.ID, "")
	is.Equal(got.Header.Get("X-Content-Type-Options"), "nosniff")
	view = decode(t, got, 200)
	is.Equal(view["rotating"], false)
	is.Equal(view["retiring_id"], nil)
}

// TestEscapedTime: a time is a JSON string, which may hold escapes.
func TestEscapedTime(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	body := decode(t, s.ask(t, "POST", "/keys", `{"name":"a","expires_at":"2026-06-01T02:00:00\u002b02:00"}`), 201)
	is.Equal(body["key"].(map[string]any)["expires_at"], "2026-06-01T00:00:00.000000Z")
}

// TestDocumentIsWhole checks that the document is never sent in parts.
func TestDocumentIsWhole(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	whole := read(t, s.ask(t, "GET", "/openapi.json", ""))
	for _, header := range [][2]string{{"Range", "bytes=0-1"}, {"Range", "bytes=9999999-"}, {"If-Unmodified-Since", "Mon, 02 Jan 2006 15:04:05 GMT"}} {
		got := s.ask(t, "GET", "/openapi.json", "", header[0], header[1])
		is.Equal(got.StatusCode, 200)
		is.Equal(read(t, got), whole)
	}
}
