package apikeyhttp

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/keyturn/apikey"
)

// apiRoute is one thing that the API does.
type apiRoute struct {
	method  string
	pattern string // "{id}" stands for the id of a key

	// handle answers for an owner. The body may hold the members named, nil
	// for none at all; conditional routes take If-Match.
	handle      func(c *apiCall) (reply, error)
	body        []string
	conditional bool

	// open answers in place of handle, to anyone.
	open http.HandlerFunc
}

// apiRoutes are all. What is not here cannot be reached.
var apiRoutes = []apiRoute{
	{method: "GET", pattern: "/openapi.json", open: serveDocument},
	{method: "GET", pattern: "/keys", handle: (*apiCall).list},
	{method: "POST", pattern: "/keys", handle: (*apiCall).issue,
		body: []string{"name", "scopes", "networks", "expires_at", "lifetime_seconds", "reason"}},
	{method: "GET", pattern: "/keys/{id}", handle: (*apiCall).get},
	{method: "PATCH", pattern: "/keys/{id}", handle: (*apiCall).update, conditional: true,
		body: []string{"name", "scopes", "networks", "expires_at", "reason"}},
	{method: "DELETE", pattern: "/keys/{id}", handle: (*apiCall).delete, conditional: true},
	{method: "POST", pattern: "/keys/{id}/disable", handle: (*apiCall).disable, conditional: true, body: []string{"reason"}},
	{method: "POST", pattern: "/keys/{id}/enable", handle: (*apiCall).enable, conditional: true, body: []string{"reason"}},
	{method: "POST", pattern: "/keys/{id}/regenerate", handle: (*apiCall).regenerate, conditional: true, body: []string{"reason"}},
	{method: "POST", pattern: "/keys/{id}/rotate", handle: (*apiCall).rotate, conditional: true, body: []string{"overlap_seconds", "reason"}},
	{method: "POST", pattern: "/keys/{id}/finish", handle: (*apiCall).finish, conditional: true, body: []string{"reason"}},
	{method: "POST", pattern: "/keys/{id}/extend", handle: (*apiCall).extend, conditional: true, body: []string{"overlap_seconds", "reason"}},
	{method: "GET", pattern: "/keys/{id}/credentials", handle: (*apiCall).credentials},
	{method: "GET", pattern: "/keys/{id}/events", handle: (*apiCall).events},
}

