package apikeyhttp

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/crossorigin"
)

// APIOptions of API. They hold what the host must decide; all but Owner may be
// left at zero.
type APIOptions struct {
	// Owner says on whose keys a request acts, and, for the log, who asks: by
	// the host's own login, never by what the request says of itself. An empty
	// actor stands for the owner. It must be set, and is called once for each
	// request, at the same time by many.
	//
	// An error refuses the request: with 503 if it is an
	// [apikey.ErrUnavailable], else with 403. An empty owner is refused like
	// an error. The text of the error is not shown. What tells a browser to
	// log in, a 401 or a redirect, is the matter of a middleware of the host's
	// before API.
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
	// form; see Options.WriteProblem. It is not asked about the one refusal
	// that holds a token: outcome_unknown of issue, regenerate and rotate.
	WriteProblem func(r *http.Request, p Problem) (contentType string, body []byte)

	// Observe, if set, is told once of each request that Owner was asked
	// about, when it has been answered, at the same time by many: of status
	// and code if it was refused, the owner, the id of the key that was asked
	// for or issued, and the cause of what failed, which no answer shows. If
	// the response has a new token, a panic of Observe is not passed on,
	// because net/http could close the connection before the token is sent.
	Observe func(r *http.Request, o apikey.Observation)
}

// Check returns a *apikey.FieldError for what API refuses in the options, or
// nil. Its fields are "owner" and "origins".
func (o *APIOptions) Check() error {
	_, err := newAPI(o)
	return err
}

// API returns a handler with which owners manage their keys: a JSON interface
// to the calls of an [apikey.OwnerManager]. It is for front ends and programs
// of the owners; whom it serves is decided by APIOptions.Owner alone.
//
//	api := apikeyhttp.API(manager, &apikeyhttp.APIOptions{Owner: session, OwnerOptions: plan})
//	mux.Handle("/account/", http.StripPrefix("/account", api))
//
// The prefix has no slash at its end.
//
// Its paths are below; the document at /openapi.json, which anyone may read,
// says what they take and answer (OpenAPI 3.1).
//
//	GET    /openapi.json
//	GET    /keys                   a page of keys
//	POST   /keys                   Issue; Idempotency-Key
//	GET    /keys/{id}
//	PATCH  /keys/{id}              Update
//	DELETE /keys/{id}              Delete
//	POST   /keys/{id}/disable      Disable
//	POST   /keys/{id}/enable       Enable
//	POST   /keys/{id}/regenerate   Regenerate
//	POST   /keys/{id}/rotate       Rotate
//	POST   /keys/{id}/finish       FinishRotation
//	POST   /keys/{id}/extend       ExtendRotation
//	GET    /keys/{id}/credentials  Credentials
//	GET    /keys/{id}/events       a page of Events, newest first
//
// A token stands in the answers of issue, regenerate and rotate and nowhere
// else. A key of someone else, one that there is not,
// and what cannot be an id are one and the same 404. Rate, metadata and holds
// are the host's: the rate is shown, the metadata is not. Actors and reasons
// are shown, also those of changes that the host has made.
//
// The ETag of a key begins with its revision. A change with If-Match is only
// made at a revision that the field lists. If-None-Match with the current ETag
// of a key, or of the document, makes the response to GET a 304. Preconditions
// follow RFC 9110, section 13. Lists have no ETag, so that only "*" matches
// them.
//
// A page of a list has at most "limit" entries, and "next", if there may be
// more. Give it as "after" to get the next page. It is an opaque string that
// is valid for the same list of the same owner only. Each page costs the same,
// however far into the list it is.
//
// Bodies are JSON of at most 64 KiB. Members and query parameters are rejected
// if they are unknown, occur twice or are spelled in another case. In a POST,
// null is the same as leaving an optional member out. In a PATCH, as in a JSON
// merge patch, null clears scopes and networks. An Idempotency-Key is rejected
// where nothing honors it. Times must be in the form of RFC 3339, with upper-
// case T and Z. Changes asked
// for by pages of other sites are refused, by [http.CrossOriginProtection] and
// because a form cannot send application/json. Refusals are problem details
// (see Problem) and hold nothing of the request.
//
// A damaged key, or event, is left out of a page, which then has the member
// "damaged"; APIOptions.Observe gets the cause.
//
// Options are copied. If the manager is nil or an option is refused, every
// request is answered with status 500 and the reason, as by Authenticate;
// APIOptions.Check tells it at start-up.
func API(m *apikey.Manager, options *APIOptions) http.Handler {
	a, err := newAPI(options)
	if err == nil && m == nil {
		err = &apikey.FieldError{Field: "manager", Problem: "must not be nil"}
	}
	if err != nil {
		return misconfigured(err)(nil)
	}
	a.manager = m
	return a
}

