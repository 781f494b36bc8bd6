package apikeyrest

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

var (
	answerCrossOrigin    = newAnswer(403, "cross_origin", "Pages of another site may not ask for changes.")
	answerForbidden      = newAnswer(403, "forbidden", "This is not allowed.")
	answerNotFound       = newAnswer(404, "not_found", "There is no such key or path.")
	answerMethod         = newAnswer(405, "method_not_allowed", "The path does not allow this method.")
	answerPrecondition   = newAnswer(412, "conflict", "The key is not in a state that If-Match and If-None-Match allow.")
	answerTooLarge       = newAnswer(413, "too_large", "The body may have at most 64 KiB.")
	answerMediaType      = newAnswer(415, "unsupported_media_type", "The body must be application/json.")
	answerUnreadable     = newAnswer(400, "invalid_request", "The body could not be read.")
	answerNotNow         = newAnswer(503, "unavailable", "Keys cannot be managed now. Try again later.")
	answerServerError    = newAnswer(500, "server_error", "The server is misconfigured.")
	answerOutcomeUnknown = newAnswer(503, "outcome_unknown", "It is not known whether the change was made.")
)

func newAnswer(status int, code, detail string) *apikeyhttp.Problem {
	return &apikeyhttp.Problem{Status: status, Code: code, Detail: detail}
}

// details contains the text for each code of apikeyhttp.StatusOf, and the
// rejected part of the request if there is one.
var details = map[string]apikeyhttp.Problem{
	"outcome_unknown":      *answerOutcomeUnknown,
	"unavailable":          *answerNotNow,
	"damaged":              {Detail: "The stored data of the key is damaged. It has to be repaired by the operator."},
	"not_found":            *answerNotFound,
	"too_soon":             {Detail: "There were too many new tokens. A key can still be disabled and deleted."},
	"forbidden":            *answerForbidden,
	"locked":               {Detail: "The key is locked. It can only be looked at, disabled and deleted."},
	"owner_disabled":       {Detail: "The owner is disabled. Keys can only be looked at."},
	"scope_not_allowed":    {Detail: "scopes must be among those that you may give.", Field: "scopes"},
	"conflict":             {Detail: "The key was changed by someone else."},
	"exists":               {Detail: "A key was issued with this Idempotency-Key before. Its token cannot be shown again."},
	"idempotency_mismatch": {Detail: "The Idempotency-Key was used before, for a key with other parameters.", Field: "Idempotency-Key"},
	"limit":                {Detail: "There are as many keys as there may be. Delete one first."},
	"not_rotating":         {Detail: "The key is not rotating."},
	"deleted":              {Detail: "The key is deleted."},
	"disabled":             {Detail: "The key is disabled."},
	"expired":              {Detail: "The key has expired. Regenerate it."},
}

// inputs are the fields of a *apikey.FieldError that a request can be wrong in,
// each with what it is called there.
var inputs = map[string]string{
	"name": "name", "scopes": "scopes", "networks": "networks", "expires_at": "expires_at",
	"lifetime": "lifetime_seconds", "overlap": "overlap_seconds", "reason": "reason",
	"after": "after", "limit": "limit",
	"idempotency_key": "Idempotency-Key", "revision": "If-Match",
}

// refusal is an answer on its way through functions that return errors.
type refusal struct {
	answer *apikeyhttp.Problem
	cause  error // for Options.Observe
}

func (r refusal) Error() string { return "apikeyrest: " + r.answer.Code }

// refuseField refuses a part of the request. The field and the problem are
// constants, or made of them.
func refuseField(field, problem string) refusal { return refuseFieldAs(field, "malformed", problem) }

// refuseFieldAs refuses a part of the request, with a code of
// apikey.FieldError.
func refuseFieldAs(field, code, problem string) refusal {
	return refusal{answer: &apikeyhttp.Problem{
		Status: 400, Code: "invalid_field", Field: field, FieldCode: code, Detail: field + " " + problem + ".",
	}}
}

