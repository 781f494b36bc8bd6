package apikeyui

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
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

// ownProblems are the errors that only pages have. Their status is 409.
var ownProblems = []struct {
	err  error
	code string
}{{errUsedForm, "used_form"}, {errActive, "active"}, {errNoRotation, "no_rotation"}}

// managing marks an error as one of a page, which always manages keys: see
// apikeyhttp.StatusOf.
type managing struct{ error }

func (managing) Operation() string { return "page" }

func (m managing) Unwrap() error { return m.error }

// failed makes the answer to an error that no field of a form stands for.
func (v *visit) failed(err error) reply {
	for _, own := range ownProblems {
		if errors.Is(err, own.err) {
			return v.problem(http.StatusConflict, own.code)
		}
	}
	status, code := apikeyhttp.StatusOf(managing{err})
	switch code {
	case "unavailable":
		return v.unavailable(err)
	case "invalid_field":
		return v.badField(err)
	}
	if status >= http.StatusInternalServerError {
		v.report(apikey.Observation{Status: status, Code: code, Err: err})
	}
	a := v.problem(status, code)
	if soon, ok := errors.AsType[*apikey.TooSoonError](err); ok {
		a.data = problemView{Code: code, At: soon.At}
		wait := max(1, int64((soon.At.Sub(v.now)+time.Second-1)/time.Second))
		a.header = map[string]string{"Retry-After": strconv.FormatInt(wait, 10)}
	}
	return a
}

// badField makes the answer to a field that is no fault of the form's reader.
func (v *visit) badField(err error) reply {
	field, _ := errors.AsType[*apikey.FieldError](err)
	if field.Field == "id" || field.Field == "after" || v.r.Method == http.MethodPost && fields[field.Field] != "" {
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
