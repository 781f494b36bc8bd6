package apikeyhttp

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// StripCredential wraps a handler that forwards requests, such as a
// [net/http/httputil.ReverseProxy], so that the servers behind it do not see
// the token. It removes from the request everything that the Guard reads, and
// everything that a guard in front of it reads: headers, and the query
// parameter, also from Request.Form and the Referer. The request that the
// handlers in front of it have is not changed.
//
//	guard.Authenticate(guard.StripCredential(proxy))
//
// Place it behind all other middlewares. It does not authenticate.
func (g *Guard) StripCredential(next http.Handler) http.Handler {
	g.checkMade()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passed := new(http.Request)
		*passed = *r
		passed.Header = r.Header.Clone()
		g.remove(passed)
		for a := admissionIn(r.Context()); a != nil; a = a.outer {
			if a.config != &g.config {
				a.config.remove(passed)
			}
		}
		next.ServeHTTP(w, passed)
	})
}

// remove takes the credentials of all carriers out of a request whose header
// belongs to the caller.
func (c *config) remove(r *http.Request) {
	if c.carriers&(Bearer|Basic) != 0 {
		r.Header.Del("Authorization")
	}
	if c.carriers&Header != 0 {
		r.Header.Del(c.header)
	}
	if c.carriers&Query == 0 {
		return
	}
	if r.URL != nil {
		u := *r.URL
		u.RawQuery = withoutParameter(u.RawQuery, c.parameter)
		r.URL = &u
	}
	if path, query, ok := strings.Cut(r.RequestURI, "?"); ok {
		r.RequestURI = strings.TrimSuffix(path+"?"+withoutParameter(query, c.parameter), "?")
	}
	if r.Form != nil { // a handler before has called ParseForm
		r.Form = maps.Clone(r.Form)
		r.Form.Del(c.parameter)
	}
	// A page that was asked for with the key names itself here.
	if slices.ContainsFunc(r.Header["Referer"], func(page string) bool { return refersTo(page, c.parameter) }) {
		r.Header.Del("Referer")
	}
}
