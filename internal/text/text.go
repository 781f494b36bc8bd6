// Package text says which strings a key may have for people to read, and which
// to compare.
package text

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Problem is what is wrong with a string: a code and a sentence, both as in
// apikey.FieldError. The zero Problem means that nothing is wrong.
type Problem struct{ Code, Text string }

// Visible returns a string for people without U+FE0F, the variation selector that
// ordinary emoji contain and nobody sees. Names, reasons and metadata values
// are stored without it, so that no two of them differ by it alone. Identifiers
// are never changed: one that contains it is rejected, because to cut it would
// make another owner's or actor's identifier out of it.
func Visible(text string) string { return strings.ReplaceAll(text, "\ufe0f", "") }

// Check accepts what people see: valid UTF-8 of at most max bytes, made of
// printable characters ([unicode.IsPrint]) that draw something, the ordinary
// space, and the two joiners where they change how a word is written.
func Check(text string, max int) Problem { return check(text, max, joinerAllowed) }

// CheckIdentifier is Check for a string that is compared, not only shown. It
// accepts no joiner anywhere.
func CheckIdentifier(text string, max int) Problem {
	return check(text, max, func(string, int) bool { return false })
}

func check(text string, max int, joinerAt func(text string, at int) bool) Problem {
	if len(text) > max {
		return Problem{"too_long", "must have at most " + strconv.Itoa(max) + " bytes"}
	}
	if !utf8.ValidString(text) {
		return Problem{"not_utf8", "must be valid UTF-8"}
	}
	for at, r := range text {
		if r == joiner || r == nonJoiner {
			if joinerAt(text, at) {
				continue
			}
		} else if unicode.IsPrint(r) && !invisible(r) {
			continue
		}
		return Problem{"not_printable", "must hold printable characters only"}
	}
	return Problem{}
}

// CheckName is Check for a name. It also rejects spaces at the ends and two in a
// row, by which two names could differ unseen, and more than 4 combining marks in
// a row, which draw over others.
func CheckName(name string, max int) Problem {
	if p := Check(name, max); p != (Problem{}) {
		return p
	}
	if strings.HasPrefix(name, " ") || strings.HasSuffix(name, " ") {
		return Problem{"outer_space", "must not begin or end with a space"}
	}
	if strings.Contains(name, "  ") {
		return Problem{"double_space", "must not contain two spaces in a row"}
	}
	marks := 0
	for _, r := range name {
		switch {
		case r == joiner || r == nonJoiner: // between the marks of one letter
		case !unicode.IsMark(r):
			marks = 0
		default:
			if marks++; marks > 4 {
				return Problem{"too_many_marks", "must not hold more than 4 combining marks in a row"}
			}
		}
	}
	return Problem{}
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
