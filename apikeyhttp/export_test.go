package apikeyhttp

import (
	"context"
	"maps"
	"net/http"
	"net/netip"
	"slices"
)

// Codes are those of all refusals of Validate, for tests that must have a case
// for each.
func Codes() []string {
	return append(slices.Collect(maps.Keys(answers)), answerUnavailable.problem.Code)
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

// InTable reports whether StatusOf has a row for an error.
func InTable(err error) bool {
	for _, row := range statuses {
		if row.err == err {
			return true
		}
	}
	return false
}
