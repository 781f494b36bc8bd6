package apikeyrest

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

// route is one thing that the API does.
type route struct {
	method  string
	pattern string // "{id}" stands for the id of a key

	// handle answers for an owner. The body and the query may have the members
	// and parameters named, with a nil body none at all.
	handle func(c *call) (reply, error)
	body   []string
	query  []string

	idempotent bool // takes Idempotency-Key
	open       bool // the document, which anyone may read
}

var withReason = []string{"reason"}

// routes lists every route of the API. Any other path is a 404.
var routes = []route{
	{method: "GET", pattern: "/openapi.json", open: true},
	{method: "GET", pattern: "/keys", handle: (*call).list, query: []string{"after", "deleted", "limit"}},
	{method: "POST", pattern: "/keys", handle: (*call).issue, idempotent: true,
		body: []string{"name", "scopes", "networks", "expires_at", "lifetime_seconds", "reason"}},
	{method: "GET", pattern: "/keys/{id}", handle: (*call).get},
	{method: "PATCH", pattern: "/keys/{id}", handle: (*call).update,
		body: []string{"name", "scopes", "networks", "expires_at", "reason"}},
	{method: "DELETE", pattern: "/keys/{id}", handle: (*call).delete, query: withReason},
	{method: "POST", pattern: "/keys/{id}/disable", handle: (*call).disable, body: withReason},
	{method: "POST", pattern: "/keys/{id}/enable", handle: (*call).enable, body: withReason},
	{method: "POST", pattern: "/keys/{id}/regenerate", handle: (*call).regenerate, body: withReason},
	{method: "POST", pattern: "/keys/{id}/rotate", handle: (*call).rotate, body: []string{"overlap_seconds", "reason"}},
	{method: "POST", pattern: "/keys/{id}/finish", handle: (*call).finish, body: withReason},
	{method: "POST", pattern: "/keys/{id}/extend", handle: (*call).extend, body: []string{"overlap_seconds", "reason"}},
	{method: "GET", pattern: "/keys/{id}/credentials", handle: (*call).credentials},
	{method: "GET", pattern: "/keys/{id}/events", handle: (*call).events, query: []string{"after", "limit"}},
}

// path are the routes of one path.
type path []*route

func (p path) has(method string) bool {
	return slices.ContainsFunc(p, func(r *route) bool { return r.method == method })
}

