package apikeyhttp

import (
	"context"
	"errors"
	"net/http"
	"net/netip"

	"github.com/keyturn/apikey"
)

// Authenticate returns a middleware that lets only requests with a valid key
// through, and gives the key to the handlers behind it, by
// [apikey.FromContext]. The package comment says where the key is read from,
// and how requests without a valid one are answered. What the key may do is
// the matter of Require.
//
// Options, nil for all defaults, are copied. A server that was set up wrong
// must not let anyone in, and must not end the program of its host either: if
// the Validator is nil or an option is refused, every request is answered with
// status 500 and the reason. Options.Check tells it at start-up.
//
// Authenticate and Optional can be stacked. A guard uses the decision of the
// guard before it if that has the same Validator and both see the same request:
// method, URL, header map, response header map, RemoteAddr, client address and
// token are the same. A decision is used once, only while the handler of the
// guard that made it runs, and for at most 5 seconds after the Validator was
// asked. So three guards in one request cause one Validate, one use of the key,
// one request to the Limiter and one observation. Of guards with different
// keys the innermost decides which key a handler gets.
//
// Any other request is checked, limited and observed by itself. That includes
// requests that your handler makes and serves under its own context, such as
// the parts of a batch, and a request behind a middleware that replaces its URL
// (http.StripPrefix) or its header map (Request.Clone): there it is validated
// twice. Give each guard the same Observe, so that none of its rejections is
// lost.
func Authenticate(v apikey.Validator, options *Options) func(http.Handler) http.Handler {
	return middleware(v, options, false)
}

// Optional is Authenticate for routes that serve anonymous callers too: a
// request without any credential passes, and apikey.FromContext has no key for
// its handler, unless the host has put one there itself. A credential that is
// there must be good; a bad one is refused, never taken for none, and so is an
// Authorization of a scheme that is not known, unless no carrier uses that
// header.
//
// An Optional that finds no credential in a request that the guard before it
// let in, with the same Validator, uses the credential of that guard. If the
// Validators differ, the request is rejected, because the handler would take
// the key for one of the other Validator. A request without a credential that
// your handler serves under the context of an authenticated one is anonymous.
func Optional(v apikey.Validator, options *Options) func(http.Handler) http.Handler {
	return middleware(v, options, true)
}

func middleware(v apikey.Validator, options *Options, optional bool) func(http.Handler) http.Handler {
	c, err := newConfig(options)
	if err == nil && isNil(v) {
		err = &apikey.FieldError{Field: "validator", Problem: "must not be nil"}
	}
	if err != nil {
		return misconfigured(err)
	}
	c.validator, c.optional = v, optional
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(next, w, r) })
	}
}

func (c *config) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	a := newAdmission(c, w, r)
	defer a.end()
	if c.observe != nil && !a.observed() {
		defer func() { c.observe(r, a.observation()) }()
	}
	refused := c.admit(a, w.Header(), r)
	a.canceled = errors.Is(r.Context().Err(), context.Canceled)
	switch {
	case refused != nil:
		a.refuse(w, r, refused)
	case a.withKey != nil:
		if a.joined != nil {
			a.tell(nil)
		}
		if a.carrier == Query {
			// RFC 6750, section 2.3. The handler may set its own.
			w.Header().Set("Cache-Control", "private")
			w.Header().Set("Referrer-Policy", "no-referrer")
		}
		next.ServeHTTP(w, r.WithContext(a.withKey))
	case a.outer.valid() != nil:
		// An anonymous request, served by a handler behind another guard. The
		// key of that handler's own request is not this one's.
		next.ServeHTTP(w, r.WithContext(apikey.WithoutKey(a)))
	default:
		next.ServeHTTP(w, r.WithContext(a))
	}
}

// admit decides about a request: it takes the key into the admission, or
// returns the answer that refuses the request, or does neither for an anonymous
// one. Headers that go with every answer to the request are set in h.
func (c *config) admit(a *admission, h http.Header, r *http.Request) *answer {
	var near netip.Addr
	a.client, near = c.client(r)
	a.noAddress = !near.IsValid()
	token, carrier, refused := c.credential(r)
	if carrier == Basic && fromOtherSite(r) {
		return answerOtherSite
	}
	if refused == answerNoCredential && c.optional && !c.unknownScheme(r) {
		if token, carrier, refused = a.inherited(r); refused != nil {
			return c.anonymous(a)
		}
	}
	if refused != nil && refused != answerInvalidToken {
		return refused
	}
	if refused == nil {
		if before := a.decided(token); before != nil {
			a.take(token, carrier, before.key(), before.checked)
			return c.limitKey(a, h)
		}
	}
	key, refused := c.attempt(a, h, near, token, refused)
	if refused != nil {
		return refused
	}
	a.take(token, carrier, key, a.checked)
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
