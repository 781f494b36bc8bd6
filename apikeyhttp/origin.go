package apikeyhttp

import (
	"net/http"
	"strings"
)

// origins has no trusted origins: a page of another site that you trust can
// send Bearer.
var origins http.CrossOriginProtection

// maxOrigin bounds what is parsed. A host has at most 255 characters.
const maxOrigin = 1000

// fromOtherSite reports whether a browser sent a request for a page of another
// site, so that its Basic credentials may be ones that the browser has stored.
// Programs other than browsers send none of the headers that are looked at.
//
// Two kinds of requests are checked that CrossOriginProtection lets pass. A
// WebSocket handshake is a GET, but the page of another site can read what
// comes back. And where a browser names only the Origin, one of http is another
// site than the same host over TLS: its content can be anybody's on the network.
func fromOtherSite(r *http.Request) bool {
	checked := r
	if r.Header["Upgrade"] != nil {
		post := *r
		post.Method, checked = http.MethodPost, &post
	}
	if len(r.Header.Get("Origin")) > maxOrigin || origins.Check(checked) != nil {
		return true
	}
	switch checked.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	scheme, _, _ := strings.Cut(r.Header.Get("Origin"), ":")
	return r.TLS != nil && r.Header.Get("Sec-Fetch-Site") == "" && strings.EqualFold(scheme, "http")
}
