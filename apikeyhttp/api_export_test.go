package apikeyhttp

import "strings"

// APIRoute is what tests must have a case for.
type APIRoute struct {
	Method, Pattern string
	Body            []string // nil = none
	Query           []string
	Conditional     bool // a change of a key
	Idempotent      bool
	Open            bool
}

// APIRoutes are all routes of API.
func APIRoutes() []APIRoute {
	var routes []APIRoute
	for _, r := range apiRoutes {
		routes = append(routes, APIRoute{
			r.method, r.pattern, r.body, r.query, r.method != "GET" && strings.Contains(r.pattern, "{id}"), r.idempotent, r.open,
		})
	}
	return routes
}

// APICodes are those of the answers to errors of a Manager, by status and code.
func APICodes() map[string]int {
	codes := map[string]int{}
	for _, a := range apiAnswers {
		codes[a.answer.problem.Code] = a.answer.problem.Status
	}
	return codes
}
