package apikeyhttp

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/keyturn/apikey"
)

// answer is a refusal. It is made of constants and checked scopes, never of
// anything in a request.
type answer struct {
	status int
	bearer string // the error in the challenge; "" = none, "-" = no challenge
	scopes string // that are needed
	body   []byte
}

// problem is a body as in RFC 9457. With the type "about:blank" its title is
// the name of the status.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Scope  string `json:"scope,omitempty"`
}

const noChallenge = "-"

func newAnswer(status int, code, bearer, detail string) *answer {
	return newScopeAnswer(status, code, bearer, detail, "")
}

func newScopeAnswer(status int, code, bearer, detail, scopes string) *answer {
	// Texts and a number: Marshal does not fail.
	body, _ := json.Marshal(problem{"about:blank", http.StatusText(status), status, code, detail, scopes})
	return &answer{status, bearer, scopes, append(body, '\n')}
}

var (
	answerInvalidRequest = newAnswer(400, "invalid_request", "invalid_request", "The request must hold exactly one API key.")
	answerNoCredential   = newAnswer(401, "no_credential", "", "The request holds no API key.")
	answerInvalidToken   = newAnswer(401, "invalid_token", "invalid_token", "The API key is not valid.")
	answerNoAuthenticate = newAnswer(500, "server_error", noChallenge, "The server is not set up right: Require stands without Authenticate before it.")
	answerServerError    = newAnswer(500, "server_error", noChallenge, "The server is not set up right.")
	answerUnavailable    = newAnswer(503, "unavailable", noChallenge, "The API key cannot be checked now. Try again later.")
)

// answers to the refusals of Validate.
var answers = []struct {
	err    error
	answer *answer
}{
	{apikey.ErrInvalid, answerInvalidToken},
	{apikey.ErrDeleted, newAnswer(401, "deleted", "invalid_token", "The API key was deleted.")},
	{apikey.ErrReplaced, newAnswer(401, "replaced", "invalid_token", "The API key was replaced by a newer one.")},
	{apikey.ErrOwnerDisabled, newAnswer(401, "owner_disabled", "invalid_token", "The owner of the API key is disabled.")},
	{apikey.ErrDisabled, newAnswer(401, "disabled", "invalid_token", "The API key is disabled.")},
	{apikey.ErrExpired, newAnswer(401, "expired", "invalid_token", "The API key has expired.")},
	{apikey.ErrAddress, newAnswer(403, "address_not_allowed", noChallenge, "The API key may not be used from this address.")},
	{apikey.ErrScope, newAnswer(403, "insufficient_scope", "insufficient_scope", "The API key lacks a scope that is needed here.")},
}

// answerTo returns the answer to an error of Validate. What is no refusal is
// no fault of the key, also if the error wraps one in passing.
func answerTo(err error) *answer {
	if errors.Is(err, apikey.ErrUnavailable) {
		return answerUnavailable
	}
	if _, ok := errors.AsType[*apikey.FieldError](err); ok {
		return answerServerError
	}
	for i := range answers {
		if errors.Is(err, answers[i].err) {
			return answers[i].answer
		}
	}
	return answerUnavailable
}

// misconfigured returns a middleware that lets nothing through. The error,
// which holds no input, is shown: it is what there is to repair, and nobody
// else but the host's developers can see the server in this state for long.
func misconfigured(err error) func(http.Handler) http.Handler {
	a := newAnswer(500, "server_error", noChallenge, "The server is not set up right: "+err.Error())
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { defaults.refuse(w, r, a) })
	}
}

// refuse writes an answer.
func (c *config) refuse(w http.ResponseWriter, r *http.Request, a *answer) {
	h := w.Header()
	if challenges := c.challenges(a); challenges != nil {
		h["Www-Authenticate"] = challenges
	}
	if a.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		w.Write(a.body) // on an error the client is gone
	}
}

// challenges returns the WWW-Authenticate lines of an answer, one for each
// scheme that would be accepted.
func (c *config) challenges(a *answer) []string {
	if a.bearer == noChallenge {
		return nil
	}
	var lines []string
	parameters := ""
	if a.bearer != "" {
		parameters = `, error="` + a.bearer + `"`
	}
	if a.scopes != "" {
		parameters += `, scope="` + a.scopes + `"`
	}
	switch {
	case c.carriers&Bearer != 0:
		lines = append(lines, `Bearer realm="`+c.realm+`"`+parameters)
	case c.carriers&Header != 0:
		// RFC 9110 asks for a challenge with every 401, and no scheme is
		// registered for a header of its own.
		lines = append(lines, `ApiKey realm="`+c.realm+`", header="`+c.header+`"`+parameters)
	}
	if c.carriers&Basic != 0 && a.status == http.StatusUnauthorized {
		lines = append(lines, `Basic realm="`+c.realm+`", charset="UTF-8"`)
	}
	return lines
}