// allow returns the methods of a path, as in the field Allow.
func (p path) allow() string {
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
func (p path) query() (known []string) {
	for _, route := range p {
		known = append(known, route.query...)
	}
	return known
}

// checkHeaders rejects a promise that nothing would keep.
func (p path) checkHeaders(h http.Header) error {
	if h["Idempotency-Key"] != nil && !slices.ContainsFunc(p, func(r *route) bool { return r.idempotent }) {
		return refuseField("Idempotency-Key", "must not be sent here, because it would have no effect")
	}
	return nil
}

// findRoute returns the route of a request, the id in its path, and all routes
// of that path, none if there is no such path. http.ServeMux would answer some
// paths with a redirect, which holds the path and, behind http.StripPrefix,
// leads elsewhere.
func findRoute(r *http.Request) (found *route, id string, path path) {
	// With an escaped slash a path would have other parts here than where the
	// host, or a proxy, has rules for it.
	if strings.Count(r.URL.EscapedPath(), "/") != strings.Count(r.URL.Path, "/") {
		return nil, "", nil
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range routes {
		route := &routes[i]
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
func (r *route) match(path string) (id string, ok bool) {
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

// call is a request that was let in.
type call struct {
	context.Context // with the actor
	keys            *apikey.OwnerManager
	owner           string
	request         *http.Request
	id              string
	query           *query
	body            *body
	preconditions   preconditions
}

func (c *call) list() (reply, error) {
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
		page.Keys[i] = viewKey(key)
	}
	if len(keys) == query.Limit {
		page.Next = cursor.Encode(keys[len(keys)-1].ID, "keys", c.owner)
	}
	return reply{body: page, damaged: damaged}, nil
}

func (c *call) issue() (reply, error) {
	params := apikey.IssueParams{
		Name:      c.body.text("name"),
		Scopes:    c.body.scopes("scopes"),
		Networks:  c.body.networks("networks"),
		ExpiresAt: c.body.instant("expires_at"),
		Lifetime:  apikey.Period{Time: c.body.seconds("lifetime_seconds")},
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
		p := answerTo(err)
		p.KeyID = issued.Key.ID
		return reply{}, refusal{answer: p, cause: err}
	}
	done, err := c.issued(issued, err)
	if err == nil && done.status == 0 {
		// Relative, so that it is right behind any prefix: RFC 9110, section
		// 10.2.2 resolves it against the path that ends in "/keys".
		done.status, done.location = http.StatusCreated, "keys/"+issued.Key.ID
	}
	return done, err
}

func (c *call) get() (reply, error) { return c.key(c.keys.Get(c, c.id)) }

func (c *call) update() (reply, error) {
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

func (c *call) delete() (reply, error) {
	reason := c.query.text("reason")
	if c.query.err != nil {
		return reply{}, c.query.err
	}
	return c.key(changeKey(c, reason, func(options ...apikey.ChangeOption) (apikey.Key, error) {
		return c.keys.Delete(c, c.id, options...)
	}))
}

// change makes a change that has only a reason.
func (c *call) change(change func(ctx context.Context, id string, options ...apikey.ChangeOption) (apikey.Key, error)) (reply, error) {
	reason := c.body.text("reason")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.key(changeKey(c, reason, func(options ...apikey.ChangeOption) (apikey.Key, error) {
		return change(c, c.id, options...)
	}))
}

func (c *call) disable() (reply, error) { return c.change(c.keys.Disable) }

func (c *call) enable() (reply, error) { return c.change(c.keys.Enable) }

func (c *call) regenerate() (reply, error) {
	reason := c.body.text("reason")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.issued(changeKey(c, reason, func(options ...apikey.ChangeOption) (apikey.Issued, error) {
		return c.keys.Regenerate(c, c.id, options...)
	}))
}

func (c *call) rotate() (reply, error) {
	reason, overlap := c.body.text("reason"), c.body.required("overlap_seconds").seconds("overlap_seconds")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.issued(changeKey(c, reason, func(options ...apikey.ChangeOption) (apikey.Issued, error) {
		return c.keys.Rotate(c, c.id, overlap, options...)
	}))
}

func (c *call) finish() (reply, error) { return c.change(c.keys.FinishRotation) }

func (c *call) extend() (reply, error) {
	reason, overlap := c.body.text("reason"), c.body.required("overlap_seconds").seconds("overlap_seconds")
	if c.body.err != nil {
		return reply{}, c.body.err
	}
	return c.key(changeKey(c, reason, func(options ...apikey.ChangeOption) (apikey.Key, error) {
		return c.keys.ExtendRotation(c, c.id, overlap, options...)
	}))
}

func (c *call) credentials() (reply, error) {
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

func (c *call) events() (reply, error) {
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
func (c *call) key(key apikey.Key, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	view := viewKey(key)
	return reply{body: view, tag: keyTag(view), same: func(tag string) bool { return tagRevision(tag) == key.Revision }}, nil
}

// issued answers with a new token. One whose outcome is unknown is shown too:
// it may be the only one that works.
func (c *call) issued(issued apikey.Issued, err error) (reply, error) {
	token := tokenView{issued.AccessKey(), issued.AccessSecret().Reveal(), issued.Token.Reveal()}
	switch {
	case errors.Is(err, apikey.ErrOutcomeUnknown) && token.Token != "":
		p := *answerOutcomeUnknown
		p.Type, p.Title, p.KeyID = "about:blank", http.StatusText(p.Status), issued.Key.ID
		return reply{
			status: p.Status, contentType: "application/problem+json", body: unknownView{p, token},
		}, nil
	case err != nil:
		return reply{}, err
	}
	view := viewKey(issued.Key)
	return reply{tag: keyTag(view), body: issuedView{view, token}}, nil
}
