package apikeyrest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// query is the query of a request. Like body it keeps the first error.
type query struct {
	values url.Values
	err    error
}

// readQuery reads a query with the parameters named, each at most once, and no
// others.
func readQuery(r *http.Request, known []string) *query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	q := &query{values: values}
	if err != nil {
		q.refuse("query", "must be well formed")
		return q
	}
	for name := range values {
		if !slices.Contains(known, name) {
			q.refuse("query", unknownParameter(known))
			return q
		}
	}
	for _, name := range known {
		if len(values[name]) > 1 {
			q.refuse(name, "must not occur more than once")
		}
	}
	return q
}

func unknownParameter(known []string) string {
	if len(known) == 0 {
		return "must be empty"
	}
	return "must not have other parameters than " + strings.Join(known, ", ")
}

func (q *query) refuse(field, problem string) {
	if q.err == nil {
		q.err = refuseField(field, problem)
	}
}

func (q *query) text(name string) string {
	text := q.values.Get(name)
	if strings.ContainsRune(text, utf8.RuneError) { // or not UTF-8
		q.refuse(name, "must hold Unicode characters only, without U+FFFD")
	}
	return text
}

func (q *query) flag(name string) bool {
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

const defaultPage, maxPage = 100, 1000

// limit reads the length of a page.
func (q *query) limit() int {
	text := q.text("limit")
	if !q.values.Has("limit") {
		return defaultPage
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPage || text != strconv.Itoa(n) {
		q.refuse("limit", "must be a number from 1 to "+strconv.Itoa(maxPage))
	}
	return n
}
