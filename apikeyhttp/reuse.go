package apikeyhttp

import (
	"net/http"
	"net/url"
	"reflect"
	"time"
)

// This file decides when a guard uses the decision of the guard before it,
// instead of asking the Validator again.
//
// Stacked guards see the same request, and so does a handler that serves parts
// of its request (a batch, the messages of a WebSocket) through guarded
// handlers, under the context and often with the headers of its own request.
// The first should be checked once, the others each time. Nothing in a request
// distinguishes the two for certain, so a decision is bounded in three ways: it
// passes to one guard only, while the guard that made it runs, and for at most
// maxDecisionAge.

// maxDecisionAge bounds the time between the call of Validate and the use of
// its result.
const maxDecisionAge = 5 * time.Second

// identity is what a guard compares to recognize a request. Two requests that
// are equal in all of it are still two requests if they reach a guard one after
// the other; see admission.passed.
type identity struct {
	method     string
	remoteAddr string
	header     http.Header // in the request
	response   http.Header // that ResponseWriter.Header returns
	url        *url.URL
	target     url.URL // *url, because a handler can change it in place
}

func (i *identity) equal(other *identity) bool {
	return i.method == other.method && i.remoteAddr == other.remoteAddr && i.url == other.url && i.target == other.target &&
		sameMap(i.header, other.header) && sameMap(i.response, other.response)
}

// sameMap reports whether two maps are one and the same. Nil maps are not.
func sameMap(a, b http.Header) bool {
	return a != nil && reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// hidden is what fmt must not show of an admission.
type hidden struct {
	identity identity
	token    string // of the key that is valid, or known
}

// seen is an admission with what it hides, in one allocation.
type seen struct {
	admission
	hidden hidden
}

// newAdmission returns the admission of a request at the guard c, joined with
// that of the guard before if this is the next guard behind it on the same
// request.
func newAdmission(c *config, w http.ResponseWriter, r *http.Request) *admission {
	s := &seen{hidden: hidden{identity: identity{
		method: r.Method, remoteAddr: r.RemoteAddr, header: r.Header, response: w.Header(), url: r.URL,
	}}}
	if r.URL != nil {
		s.hidden.identity.target = *r.URL
	}
	a := &s.admission
	a.Context, a.config, a.hidden = r.Context(), c, &s.hidden
	a.outer = admissionIn(a.Context)
	if a.outer.passTo(a) {
		a.joined = a.outer
	}
	return a
}

// passTo reports whether next is the admission of the same request at the next
// guard. It reports so once, even to concurrent callers.
func (a *admission) passTo(next *admission) bool {
	return a != nil && a.hidden.identity.equal(&next.hidden.identity) && a.passed.CompareAndSwap(false, true)
}

// end makes the decision useless to contexts that outlive the guard.
func (a *admission) end() { a.passed.Store(true) }

// observed reports whether a guard before observes the request.
func (a *admission) observed() bool {
	for before := a.joined; before != nil; before = before.joined {
		if before.config.observe != nil {
			return true
		}
	}
	return false
}

// decided returns the admission that let the request in before with the same
// token, from the same address, by the same Validator, or nil. A comparison of
// the two tokens in variable time reveals nothing, because the client sent both.
func (a *admission) decided(token string) *admission {
	before := a.joined.valid()
	if before == nil || before.hidden.token != token || before.client != a.client || !before.sameValidator(a.config) {
		return nil
	}
	// A stacked guard does not extend the age: it counts from Validate.
	if age := a.config.now().Sub(before.checked); age < 0 || age >= maxDecisionAge {
		return nil
	}
	return before
}

// inherited returns the credential with which the guard before let the same
// request in, if the request still has it, or else an answer: that to a request
// without a credential. An Optional takes it for its own if it reads none.
func (a *admission) inherited(r *http.Request) (string, Carrier, *answer) {
	if before := a.joined.valid(); before != nil && before.sameValidator(a.config) {
		token, carrier, refused := before.config.credential(r)
		if refused == nil && token == before.hidden.token {
			return token, carrier, nil
		}
	}
	return "", 0, answerNoCredential
}

func (a *admission) sameValidator(c *config) bool { return same(a.config.validator, c.validator) }

// limitedBy reports whether a Limiter has taken the request from a key before.
// Stacked guards may read different keys.
func (a *admission) limitedBy(l Limiter, keyID string) bool {
	for before := a.joined; before != nil; before = before.joined {
		if before.limited && same(before.config.limiter, l) && before.key.ID == keyID {
			return true
		}
	}
	return false
}

// same compares interfaces whose values may not be comparable: == panics if
// neither is.
func same(a, b any) bool {
	return reflect.ValueOf(b).Comparable() && a == b
}
