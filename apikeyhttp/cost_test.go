package apikeyhttp_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/memstore"
)

// nowhere is a ResponseWriter that costs nothing.
type nowhere struct{ header http.Header }

func (w nowhere) Header() http.Header         { return w.header }
func (w nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (w nowhere) WriteHeader(int)             {}

// one is a Validator that costs nothing.
type one struct{ key apikey.Key }

func (v *one) Validate(context.Context, string, ...apikey.Requirement) (apikey.Key, error) {
	return v.key, nil
}

// unlimited is a Limiter that costs nothing.
type unlimited struct{}

func (unlimited) AllowKey(context.Context, apikey.Key) (apikeyhttp.Quota, error) {
	return apikeyhttp.Quota{Allowed: true}, nil
}

func (unlimited) StartAttempt(context.Context, apikeyhttp.Attempt) (apikeyhttp.Quota, error) {
	return apikeyhttp.Quota{Allowed: true}, nil
}

func (unlimited) EndAttempt(context.Context, apikeyhttp.Attempt, apikeyhttp.Outcome) error {
	return nil
}

// bare is what a handler costs by itself. It is called through the interface,
// as a mux does.
var bare http.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

func request(token string) *http.Request {
	return &http.Request{
		Method: http.MethodGet, RemoteAddr: "192.0.2.1:1234",
		Header: http.Header{"Authorization": {"Bearer " + token}},
	}
}

// TestAllocations holds the middleware to two allocations above the handler: its
// context with the key, and the request with the context. A refusal takes three:
// the context, the values of the headers, and the challenges.
func TestAllocations(t *testing.T) {
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{Scopes: []string{"orders:read"}}).Token.Reveal()
	scopes, err := apikey.NewScopes("orders:read")
	must(t, err)
	free := &one{apikey.Key{Scopes: scopes}}
	tests := []struct {
		name    string
		handler http.Handler
		max     float64
	}{
		{"bare", bare, 0},
		{"Authenticate", newGuard(free, nil).Authenticate(bare), 2},
		{"Require", newGuard(free, nil).Require("orders:read")(bare), 2},
		{"with a Limiter", newGuard(free, &apikeyhttp.Options{Limiter: unlimited{}}).Authenticate(bare), 2},
		{"with a Manager", newGuard(keys.Manager, nil).Authenticate(bare), 2},
		{"refused", newGuard(apikeytest.Deny(nil), nil).Authenticate(bare), 3},
		{"without a scope", newGuard(free, nil).Require("orders:write")(bare), 3},
		{"not now", newGuard(apikeytest.Deny(apikey.ErrUnavailable), nil).Authenticate(bare), 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if raceEnabled && test.name == "with a Manager" {
				t.Skip("the race detector empties pools at random")
			}
			w, r := nowhere{http.Header{}}, request(token)
			test.handler.ServeHTTP(w, r) // the first use of a key makes its counter
			got := testing.AllocsPerRun(200, func() { test.handler.ServeHTTP(w, r) })
			if got > test.max {
				t.Errorf("%v allocations, at most %v are allowed", got, test.max)
			}
		})
	}
}

// BenchmarkHandler compares a bare handler with what the middleware is made of
// (the check alone; a request with a key in its context) and the whole.
func BenchmarkHandler(b *testing.B) {
	manager, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	must(b, err)
	issued, err := manager.Issue(b.Context(), apikey.IssueParams{Owner: "ada", Name: "billing", Scopes: []string{"orders:read"}})
	must(b, err)
	token := issued.Token.Reveal()
	protected := newGuard(manager, nil)
	mistyped := token[:len(token)-10] + "0000000000"
	handlers := []struct {
		name    string
		handler http.Handler
		token   string
	}{
		{"bare", bare, token},
		{"validate", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := manager.Validate(r.Context(), token); err == nil {
				bare.ServeHTTP(w, r)
			}
		}), token},
		{"context", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			bare.ServeHTTP(w, r.WithContext(apikey.NewContext(r.Context(), issued.Key)))
		}), token},
		{"authenticate", protected.Authenticate(bare), token},
		{"require", protected.Require("orders:read")(bare), token},
		{"refuse", protected.Authenticate(bare), mistyped},
	}
	for _, h := range handlers {
		b.Run(h.name, func(b *testing.B) {
			w, r := nowhere{http.Header{}}, request(h.token)
			b.ReportAllocs()
			for b.Loop() {
				h.handler.ServeHTTP(w, r)
			}
		})
	}
}
