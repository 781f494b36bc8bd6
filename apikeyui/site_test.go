package apikeyui_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

// home is where the tests mount the handler.
const home = "/account/keys/"

// site is the handler as a host mounts it, behind a login that believes a
// header, with a Manager that the test steers.
type site struct {
	keys     *apikeytest.Manager
	handler  http.Handler
	observed []error
}

// newPages returns pages with options that are valid.
func newPages(m *apikey.Manager, o *apikeyui.Options) http.Handler {
	pages, err := apikeyui.New(m, o)
	if err != nil {
		panic(err)
	}
	return pages
}

func newSite(t testing.TB, change ...func(*apikeyui.Options)) *site {
	return newSiteOn(t, apikeytest.New(t), change...)
}

func newSiteOn(t testing.TB, keys *apikeytest.Manager, change ...func(*apikeyui.Options)) *site {
	s := &site{keys: keys}
	o := &apikeyui.Options{
		Owner: func(r *http.Request) (string, string, error) {
			owner := r.Header.Get("Test-Owner")
			if owner == "" {
				return "", "", errors.New("nobody is logged in")
			}
			return owner, owner + "@example.com", nil
		},
		Scopes:  []apikeyui.Scope{{Name: "orders:read", Description: "See orders"}, {Name: "orders:write"}},
		APIURL:  "https://api.example.com/v1/orders",
		Observe: func(_ *http.Request, o apikey.Observation) { s.observed = append(s.observed, o.Err) },
	}
	for _, c := range change {
		c(o)
	}
	s.handler = http.StripPrefix(strings.TrimSuffix(home, "/"), newPages(keys.Manager, o))
	return s
}

// browser is one person's, without script: it follows redirects and remembers
// where it is.
type browser struct {
	t     testing.TB
	site  *site
	owner string
}

func (s *site) browser(t testing.TB, owner string) *browser { return &browser{t, s, owner} }

// page is an answer.
type page struct {
	b       *browser
	url     *url.URL
	status  int
	header  http.Header
	body    string
	root    *node
	visited []string // addresses, redirects included
}

// do sends one request and follows no redirect.
func (b *browser) do(method, address string, form url.Values, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, address, body)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if method == http.MethodPost {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	r.Header.Set("Test-Owner", b.owner)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.site.handler.ServeHTTP(w, r)
	return w
}

// open goes to an address, relative to the home of the handler.
func (b *browser) open(address string) *page {
	b.t.Helper()
	base := &url.URL{Path: home}
	u, err := base.Parse(address)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.load(http.MethodGet, u, nil)
}

func (b *browser) load(method string, u *url.URL, form url.Values) *page {
	b.t.Helper()
	var visited []string
	for range 3 {
		visited = append(visited, u.String())
		w := b.do(method, u.String(), form)
		if w.Code != http.StatusSeeOther {
			p := &page{b, u, w.Code, w.Header(), w.Body.String(), nil, visited}
			p.root = parse(b.t, p.body)
			return p
		}
		next, err := u.Parse(w.Header().Get("Location"))
		if err != nil {
			b.t.Fatal(err)
		}
		u, method, form = next, http.MethodGet, nil
	}
	b.t.Fatalf("redirected in circles: %v", visited)
	return nil
}

// form returns the fields of the page's form whose action ends in a text, as a
// browser would send them, and where to.
func (p *page) form(action string) (url.Values, *url.URL) {
	p.b.t.Helper()
	for _, f := range p.root.all("form") {
		if !strings.HasSuffix(f.attr["action"], action) {
			continue
		}
		to, err := p.url.Parse(f.attr["action"])
		if err != nil {
			p.b.t.Fatal(err)
		}
		return f.values(), to
	}
	p.b.t.Fatalf("no form to %q on %s (%d):\n%s", action, p.url, p.status, p.text())
	return nil, nil
}

// submit fills in the form with pairs of name and value, and sends it.
func (p *page) submit(action string, pairs ...string) *page {
	p.b.t.Helper()
	values, to := p.form(action)
	for i := 0; i+1 < len(pairs); i += 2 {
		values[pairs[i]] = nil
		if pairs[i+1] != "" {
			values[pairs[i]] = strings.Split(pairs[i+1], ",")
		}
	}
	return p.b.load(http.MethodPost, to, values)
}

// follow goes where the first link with such an end leads.
func (p *page) follow(end string) *page {
	p.b.t.Helper()
	for _, a := range p.root.all("a") {
		if strings.HasSuffix(a.attr["href"], end) {
			u, err := p.url.Parse(a.attr["href"])
			if err != nil {
				p.b.t.Fatal(err)
			}
			return p.b.load(http.MethodGet, u, nil)
		}
	}
	p.b.t.Fatalf("no link to %q on %s (%d):\n%s", end, p.url, p.status, p.text())
	return nil
}

func (p *page) text() string { return strings.Join(strings.Fields(p.root.content()), " ") }

func (p *page) has(text string) bool { return strings.Contains(p.text(), text) }

// token returns the token that the page shows.
func (p *page) token() string {
	if n := p.root.byID("s-token"); n != nil {
		return n.content()
	}
	return ""
}

