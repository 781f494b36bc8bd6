package apikeyhttp

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/keyturn/apikey"
)

// apiQuery is the query of a request. Like apiBody it keeps the first error.
// Parameters that nobody asks for are passed over: they may be the host's.
type apiQuery struct {
	values url.Values
	err    error
}

func readQuery(r *http.Request) *apiQuery {
	values, err := url.ParseQuery(r.URL.RawQuery)
	q := &apiQuery{values: values}
	if err != nil {
		q.refuse("query", "must be well formed")
	}
	return q
}

func (q *apiQuery) refuse(field, problem string) {
	if q.err == nil {
		q.err = refuseField(field, problem)
	}
}

func (q *apiQuery) text(name string) string {
	values := q.values[name]
	if len(values) > 1 {
		q.refuse(name, "must not stand more than once")
	}
	if len(values) == 0 {
		return ""
	}
	if strings.ContainsRune(values[0], utf8.RuneError) { // or not UTF-8
		q.refuse(name, "must hold Unicode characters only, without U+FFFD")
	}
	return values[0]
}

func (q *apiQuery) flag(name string) bool {
	switch q.text(name) {
	case "true":
		return true
	case "false":
		return false
	}
	if q.values.Has(name) {
		q.refuse(name, "must be true or false")
	}
	return false
}

// number reads a number of decimal digits, in a range.
func (q *apiQuery) number(name string, missing, least, most int64) int64 {
	text := q.text(name)
	if !q.values.Has(name) {
		return missing
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || text[0] == '+' || n < least || n > most {
		q.refuse(name, "must be a number from "+strconv.FormatInt(least, 10)+" to "+strconv.FormatInt(most, 10))
		return missing
	}
	return n
}

// limit reads the length of a page: what apikey takes for none, and the most
// that it gives.
func (q *apiQuery) limit() int64 { return q.number("limit", 100, 1, 1000) }

// ifMatch reads the condition of a change (RFC 9110, section 13.1.1): one
// strong entity-tag, as the ETag of a key is, or "*" for any. Of a list it
// could not be said which revision the caller has seen.
func ifMatch(h http.Header) ([]apikey.Condition, error) {
	lines := h["If-Match"]
	if len(lines) == 0 {
		return nil, nil
	}
	tag := strings.Trim(lines[0], " \t")
	if len(lines) == 1 && tag == "*" {
		return nil, nil
	}
	revision, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
	if len(lines) != 1 || err != nil || revision < 1 || tag != entityTag(revision) {
		return nil, refuseField("If-Match", `must be "*" or one ETag of the key`)
	}
	return []apikey.Condition{apikey.IfRevision(revision)}, nil
}

// entityTag is the ETag of a key at a revision. It names what a change is
// decided on. Usage and the passing of time do not change it; no cache depends
// on it, since no answer may be stored.
func entityTag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }
