package apikeyhttp

import (
	"errors"

	"github.com/keyturn/apikey"
)

// StatusOf returns the HTTP status and the code for an error of package apikey.
// It is the only table of its kind: the middleware, apikeyrest and apikeyui use
// it, and so can handlers of your own.
//
//	status  code                  error
//	400     invalid_field         *apikey.FieldError
//	401     invalid_token         ErrInvalid
//	401     replaced              ErrReplaced
//	401     deleted, owner_disabled, disabled, expired
//	                              ErrDeleted, ErrOwnerDisabled, ErrDisabled, ErrExpired, of Validate
//	403     address_not_allowed   ErrAddress
//	403     insufficient_scope    ErrScope, of Validate
//	403     scope_not_allowed     ErrScope, of another call
//	403     owner_disabled        ErrOwnerDisabled, of another call
//	403     forbidden, locked     ErrForbidden, ErrLocked
//	404     not_found             ErrNotFound
//	409     deleted, disabled, expired
//	                              ErrDeleted, ErrDisabled, ErrExpired, of another call
//	409     conflict, exists, limit, not_rotating
//	                              ErrConflict, ErrExists, ErrLimit, ErrNotRotating
//	422     idempotency_mismatch  ErrIdempotencyMismatch
//	429     too_soon              ErrTooSoon
//	500     damaged               ErrDamaged
//	503     outcome_unknown       ErrOutcomeUnknown
//	503     unavailable           ErrUnavailable, ErrAborted, ErrClock, ErrPepper and every other error
//
// An error can be several of these. StatusOf looks for ErrOutcomeUnknown first,
// for ErrUnavailable next, and for *apikey.FieldError last.
//
// The status of ErrDisabled depends on the call: a request with a disabled key is
// a 401, an attempt to rotate a disabled key is a 409. All calls of a Manager and
// an OwnerManager except Validate name themselves in their errors. StatusOf takes
// an error without such a name for one of Validate.
//
// A nil error is status 200 without a code.
func StatusOf(err error) (status int, code string) {
	if err == nil {
		return 200, ""
	}
	_, named := errors.AsType[interface {
		error
		Operation() string
	}](err)
	for i := range statuses {
		row := &statuses[i]
		if !errors.Is(err, row.err) {
			continue
		}
		if row.rejected.code != "" && !named {
			return row.rejected.status, row.rejected.code
		}
		return row.status, row.code
	}
	if _, ok := errors.AsType[*apikey.FieldError](err); ok {
		return 400, "invalid_field"
	}
	return 503, "unavailable"
}

type statusCode struct {
	status int
	code   string
}

// statuses are the errors in the order in which StatusOf looks for them.
var statuses = []struct {
	err error
	statusCode
	rejected statusCode // by Validate, if that differs
}{
	{apikey.ErrOutcomeUnknown, statusCode{503, "outcome_unknown"}, statusCode{}},
	{apikey.ErrUnavailable, statusCode{503, "unavailable"}, statusCode{}},
	{apikey.ErrDamaged, statusCode{500, "damaged"}, statusCode{}},
	{apikey.ErrNotFound, statusCode{404, "not_found"}, statusCode{}},
	{apikey.ErrTooSoon, statusCode{429, "too_soon"}, statusCode{}},
	{apikey.ErrForbidden, statusCode{403, "forbidden"}, statusCode{}},
	{apikey.ErrLocked, statusCode{403, "locked"}, statusCode{}},
	{apikey.ErrOwnerDisabled, statusCode{403, "owner_disabled"}, statusCode{401, "owner_disabled"}},
	{apikey.ErrAddress, statusCode{403, "address_not_allowed"}, statusCode{}},
	{apikey.ErrScope, statusCode{403, "scope_not_allowed"}, statusCode{403, "insufficient_scope"}},
	{apikey.ErrConflict, statusCode{409, "conflict"}, statusCode{}},
	{apikey.ErrIdempotencyMismatch, statusCode{422, "idempotency_mismatch"}, statusCode{}},
	{apikey.ErrExists, statusCode{409, "exists"}, statusCode{}},
	{apikey.ErrLimit, statusCode{409, "limit"}, statusCode{}},
	{apikey.ErrNotRotating, statusCode{409, "not_rotating"}, statusCode{}},
	{apikey.ErrInvalid, statusCode{401, "invalid_token"}, statusCode{}},
	{apikey.ErrReplaced, statusCode{401, "replaced"}, statusCode{}},
	{apikey.ErrDeleted, statusCode{409, "deleted"}, statusCode{401, "deleted"}},
	{apikey.ErrDisabled, statusCode{409, "disabled"}, statusCode{401, "disabled"}},
	{apikey.ErrExpired, statusCode{409, "expired"}, statusCode{401, "expired"}},
	{apikey.ErrAborted, statusCode{503, "unavailable"}, statusCode{}},
	{apikey.ErrClock, statusCode{503, "unavailable"}, statusCode{}},
	{apikey.ErrPepper, statusCode{503, "unavailable"}, statusCode{}},
	{apikey.ErrNotFlushed, statusCode{503, "unavailable"}, statusCode{}},
}
