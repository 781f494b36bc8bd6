// Package crossorigin rejects changes that a page of another origin asks a
// browser to send. It is [http.CrossOriginProtection] with two more rules: an
// http page does not speak for the https site of the same name, and requests
// that contradict themselves are rejected.
package crossorigin

import (
	"errors"
	"net/http"
	"strings"
)

var (
	errAmbiguous = errors.New("crossorigin: more than one Origin or Sec-Fetch-Site header")
	errOrigin    = errors.New("crossorigin: Origin is not an http or https origin of this host")
	errInsecure  = errors.New("crossorigin: the page that sent the request was loaded over http, and this site uses https")
)

// Protection checks requests. It may be used concurrently.
type Protection struct {
	fetch   *http.CrossOriginProtection
	trusted map[string]bool
}

// New returns a Protection that accepts the site itself and the given origins,
// such as "https://app.example.com". It returns an error if one is malformed.
func New(origins ...string) (*Protection, error) {
	p := &Protection{fetch: http.NewCrossOriginProtection(), trusted: map[string]bool{}}
	for _, origin := range origins {
		if err := p.fetch.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
		p.trusted[origin] = true
	}
	return p, nil
}

// Check returns an error if r must be rejected. GET, HEAD and OPTIONS always
// pass.
func (p *Protection) Check(r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	if len(r.Header["Origin"]) > 1 || len(r.Header["Sec-Fetch-Site"]) > 1 {
		return errAmbiguous
	}
	if err := p.fetch.Check(r); err != nil {
		return err
	}
	origin := r.Header.Get("Origin")
	if origin == "" || p.trusted[origin] {
		return nil
	}
	if r.Header.Get("Sec-Fetch-Site") == "" {
		// Without Sec-Fetch-Site, the Origin header is all there is. The
		// standard library compares the host only, so it accepts ftp:// and
		// file:// too.
		scheme, host, ok := strings.Cut(origin, "://")
		if !ok || scheme != "http" && scheme != "https" || host == "" || host != r.Host {
			return errOrigin
		}
	}
	if strings.HasPrefix(strings.ToLower(origin), "http:") && secure(r) {
		return errInsecure
	}
	return nil
}

// secure reports whether the browser is known to use https. The two forwarding
// headers are believed from everyone: they can only cause a rejection, and a
// page cannot set them on a request to another origin.
func secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	// The first entry is about the connection of the browser.
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	if strings.EqualFold(strings.TrimSpace(first), "https") {
		return true
	}
	entry, _, _ := strings.Cut(r.Header.Get("Forwarded"), ",")
	for pair := range strings.SplitSeq(entry, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(name, "proto") && strings.EqualFold(strings.Trim(value, `"`), "https") {
			return true
		}
	}
	return false
}
