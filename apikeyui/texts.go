package apikeyui

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Texts are what the pages say, by name. A text may hold the names of values
// in braces, as English has them. Texts are plain: what looks like HTML in them
// is shown as it is.
type Texts map[string]string

// English returns the texts that are built in.
func English() Texts { return copyOf(english) }

// German returns the same in German.
func German() Texts { return copyOf(german) }

func copyOf(texts Texts) Texts {
	c := Texts{}
	for name, text := range texts {
		c[name] = text
	}
	return c
}

// problem says what is wrong with texts that replace those of English, or
// nothing.
func (t Texts) problem() string {
	for name, text := range t {
		known, ok := english[name]
		if !ok && !strings.HasPrefix(name, "event.") {
			return fmt.Sprintf("must not hold %q, which English has not", name)
		}
		if !utf8.ValidString(text) {
			return fmt.Sprintf("must be valid UTF-8: %q is not", name)
		}
		for _, value := range values(text) {
			if ok && !strings.Contains(known, value) {
				return fmt.Sprintf("must not hold %s in %q, where English has it not", value, name)
			}
		}
	}
	return ""
}

// values returns what stands in braces, with the braces.
func values(text string) []string {
	var found []string
	for {
		_, rest, ok := strings.Cut(text, "{")
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return found
		}
		found = append(found, "{"+name+"}")
		text = after
	}
}

// say returns a text with its values: pairs of a name and what stands for it.
func (t Texts) say(name string, pairs ...string) string {
	text, ok := t[name]
	if !ok {
		// A kind of event that a newer Manager writes is better shown in
		// English than not at all.
		_, text, _ = strings.Cut(name, ".")
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		text = strings.ReplaceAll(text, "{"+pairs[i]+"}", pairs[i+1])
	}
	return text
}

func unprintable(text string) bool {
	return !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool {
		return !unicode.IsPrint(r) || r == '\u2800' ||
			unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
	})
}
