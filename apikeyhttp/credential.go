package apikeyhttp

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// This file reads credentials: pure functions of the headers. One rule draws
// the line between the refusals: whether a request holds exactly one
// credential is a matter of its syntax, and else it is a bad request. What
// stands in that one credential is a token or not, and who guesses learns
// nothing from how it is not.

// maxCredential bounds what is looked at. A token has at most 76 bytes; keys
// that a host brought along from elsewhere may be longer.
const maxCredential = 4096

// token returns the token that the headers carry, or the refusal of the
// request. It is a part of one header value, except by Basic.
func (c *config) token(h http.Header) (string, *answer) {
	var authorization, own []string
	if c.carriers&(Bearer|Basic) != 0 {
		authorization = h["Authorization"]
	}
	if c.carriers&Header != 0 {
		own = h[c.header]
	}
	switch {
	case len(authorization)+len(own) > 1:
		return "", answerInvalidRequest
	case len(own) == 1:
		return single(own[0])
	case len(authorization) == 0:
		return "", answerNoCredential
	}

	scheme, rest, _ := strings.Cut(authorization[0], " ")
	rest = strings.TrimLeft(rest, " ")
	switch {
	case c.carriers&Bearer != 0 && is(scheme, "Bearer"):
		return single(rest)
	case c.carriers&Basic != 0 && is(scheme, "Basic"):
		text, refused := single(rest)
		if refused != nil {
			return "", refused
		}
		return pair(text)
	case scheme == "" || strings.Contains(scheme, ","):
		// Nothing, or a list, where a scheme should be.
		return "", answerInvalidRequest
	}
	return "", answerNoCredential
}

// is compares schemes, which have no case. EqualFold alone would take "ſ" for
// an s, which has two bytes.
func is(scheme, want string) bool {
	return len(scheme) == len(want) && strings.EqualFold(scheme, want)
}

// single takes the text of one credential.
func single(text string) (string, *answer) {
	ok := len(text) <= maxCredential
	for i := range len(text) {
		switch c := text[i]; {
		case c == ' ', c == '\t', c == ',':
			return "", answerInvalidRequest
		case c < ' ' || c > '~':
			ok = false
		}
	}
	switch {
	case text == "":
		return "", answerInvalidRequest
	case !ok:
		return "", answerInvalidToken
	}
	return text, nil
}

// pair takes the credentials of Basic, in base64, together to a token. Strict
// decoding leaves one way to write them.
func pair(encoded string) (string, *answer) {
	text, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", answerInvalidToken
	}
	// A token could be cut in two at any underscore. The access secret is
	// what follows the last one.
	user, password, _ := strings.Cut(string(text), ":")
	if user == "" || password == "" || strings.Contains(password, "_") {
		return "", answerInvalidToken
	}
	token := user + "_" + password
	if !visible(token) {
		return "", answerInvalidToken
	}
	return token, nil
}

// visible reports whether a text holds visible ASCII characters only.
func visible(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