// fail answers a request that was refused, or that failed.
func (a *api) fail(w http.ResponseWriter, r *http.Request, answer *apikeyhttp.Problem, err error) {
	if tooSoon, ok := errors.AsType[*apikey.TooSoonError](err); ok {
		wait := max(tooSoon.At.Sub(a.manager.Now()), time.Second)
		w.Header().Set("Retry-After", strconv.FormatFloat(math.Ceil(wait.Seconds()), 'f', 0, 64))
	}
	answer.Write(w, r, a.form)
}

// answerTo returns the answer to an error. Its text is not shown: it may be
// the host's, or a store's.
func answerTo(err error) *apikeyhttp.Problem {
	if refused, ok := errors.AsType[refusal](err); ok {
		return refused.answer
	}
	status, code := apikeyhttp.StatusOf(err)
	if field, ok := errors.AsType[*apikey.FieldError](err); ok && status == http.StatusBadRequest {
		if field.Field == "changes" {
			return refuseFieldAs("body", "required", "must change something").answer
		}
		if name := inputs[field.Field]; name != "" {
			return refuseFieldAs(name, field.Code, field.Problem).answer
		}
		return answerServerError // Options.Owner or OwnerOptions returned it
	}
	p := details[code]
	p.Status, p.Code = status, code
	return &p
}

// reply is what a request that was not refused is answered with.
type reply struct {
	status      int    // 0 = 200
	contentType string // "" = application/json
	tag         string // "" = none
	location    string
	body        any
	damaged     error // why the body is not complete

	// same reports whether If-Match may name the resource by a tag; nil = by
	// the present one only.
	same func(tag string) bool
}

// apply decides what a resource that was read is answered with.
func (p preconditions) apply(method string, done reply) (reply, error) {
	same := done.same
	if same == nil {
		same = func(tag string) bool { return tag == done.tag }
	}
	switch p.evaluate(method, done.tag, same) {
	case notModified:
		return reply{status: http.StatusNotModified, tag: done.tag}, nil
	case failed:
		return reply{}, refusal{answer: answerPrecondition}
	}
	return done, nil
}

// hasToken reports whether the response has a new token, which is nowhere else.
func (p reply) hasToken() bool {
	switch p.body.(type) {
	case issuedView, unknownView:
		return true
	}
	return false
}

func (p reply) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	if p.tag != "" {
		h.Set("ETag", p.tag)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.status == http.StatusNotModified {
		w.WriteHeader(p.status)
		return
	}
	// Texts, numbers and lists of them: Marshal does not fail.
	body, _ := json.Marshal(p.body)
	body = append(body, '\n')
	if p.contentType == "" {
		p.contentType = mediaType
	}
	if p.location != "" {
		h.Set("Location", p.location)
	}
	if p.status == 0 {
		p.status = http.StatusOK
	}
	h.Set("Content-Type", p.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.status)
	if r.Method != http.MethodHead {
		w.Write(body) // on an error the client is gone
	}
}

// document describes the API. Tests compare it with the routes and with
// responses.
//
//go:embed openapi.json
var document []byte

var documentTag = sync.OnceValue(func() string {
	sum := sha256.Sum256(document)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
})

// serveDocument serves the document, which is the same for everyone. It is
// never sent in parts, so that Range is ignored.
func (a *api) serveDocument(w http.ResponseWriter, r *http.Request, route *route) {
	c := &call{request: r}
	done := reply{tag: documentTag()}
	err := c.read(w, route)
	if err == nil {
		done, err = c.preconditions.apply(r.Method, done)
	}
	if err != nil {
		a.fail(w, r, answerTo(err), err)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", done.tag)
	h.Set("X-Content-Type-Options", "nosniff")
	if done.status == http.StatusNotModified {
		w.WriteHeader(done.status)
		return
	}
	h.Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
	h.Set("Content-Length", strconv.Itoa(len(document)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		w.Write(document) // on an error the client is gone
	}
}

// mediaType is that of bodies.
const mediaType = "application/json"