// api is the handler.
type api struct {
	manager *apikey.Manager
	owner   func(*http.Request) (owner, actor string, err error)
	options func(*http.Request, string) (*apikey.OwnerOptions, error) // may be nil
	origins *crossorigin.Protection
	observe func(*http.Request, apikey.Observation)
	config  *config // for refusals
}

func newAPI(o *APIOptions) (*api, error) {
	if o == nil || o.Owner == nil {
		return nil, &apikey.FieldError{Field: "owner", Problem: "must not be nil"}
	}
	origins, err := crossorigin.New(o.Origins...)
	for _, origin := range o.Origins {
		if !isOrigin(origin) || err != nil {
			return nil, &apikey.FieldError{Field: "origins", Problem: "must hold origins like https://app.example.com"}
		}
	}
	c := *defaults
	c.writeProblem = o.WriteProblem
	return &api{owner: o.Owner, options: o.OwnerOptions, origins: origins, observe: o.Observe, config: &c}, nil
}

const idLen = 20

// isID reports whether a text has the form of a key's id, 20 characters of
// base62, so that it may stand in a log.
func isID(text string) bool {
	return len(text) == idLen && !strings.ContainsFunc(text, func(r rune) bool { return r == '-' || notInHeader(r) })
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
		a.config.refuse(w, r, answerNotFound)
	case r.Method == http.MethodOptions:
		a.describe(w, r, path)
	case route == nil:
		w.Header().Set("Allow", path.allow())
		a.config.refuse(w, r, answerMethod)
	case route.open:
		a.serveDocument(w, r, route)
	default:
		a.serve(w, r, route, id)
	}
}

// describe answers OPTIONS. It asks for no owner, because a preflight request
// of a browser carries no login.
func (a *api) describe(w http.ResponseWriter, r *http.Request, path apiPath) {
	if err := path.checkHeaders(r.Header); err != nil {
		a.fail(w, r, apiAnswerTo(err), err)
		return
	}
	if q := readQuery(r, path.query()); q.err != nil {
		a.fail(w, r, apiAnswerTo(q.err), q.err)
		return
	}
	h := w.Header()
	h.Set("Allow", path.allow())
	if path.has(http.MethodPatch) {
		h.Set("Accept-Patch", mediaType)
	}
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// serve answers a request to a route that acts for an owner.
func (a *api) serve(w http.ResponseWriter, r *http.Request, route *apiRoute, id string) {
	c := &apiCall{request: r, id: id}
	var done reply
	err := a.admit(w, c, route)
	if err == nil {
		done, err = route.handle(c)
	}
	if err == nil && route.method == http.MethodGet {
		done, err = c.preconditions.apply(r.Method, done)
	}
	var refused *answer
	if err != nil {
		refused = apiAnswerTo(err)
	}
	if refused == answerMediaType {
		offerMediaType(w.Header(), r)
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
func (a *api) admit(w http.ResponseWriter, c *apiCall, route *apiRoute) error {
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
func (c *apiCall) read(w http.ResponseWriter, route *apiRoute) (err error) {
	r := c.request
	if err := (apiPath{route}).checkHeaders(r.Header); err != nil {
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
func (c *apiCall) observation(done reply, refused *answer, err error) apikey.Observation {
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
		o.Status, o.Code = refused.problem.Status, refused.problem.Code
	}
	return o
}
