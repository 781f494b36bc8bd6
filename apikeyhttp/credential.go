package apikeyhttp

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// Carrier is a way in which a request carries its key, or several of them:
// Bearer | Basic.
type Carrier uint8

const (
	// Bearer is Authorization: Bearer <token>, RFC 6750.
	Bearer Carrier = 1 << iota

	// Header is a header that holds nothing but a token; see Options.Header.
	Header

	// Basic is Authorization: Basic, RFC 7617, with the access key as user
	// and the access secret as password. It is not among the defaults: its
	// challenge makes browsers ask for a password, also for a request that a
	// script of a page makes, and browsers send a password that they have
	// stored with requests that other sites cause. A request with Basic
	// credentials must therefore pass [http.CrossOriginProtection]; see the
	// package comment.
	Basic

	// Query is a parameter of the query; see Options.Parameter. It is not
	// among the defaults, and it is not safe: a URL, with the key in it, ends
	// up in logs, in histories, in bookmarks, and in the Referer of other
	// requests (RFC 6750, sections 2.3 and 5.3). It is meant for callers that
	// can set no header, with keys that may do little.
	Query

	carriers // one more than all of them
)

// String returns the names of the carriers, separated by commas: "bearer",
// "header", "basic", "query".
func (c Carrier) String() string {
	var names []string
	for i, name := range [...]string{"bearer", "header", "basic", "query"} {
		if c&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// The rest of this file reads credentials: pure functions of the request. One
// rule draws the line between the refusals: whether a request holds exactly
// one credential is a matter of its syntax, and else it is a bad request. What
// stands in that one credential is a token or not, and who guesses learns
// nothing from how it is not.

// maxCredential bounds what is looked at. A token has at most 76 bytes; keys
// that a host brought along from elsewhere may be longer.
const maxCredential = 4096

// credential returns the token that a request carries and what it came by, or
// the refusal of the request. The token is a part of the request's text,
// except by Basic. With answerInvalidToken it is the text in the place of a
// token, so that equal ones are recognized; it must not be used as a token.
func (c *config) credential(r *http.Request) (string, Carrier, *answer) {
	var authorization, own, parameters []string
	if c.carriers&(Bearer|Basic) != 0 {
		authorization = r.Header["Authorization"]
	}
	if c.carriers&Header != 0 {
		own = r.Header[c.header]
	}
	if c.carriers&Query != 0 && r.URL != nil && r.URL.RawQuery != "" {
		var ok bool
		if parameters, ok = queryValues(r.URL.RawQuery, c.parameter); !ok {
			// What others would read in it is not known.
			return "", 0, answerInvalidRequest
		}
	}
	switch {
	case len(authorization)+len(own)+len(parameters) > 1:
		return "", 0, answerInvalidRequest
	case len(own) == 1:
		token, refused := single(own[0])
		return token, Header, refused
	case len(parameters) == 1:
		token, refused := single(parameters[0])
		return token, Query, refused
	case len(authorization) == 0:
		return "", 0, answerNoCredential
	}

	scheme, rest, _ := strings.Cut(authorization[0], " ")
	rest = strings.TrimLeft(rest, " ")
	switch {
	case c.carriers&Bearer != 0 && is(scheme, "Bearer"):
		token, refused := single(rest)
		return token, Bearer, refused
	case c.carriers&Basic != 0 && is(scheme, "Basic"):
		text, refused := single(rest)
		if refused != nil {
			return text, Basic, refused
		}
		token, refused := pair(text)
		return token, Basic, refused
	case !isScheme(scheme):
		// Nothing, a list, or a colon or tab in place of the space.
		return "", 0, answerInvalidRequest
	}
	return "", 0, answerNoCredential
}

// is compares schemes, which have no case. EqualFold alone would take "ſ" for
// an s, which has two bytes.
func is(scheme, want string) bool {
	return len(scheme) == len(want) && strings.EqualFold(scheme, want)
}

// isScheme reports whether a text is a token as in RFC 9110, section 5.6.2.
func isScheme(text string) bool { return text != "" && tokenLength(text) == len(text) }

// tokenLength returns the length of the token at the beginning of a text.
func tokenLength(text string) int {
	for i := range len(text) {
		if c := text[i]; notInHeader(rune(c)) && strings.IndexByte("!#$%&'*+.^_`|~", c) < 0 {
			return i
		}
	}
	return len(text)
}

// single takes the text of one credential.
func single(text string) (string, *answer) {
	if text == "" {
		return "", answerInvalidRequest
	}
	var found uint8
	for i := range len(text) {
		found |= kinds[text[i]]
	}
	switch {
	case found&separator != 0:
		return "", answerInvalidRequest
	case found&invisible != 0 || len(text) > maxCredential:
		return text, answerInvalidToken
	}
	return text, nil
}

// kinds has those of all bytes, so that looking at a text takes no branch on
// any: 0 is a visible character of ASCII.
var kinds = func() (kinds [256]uint8) {
	for c := range kinds {
		if c <= ' ' || c > '~' {
			kinds[c] = invisible
		}
	}
	kinds[' '], kinds['\t'], kinds[','] = separator, separator, separator
	return kinds
}()

const (
	invisible = 1 << iota
	separator
)

// pair takes the credentials of Basic, in base64, together to a token. Strict
// decoding leaves one way to write them.
func pair(encoded string) (string, *answer) {
	text, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return encoded, answerInvalidToken
	}
	// A token could be cut in two at any underscore. The access secret is
	// what follows the last one.
	user, password, _ := strings.Cut(string(text), ":")
	if user == "" || password == "" || strings.Contains(password, "_") {
		return encoded, answerInvalidToken
	}
	token := user + "_" + password
	if !visible(token) {
		return encoded, answerInvalidToken
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
