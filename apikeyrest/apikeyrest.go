package apikeyrest

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/internal/crossorigin"
)

// Options of New. Owner must be set; the zero value of any other field is its
// default.
type Options struct {
	// Owner says on whose keys a request acts, and, for the log, who asks: by
	// the host's own login, never by what the request says of itself. An empty
	// actor stands for the owner. It must be set, and is called once for each
	// request, at the same time by many.
	//
	// An error refuses the request: with 503 if it is an
	// [apikey.ErrUnavailable], else with 403. An empty owner is refused like
	// an error. The text of the error is not shown. What tells a browser to
	// log in, a 401 or a redirect, is the matter of a middleware of the host's
	// before this handler.
	Owner func(r *http.Request) (owner, actor string, err error)

	// OwnerOptions, if set, returns what the owner of a request may give to
	// its keys. Without it, or with nil options, an owner gives no scopes. It
	// is called after Owner, once per request and concurrently. An error
	// rejects the request like one of Owner. Invalid options are status 500.
	OwnerOptions func(r *http.Request, owner string) (*apikey.OwnerOptions, error)

	// Origins are those of the host's other sites, such as
	// "https://app.example.com", whose pages may make changes from a browser.
	// Default none: only pages of the site itself may. What lets those pages
	// read the answers (CORS) is the host's own middleware.
	Origins []string

	// WriteProblem, if set, writes the bodies of refusals in the host's own
	// form; see WriteProblem of
	// [apikeyhttp.Options]. It is not asked about the one refusal
	// that holds a token: outcome_unknown of issue, regenerate and rotate.
	WriteProblem func(r *http.Request, p apikeyhttp.Problem) (contentType string, body []byte)

	// Observe, if set, is told once of each request that Owner was asked
	// about, when it has been answered, at the same time by many: of status
	// and code if it was refused, the owner, the id of the key that was asked
	// for or issued, and the cause of what failed, which no answer shows. If
	// the response has a new token, a panic of Observe is not passed on,
	// because net/http could close the connection before the token is sent.
	Observe func(r *http.Request, o apikey.Observation)
}

// New returns a handler with which owners manage the keys of a Manager. See the
// package comment. Options are copied.
//
// New returns a *apikey.FieldError if the Manager is nil or an option is
// invalid. Its fields are "manager", "options" (nil), "owner" and "origins".
func New(m *apikey.Manager, o *Options) (http.Handler, error) {
	refuse := func(field, problem string) (http.Handler, error) {
		return nil, &apikey.FieldError{Field: field, Code: "malformed", Problem: problem}
	}
	switch {
	case m == nil:
		return refuse("manager", "must not be nil")
	case o == nil:
		return refuse("options", "must not be nil")
	case o.Owner == nil:
		return refuse("owner", "must not be nil")
	}
	origins, err := crossorigin.New(o.Origins...)
	for _, origin := range o.Origins {
		if !isOrigin(origin) || err != nil {
			return refuse("origins", "must hold origins like https://app.example.com")
		}
	}
	return &api{
		manager: m, owner: o.Owner, options: o.OwnerOptions, origins: origins, observe: o.Observe, form: o.WriteProblem,
	}, nil
}

// api is the handler.
type api struct {
	manager *apikey.Manager
	owner   func(*http.Request) (owner, actor string, err error)
	options func(*http.Request, string) (*apikey.OwnerOptions, error) // may be nil
	origins *crossorigin.Protection
	observe func(*http.Request, apikey.Observation)
	form    func(*http.Request, apikeyhttp.Problem) (contentType string, body []byte) // may be nil
}

const idLen = 20

// isID reports whether a text has the form of a key's id, 20 characters of
// base62, so that it may stand in a log.
func isID(text string) bool {
	return len(text) == idLen && !strings.ContainsFunc(text, func(r rune) bool { return !isAlphanumeric(r) })
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// isOrigin reports whether a browser may send a text as the Origin of a page
// (RFC 6454, section 6.2): anything else would never match.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || text != u.Scheme+"://"+u.Host {
		return false
	}
	for _, r := range u.Host {
		if r > '~' || r == '*' || 'A' <= r && r <= 'Z' {
			return false
		}
	}
	usual := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	return u.Hostname() != "" && u.Port() != usual && !strings.HasSuffix(u.Host, ":")
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	route, id, path := findRoute(r)
	switch {
	case path == nil:
		answerNotFound.Write(w, r, a.form)
	case r.Method == http.MethodOptions:
		a.describe(w, r, path)
	case route == nil:
		w.Header().Set("Allow", path.allow())
		answerMethod.Write(w, r, a.form)
	case route.open:
		a.serveDocument(w, r, route)
	default:
		a.serve(w, r, route, id)
	}
}

