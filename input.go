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

// visible returns a text for people without U+FE0F, the variation selector that
// ordinary emoji contain and nobody sees. Names, reasons and metadata values
// are stored without it, so that no two of them differ by it alone. Identifiers
// are never changed: one that contains it is rejected, because to cut it would
// make another owner's or actor's identifier out of it.
func visible(text string) string { return strings.ReplaceAll(text, "\ufe0f", "") }

// checkText accepts what people see: valid UTF-8 of at most max bytes, made of
// printable characters ([unicode.IsPrint]) that draw something, the ordinary
// space, and the two joiners where they change how a word is written.
func checkText(field, text string, max int) error {
	return checkRunes(field, text, max, joinerAllowed)
}

// checkIdentifier is checkText for a text that is compared, not only shown: it
// accepts no joiner anywhere.
func checkIdentifier(field, text string, max int) error {
	return checkRunes(field, text, max, func(string, int) bool { return false })
}

func checkRunes(field, text string, max int, joinerAt func(text string, at int) bool) error {
	if len(text) > max {
		return &FieldError{Field: field, Code: "too_long", Problem: "must have at most " + strconv.Itoa(max) + " bytes"}
	}
	if !utf8.ValidString(text) {
		return &FieldError{Field: field, Code: "not_utf8", Problem: "must be valid UTF-8"}
	}
	for at, r := range text {
		if r == joiner || r == nonJoiner {
			if joinerAt(text, at) {
				continue
			}
		} else if unicode.IsPrint(r) && !invisible(r) {
			continue
		}
		return &FieldError{Field: field, Code: "not_printable", Problem: "must hold printable characters only"}
	}
	return nil
}

// invisible reports whether a rune that unicode.IsPrint accepts draws nothing.
// The two properties are Default_Ignorable_Code_Point without the format
// characters, which IsPrint rejects: fillers, inherent vowels, the grapheme
// joiner and all variation selectors.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) ||
		strings.ContainsRune(blankSymbols, r)
}

// blankSymbols are the characters that draw nothing although they are not
// ignorable: the empty Braille pattern, the Khitan filler, two blank
// hieroglyphs, and the null notehead.
const blankSymbols = "\u2800\U00016fe4\U00013441\U00013442\U0001d159"

// checkRequired is checkIdentifier for one that must not be empty.
func checkRequired(field, text string, max int) error {
	if text == "" {
		return &FieldError{Field: field, Code: "required", Problem: "must not be empty"}
	}
	return checkIdentifier(field, text, max)
}

func checkOwner(owner string) error { return checkRequired("owner", owner, maxOwnerLen) }

// checkActor checks the name of whoever makes a change. It may contain joiners,
// as names of people do.
func checkActor(field, actor string) error { return checkText(field, actor, maxActorLen) }

// checkName also rejects spaces at the ends and two in a row, by which two
// names could differ unseen, and more than 4 combining marks in a row, which
// draw over others.
func checkName(name string) error {
	if name == "" {
		return &FieldError{Field: "name", Code: "required", Problem: "must not be empty"}
	}
	if err := checkText("name", name, maxNameLen); err != nil {
		return err
	}
	if name[0] == ' ' || name[len(name)-1] == ' ' {
		return &FieldError{Field: "name", Code: "outer_space", Problem: "must not begin or end with a space"}
	}
	if strings.Contains(name, "  ") {
		return &FieldError{Field: "name", Code: "double_space", Problem: "must not contain two spaces in a row"}
	}
	marks := 0
	for _, r := range name {
		switch {
		case r == joiner || r == nonJoiner: // between the marks of one letter
		case !unicode.IsMark(r):
			marks = 0
		default:
			if marks++; marks > 4 {
				return &FieldError{Field: "name", Code: "too_many_marks", Problem: "must not hold more than 4 combining marks in a row"}
			}
		}
	}
	return nil
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
		entries[key] = visible(value)
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
