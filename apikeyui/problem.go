package apikeyui

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/keyturn/apikey"
)

// problemView is a page that says why something was not done.
type problemView struct {
	Code string    // of the texts problem.<code>.title and .text
	At   time.Time // when it will be possible again, or zero
	Key  string    // id of the key to look at, or empty
}

func (v *visit) problem(status int, code string) reply {
	return reply{status: status, template: "problem", title: "problem." + code + ".title", data: problemView{Code: code}}
}

// problems are the errors that have a page of their own, in the order in which
// they are looked for: an error can be more than one of them.
var problems = []struct {
	err    error
	status int
	code   string
}{
	{apikey.ErrOutcomeUnknown, http.StatusServiceUnavailable, "unknown_outcome"},
	{apikey.ErrDamaged, http.StatusInternalServerError, "damaged"},
	{apikey.ErrIdempotencyMismatch, http.StatusUnprocessableEntity, "used_form"},
	{errUsedForm, http.StatusConflict, "used_form"},
	{apikey.ErrNotFound, http.StatusNotFound, "not_found"},
	{apikey.ErrTooSoon, http.StatusTooManyRequests, "too_soon"},
	{apikey.ErrLocked, http.StatusForbidden, "locked"},
	{apikey.ErrOwnerDisabled, http.StatusForbidden, "owner_disabled"},
	{apikey.ErrForbidden, http.StatusForbidden, "forbidden"},
	{apikey.ErrScope, http.StatusForbidden, "forbidden"},
	{apikey.ErrConflict, http.StatusConflict, "conflict"},
	{apikey.ErrExists, http.StatusConflict, "exists"},
	{apikey.ErrLimit, http.StatusConflict, "limit"},
	{errActive, http.StatusConflict, "active"},
	{errNoRotation, http.StatusConflict, "no_rotation"},
	{apikey.ErrNotRotating, http.StatusConflict, "not_rotating"},
	{apikey.ErrDeleted, http.StatusConflict, "deleted"},
	{apikey.ErrDisabled, http.StatusConflict, "disabled"},
	{apikey.ErrExpired, http.StatusConflict, "expired"},
}

// failed makes the answer to an error that no field of a form stands for.
func (v *visit) failed(err error) reply {
	outage := errors.Is(err, apikey.ErrUnavailable) // it may wrap any other error
	for _, p := range problems {
		if !errors.Is(err, p.err) || outage && p.err != apikey.ErrOutcomeUnknown {
			continue
		}
		a := v.problem(p.status, p.code)
		var soon *apikey.TooSoonError
		if errors.As(err, &soon) {
			a.data = problemView{Code: p.code, At: soon.At}
			wait := max(1, int64((soon.At.Sub(v.now)+time.Second-1)/time.Second))
			a.header = map[string]string{"Retry-After": strconv.FormatInt(wait, 10)}
		}
		if p.status >= http.StatusInternalServerError {
			v.report(apikey.Observation{Status: p.status, Code: p.code, Err: err})
		}
		return a
	}
	var field *apikey.FieldError
	switch {
	case !errors.As(err, &field) || outage:
		return v.unavailable(err)
	case field.Field == "id" || field.Field == "after" || v.r.Method == http.MethodPost && fields[field.Field] != "":
		return v.problem(http.StatusBadRequest, "bad_form")
	}
	// Everything else comes from the application and its clock.
	v.report(apikey.Observation{Status: http.StatusInternalServerError, Code: "misconfigured", Err: err})
	return v.problem(http.StatusInternalServerError, "misconfigured")
}

// unavailable makes the answer to an outage.
func (v *visit) unavailable(err error) reply {
	code := "unavailable"
	if v.r.Method != http.MethodPost {
		code = "unreachable" // what was asked for before may have been done
	}
	v.report(apikey.Observation{Status: http.StatusServiceUnavailable, Code: code, Err: err})
	a := v.problem(http.StatusServiceUnavailable, code)
	a.header = map[string]string{"Retry-After": "5"}
	return a
}

// failedFor is failed with a link to the key.
func (v *visit) failedFor(key apikey.Key, err error) reply {
	a := v.failed(err)
	if view, ok := a.data.(problemView); ok && view.Code != "not_found" {
		view.Key = key.ID
		a.data = view
	}
	return a
}
