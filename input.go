package apikey

import (
	"fmt"

	"github.com/keyturn/apikey/internal/text"
)

// The checks in this file run before anything is stored.

const (
	maxOwnerLen  = 255
	maxActorLen  = 255
	maxNameLen   = 200
	maxReasonLen = 500
)

func checkText(field, s string, max int) error { return textError(field, text.Check(s, max)) }

// checkIdentifier is checkText for a string that is compared, not only shown.
func checkIdentifier(field, s string, max int) error {
	return textError(field, text.CheckIdentifier(s, max))
}

func textError(field string, problem text.Problem) error {
	if problem == (text.Problem{}) {
		return nil
	}
	return &FieldError{Field: field, Code: problem.Code, Problem: problem.Text}
}

// checkRequired is checkIdentifier for one that must not be empty.
func checkRequired(field, s string, max int) error {
	if s == "" {
		return &FieldError{Field: field, Code: "required", Problem: "must not be empty"}
	}
	return checkIdentifier(field, s, max)
}

func checkOwner(owner string) error { return checkRequired("owner", owner, maxOwnerLen) }

// checkActor checks the name of whoever makes a change. It may contain joiners,
// as names of people do.
func checkActor(field, actor string) error { return checkText(field, actor, maxActorLen) }

func checkName(name string) error {
	if name == "" {
		return &FieldError{Field: "name", Code: "required", Problem: "must not be empty"}
	}
	return textError("name", text.CheckName(name, maxNameLen))
}

// checkID refuses what cannot be the id of a key. The error is an ErrNotFound
// too: there is no such key.
func checkID(id string) error {
	if len(id) != keyIDLen || !allBase62(id) {
		return &FieldError{Field: "id", Code: "malformed", Problem: "must be the 20 letters and digits of a key's id", Err: ErrNotFound}
	}
	return nil
}

func checkRate(r Rate) error {
	switch {
	case r.Requests < 0 || r.Period < 0:
		return &FieldError{Field: "rate", Code: "negative", Problem: "must not be negative"}
	case r.Requests == 0 && r.Period != 0, r.Requests != 0 && r.Period == 0:
		return &FieldError{Field: "rate", Code: "inconsistent", Problem: "must have both a number of requests and a period, or neither"}
	case r.Period%1000 != 0:
		return &FieldError{Field: "rate", Code: "malformed", Problem: "must have a period of whole microseconds"}
	}
	return nil
}

// checkedMetadata returns the entries as they are stored, or an error.
func checkedMetadata(m map[string]string) (Metadata, error) {
	entries := make(map[string]string, len(m))
	for key, value := range m {
		entries[key] = text.Visible(value)
	}
	if err := checkMetadata(entries); err != nil {
		return Metadata{}, err
	}
	return NewMetadata(entries), nil
}

func checkMetadata(m map[string]string) error {
	if len(m) > maxMetadata {
		return &FieldError{Field: "metadata", Code: "too_many", Problem: fmt.Sprintf("must have at most %d entries", maxMetadata)}
	}
	for key, value := range m {
		if checkRequired("metadata", key, maxMetadataKeyLen) != nil {
			return &FieldError{Field: "metadata", Code: "malformed", Problem: "must have keys of 1 to 64 bytes of printable text"}
		}
		if checkText("metadata", value, maxMetadataValueLen) != nil {
			return &FieldError{Field: "metadata", Code: "malformed", Problem: "must have values of at most 500 bytes of printable text"}
		}
	}
	return nil
}

// checkPage completes the limit of a page.
func checkPage(limit *int) error {
	switch {
	case *limit < 0:
		return &FieldError{Field: "limit", Code: "negative", Problem: "must not be negative"}
	case *limit == 0:
		*limit = defaultPage
	case *limit > maxPage:
		*limit = maxPage
	}
	return nil
}

const (
	defaultPage = 100
	maxPage     = 1000
)
