package apikey

import (
	"errors"
	"strings"
)

// Validate refuses with exactly these values, unwrapped, so that a refusal
// costs no allocation and the same refusal is always the same error.
var (
	// ErrInvalid refuses a text that is no token, an unknown access key and a
	// wrong access secret alike: who has not shown the right secret learns
	// nothing more.
	ErrInvalid = errors.New("apikey: invalid key")

	// The others are told only to who presented the right secret.

	ErrDeleted       = errors.New("apikey: key is deleted")
	ErrReplaced      = errors.New("apikey: key was replaced by a newer one")
	ErrOwnerDisabled = errors.New("apikey: owner is disabled")
	ErrDisabled      = errors.New("apikey: key is disabled")
	ErrExpired       = errors.New("apikey: key has expired")
	ErrAddress       = errors.New("apikey: key may not be used from this address")
	ErrScope         = errors.New("apikey: key lacks the scope")
)

// ErrUnavailable is wrapped by every error of Validate that is not a refusal:
// the store failed, the context ended, a pepper is missing, the clock is
// wrong. It says nothing about the key. Answer 503, never 401 and never 200.
var ErrUnavailable = errors.New("apikey: key cannot be checked now")

var (
	// ErrPepper means that a credential was hashed under a pepper that is not
	// in Options.Peppers, or by a Scheme that this version does not know: a
	// fault of configuration, never a wrong key. From package backup: that a
	// file is signed with a pepper that is not in its Options.Peppers.
	ErrPepper = errors.New("apikey: pepper of a stored credential is not configured")

	// ErrNotFlushed is given to Options.Observe if uses have been counted for
	// an hour and nothing flushes them. Start Run, or call Flush.
	ErrNotFlushed = errors.New("apikey: usage has not been flushed for an hour")

	// ErrClock means that Options.Now returned a time outside of the years
	// 1970 (its first instant excluded) to 9999.
	ErrClock = errors.New("apikey: clock is outside of the years 1970 to 9999")
)

// Errors of the calls that manage keys. ErrDeleted, ErrDisabled, ErrExpired
// and ErrOwnerDisabled are used by them too, for a key or owner that is in
// that state where the call does not allow it.
var (
	// ErrNotFound means that there is no such key, or, for an OwnerManager,
	// none of its owner's: the two cannot be told apart.
	ErrNotFound = errors.New("apikey: not found")

	// ErrLocked means that the key was disabled through the Manager, and only
	// the Manager may change it; its owner may still delete it.
	ErrLocked = errors.New("apikey: key is locked")

	// ErrNotRotating means that no overlap of a rotation is running.
	ErrNotRotating = errors.New("apikey: key is not rotating")

	// ErrTooSoon means that Options.ReissueLimit or Options.OwnerTokenLimit is
	// used up; see TooSoonError.
	ErrTooSoon = errors.New("apikey: too many new tokens")

	// ErrForbidden means that an owner may not do this: Options.Authorize
	// returned an error (which is wrapped too), only your application sets the
	// field, or the key of the request may not do it (see ForOwner).
	ErrForbidden = errors.New("apikey: not authorized")

	// ErrOutcomeUnknown means that the answer of the store was lost, and that
	// asking again did not tell whether the change was made. It was made
	// whole or not at all. Issue, Regenerate and Rotate return the new token
	// with this error: it works if the change was made.
	ErrOutcomeUnknown = errors.New("apikey: outcome of the change is unknown")
)

// Errors of Store.Commit; each means that nothing was written.
var (
	// ErrConflict means that the key or owner is not at the expected
	// revision: someone else changed it.
	ErrConflict = errors.New("apikey: changed by someone else")

	// ErrExists means that the id is taken; from Issue: that the
	// IdempotencyKey was used before.
	ErrExists = errors.New("apikey: exists already")

	// ErrIdempotencyMismatch means that the IdempotencyKey was used before
	// with other parameters.
	ErrIdempotencyMismatch = errors.New("apikey: idempotency key was used with other parameters")

	// ErrLimit means that the owner has as many keys as it may have.
	ErrLimit = errors.New("apikey: owner has too many keys")

	// ErrAborted means that the store gave up for another reason, which the
	// error also wraps, and is sure that nothing was written.
	ErrAborted = errors.New("apikey: change was not made")
)

// FieldError reports which input was rejected and why. It never contains the
// input.
//
// Code is for programs, such as one that translates the reason. Problem can be
// reworded in any version, a Code never changes its meaning. It is one of these,
// and more may be added:
//
//   - required: must be given, and not be empty
//   - malformed: does not have the form that the field needs
//   - not_utf8: is not valid UTF-8
//   - not_printable: contains characters that are not printable
//   - outer_space: begins or ends with a space
//   - double_space: contains two spaces in a row
//   - too_many_marks: contains too many combining marks in a row
//   - too_long: has too many bytes
//   - too_short: has too few bytes
//   - too_many: has too many elements
//   - duplicate: contains the same element twice
//   - negative: must not be negative
//   - not_positive: must be greater than zero
//   - out_of_range: is outside the range that the field allows
//   - in_past: must be in the future
//   - past_maximum: is later or longer than the maximum allows
//   - inconsistent: contradicts another field
//   - unknown_scope: is not one of Options.Scopes
//   - not_granted: exceeds what the caller may give
//   - read_only: can be set by a Manager only
//   - other_owner: must be the owner of the OwnerManager, or empty
type FieldError struct {
	Field   string // as in the parameter's name: "owner", "scopes", "expires_at"
	Code    string // stable: "required"
	Problem string // for people: "must not be empty"
	Err     error  // what errors.Is finds in it, or nil
}

func (e *FieldError) Error() string { return "apikey: " + e.Field + ": " + e.Problem }

func (e *FieldError) Unwrap() error { return e.Err }

// operationError names the operation and, where there is one, the key.
type operationError struct {
	operation string
	keyID     string
	err       error
}

// wrap makes an operationError of an error that a call returns.
func wrap(err *error, operation, keyID string) {
	if *err != nil {
		*err = failed(operation, keyID, *err)
	}
}

// failed makes an operationError. A malformed id is left out: it is whatever
// was put where an id belongs, which could be a token.
func failed(operation, keyID string, err error) error {
	if checkID(keyID) != nil {
		keyID = ""
	}
	return &operationError{operation, keyID, err}
}

func (e *operationError) Error() string {
	s := "apikey: " + e.operation
	if e.keyID != "" {
		s += " " + e.keyID
	}
	return s + ": " + strings.TrimPrefix(e.err.Error(), "apikey: ")
}

func (e *operationError) Unwrap() error { return e.err }

// Operation returns the name of the call. By it, package apikeyhttp
// distinguishes a key that a call cannot change from one that Validate rejects.
func (e *operationError) Operation() string { return e.operation }
