package apikeyui

import (
	"net/http"
	"slices"
	"strings"

	"github.com/keyturn/apikey"
)

// route is one thing that the handler answers. Exactly one of serve, key and
// asset is set.
type route struct {
	method  string // GET answers HEAD as well
	pattern string // {id} stands for one segment: a key's id

	serve func(*visit) (reply, error)
	key   func(*visit, apikey.Key) (reply, error) // called with the owner's key
	asset *asset                                  // a file, for everyone

	// query are the parameters of the address that the route reads. No other
	// can change what a page shows.
	query []string
}

// routes is everything that there is. What is in no row is answered 404, what
// is there by another method 405. Whatever changes something is a POST, which
// is refused across origins; each row with {id} has its key loaded, and
// refused, in one place.
func routes() []route {
	all := []route{
		{method: "GET", pattern: "/", serve: (*visit).list, query: []string{"q", "status", "after", "done", "key"}},
		{method: "POST", pattern: "/", serve: (*visit).search},
		{method: "GET", pattern: "/new", serve: (*visit).showNew},
		{method: "POST", pattern: "/new", serve: (*visit).create},
		{method: "GET", pattern: "/key/{id}", key: (*visit).show, query: []string{"done", "revision"}},
		{method: "GET", pattern: "/key/{id}/history", key: (*visit).history, query: []string{"after"}},
		{method: "POST", pattern: "/key/{id}/test", key: (*visit).test},
		{method: "GET", pattern: "/" + styleSheet.name, asset: styleSheet},
		{method: "GET", pattern: "/" + script.name, asset: script},
	}
	for _, d := range dialogs {
		pattern := "/key/{id}/" + d.name
		all = append(all,
			route{method: "GET", pattern: pattern, key: d.show},
			route{method: "POST", pattern: pattern, key: d.submit},
		)
	}
	return all
}

// param returns a parameter of the address, if the route reads it.
func (v *visit) param(name string) string {
	if !slices.Contains(v.route.query, name) {
		return ""
	}
	return v.r.URL.Query().Get(name)
}

// find returns the route of a request, with the id in its path; or, without
// one, the methods that there are for the path.
func find(all []route, method, path string) (found *route, id string, allowed []string) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range all {
		value, ok := match(all[i].pattern, path)
		switch {
		case !ok:
		case all[i].method == method:
			return &all[i], value, nil
		default:
			allowed = append(allowed, all[i].method)
			if all[i].method == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
	}
	return nil, "", allowed
}

// match compares a path with a pattern, segment by segment, and returns what
// stands for {id}. Nothing is cleaned: a path that needs it is none of ours.
func match(pattern, path string) (id string, ok bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return "", false
	}
	for i := range want {
		switch {
		case want[i] == "{id}":
			id = got[i]
		case want[i] != got[i]:
			return "", false
		}
	}
	return id, true
}

// place returns the path of a request below the prefix that the handler is
// mounted under. A mount without its last slash, from where relative links
// would lead astray, has to be moved to the address in location first.
func place(r *http.Request) (path, location string) {
	path = r.URL.EscapedPath()
	if strings.HasPrefix(path, "/") {
		return path, ""
	}
	// The prefix that was cut off may have ended in a slash, or not. Only the
	// request as it came tells.
	if path == "" {
		whole, _, _ := strings.Cut(r.RequestURI, "?")
		if last := whole[strings.LastIndexByte(whole, '/')+1:]; last != "" {
			return "/", "./" + last + "/"
		}
	}
	return "/" + path, ""
}

// root returns the way back from a path to where the handler is mounted.
func root(path string) string {
	if up := strings.Count(path, "/") - 1; up > 0 {
		return strings.Repeat("../", up)
	}
	return "./"
}
