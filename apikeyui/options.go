package apikeyui

import (
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

// Options of New. Owner must be set; the zero value of any other field is
// its default.
type Options struct {
	// Owner says who is logged in: the owner whose keys are shown, and the
	// actor that the log is to name, which may be empty for the owner itself.
	// It must take both from the host's own session, never from anything that
	// the request could choose. An error is answered with status 503 if it is
	// an apikey.ErrUnavailable or of an ended context, else with 403, and is
	// not shown: a host that wants to send people to its login does so before
	// the handler. It is called at the same time by many requests, once for
	// each, but for those of the style sheet and the script.
	Owner func(r *http.Request) (owner, actor string, err error)

	// Scopes are what can be chosen for a key. No key can be given others
	// here. Without any, keys have none.
	Scopes []Scope

	// OwnerOptions, if set, returns what the owner may give to its keys, such
	// as the scopes and the rate of its plan. An owner can choose those of
	// Scopes that the returned scopes allow: all of "orders:*", for example.
	// Nil options allow none. If it is not set, an owner can choose all of
	// Scopes. An error is answered as an error of Owner is, and invalid options
	// with status 500. It must be safe for concurrent use, and is called once
	// per request, after Owner.
	OwnerOptions func(r *http.Request, owner string) (*apikey.OwnerOptions, error)

	// Overlaps can be chosen for a rotation: different ones of whole minutes.
	// Default 1 hour, 24 hours, 7 days and 30 days. The second one, or else the
	// first, is proposed.
	Overlaps []time.Duration

	// Reasons can be chosen for a regeneration, and are recorded as they
	// stand here: different ones of at most 100 bytes each. Default: those of the texts
	// reason.compromised to reason.precaution.
	Reasons []string

	// MaxLifetime, if set, is the Manager's Options.MaxLifetime, so that the
	// page can say how late a key may expire. The Manager decides.
	MaxLifetime apikey.Period

	// Texts replace those of English, one by one. See also German.
	Texts Texts

	// APIURL, if set, is the address of the host's API that the ready curl
	// line calls with a new key: http or https, without user, quotes, spaces
	// and control characters. Best is one that answers whoever has a key.
	APIURL string

	// Stylesheet, if set, is the address of a style sheet that is loaded after
	// the handler's own: a path on the same origin, as a browser sees it, that
	// begins with a slash. The colours are variables: see
	// the package comment.
	Stylesheet string

	// Header and Footer stand before and after the content of each page. The
	// policy of the page forbids inline scripts and styles in them, and
	// whatever comes from another origin.
	Header, Footer template.HTML

	// Layout, if set, writes the whole page around the content, in place of
	// the handler's own frame with Header and Footer. The handler sets status
	// and header fields, so that the policy stays what it is. An error is
	// answered with status 500. Layout must be safe for concurrent use.
	//
	// The page that is to show a new token is laid out before the token is
	// created, with a placeholder for Content. If Layout fails or panics
	// then, or does not write Content unchanged and once, that page gets the
	// handler's own frame, and Observe gets the error, which is a
	// *LayoutPanic for a panic. If the change is then rejected, Layout is
	// called a second time, for the page that says so.
	Layout func(w io.Writer, r *http.Request, page Page) error

	// Observe, if set, is called for each error of Owner, OwnerOptions and
	// Layout, and for each error that was answered with status 500 or 503. An
	// observation without a status is of a page that was shown without a part.
	// It must be safe for concurrent use. On a page with a new token it is
	// called after the response was written, and a panic of it is not passed
	// on.
	Observe func(r *http.Request, o apikey.Observation)
}

// Scope is one scope that can be chosen for a key.
type Scope struct {
	Name        string // as in apikey.Scopes: "orders:read"
	Description string // for people: "See orders", at most 200 bytes
}

// Page is what a Layout puts its frame around.
type Page struct {
	Title string // plain text

	// Head belongs into the head element: the links to style sheet and script.
	Head template.HTML

	// Content belongs into the body, outside of any form: one div element.
	Content template.HTML
}

// check returns the error of New for the options, or nil.
func (o *Options) check() error {
	refuse := func(field, problem string) error {
		return &apikey.FieldError{Field: field, Code: "malformed", Problem: problem}
	}
	if o == nil {
		return refuse("options", "must not be nil")
	}
	if o.Owner == nil {
		return refuse("owner", "must be set")
	}
	if _, err := apikey.NewScopes(o.scopes()...); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, s := range o.Scopes {
		if seen[s.Name] {
			return refuse("scopes", "must be offered once each")
		}
		seen[s.Name] = true
		if len(s.Description) > 200 {
			return refuse("scopes", "must have descriptions of at most 200 bytes")
		}
	}
	for i, overlap := range o.Overlaps {
		if overlap < time.Minute || overlap%time.Minute != 0 || slices.Contains(o.Overlaps[:i], overlap) {
			return refuse("overlaps", "must be different, and of whole minutes")
		}
	}
	if p := o.MaxLifetime; p.Years < 0 || p.Months < 0 || p.Days < 0 {
		return refuse("max_lifetime", "must not be negative")
	}
	if problem := o.Texts.problem(); problem != "" {
		return refuse("texts", problem)
	}
	reasons := o.completed().Reasons // those of the texts as well
	for i, reason := range reasons {
		if strings.TrimSpace(reason) == "" || len(reason) > 100 || unprintable(reason) || slices.Contains(reasons[:i], reason) {
			return refuse("reasons", "must be different, and of 1 to 100 bytes of printable text")
		}
	}
	if problem := urlProblem(o.APIURL); problem != "" {
		return refuse("api_url", problem)
	}
	if o.Stylesheet != "" && (!strings.HasPrefix(o.Stylesheet, "/") || strings.HasPrefix(o.Stylesheet, "//") ||
		strings.ContainsFunc(o.Stylesheet, notInURL)) {
		return refuse("stylesheet", "must be a path that begins with one slash")
	}
	if o.Layout != nil && o.Header+o.Footer != "" {
		return refuse("layout", "must not be set together with a header or footer")
	}
	return nil
}

// scopes returns the names of the scopes offered.
func (o *Options) scopes() []string {
	var names []string
	for _, s := range o.Scopes {
		names = append(names, s.Name)
	}
	return names
}

// urlProblem says why an address cannot stand between single quotes in a shell
// command, or nothing.
func urlProblem(text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		strings.ContainsFunc(text, notInURL) {
		return "must be an http or https address without user, quotes and spaces"
	}
	return ""
}

func notInURL(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("'\"<>\\`", r) }

// completed returns the options with their defaults, and copies of what a
// caller could change.
func (o *Options) completed() Options {
	c := *o
	c.Scopes = append([]Scope(nil), o.Scopes...)
	c.Texts = English()
	for name, text := range o.Texts {
		c.Texts[name] = text
	}
	c.Overlaps = append([]time.Duration(nil), o.Overlaps...)
	if len(c.Overlaps) == 0 {
		c.Overlaps = []time.Duration{time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}
	}
	c.Reasons = append([]string(nil), o.Reasons...)
	if len(c.Reasons) == 0 {
		for _, name := range []string{"compromised", "personnel", "update", "precaution"} {
			c.Reasons = append(c.Reasons, c.Texts[fmt.Sprintf("reason.%s", name)])
		}
	}
	return c
}
