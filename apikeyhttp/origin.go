package apikeyhttp

import (
	"net/http"

	"github.com/keyturn/apikey/internal/crossorigin"
)

// sameSite has no trusted origins: a page of another site that you trust can
// send Bearer. New returns an error for malformed origins only.
var sameSite, _ = crossorigin.New()

// maxOrigin bounds what is parsed. A host has at most 255 characters.
const maxOrigin = 1000

// fromOtherSite reports whether a browser sent a request for a page of another
// site, so that its Basic credentials may be ones that the browser has stored.
// Programs other than browsers send none of the headers that are looked at.
//
// A WebSocket handshake is checked although it is a GET, because the page of
// another site can read what comes back.
func fromOtherSite(r *http.Request) bool {
	if r.Header["Upgrade"] != nil {
		post := *r
		post.Method, r = http.MethodPost, &post
	}
	return len(r.Header.Get("Origin")) > maxOrigin || sameSite.Check(r) != nil
}
