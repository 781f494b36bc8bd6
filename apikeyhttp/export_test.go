package apikeyhttp

import (
	"context"
	"net/http"
	"net/netip"
)

// Codes are those of all refusals of Validate, for tests that must have a case
// for each.
func Codes() []string {
	var codes []string
	for _, a := range answers {
		codes = append(codes, a.answer.problem.Code)
	}
	return append(codes, answerUnavailable.problem.Code)
}

// Unwrap returns the context of Authenticate's own in a request's.
func Unwrap(ctx context.Context) context.Context { return admissionIn(ctx) }

// ClientAddress returns a function that returns the address of a request's
// client, and the address that counts for it at a Limiter.
func ClientAddress(o *Options) func(*http.Request) (client, near netip.Addr) {
	c, err := newConfig(o)
	if err != nil {
		panic(err)
	}
	return c.client
}

// QueryValues reads a query.
var QueryValues = queryValues
