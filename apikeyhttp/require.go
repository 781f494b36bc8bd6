package apikeyhttp

import (
	"net/http"

	"github.com/keyturn/apikey"
)

// Require returns a middleware, to stand behind Authenticate, that lets only
// requests through whose key allows all of the scopes, by the rule of
// [apikey.Scopes.Allows]. Others are answered with status 403 and the scopes
// that are needed, anonymous ones that Optional let through with 401. Without
// scopes any key will do.
//
// Require checks the key that the guard before it has found. It does not validate
// that key again. If your handler serves other requests under the context of its
// own, put an Authenticate before each Require that they pass.
//
// Two faults of the program no request can make up for: a malformed scope, and
// a Require that no Authenticate stands before. Every request is then answered
// with status 500 and the reason, also one whose key would allow the other
// scopes.
func Require(scopes ...string) func(http.Handler) http.Handler {
	needed, err := apikey.NewScopes(scopes...)
	if err != nil {
		return misconfigured(err)
	}
	list := needed.Slice()
	insufficient := insufficientScope(needed)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			key, ok := apikey.FromContext(r.Context())
			if !ok {
				a, refused := admissionIn(r.Context()), answerNoCredential
				if a == nil {
					refused = answerNoAuthenticate
				}
				a.refuse(w, r, refused)
				return
			}
			for _, scope := range list {
				if !key.Scopes.Allows(scope) {
					admissionIn(r.Context()).refuse(w, r, insufficient)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}
