package apikeyhttp

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/keyturn/apikey"
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

	// Scopes, also of the form "orders:*", are all that an owner can give to
	// a key; without any it gives none. A host whose owners have different
	// ones makes an API for each kind.
	Scopes []string

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
	// for or issued, and the cause of what failed, which no answer shows.
	Observe func(r *http.Request, o Observation)
}

// Check returns a *apikey.FieldError for what API refuses in the options, or
// nil. Its fields are "owner", "scopes" and "origins".
func (o *APIOptions) Check() error {
	_, err := newAPI(o)
	return err
}

// API returns a handler with which owners manage their keys: a JSON interface
// to the calls of an [apikey.OwnerManager]. It is for front ends and programs
// of the owners; whom it serves is decided by APIOptions.Owner alone.
//
//	api := apikeyhttp.API(manager, &apikeyhttp.APIOptions{Owner: session, Scopes: []string{"orders:*"}})
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
//	GET    /keys/{id}/events       a page of Events
//
// A token stands in the answers of issue, regenerate and rotate and nowhere
// else. The ETag of a key is its revision, and If-Match with it makes a change
// happen only at that revision. A key of someone else, one that there is not,
// and what cannot be an id are one and the same 404. Rate, metadata and holds
// are the host's: the rate is shown, the metadata is not. Actors and reasons
// are shown, also those of changes that the host has made.
//
// Bodies are JSON of at most 64 KiB, and read strictly: a member that is not
// known, stands twice or is spelled in another case is refused. Changes asked
// for by pages of other sites are refused, by [http.CrossOriginProtection] and
// because a form cannot send application/json. Refusals are problem details
// (see Problem) and hold nothing of the request.
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
	scopes  []string
	origins *http.CrossOriginProtection
	observe func(*http.Request, Observation)
	config  *config // for refusals
}

func newAPI(o *APIOptions) (*api, error) {
	if o == nil || o.Owner == nil {
		return nil, &apikey.FieldError{Field: "owner", Problem: "must not be nil"}
	}
	scopes, err := apikey.NewScopes(o.Scopes...)
	if err != nil {
		return nil, err
	}
	origins := http.NewCrossOriginProtection()
	for _, origin := range o.Origins {
		if !isOrigin(origin) || origins.AddTrustedOrigin(origin) != nil {
			return nil, &apikey.FieldError{Field: "origins", Problem: "must hold origins like https://app.example.com"}
		}
	}
	c := *defaults
	c.writeProblem = o.WriteProblem
	return &api{owner: o.Owner, scopes: scopes.Slice(), origins: origins, observe: o.Observe, config: &c}, nil
}

// isID reports whether a text has the form of a key's id, 20 characters of
// base62, so that it may stand in a log.
func isID(text string) bool {
	return len(text) == 20 && !strings.ContainsFunc(text, func(r rune) bool { return r == '-' || notInHeader(r) })
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
	route, id, allowed := findRoute(r)
	switch {
	case allowed == nil:
		a.config.refuse(w, r, answerNotFound)
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
	case route == nil:
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		a.config.refuse(w, r, answerMethod)
	case route.open != nil:
		route.open(w, r)
	default:
		a.serve(w, r, route, id)
	}
}

// serve answers a request to a route that acts for an owner.
func (a *api) serve(w http.ResponseWriter, r *http.Request, route *apiRoute, id string) {
	c := &apiCall{request: r, id: id}
	var done reply
	err := a.admit(w, c, route)
	if err == nil {
		done, err = route.handle(c)
	}
	var refused *answer
	switch {
	case err == nil:
	case errors.Is(err, apikey.ErrConflict) && len(c.conditions) > 0:
		refused = answerPrecondition
	default:
		refused = apiAnswerTo(err)
	}
	if a.observe != nil {
		defer func() { a.observe(r, c.observation(done, refused, err)) }()
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
	switch {
	case errors.Is(err, apikey.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return refusal{answerNotNow, err}
	case err != nil || owner == "":
		return refusal{answerForbidden, err}
	}
	c.owner = owner
	c.Context = apikey.WithActor(r.Context(), actor)
	c.keys = a.manager.ForOwner(owner, &apikey.OwnerOptions{Scopes: a.scopes})
	if c.body, err = readBody(w, r, route.body); err != nil {
		return err
	}
	if route.conditional {
		c.conditions, err = ifMatch(r.Header)
	}
	return err
}

// observation says what became of a call.
func (c *apiCall) observation(done reply, refused *answer, err error) Observation {
	o := Observation{Owner: c.owner, Err: err, Canceled: errors.Is(c.request.Context().Err(), context.Canceled)}
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
