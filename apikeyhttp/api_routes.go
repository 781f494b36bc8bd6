package apikeyhttp

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/cursor"
	"github.com/keyturn/apikey/internal/eventpage"
)

// apiRoute is one thing that the API does.
type apiRoute struct {
	method  string
	pattern string // "{id}" stands for the id of a key

	// handle answers for an owner. The body and the query may have the members
	// and parameters named, with a nil body none at all.
	handle func(c *apiCall) (reply, error)
	body   []string
	query  []string

	idempotent bool // takes Idempotency-Key
	open       bool // the document, which anyone may read
}

var withReason = []string{"reason"}

// apiRoutes are all. What is not here cannot be reached.
var apiRoutes = []apiRoute{
	{method: "GET", pattern: "/openapi.json", open: true},
	{method: "GET", pattern: "/keys", handle: (*apiCall).list, query: []string{"after", "deleted", "limit"}},
	{method: "POST", pattern: "/keys", handle: (*apiCall).issue, idempotent: true,
		body: []string{"name", "scopes", "networks", "expires_at", "lifetime_seconds", "reason"}},
	{method: "GET", pattern: "/keys/{id}", handle: (*apiCall).get},
	{method: "PATCH", pattern: "/keys/{id}", handle: (*apiCall).update,
		body: []string{"name", "scopes", "networks", "expires_at", "reason"}},
	{method: "DELETE", pattern: "/keys/{id}", handle: (*apiCall).delete, query: withReason},
	{method: "POST", pattern: "/keys/{id}/disable", handle: (*apiCall).disable, body: withReason},
	{method: "POST", pattern: "/keys/{id}/enable", handle: (*apiCall).enable, body: withReason},
	{method: "POST", pattern: "/keys/{id}/regenerate", handle: (*apiCall).regenerate, body: withReason},
	{method: "POST", pattern: "/keys/{id}/rotate", handle: (*apiCall).rotate, body: []string{"overlap_seconds", "reason"}},
	{method: "POST", pattern: "/keys/{id}/finish", handle: (*apiCall).finish, body: withReason},
	{method: "POST", pattern: "/keys/{id}/extend", handle: (*apiCall).extend, body: []string{"overlap_seconds", "reason"}},
	{method: "GET", pattern: "/keys/{id}/credentials", handle: (*apiCall).credentials},
	{method: "GET", pattern: "/keys/{id}/events", handle: (*apiCall).events, query: []string{"after", "limit"}},
}

// apiPath are the routes of one path.
type apiPath []*apiRoute

func (p apiPath) has(method string) bool {
	return slices.ContainsFunc(p, func(r *apiRoute) bool { return r.method == method })
}

