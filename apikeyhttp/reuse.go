package apikeyhttp

import (
	"net/http"
	"net/url"
	"reflect"
	"time"
	"unsafe"
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
	header     unsafe.Pointer // the map in Request.Header
	response   unsafe.Pointer // the map that ResponseWriter.Header returns
	url        *url.URL
	target     url.URL // *url, because a handler can change it in place
}

// seen is an admission with its identity, in one allocation.
type seen struct {
	admission
	identity identity
}

// newAdmission returns the admission of a request at the guard c, joined with
// that of the guard before if this is the next guard behind it on the same
// request.
func newAdmission(c *config, w http.ResponseWriter, r *http.Request) *admission {
	s := &seen{identity: identity{
		method: r.Method, remoteAddr: r.RemoteAddr, url: r.URL,
		header:   reflect.ValueOf(r.Header).UnsafePointer(),
		response: reflect.ValueOf(w.Header()).UnsafePointer(),
	}}
	if r.URL != nil {
		s.identity.target = *r.URL
	}
	a := &s.admission
	a.Context, a.config, a.identity = r.Context(), c, &s.identity
	a.outer = admissionIn(a.Context)
	if a.outer.passTo(a) {
		a.joined = a.outer
	}
	return a
}

// passTo reports whether next is the admission of the same request at the next
// guard. It reports so once, even to concurrent callers.
func (a *admission) passTo(next *admission) bool {
	return a != nil && *a.identity == *next.identity && a.identity.header != nil && a.identity.response != nil &&
		a.passed.CompareAndSwap(false, true)
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
	if before == nil || before.token.reveal() != token || before.client != a.client || !before.sameValidator(a.config) {
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
		if refused == nil && token == before.token.reveal() {
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
		if before.limited && same(before.config.limiter, l) && before.key().ID == keyID {
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
