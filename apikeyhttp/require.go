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
