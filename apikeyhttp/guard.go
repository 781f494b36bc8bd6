package apikeyhttp

import (
	"context"
	"errors"
	"net/http"
	"net/netip"

	"github.com/keyturn/apikey"
)

// Guard protects handlers: only requests with a valid key reach them. Create one
// with New and use it for all routes that have the same options. A Guard is safe
// for concurrent use. The methods of a nil or zero Guard panic.
//
// Authenticate, Optional and Require can be stacked, also those of several
// Guards. One uses the decision of the one before it if both have the same
// Validator and see the same request: method, URL, header map, response header
// map, RemoteAddr, client address and token are the same. A decision is used
// once, only while the handler of the guard that made it runs, and for at most
// 5 seconds after the Validator was asked. So three of them on one request cause
// one Validate, one use of the key, one request to the Limiter and one
// observation. If they read different keys, the innermost decides which key a
// handler gets. If your application has put a changed copy of the key into the
// context in between, for example with fewer scopes, that copy is used.
//
// Any other request is checked, limited and observed separately. That includes
// requests that your handler creates and serves under its own context, such as
// the parts of a batch, and a request behind a middleware that replaces its URL
// (http.StripPrefix) or its header map (Request.Clone): there it is validated
// twice, and handlers get the key as it is stored. Give each Guard the same
// Observe, so that none of its rejections is lost.
type Guard struct {
	config
}

// New returns a Guard for the keys of a Validator, usually an [apikey.Manager].
// Nil options are the defaults. Options are copied.
//
// New returns a *apikey.FieldError if the Validator is nil or an option is
// invalid. Its fields are "validator", "carriers", "header", "parameter",
// "realm", "trusted_proxies", "proxy_header" and "limiter".
func New(v apikey.Validator, options *Options) (*Guard, error) {
	c, err := newConfig(options)
	if err == nil && isNil(v) {
		err = &apikey.FieldError{Field: "validator", Code: "required", Problem: "must not be nil"}
	}
	if err != nil {
		return nil, err
	}
	c.validator, c.challenges = v, c.allChallenges()
	return &Guard{*c}, nil
}

// Authenticate is a middleware that lets only requests with a valid key
// through. Handlers get the key from [apikey.FromContext]. The package comment
// says where the key is read from, and how other requests are answered.
func (g *Guard) Authenticate(next http.Handler) http.Handler {
	return g.protect(&route{next: next})
}

// Optional is Authenticate for routes that also serve anonymous callers. A
// request without any credential passes, and apikey.FromContext finds no key,
// unless your application has put one there. A credential must be valid: a bad
// one is rejected, and so is an Authorization header of an unknown scheme,
// unless no carrier uses that header.
//
// If Optional finds no credential in a request that the guard before it let in,
// with the same Validator, it uses the credential of that guard. If the
// Validators differ, the request is rejected, because the handler would take
// the key for one of the other Validator. A request without a credential that
// your handler serves under the context of an authenticated one is anonymous.
func (g *Guard) Optional(next http.Handler) http.Handler {
	return g.protect(&route{next: next, optional: true})
}

// route is a handler behind a Guard.
type route struct {
	guard    *Guard
	next     http.Handler
	optional bool

	scopes       []string // that Require asks for
	insufficient *answer
}

func (g *Guard) protect(rt *route) http.Handler {
	g.checkMade()
	rt.guard = g
	return rt
}

// checkMade panics when the route is built, so that no request meets a Guard
// without a Validator.
func (g *Guard) checkMade() {
	if g == nil || g.validator == nil {
		panic("apikeyhttp: the Guard was not made by New")
	}
}

func (rt *route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &rt.guard.config
	a := newAdmission(c, w, r)
	defer a.end()
	if c.observe != nil && !a.observed() {
		defer func() { c.observe(r, a.observation()) }()
	}
	refused := c.admit(a, w.Header(), r, rt.optional)
	if refused == nil && rt.scopes != nil {
		refused = rt.checkScopes(a)
	}
	a.canceled = errors.Is(r.Context().Err(), context.Canceled)
	switch {
	case refused != nil:
		a.refuse(w, r, refused)
	case a.hasKey:
		if a.joined != nil {
			a.tell(nil)
		}
		if a.carrier == Query {
			// RFC 6750, section 2.3. The handler may set its own.
			w.Header().Set("Cache-Control", "private")
			w.Header().Set("Referrer-Policy", "no-referrer")
		}
		rt.next.ServeHTTP(w, r.WithContext(a))
	case a.outer.valid() != nil:
		// An anonymous request, served by a handler behind another guard. The
		// key of that handler's own request is not this one's.
		rt.next.ServeHTTP(w, r.WithContext(apikey.WithoutKey(a)))
	default:
		rt.next.ServeHTTP(w, r.WithContext(a))
	}
}

// admit decides about a request: it takes the key into the admission, or
// returns the answer that refuses the request, or does neither for an anonymous
// one. Headers that go with every answer to the request are set in h.
func (c *config) admit(a *admission, h http.Header, r *http.Request, optional bool) *answer {
	var near netip.Addr
	a.client, near = c.client(r)
	a.noAddress = !near.IsValid()
	token, carrier, refused := c.credential(r)
	if carrier == Basic && fromOtherSite(r) {
		return answerOtherSite
	}
	if refused == answerNoCredential && optional && !c.unknownScheme(r) {
		if token, carrier, refused = a.inherited(r); refused != nil {
			return c.anonymous(a)
		}
	}
	if refused != nil && refused != answerInvalidToken {
		return refused
	}
	if refused == nil {
		if before := a.decided(token); before != nil {
			a.key, a.checked = a.current(before), before.checked
			a.take(token, carrier)
			return c.limitKey(a, h)
		}
	}
	if refused := c.attempt(a, h, near, token, refused); refused != nil {
		return refused
	}
	a.take(token, carrier)
	return c.limitKey(a, h)
}

// unknownScheme reports whether a request without a credential has an
// Authorization header nevertheless. Its sender does not mean to be anonymous.
func (c *config) unknownScheme(r *http.Request) bool {
	return c.carriers&(Bearer|Basic) != 0 && r.Header["Authorization"] != nil
}

// anonymous decides about a request without a credential before Optional.
func (c *config) anonymous(a *admission) *answer {
	if before := a.joined.valid(); before != nil && !before.sameValidator(c) {
		return answerNoCredential
	}
	return nil
}
