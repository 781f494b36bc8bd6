package apikeyhttp

import (
	"errors"

	"github.com/keyturn/apikey"
)

var (
	answerInvalidRequest = newAnswer(400, "invalid_request", "invalid_request", "The request must hold exactly one API key.")
	answerNoCredential   = newAnswer(401, "no_credential", "", "The request holds no API key.")
	answerInvalidToken   = newAnswer(401, "invalid_token", "invalid_token", "The API key is not valid.")
	answerOtherSite      = newAnswer(403, "cross_origin", noChallenge, "Requests from pages of other sites must not use Basic credentials.")
	answerServerError    = newAnswer(500, "server_error", noChallenge, "The server is misconfigured.")
	answerUnavailable    = newAnswer(503, "unavailable", noChallenge, "The API key cannot be checked now. Try again later.")
)

// answers are those to the refusals of Validate, by the code of StatusOf. A code
// that is not here is no refusal.
var answers = map[string]*answer{
	"invalid_token":       answerInvalidToken,
	"deleted":             newAnswer(401, "deleted", "invalid_token", "The API key was deleted."),
	"replaced":            newAnswer(401, "replaced", "invalid_token", "The API key was replaced by a newer one."),
	"owner_disabled":      newAnswer(401, "owner_disabled", "invalid_token", "The owner of the API key is disabled."),
	"disabled":            newAnswer(401, "disabled", "invalid_token", "The API key is disabled."),
	"expired":             newAnswer(401, "expired", "invalid_token", "The API key has expired."),
	"address_not_allowed": newAnswer(403, "address_not_allowed", noChallenge, "The API key may not be used from this address."),
	"insufficient_scope":  newAnswer(403, "insufficient_scope", "insufficient_scope", "The API key lacks a scope that is needed here."),
}

// answerTo returns the answer to an error of Validate.
func answerTo(err error) *answer {
	if _, ok := errors.AsType[*apikey.FieldError](err); ok && !errors.Is(err, apikey.ErrUnavailable) {
		return answerServerError // a malformed Requirement
	}
	status, code := StatusOf(err)
	if a := answers[code]; a != nil && a.problem.Status == status {
		return a
	}
	return answerUnavailable
}

// insufficientScope is the answer to who lacks one of the scopes.
func insufficientScope(needed apikey.Scopes) *answer {
	return newProblemAnswer(Problem{
		Status: 403, Code: "insufficient_scope", Scope: needed.String(),
		Detail: "The API key lacks a scope that is needed here: " + needed.String(),
	}, "insufficient_scope")
}
