package apikeyhttp

import (
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

// Options of New. The zero value of a field is its
// default.
type Options struct {
	// Carriers are the ways in which a request may carry its key. Default
	// Bearer | Header.
	Carriers Carrier

	// Header is the name of the header that the carrier Header reads. Default
	// X-API-Key. At most 100 letters, digits and hyphens. The name must end in
	// Key or Token. It must not begin with Sec- or Proxy-, or be one that
	// carries something else, such as Idempotency-Key or X-CSRF-Token.
	Header string

	// Parameter is the name of the query parameter that the carrier Query
	// reads. Default api_key. At most 100 letters, digits, hyphens and
	// underscores.
	Parameter string

	// Realm names what is protected, in challenges: at most 100 characters of
	// printable ASCII without quote and backslash. Default "api".
	Realm string

	// TrustedProxies are the addresses of the host's own proxies: of those
	// that write ProxyHeader, and that are believed. Default none: the
	// address of a client is that of its connection. See the package comment.
	// A prefix of all addresses, which would believe anyone, is refused.
	TrustedProxies []netip.Prefix

	// ProxyHeader is the header that the trusted proxies write:
	// "X-Forwarded-For" or "Forwarded" (RFC 7239). Only this one is read; the
	// other could come from anyone. Default X-Forwarded-For.
	ProxyHeader string

	// Limiter, if set, decides how many requests a key may make, and how many
	// bad keys a client may try. Package apikeylimit has one.
	Limiter Limiter

	// WriteProblem, if set, writes the bodies of refusals in the host's own
	// form: it returns one with its media type, or an empty media type for
	// that of this package. Status and headers stay as the package comment
	// has them. It is called at the same time by many requests.
	WriteProblem func(r *http.Request, p Problem) (contentType string, body []byte)

	// Now returns the time. Default time.Now. It bounds how long stacked guards
	// use one decision.
	Now func() time.Time

	// Observe, if set, is called once per request when it has been answered,
	// also if the handler panicked. It is called concurrently. Of guards that
	// are stacked on one request the outermost that has an Observe calls it.
	// The Observation never contains the token; the request does.
	Observe func(r *http.Request, o apikey.Observation)
}

// config is Options, checked and completed, with the Validator.
type config struct {
	validator apikey.Validator

	carriers     Carrier
	header       string // in canonical form
	headerName   string // as the host has it
	parameter    string
	realm        string
	challenges   map[*answer][]string
	proxies      []netip.Prefix
	proxyHeader  string // in canonical form
	limiter      Limiter
	writeProblem func(*http.Request, Problem) (string, []byte)
	observe      func(*http.Request, apikey.Observation)
	now          func() time.Time
}

// defaults is the config of nil Options.
var defaults = &config{
	carriers: Bearer | Header, header: "X-Api-Key", headerName: "X-API-Key", parameter: "api_key", realm: "api",
	proxyHeader: "X-Forwarded-For", now: time.Now,
}

func newConfig(options *Options) (*config, error) {
	c := *defaults
	if options == nil {
		return &c, nil
	}
	refuse := func(field, problem string) (*config, error) {
		return nil, &apikey.FieldError{Field: field, Code: "malformed", Problem: problem}
	}
	if options.Carriers >= carriers {
		return refuse("carriers", "must be some of Bearer, Header, Basic and Query")
	}
	if options.Carriers != 0 {
		c.carriers = options.Carriers
	}
	if options.Header != "" {
		c.header, c.headerName = http.CanonicalHeaderKey(options.Header), options.Header
		if problem := headerProblem(c.header); problem != "" {
			return refuse("header", problem)
		}
	}
	if options.Parameter != "" {
		c.parameter = options.Parameter
		if len(c.parameter) > 100 || strings.ContainsFunc(c.parameter, func(r rune) bool { return r != '_' && notInHeader(r) }) {
			return refuse("parameter", "must have at most 100 letters, digits, hyphens and underscores")
		}
	}
	if options.Realm != "" {
		c.realm = options.Realm
		if len(c.realm) > 100 || strings.ContainsFunc(c.realm, unquotable) {
			return refuse("realm", "must have at most 100 characters of printable ASCII without quote and backslash")
		}
	}
	for _, p := range options.TrustedProxies {
		p, problem := proxyPrefix(p)
		if problem != "" {
			return refuse("trusted_proxies", problem)
		}
		c.proxies = append(c.proxies, p)
	}
	if options.ProxyHeader != "" {
		c.proxyHeader = http.CanonicalHeaderKey(options.ProxyHeader)
		if c.proxyHeader != "X-Forwarded-For" && c.proxyHeader != "Forwarded" {
			return refuse("proxy_header", "must be X-Forwarded-For or Forwarded")
		}
		if len(c.proxies) == 0 {
			return refuse("proxy_header", "must not be set without trusted proxies")
		}
	}
	if isNil(options.Limiter) && options.Limiter != nil {
		return refuse("limiter", "must not be a nil pointer")
	}
	if options.Now != nil {
		c.now = options.Now
	}
	c.limiter, c.writeProblem, c.observe = options.Limiter, options.WriteProblem, options.Observe
	return &c, nil
}

// isNil reports whether there is nothing in an interface, or a pointer to
// nothing, whose methods would panic.
func isNil(value any) bool {
	v := reflect.ValueOf(value)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// headerProblem says why a header in canonical form cannot carry keys, or
// nothing. The last word must say that it carries one: no list of the headers
// that HTTP, proxies and frameworks give a meaning to would be complete.
func headerProblem(name string) string {
	switch {
	case strings.ContainsFunc(name, notInHeader):
		return "must hold letters, digits and hyphens only"
	case len(name) > 100:
		return "must have at most 100 characters"
	case !strings.HasSuffix(strings.ToLower(name), "key") && !strings.HasSuffix(strings.ToLower(name), "token"):
		return "must end in Key or Token"
	case strings.HasPrefix(name, "Sec-") || strings.HasPrefix(name, "Proxy-") || slices.Contains(otherKeys, name):
		return "must not be a header with a meaning of its own"
	}
	return ""
}

// otherKeys end in Key or Token, and carry something else.
var otherKeys = []string{"Idempotency-Key", "Surrogate-Key", "X-Csrf-Token", "X-Xsrf-Token"}

func notInHeader(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-')
}

// unquotable tells what cannot stand in a quoted-string of RFC 9110 as it is.
func unquotable(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }
