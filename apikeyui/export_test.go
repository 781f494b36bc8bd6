package apikeyui

import (
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

// Routes returns method and pattern of everything that the handler answers.
func Routes() [][2]string {
	var list [][2]string
	for _, r := range routes() {
		list = append(list, [2]string{r.method, r.pattern})
	}
	return list
}

// ProblemCodes returns the codes of all pages that say why something was not
// done.
func ProblemCodes() []string {
	var codes []string
	for _, own := range ownProblems {
		codes = append(codes, own.code)
	}
	for _, err := range []error{
		apikey.ErrOutcomeUnknown, apikey.ErrDamaged, apikey.ErrNotFound, apikey.ErrTooSoon, apikey.ErrForbidden, apikey.ErrLocked,
		apikey.ErrOwnerDisabled, apikey.ErrScope, apikey.ErrConflict, apikey.ErrIdempotencyMismatch, apikey.ErrExists, apikey.ErrLimit,
		apikey.ErrNotRotating, apikey.ErrDeleted, apikey.ErrDisabled, apikey.ErrExpired, apikey.ErrUnavailable,
	} {
		_, code := apikeyhttp.StatusOf(managing{err})
		codes = append(codes, code)
	}
	return codes
}

// TemplateFiles are the sources of the templates.
var TemplateFiles = templateFiles

// Once returns what stands in a form for a new key that is shown to an owner.
var Once = once

const (
	PageSize   = pageSize
	MaxScanned = maxScanned
)

// Parameters returns the parameters of addresses that any page reads.
func Parameters() []string {
	var names []string
	for _, r := range routes() {
		names = append(names, r.query...)
	}
	return names
}

// ConfirmFor is for how long an address confirms a step.
const ConfirmFor = confirmFor
