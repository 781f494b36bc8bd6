package apikeyhttp

import (
	"net/url"
	"strings"
)

// This file reads queries as url.ParseQuery does, without a map of all their
// parameters, which took up to 29 times as much memory as the query has bytes.

// maxParameters is the default of net/url (GODEBUG urlmaxqueryparams).
const maxParameters = 10_000

// queryValues returns the values of one parameter, two at most, and whether the
// whole query is well-formed.
func queryValues(query, name string) (values []string, ok bool) {
	if strings.Count(query, "&") >= maxParameters {
		return nil, false
	}
	for pair := range strings.SplitSeq(query, "&") {
		writtenName, written, _ := strings.Cut(pair, "=")
		if strings.Contains(pair, ";") || !unescapable(writtenName) || !unescapable(written) {
			return nil, false
		}
		if pair == "" || !isParameter(writtenName, name) {
			continue
		}
		value, err := url.QueryUnescape(written)
		if err != nil {
			return nil, false
		}
		if len(values) < 2 {
			values = append(values, value)
		}
	}
	return values, true
}

// unescapable reports whether a part of a query is well-formed.
func unescapable(written string) bool {
	for {
		_, rest, found := strings.Cut(written, "%")
		if !found {
			return true
		}
		if len(rest) < 2 || !isHex(rest[0]) || !isHex(rest[1]) {
			return false
		}
		written = rest[2:]
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// isParameter reports whether a name in a query is that of a parameter.
func isParameter(written, name string) bool {
	if len(written) > 3*len(name) {
		return false // longer than the name with each byte escaped
	}
	read, err := url.QueryUnescape(written)
	return err == nil && read == name
}

// withoutParameter takes a parameter out of a query and leaves the rest as it
// was written.
func withoutParameter(query, name string) string {
	var kept strings.Builder
	separator := ""
	for pair := range strings.SplitSeq(query, "&") {
		if written, _, _ := strings.Cut(pair, "="); isParameter(written, name) {
			continue
		}
		if kept.Cap() == 0 {
			kept.Grow(len(query))
		}
		kept.WriteString(separator)
		kept.WriteString(pair)
		separator = "&"
	}
	return kept.String()
}

// maxReferer bounds what is parsed. Browsers cut a longer Referer to the origin
// of the page.
const maxReferer = 4096

// refersTo reports whether the address of a page may name the parameter.
func refersTo(page, name string) bool {
	if len(page) > maxReferer {
		return true
	}
	u, err := url.Parse(page)
	if err != nil || u.Fragment != "" { // no browser sends a fragment
		return true
	}
	values, ok := queryValues(u.RawQuery, name)
	return !ok || len(values) > 0
}
