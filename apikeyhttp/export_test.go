package apikeyhttp

// Codes are those of all refusals of Validate, for tests that must have a case
// for each.
func Codes() []string {
	var codes []string
	for _, a := range answers {
		codes = append(codes, a.answer.problem.Code)
	}
	return append(codes, answerUnavailable.problem.Code)
}
