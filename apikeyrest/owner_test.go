package apikeyrest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyrest"
)

// TestOwnerOptions gives each owner what belongs to it.
func TestOwnerOptions(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	s.handler = newAPI(s.Manager.Manager, &apikeyrest.Options{
		Owner: func(r *http.Request) (string, string, error) { return r.Header.Get("Session"), "", nil },
		OwnerOptions: func(_ *http.Request, owner string) (*apikey.OwnerOptions, error) {
			if owner == "ada" {
				return &apikey.OwnerOptions{Scopes: []string{"orders:*"}, Rate: apikey.Rate{Requests: 5, Period: time.Minute}, Metadata: map[string]string{"plan": "trial"}}, nil
			}
			return nil, nil
		},
	})
	key := decode(t, s.ask(t, "POST", "/keys", `{"name":"a","scopes":["orders:read"]}`), 201)["key"].(map[string]any)
	is.Equal(key["rate"], map[string]any{"requests": 5.0, "period_seconds": 60.0})
	stored, err := s.Get(t.Context(), key["id"].(string))
	must(t, err)
	is.Equal(stored.Metadata.Map(), map[string]string{"plan": "trial"})
	refused(t, s.ask(t, "POST", "/keys", `{"name":"a","scopes":["orders:read"]}`, "Session", "bob"), 403, "scope_not_allowed")
	is.Equal(s.ask(t, "POST", "/keys", `{"name":"a"}`, "Session", "bob").StatusCode, 201)
}

// TestOwnerOptionsErrors checks that an error of OwnerOptions is answered
// like one of Owner, and that invalid options are no fault of the request.
func TestOwnerOptionsErrors(t *testing.T) {
	secret := "plan of eve"
	for _, test := range []struct {
		name    string
		options *apikey.OwnerOptions
		err     error
		status  int
		code    string
	}{
		{"no plan", nil, errors.New(secret), 403, "forbidden"},
		{"not found", nil, apikey.ErrNotFound, 403, "forbidden"},
		{"database down", nil, fmt.Errorf("%s: %w", secret, apikey.ErrUnavailable), 503, "unavailable"},
		{"too late", nil, context.DeadlineExceeded, 503, "unavailable"},
		{"malformed scope", &apikey.OwnerOptions{Scopes: []string{"a b"}}, nil, 500, "server_error"},
		{"unknown scope", &apikey.OwnerOptions{Scopes: []string{"ordres:read"}}, nil, 500, "server_error"},
		{"bad rate", &apikey.OwnerOptions{Rate: apikey.Rate{Requests: -1}}, nil, 500, "server_error"},
		{"bad metadata", &apikey.OwnerOptions{Metadata: map[string]string{"": "x"}}, nil, 500, "server_error"},
		{"bad overlap", &apikey.OwnerOptions{SelfRotation: -1}, nil, 500, "server_error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShop(t, func(o *apikey.Options) { o.Scopes = []string{"orders:read", "orders:write"} })
			key := s.rotating(t, "ada")
			before := s.stored(t)
			var observed []apikey.Observation
			s.handler = newAPI(s.Manager.Manager, &apikeyrest.Options{
				Owner:        func(*http.Request) (string, string, error) { return "ada", "", nil },
				OwnerOptions: func(*http.Request, string) (*apikey.OwnerOptions, error) { return test.options, test.err },
				Observe:      func(_ *http.Request, o apikey.Observation) { observed = append(observed, o) },
			})
			for _, route := range apikeyrest.Routes() {
				if route.Open {
					continue
				}
				observed = nil
				got := s.ask(t, route.Method, strings.Replace(route.Pattern, "{id}", key.ID, 1), apiCases[route.Method+" "+route.Pattern].body)
				if p := refused(t, got, test.status, test.code); strings.Contains(p.Detail, secret) {
					t.Error(p.Detail)
				}
				if len(observed) != 1 || observed[0].Err == nil || observed[0].Owner != "ada" {
					t.Errorf("observed %+v", observed)
				}
			}
			if s.stored(t) != before {
				t.Error("something was changed")
			}
		})
	}
}
