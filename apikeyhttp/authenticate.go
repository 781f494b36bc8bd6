package apikeyhttp

import (
	"net/http"
	"net/netip"
	"reflect"

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
// Authenticates may be stacked. One behind another with the same Validator
// does not check the same token from the same address again, and a Limiter
// takes each request of a key once. Of different ones the innermost decides
// which key a handler gets. Another request that a handler makes with the
// context of its own, and has served, is checked anew.
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
// Behind an Authenticate with another Validator, whose key the handler would
// take for one of this, a request without a credential is refused.
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
	a := &admission{
		Context: r.Context(), config: c, outer: admissionIn(r.Context()),
		request: reflect.ValueOf(r.Header).UnsafePointer(),
	}
	if c.observe != nil && !a.observed() {
		defer func() { c.observe(r, a.observation()) }()
	}
	switch refused := c.admit(a, w.Header(), r); {
	case refused != nil:
		a.refuse(w, r, refused)
	case a.withKey != nil:
		if a.outer != nil {
			a.tell(nil)
		}
		if a.carrier == Query {
			// RFC 6750, section 2.3. The handler may set its own.
			w.Header().Set("Cache-Control", "private")
			w.Header().Set("Referrer-Policy", "no-referrer")
		}
		next.ServeHTTP(w, r.WithContext(a.withKey))
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
	token, carrier, refused := c.credential(r)
	if refused == answerNoCredential && c.optional {
		return c.anonymous(a, r)
	}
	if refused != nil && refused != answerInvalidToken {
		return refused
	}
	if refused == nil {
		if before := a.decided(token); before != nil {
			a.take(token, carrier, before.key())
			return c.limitKey(a, h)
		}
	}
	if limited := c.limitClient(a, h, near); limited != nil {
		return limited
	}
	if refused != nil {
		return c.countInvalid(a, refused, near)
	}

	a.needs[0] = apikey.From(a.client)
	key, err := c.validator.Validate(a.Context, token, a.needs[:]...)
	if err != nil {
		a.failed = &failure{err: err}
		refused = answerTo(err)
		if refused == answerInvalidToken {
			return c.countInvalid(a, refused, near)
		}
		if refused.problem.Status == 401 || refused.problem.Status == 403 {
			// The secret was right, so that this is the name of a key.
			a.failed.accessKey, _ = apikey.AccessKey(token)
		}
		return refused
	}
	a.take(token, carrier, key)
	return c.limitKey(a, h)
}

// anonymous decides about a request without a credential before Optional.
func (c *config) anonymous(a *admission, r *http.Request) *answer {
	if before := a.outer.valid(); before != nil && !before.sameValidator(c) {
		return answerNoCredential
	}
	if c.carriers&(Bearer|Basic) != 0 && r.Header["Authorization"] != nil {
		// Of a scheme that is not known, or none at all. Who sends it does not
		// mean to be anonymous.
		return answerNoCredential
	}
	return nil
}
