package apikeyui

import (
	"regexp"
	"strings"

	"github.com/keyturn/apikey"
)

// What people paste is a token, the access secret that the pages show by itself,
// or a piece of either that a field has cut. The access key is public, so that
// the secret alone is as good as both.
var (
	// tokenPiece is a token, whatever its checksum, from its prefix to the 8th
	// character of the secret. Whatever follows is cut, or is not.
	tokenPiece = regexp.MustCompile(`[a-z0-9]_[0-9A-Za-z]{16}_[0-9A-Za-z]{8}`)

	// secretAlone is a word of as many letters and digits as an access secret
	// has. Of the usual digests and ids none has 38.
	secretAlone = regexp.MustCompile(`(?:^|[^0-9A-Za-z])[0-9A-Za-z]{38}(?:[^0-9A-Za-z]|$)`)
)

// holdsSecret reports whether a text holds what may be a secret: such a text is
// never kept or shown. Of what is random, one in a billion has neither digits
// nor capitals: a name may look so.
func holdsSecret(text string) bool {
	for _, shape := range []*regexp.Regexp{tokenPiece, secretAlone} {
		for from := 0; ; {
			at := shape.FindStringIndex(text[from:])
			if at == nil {
				break
			}
			if strings.ContainsAny(text[from+at[0]:from+at[1]], "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
				return true
			}
			from += at[0] + 1
		}
	}
	return false
}

// maxSearch is longer than any name or access key.
const maxSearch = 255

// withoutSecret returns what to search for: of a text that holds a token the
// access key, of one that holds another secret nothing, which is dropped, and
// any other text as it is, if it is not too long for an address.
func withoutSecret(text string) (search string, dropped bool) {
	for found := range apikey.Scan([]byte(text), "") {
		return found.AccessKey, false
	}
	if holdsSecret(text) {
		return "", true
	}
	text = strings.TrimSpace(text)
	return strings.ToValidUTF8(text[:min(len(text), maxSearch)], ""), false
}

// sameName reports whether a name was typed: spaces are as a page shows them.
func sameName(typed, name string) bool {
	return strings.Join(strings.Fields(asStored(typed)), " ") == strings.Join(strings.Fields(name), " ")
}

// asStored returns a name as the Manager stores it: without the variation
// selector that keyboards add to emoji.
func asStored(name string) string { return strings.ReplaceAll(name, "\ufe0f", "") }
