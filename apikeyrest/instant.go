package apikeyrest

import "time"

// parseInstant reads a date-time of RFC 3339, section 5.6, with upper-case T
// and Z. The package time alone is too lenient: it accepts hours of one digit,
// offsets of 24 hours and fractions after a comma (golang.org/issue/54580).
func parseInstant(text string) (instant time.Time, ok bool) {
	const layout = "0000-00-00T00:00:00"
	if len(text) <= len(layout) {
		return time.Time{}, false
	}
	for i := range len(layout) {
		if c := text[i]; layout[i] == '0' && !isDigit(c) || layout[i] != '0' && c != layout[i] {
			return time.Time{}, false
		}
	}
	rest := text[len(layout):]
	if rest[0] == '.' {
		digits := 1
		for digits < len(rest) && isDigit(rest[digits]) {
			digits++
		}
		if digits == 1 {
			return time.Time{}, false
		}
		rest = rest[digits:]
	}
	if rest != "Z" && !isOffset(rest) {
		return time.Time{}, false
	}
	// It checks the ranges of what is left: a leap second is out of range,
	// because it cannot be known ahead, and time.Time has none.
	instant, err := time.Parse(time.RFC3339, text)
	return instant, err == nil
}

// isOffset reports whether a text is a time-numoffset, from -23:59 to +23:59.
func isOffset(text string) bool {
	return len(text) == len("+00:00") && (text[0] == '+' || text[0] == '-') && text[3] == ':' &&
		isDigit(text[1]) && isDigit(text[2]) && isDigit(text[4]) && isDigit(text[5]) &&
		text[1:3] <= "23" && text[4:] <= "59"
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
