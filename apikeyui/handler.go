package apikeyui

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/crossorigin"
)

// New returns the pages on which the owner that is logged in sees and changes
// its keys. See the package comment for how they are mounted. Options are
// copied.
//
// New returns a *apikey.FieldError if the Manager is nil or an option is invalid.
// Its fields are "manager", "options" (nil), "owner", "scopes", "overlaps",
// "reasons", "max_lifetime", "texts", "api_url", "stylesheet" and "layout"
// (together with a header or footer).
func New(m *apikey.Manager, o *Options) (http.Handler, error) {
	if m == nil {
		return nil, &apikey.FieldError{Field: "manager", Code: "required", Problem: "must not be nil"}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	protector, _ := crossorigin.New() // fails for malformed origins only
	h := &handler{manager: m, options: o.completed(), routes: routes(), protector: protector}
	h.templates = parseTemplates(h.options.Texts)
	return h, nil
}

type handler struct {
	manager   *apikey.Manager
	options   Options
	routes    []route
	templates *template.Template
	protector *crossorigin.Protection
}

// maxForm is more than the longest form that can be right.
const maxForm = 64 << 10

// maxContentType bounds what is parsed of a form's header. Package mime builds
// several maps of the parameters, which takes far longer than reading them.
const maxContentType = 1000

// maxDepth is how many slashes the longest path has. The way back from a longer
// one is not written out.
const maxDepth = 3

// visit is one request of an owner.
type visit struct {
	*handler
	r       *http.Request
	route   *route
	ctx     context.Context
	root    string // the way to where the handler is mounted: "./", "../"
	owner   string
	mine    *apikey.OwnerManager
	offer   []Scope // that the owner can give to a key
	now     time.Time
	damaged bool                 // a list lacks damaged keys
	keyID   string               // of the key that the address names, if the owner has it
	late    []apikey.Observation // for Observe, once the response was written
}

// reply is the answer to a visit: a page, or the way to one.
type reply struct {
	status   int
	location string // relative; the status is 303 then
	template string
	title    string // name of a text
	data     any
	header   map[string]string
	secret   bool   // the page shows a new token
	shell    *shell // the page around it, or nil for the handler's own frame
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	path, location := place(r)
	v := &visit{handler: h, r: r, ctx: r.Context(), root: root(path)}
	if location != "" {
		v.write(w, reply{location: location})
		return
	}
	if strings.Count(path, "/") > maxDepth {
		v.root = "./"
		v.write(w, v.problem(http.StatusNotFound, "not_found"))
		return
	}
	found, id, allowed := find(h.routes, r.Method, path)
	switch {
	case found == nil && allowed == nil:
		v.write(w, v.problem(http.StatusNotFound, "not_found"))
	case found == nil:
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		v.write(w, v.problem(http.StatusMethodNotAllowed, "method"))
	case found.asset != nil:
		found.asset.serve(w)
	default:
		v.route = found
		answer, err := v.serve(w, id)
		if err != nil {
			answer = v.failed(err)
		}
		v.write(w, answer)
	}
}

// serve answers a request of a route for owners.
func (v *visit) serve(w http.ResponseWriter, id string) (reply, error) {
	if err := v.protector.Check(v.r); err != nil {
		return v.problem(http.StatusForbidden, "cross_origin"), nil
	}
	owner, actor, err := v.options.Owner(v.r)
	if err != nil {
		return v.notLoggedIn(err), nil
	}
	grant, err := v.grant(owner)
	if err != nil {
		return v.notLoggedIn(err), nil
	}
	if v.route.method != http.MethodGet {
		if len(v.r.Header.Get("Content-Type")) > maxContentType {
			return v.problem(http.StatusBadRequest, "bad_form"), nil
		}
		v.r.Body = http.MaxBytesReader(w, v.r.Body, maxForm)
		if err := v.r.ParseForm(); err != nil {
			var large *http.MaxBytesError
			if errors.As(err, &large) {
				return v.problem(http.StatusRequestEntityTooLarge, "too_large"), nil
			}
			return v.problem(http.StatusBadRequest, "bad_form"), nil
		}
	}
	v.owner = owner
	v.ctx = apikey.WithActor(v.ctx, actor)
	v.mine = v.manager.ForOwner(owner, grant)
	v.now = v.manager.Now()
	if v.route.key == nil {
		return v.route.serve(v)
	}
	key, err := v.mine.Get(v.ctx, id)
	if err != nil {
		return reply{}, err
	}
	v.keyID = key.ID
	return v.route.key(v, key)
}

// write sends an answer. It is written into memory first, so that a template
// that fails half-way sends no half page.
func (v *visit) write(w http.ResponseWriter, a reply) {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.location != "" {
		// Not by http.Redirect, which would make the address absolute
		// without the prefix that was cut off.
		w.Header().Set("Location", a.location)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	body, err := v.render(a)
	if err != nil {
		v.report(apikey.Observation{Status: http.StatusInternalServerError, Code: "layout", Err: err})
		http.Error(w, "The page cannot be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.status)
	w.Write(body)
	v.observeLate(w)
}

// observe reports an error that the page does not end with.
func (v *visit) observe(err error) { v.report(apikey.Observation{Err: err}) }

// report adds to an observation what is known about the visit.
func (v *visit) report(o apikey.Observation) {
	if v.options.Observe == nil {
		return
	}
	o.Owner, o.KeyID = v.owner, v.keyID
	o.Canceled = errors.Is(v.r.Context().Err(), context.Canceled)
	v.options.Observe(v.r, o)
}

// protect sets the header fields that every answer has: nothing is loaded from
// elsewhere, nothing inline runs, nothing is framed, sent on or kept.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
		"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}
