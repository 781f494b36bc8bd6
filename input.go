package apikey

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a text may hold is decided here, once, before anything is stored.

const (
	maxOwnerLen  = 255
	maxActorLen  = 255
	maxNameLen   = 200
	maxReasonLen = 500
)

// checkText refuses what is not valid UTF-8, longer than max bytes, or holds a
// control, a line break, a direction override, another space than the ordinary
// one ([unicode.IsPrint]), or one of the letters that are blank.
func checkText(field, text string, max int) error {
	if len(text) > max {
		return &FieldError{Field: field, Problem: "must have at most " + strconv.Itoa(max) + " bytes"}
	}
	if !utf8.ValidString(text) {
		return &FieldError{Field: field, Problem: "must be valid UTF-8"}
	}
	for _, r := range text {
		if !unicode.IsPrint(r) || strings.ContainsRune(blankLetters, r) {
			return &FieldError{Field: field, Problem: "must hold printable characters only"}
		}
	}
	return nil
}

// blankLetters are the Hangul fillers and the empty Braille pattern: letters and
// symbols by their category that draw nothing.
const blankLetters = "\u115f\u1160\u3164\uffa0\u2800"

func checkRequired(field, text string, max int) error {
	if text == "" {
		return &FieldError{Field: field, Problem: "must not be empty"}
	}
	return checkText(field, text, max)
}

// checkName also refuses spaces at the ends, by which two names could differ
// unseen, and more than 4 combining marks in a row, which draw over others.
func checkName(name string) error {
	if err := checkRequired("name", name, maxNameLen); err != nil {
		return err
	}
	if name[0] == ' ' || name[len(name)-1] == ' ' {
		return &FieldError{Field: "name", Problem: "must not begin or end with a space"}
	}
	marks := 0
	for _, r := range name {
		if !unicode.IsMark(r) {
			marks = 0
		} else if marks++; marks > 4 {
			return &FieldError{Field: "name", Problem: "must not hold more than 4 combining marks in a row"}
		}
	}
	return nil
}

// checkID refuses what cannot be the id of a key. The error is an ErrNotFound
// too: there is no such key.
func checkID(id string) error {
	if len(id) != keyIDLen || !allBase62(id) {
		return &FieldError{Field: "id", Problem: "must be the 20 letters and digits of a key's id", Err: ErrNotFound}
	}
	return nil
}

func checkRate(r Rate) error {
	switch {
	case r.Requests < 0 || r.Period < 0:
		return &FieldError{Field: "rate", Problem: "must not be negative"}
	case r.Requests == 0 && r.Period != 0, r.Requests != 0 && r.Period == 0:
		return &FieldError{Field: "rate", Problem: "must have both a number of requests and a period, or neither"}
	case r.Period%1000 != 0:
		return &FieldError{Field: "rate", Problem: "must have a period of whole microseconds"}
	}
	return nil
}

func checkMetadata(m map[string]string) error {
	if len(m) > maxMetadata {
		return &FieldError{Field: "metadata", Problem: fmt.Sprintf("must have at most %d entries", maxMetadata)}
	}
	for key, value := range m {
		if err := checkRequired("metadata", key, maxMetadataKeyLen); err != nil {
			return &FieldError{Field: "metadata", Problem: "must have keys of 1 to 64 bytes of printable text"}
		}
		if err := checkText("metadata", value, maxMetadataValueLen); err != nil {
			return &FieldError{Field: "metadata", Problem: "must have values of at most 500 bytes of printable text"}
		}
	}
	return nil
}

// checkPeriod refuses periods that are not positive or leave the calendar.
func checkPeriod(field string, p Period) error {
	const years = 9999
	if p.Years < 0 || p.Months < 0 || p.Days < 0 || p == (Period{}) {
		return &FieldError{Field: field, Problem: "must be positive"}
	}
	if p.Years > years || p.Months > 12*years || p.Days > 366*years {
		return &FieldError{Field: field, Problem: "must be at most 9999 years"}
	}
	return nil
}

// checkPage completes the limit of a page.
func checkPage(limit *int) error {
	switch {
	case *limit < 0:
		return &FieldError{Field: "limit", Problem: "must not be negative"}
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
