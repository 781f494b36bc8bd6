package apikeyrest

import (
	"maps"
	"slices"
	"strings"
)

// Route is what tests must have a case for.
type Route struct {
	Method, Pattern string
	Body            []string // nil = none
	Query           []string
	Conditional     bool // a change of a key
	Idempotent      bool
	Open            bool
}

// Routes are all routes.
func Routes() []Route {
	var all []Route
	for _, r := range routes {
		all = append(all, Route{
			r.method, r.pattern, r.body, r.query, r.method != "GET" && strings.Contains(r.pattern, "{id}"), r.idempotent, r.open,
		})
	}
	return all
}

// Codes are those of the errors of a Manager.
func Codes() []string { return slices.Collect(maps.Keys(details)) }