// allow returns the methods of a path, as in the field Allow.
func (p apiPath) allow() string {
	methods := []string{http.MethodOptions}
	for _, route := range p {
		methods = append(methods, route.method)
	}
	if p.has(http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// query returns the parameters that any method of the path takes.
func (p apiPath) query() (known []string) {
	for _, route := range p {
		known = append(known, route.query...)
	}
	return known
}

// checkHeaders rejects a promise that nothing would keep.
func (p apiPath) checkHeaders(h http.Header) error {
	if h["Idempotency-Key"] != nil && !slices.ContainsFunc(p, func(r *apiRoute) bool { return r.idempotent }) {
		return refuseField("Idempotency-Key", "must not be sent here, because it would have no effect")
	}
	return nil
}

// findRoute returns the route of a request, the id in its path, and all routes
// of that path, none if there is no such path. http.ServeMux would answer some
// paths with a redirect, which holds the path and, behind http.StripPrefix,
// leads elsewhere.
func findRoute(r *http.Request) (found *apiRoute, id string, path apiPath) {
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
		path = append(path, route)
	}
	return found, id, path
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
	query           *apiQuery
	body            *apiBody
	preconditions   preconditions
}

func (c *apiCall) list() (reply, error) {
	query := apikey.Query{Limit: c.query.limit(), IncludeDeleted: c.query.flag("deleted")}
	if c.query.values.Has("after") {
		after, ok := cursor.Decode(c.query.text("after"), idLen, "keys", c.owner)
		if query.After = after; !ok {
			c.query.refuse("after", badCursor)
		}
	}
	if c.query.err != nil {
		return reply{}, c.query.err
	}
	keys, err := c.keys.List(c, query)
	var damaged error
	if errors.Is(err, apikey.ErrDamaged) && !errors.Is(err, apikey.ErrUnavailable) {
		damaged, err = err, nil
	}
	if err != nil {
		return reply{}, err
	}
	page := keyPage{Keys: make([]keyView, len(keys)), Damaged: damaged != nil}
	for i, key := range keys {
		page.Keys[i] = viewKey(key, c.keys.Now())
	}
	if len(keys) == query.Limit {
		page.Next = cursor.Encode(keys[len(keys)-1].ID, "keys", c.owner)
	}
	return reply{body: page, damaged: damaged}, nil
}

func (c *apiCall) issue() (reply, error) {
	params := apikey.IssueParams{
		Name:      c.body.text("name"),
		Scopes:    c.body.scopes("scopes"),
		Networks:  c.body.networks("networks"),
		ExpiresAt: c.body.instant("expires_at"),
		Lifetime:  c.body.seconds("lifetime_seconds"),
	}
	reason := c.body.text("reason")
	params.IdempotencyKey = c.body.idempotencyKey(c.request.Header)
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	// They are about the list of keys, which is there and has no ETag.
	if c.preconditions.evaluate(http.MethodPost, "", func(string) bool { return false }) != proceed {
		return reply{}, refusal{answer: answerPrecondition}
	}
	issued, err := c.keys.Issue(c, params, apikey.Reason(reason))
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
	reason := c.body.dropNull("reason").text("reason")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.key(changeKey(c, reason, func(options ...apikey.ChangeOption) (apikey.Key, error) {
		return c.keys.Update(c, c.id, changes, options...)
	}))
}

func (c *apiCall) delete() (reply, error) {
	reason := c.query.text("reason")
	if c.query.err != nil {
		return reply{}, c.query.err
	}
	return c.key(changeKey(c, reason, func(options ...apikey.ChangeOption) (apikey.Key, error) {
		return c.keys.Delete(c, c.id, options...)
	}))
}

// change makes a change that has only a reason.
func (c *apiCall) change(change func(ctx context.Context, id string, options ...apikey.ChangeOption) (apikey.Key, error)) (reply, error) {
	reason := c.body.text("reason")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.key(changeKey(c, reason, func(options ...apikey.ChangeOption) (apikey.Key, error) {
		return change(c, c.id, options...)
	}))
}

func (c *apiCall) disable() (reply, error) { return c.change(c.keys.Disable) }

func (c *apiCall) enable() (reply, error) { return c.change(c.keys.Enable) }

func (c *apiCall) regenerate() (reply, error) {
	reason := c.body.text("reason")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.issued(changeKey(c, reason, func(options ...apikey.ChangeOption) (apikey.Issued, error) {
		return c.keys.Regenerate(c, c.id, options...)
	}))
}

func (c *apiCall) rotate() (reply, error) {
	reason, overlap := c.body.text("reason"), c.body.required("overlap_seconds").seconds("overlap_seconds")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.issued(changeKey(c, reason, func(options ...apikey.ChangeOption) (apikey.Issued, error) {
		return c.keys.Rotate(c, c.id, overlap, options...)
	}))
}

func (c *apiCall) finish() (reply, error) { return c.change(c.keys.FinishRotation) }

func (c *apiCall) extend() (reply, error) {
	reason, overlap := c.body.text("reason"), c.body.required("overlap_seconds").seconds("overlap_seconds")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.key(changeKey(c, reason, func(options ...apikey.ChangeOption) (apikey.Key, error) {
		return c.keys.ExtendRotation(c, c.id, overlap, options...)
	}))
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
	limit, after := c.query.limit(), c.query.text("after")
	if c.query.values.Has("after") && !cursor.IsSealed(after) {
		c.query.refuse("after", badCursor)
	}
	if c.query.err != nil {
		return reply{}, c.query.err
	}
	events, next, err := eventpage.Read(c, c.keys, c.owner, c.id, after, limit)
	if errors.Is(err, eventpage.ErrCursor) {
		return reply{}, refuseField("after", badCursor)
	}
	if err != nil {
		return reply{}, err
	}
	page, damaged := eventPage{Events: []eventView{}, Next: next}, error(nil)
	for _, event := range events {
		if event.Err != nil {
			damaged = event.Err
		} else {
			page.Events = append(page.Events, viewEvent(event))
		}
	}
	page.Damaged = damaged != nil
	return reply{body: page, damaged: damaged}, nil
}

const badCursor = `must be the "next" of a page of this list`

// key answers with a key.
func (c *apiCall) key(key apikey.Key, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	view := viewKey(key, c.keys.Now())
	return reply{body: view, tag: keyTag(view), same: func(tag string) bool { return tagRevision(tag) == key.Revision }}, nil
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
	view := viewKey(issued.Key, c.keys.Now())
	return reply{tag: keyTag(view), body: issuedView{view, token}}, nil
}
