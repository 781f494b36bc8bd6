package apikeyhttp

import "context"

// Codes are those of all refusals of Validate, for tests that must have a case
// for each.
func Codes() []string {
	var codes []string
	for _, a := range answers {
		codes = append(codes, a.answer.problem.Code)
	}
	return append(codes, answerUnavailable.problem.Code)
}

// Unwrap returns the context of Authenticate's own in a request's.
func Unwrap(ctx context.Context) context.Context { return admissionIn(ctx) }