// findRoute returns the route of a request, the id in its path, and the methods
// that the path allows: none if there is no such path. http.ServeMux would
// answer some paths with a redirect, which holds the path and, behind
// http.StripPrefix, leads elsewhere.
func findRoute(r *http.Request) (found *apiRoute, id string, allowed []string) {
	// With an escaped slash a path would have other parts here than where the
	// host, or a proxy, has rules for it.
	if strings.Count(r.URL.EscapedPath(), "/") != strings.Count(r.URL.Path, "/") {
		return nil, "", nil
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range apiRoutes {
		route := &apiRoutes[i]
		part, ok := route.match(r.URL.Path)
		if !ok {
			continue
		}
		id = part
		if route.method == method {
			found = route
		}
		allowed = append(allowed, route.method)
		if route.method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	if allowed != nil {
		allowed = append(allowed, http.MethodOptions)
		slices.Sort(allowed)
	}
	return found, id, allowed
}

// match reports whether the route has a path, and which id that names.
func (r *apiRoute) match(path string) (id string, ok bool) {
	before, after, hasID := strings.Cut(r.pattern, "{id}")
	if !hasID {
		return "", path == r.pattern
	}
	rest, ok := strings.CutPrefix(path, before)
	if !ok {
		return "", false
	}
	id, ok = strings.CutSuffix(rest, after)
	return id, ok && id != "" && !strings.Contains(id, "/")
}

// apiCall is a request that was let in.
type apiCall struct {
	context.Context // with the actor
	keys            *apikey.OwnerManager
	owner           string
	request         *http.Request
	id              string
	body            *apiBody
	conditions      []apikey.Condition
}

func (c *apiCall) list() (reply, error) {
	q := readQuery(c.request)
	query := apikey.Query{After: q.text("after"), Limit: int(q.limit()), IncludeDeleted: q.flag("deleted")}
	if q.err != nil {
		return reply{}, q.err
	}
	keys, err := c.keys.List(c, query)
	if err != nil {
		return reply{}, err
	}
	page := keyPage{Keys: make([]keyView, len(keys))}
	for i, key := range keys {
		page.Keys[i] = viewKey(key, c.keys.Now())
	}
	if len(keys) == query.Limit {
		page.Next = keys[len(keys)-1].ID
	}
	return reply{body: page}, nil
}

func (c *apiCall) issue() (reply, error) {
	params := apikey.IssueParams{
		Name:           c.body.text("name"),
		Scopes:         c.body.scopes("scopes"),
		Networks:       c.body.networks("networks"),
		ExpiresAt:      c.body.instant("expires_at"),
		Lifetime:       c.body.seconds("lifetime_seconds"),
		Reason:         c.body.text("reason"),
		IdempotencyKey: c.body.idempotencyKey(c.request.Header),
	}
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	issued, err := c.keys.Issue(c, params)
	c.id = issued.Key.ID
	if errors.Is(err, apikey.ErrExists) && issued.Key.ID != "" {
		p := answerExists.problem
		p.KeyID = issued.Key.ID
		return reply{}, refusal{answer: newProblemAnswer(p, noChallenge)}
	}
	done, err := c.issued(issued, err)
	if err == nil && done.status == 0 {
		// Relative, so that it is right behind any prefix: RFC 9110, section
		// 10.2.2 resolves it against the path that ends in "/keys".
		done.status, done.location = http.StatusCreated, "keys/"+issued.Key.ID
	}
	return done, err
}

func (c *apiCall) get() (reply, error) { return c.key(c.keys.Get(c, c.id)) }

func (c *apiCall) update() (reply, error) {
	var changes apikey.Changes
	if c.body.has("name") {
		changes.Name = new(c.body.text("name"))
	}
	if c.body.has("scopes") {
		changes.Scopes = new(c.body.clearable("scopes").scopes("scopes"))
	}
	if c.body.has("networks") {
		changes.Networks = new(c.body.clearable("networks").networks("networks"))
	}
	if c.body.has("expires_at") {
		changes.ExpiresAt = new(c.body.instant("expires_at"))
	}
	reason := c.body.text("reason")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.key(c.keys.Update(c, c.id, changes, reason, c.conditions...))
}

func (c *apiCall) delete() (reply, error) {
	q := readQuery(c.request)
	reason := q.text("reason")
	if q.err != nil {
		return reply{}, q.err
	}
	return c.key(c.keys.Delete(c, c.id, reason, c.conditions...))
}

func (c *apiCall) disable() (reply, error) {
	reason := c.body.text("reason")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.key(c.keys.Disable(c, c.id, reason, c.conditions...))
}

func (c *apiCall) enable() (reply, error) {
	reason := c.body.text("reason")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.key(c.keys.Enable(c, c.id, reason, c.conditions...))
}

func (c *apiCall) regenerate() (reply, error) {
	reason := c.body.text("reason")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.issued(c.keys.Regenerate(c, c.id, reason, c.conditions...))
}

func (c *apiCall) rotate() (reply, error) {
	reason, overlap := c.body.text("reason"), c.body.required("overlap_seconds").seconds("overlap_seconds")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.issued(c.keys.Rotate(c, c.id, overlap, reason, c.conditions...))
}

func (c *apiCall) finish() (reply, error) {
	reason := c.body.text("reason")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.key(c.keys.FinishRotation(c, c.id, reason, c.conditions...))
}

func (c *apiCall) extend() (reply, error) {
	reason, overlap := c.body.text("reason"), c.body.required("overlap_seconds").seconds("overlap_seconds")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.key(c.keys.ExtendRotation(c, c.id, overlap, reason, c.conditions...))
}

func (c *apiCall) credentials() (reply, error) {
	credentials, err := c.keys.Credentials(c, c.id)
	if err != nil {
		return reply{}, err
	}
	views := make([]credentialView, len(credentials))
	for i, credential := range credentials {
		views[i] = viewCredential(credential)
	}
	return reply{body: credentialList{views}}, nil
}

func (c *apiCall) events() (reply, error) {
	q := readQuery(c.request)
	after, limit := int(q.number("after", 0, 0, maxEvents)), int(q.limit())
	if q.err != nil {
		return reply{}, q.err
	}
	events, err := c.eventsFrom(after, limit)
	if err != nil {
		return reply{}, err
	}
	page := eventPage{Events: make([]eventView, len(events))}
	for i, event := range events {
		page.Events[i] = viewEvent(event)
	}
	if len(events) == limit {
		page.Next = strconv.Itoa(after + limit)
	}
	return reply{body: page}, nil
}

// maxEvents bounds how many events are passed over to find a page.
const maxEvents = 1_000_000

// eventsFrom returns the events of the key after so many of them. Positions are
// counted over all owners, and how many others have is nobody's business, so
// that pages are counted by the key's own events.
func (c *apiCall) eventsFrom(after, limit int) ([]apikey.Event, error) {
	var position apikey.Position
	for after > 0 {
		page, err := c.keys.Events(c, apikey.EventQuery{KeyID: c.id, After: position, Limit: min(after, 1000)})
		if err != nil || len(page) == 0 {
			return nil, err
		}
		after -= len(page)
		position = page[len(page)-1].Position
	}
	return c.keys.Events(c, apikey.EventQuery{KeyID: c.id, After: position, Limit: limit})
}

// key answers with a key.
func (c *apiCall) key(key apikey.Key, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{revision: key.Revision, body: viewKey(key, c.keys.Now())}, nil
}

// issued answers with a new token. One whose outcome is unknown is shown too:
// it may be the only one that works.
func (c *apiCall) issued(issued apikey.Issued, err error) (reply, error) {
	token := tokenView{issued.AccessKey(), issued.AccessSecret().Reveal(), issued.Token.Reveal()}
	switch {
	case errors.Is(err, apikey.ErrOutcomeUnknown) && token.Token != "":
		p := answerOutcomeUnknown.problem
		p.KeyID = issued.Key.ID
		return reply{
			status: p.Status, contentType: problemType, body: unknownView{p, token},
		}, nil
	case err != nil:
		return reply{}, err
	}
	return reply{revision: issued.Key.Revision, body: issuedView{viewKey(issued.Key, c.keys.Now()), token}}, nil
}
