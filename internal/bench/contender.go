// Package bench compares whole HTTP middlewares: this library's, and what a
// host would take instead of it. All are measured in one run, in turn, on
// requests that differ in nothing but the token.
//
//	go test -run '^$' -bench . -benchmem
//	go run ./table
package bench

import (
	"context"
	"fmt"
	"net/http"
	"testing"
)

// Contender is one way to protect a handler, with the tokens to measure it on.
type Contender struct {
	Name string

	// Protect puts the middleware in front of a handler.
	Protect func(next http.Handler) http.Handler

	// Tokens are sent in turn, one a request; each is answered with Status.
	Tokens []string
	Status int

	// Principals are the callers that Tokens stand for, in the same order; none
	// if Status is a refusal.
	Principals []string

	// Principal returns the caller that the middleware has put in the context
	// of a request, or "". It is nil for what is no middleware.
	Principal func(context.Context) string

	// Forged has the form of one of Tokens and the wrong secret or signature.
	// It is answered with 401. It is "" for what is no middleware.
	Forged string
}

// Names of the contenders that others are compared with.
const (
	Bare     = "bare handler"
	OneKey   = "apikey, 1 key"
	ManyKeys = "apikey, 1,000 keys in turn"
	Required = "apikey, 1 key, Require"
)

// Manager.Validate by itself, without HTTP, on the Managers of OneKey and
// ManyKeys. These are no contenders, only a part of one.
const (
	ValidateOneKey   = "Validate alone, 1 key"
	ValidateManyKeys = "Validate alone, 1,000 keys in turn"
)

// New returns all contenders, the bare handler first, and after them Validate
// alone.
func New(ctx context.Context) ([]Contender, error) {
	all := []Contender{{
		Name: Bare, Tokens: []string{"none"}, Status: http.StatusOK,
		Protect: func(next http.Handler) http.Handler { return next },
	}}
	for _, group := range []struct {
		name       string
		contenders func(context.Context) ([]Contender, error)
	}{
		{"apikey", ours},
		{"golang-jwt", golangJWT},
		{"go-jwt-middleware", auth0},
		{"fosite", fositeHMAC},
		{"bcrypt", bcryptHash},
	} {
		contenders, err := group.contenders(ctx)
		if err != nil {
			return nil, fmt.Errorf("bench: %s: %w", group.name, err)
		}
		all = append(all, contenders...)
	}
	return all, nil
}

// Benchmark measures one request, from the call of the middleware to its
// return. No server, connection or parser of HTTP is in it: they cost the same
// for all. Nor does the handler do anything.
func (c Contender) Benchmark(b *testing.B) {
	w := nowhere{http.Header{}}
	handler := c.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	requests := c.requests()
	for _, r := range requests { // the first use of a key makes its counter
		clear(w.header)
		handler.ServeHTTP(w, r)
	}
	next := 0
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header) // refusals write to it
		handler.ServeHTTP(w, requests[next])
		if next++; next == len(requests) {
			next = 0
		}
	}
}

func (c Contender) requests() []*http.Request {
	requests := make([]*http.Request, len(c.Tokens))
	for i, token := range c.Tokens {
		requests[i] = request(token)
	}
	return requests
}

func request(token string) *http.Request {
	return &http.Request{
		Method: http.MethodGet, RemoteAddr: "192.0.2.1:1234",
		Header: http.Header{"Authorization": {"Bearer " + token}},
	}
}

// nowhere is a ResponseWriter that costs nothing.
type nowhere struct{ header http.Header }

func (w nowhere) Header() http.Header         { return w.header }
func (w nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (w nowhere) WriteHeader(int)             {}