// node is an element, or a text.
type node struct {
	name     string
	attr     map[string]string
	order    []string
	children []*node
	text     string
}

// parse reads a page, which is well-formed XML too: what is not closed, or not
// escaped, ends the test.
func parse(t testing.TB, body string) *node {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(body))
	root := &node{name: "#document"}
	open := []*node{root}
	for {
		token, err := d.Token()
		if err == io.EOF {
			return root
		}
		if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, body)
		}
		top := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: token.Name.Local, attr: map[string]string{}}
			for _, a := range token.Attr {
				if _, twice := n.attr[a.Name.Local]; twice {
					t.Fatalf("attribute %s twice in %s", a.Name.Local, n.name)
				}
				n.attr[a.Name.Local] = a.Value
				n.order = append(n.order, a.Name.Local)
			}
			top.children = append(top.children, n)
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			top.children = append(top.children, &node{text: string(token)})
		}
	}
}

func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, c := range n.children {
		c.walk(visit)
	}
}

func (n *node) all(name string) []*node {
	var found []*node
	n.walk(func(n *node) {
		if n.name == name {
			found = append(found, n)
		}
	})
	return found
}

func (n *node) byID(id string) *node {
	var found *node
	n.walk(func(n *node) {
		if n.attr["id"] == id {
			found = n
		}
	})
	return found
}

func (n *node) content() string {
	var b strings.Builder
	n.walk(func(n *node) { b.WriteString(n.text) })
	return b.String()
}

// values are what a form would send.
func (n *node) values() url.Values {
	values := url.Values{}
	n.walk(func(n *node) {
		name := n.attr["name"]
		switch {
		case name == "":
		case n.name == "textarea":
			values.Add(name, strings.TrimPrefix(n.content(), "\n"))
		case n.name == "select":
			for _, o := range n.all("option") {
				if o.attr["selected"] != "" {
					values.Add(name, o.attr["value"])
				}
			}
		case n.name == "input" && (n.attr["type"] == "radio" || n.attr["type"] == "checkbox"):
			if n.attr["checked"] != "" {
				values.Add(name, n.attr["value"])
			}
		case n.name == "input":
			values.Add(name, n.attr["value"])
		}
	})
	return values
}

// structure is the page without its texts: elements, and the names of their
// attributes. The keys of a list are in the order of their random ids, which
// says nothing.
func (n *node) structure() string {
	var inner []string
	for _, c := range n.children {
		if c.name != "" {
			inner = append(inner, c.structure())
		}
	}
	if n.attr["class"] == "keys" {
		slices.Sort(inner)
	}
	return fmt.Sprintln(n.name, n.order) + strings.Join(inner, "") + fmt.Sprintln("/", n.name)
}

// views opens every page that there is about keys in all their states, and
// returns them by name. Reasons and what was typed hold the text as well.
func views(t testing.TB, s *site, name string) map[string]*page {
	t.Helper()
	ctx := apikey.WithActor(t.Context(), "ada")
	all := s.keys.ForOwner("ada", &apikey.OwnerOptions{Scopes: []string{"orders:*"}})
	issue := func() apikey.Key {
		issued, err := all.Issue(ctx, apikey.IssueParams{Name: name, Scopes: []string{"orders:read"}})
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		return issued.Key
	}
	active, disabled, locked, rotating, deleted := issue(), issue(), issue(), issue(), issue()
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(all.Disable(ctx, disabled.ID, apikey.Reason(name)))
	check(s.keys.Disable(ctx, locked.ID, apikey.Reason(name)))
	check(all.Rotate(ctx, rotating.ID, time.Hour, apikey.Reason(name)))
	check(all.Update(ctx, rotating.ID, apikey.Changes{Name: new(name + "!")}))
	check(all.Delete(ctx, deleted.ID, apikey.Reason(name)))
	b := s.browser(t, "ada")
	found := map[string]*page{
		"list": b.open(""), "search": b.open("?q=" + url.QueryEscape(name)), "nothing": b.open("?q=zzz" + url.QueryEscape(name)),
		"deleted": b.open("?done=deleted&key=" + deleted.ID), "new": b.open("new"),
		"done": b.open("key/" + active.ID + "?done=enabled"),
	}
	for state, key := range map[string]apikey.Key{
		"active": active, "disabled": disabled, "locked": locked, "rotating": rotating, "deleted": deleted,
	} {
		found[state] = b.open("key/" + key.ID)
		found[state+"/history"] = b.open("key/" + key.ID + "/history")
		for _, r := range apikeyui.Routes() {
			if dialog, ok := strings.CutPrefix(r[1], "/key/{id}/"); ok && r[0] == "GET" {
				found[state+"/"+dialog] = b.open("key/" + key.ID + "/" + dialog)
			}
		}
	}
	found["new, refused"] = found["new"].submit("new", "name", name, "networks", name, "expires", name, "reason", name)
	found["delete, refused"] = found["active/delete"].submit("delete", "typed", name+"?", "reason", name)
	found["regenerate, refused"] = found["active/regenerate"].submit("regenerate", "choice", "99", "reason", name)
	found["edit, refused"] = found["active/edit"].submit("edit", "name", name, "networks", "x"+name, "reason", name)
	return found
}
