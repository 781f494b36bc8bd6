package apikeyhttp

import (
	"fmt"
	"net/http"

	"github.com/keyturn/apikey"
)

// Require returns a middleware that authenticates requests, as Authenticate
// does, and lets them through only if the key allows all of the scopes, by the
// rule of [apikey.Scopes.Allows]. Others are answered with status 403 and the
// scopes that are needed.
//
//	mux.Handle("GET /orders", guard.Require("orders:read")(orders))
//
// Require panics if there is no scope or if one is malformed, as
// [http.ServeMux.Handle] does for a bad pattern, so that the mistake is found
// when the route is built. Use Authenticate for a route that is open to any key.
func (g *Guard) Require(scopes ...string) func(http.Handler) http.Handler {
	g.checkMade()
	needed, err := apikey.NewScopes(scopes...)
	if err != nil {
		panic(fmt.Sprintf("apikeyhttp: require %q: %v", scopes, err))
	}
	if needed.Len() == 0 {
		panic("apikeyhttp: require: there must be at least one scope")
	}
	insufficient := insufficientScope(needed)
	insufficient.challenges = g.challengesFor(insufficient)
	return func(next http.Handler) http.Handler {
		return g.protect(&route{next: next, scopes: needed.Slice(), insufficient: insufficient})
	}
}

// checkScopes returns the answer to a request whose key lacks one of the scopes.
func (rt *route) checkScopes(a *admission) *answer {
	for _, scope := range rt.scopes {
		if !a.key.Scopes.Allows(scope) {
			return rt.insufficient
		}
	}
	return nil
}