// describe answers OPTIONS. It asks for no owner, because a preflight request
// of a browser carries no login.
func (a *api) describe(w http.ResponseWriter, r *http.Request, path path) {
	if err := path.checkHeaders(r.Header); err != nil {
		a.fail(w, r, answerTo(err), err)
		return
	}
	if q := readQuery(r, path.query()); q.err != nil {
		a.fail(w, r, answerTo(q.err), q.err)
		return
	}
	h := w.Header()
	h.Set("Allow", path.allow())
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// serve answers a request to a route that acts for an owner.
func (a *api) serve(w http.ResponseWriter, r *http.Request, route *route, id string) {
	c := &call{request: r, id: id}
	var done reply
	err := a.admit(w, c, route)
	if err == nil {
		done, err = route.handle(c)
	}
	if err == nil && route.method == http.MethodGet {
		done, err = c.preconditions.apply(r.Method, done)
	}
	var refused *apikeyhttp.Problem
	if err != nil {
		refused = answerTo(err)
	}
	if a.observe != nil {
		defer func() {
			if done.hasToken() {
				http.NewResponseController(w).Flush() // fails if w cannot be flushed
				defer func() { recover() }()
			}
			a.observe(r, c.observation(done, refused, err))
		}()
	}
	if refused != nil {
		a.fail(w, r, refused, err)
	} else {
		done.write(w, r)
	}
}

// admit decides whether a request may be looked at, and reads it: nothing has
// been asked of the store before it was whole.
func (a *api) admit(w http.ResponseWriter, c *call, route *route) error {
	r := c.request
	if err := a.origins.Check(r); err != nil {
		return refusal{answerCrossOrigin, err}
	}
	owner, actor, err := a.owner(r)
	if err != nil || owner == "" {
		return noOwner(err)
	}
	c.owner = owner
	var options *apikey.OwnerOptions
	if a.options != nil {
		if options, err = a.options(r, owner); err != nil {
			return noOwner(err)
		}
	}
	c.Context = apikey.WithActor(r.Context(), actor)
	c.keys = a.manager.ForOwner(owner, options)
	if err := c.keys.Check(); err != nil {
		return refusal{answerServerError, err} // no fault of the request
	}
	return c.read(w, route)
}

// noOwner rejects a request on whose owner your application did not decide, or
// which it rejected.
func noOwner(err error) refusal {
	if errors.Is(err, apikey.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return refusal{answerNotNow, err}
	}
	return refusal{answerForbidden, err}
}

// read reads all parts of a request.
func (c *call) read(w http.ResponseWriter, route *route) (err error) {
	r := c.request
	if err := (path{route}).checkHeaders(r.Header); err != nil {
		return err
	}
	if c.query = readQuery(r, route.query); c.query.err != nil {
		return c.query.err
	}
	if c.body, err = readBody(w, r, route); err != nil {
		return err
	}
	c.preconditions, err = readPreconditions(r.Header)
	return err
}

// observation says what became of a call.
func (c *call) observation(done reply, refused *apikeyhttp.Problem, err error) apikey.Observation {
	o := apikey.Observation{Owner: c.owner, Err: err, Canceled: errors.Is(c.request.Context().Err(), context.Canceled)}
	if err == nil {
		o.Err = done.damaged
	}
	if isID(c.id) {
		o.KeyID = c.id
	}
	if refusal, ok := errors.AsType[refusal](err); ok {
		o.Err = refusal.cause
	}
	if p, ok := done.body.(unknownView); ok {
		o.Status, o.Code = p.Status, p.Code
	}
	if refused != nil {
		o.Status, o.Code = refused.Status, refused.Code
	}
	return o
}
