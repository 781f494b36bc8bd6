package apikeyhttp_test

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// longRequest is a request with a lot of text in one place.
type longRequest struct {
	place, text string
	request     func() *http.Request
}

// longRequests returns requests with size bytes of text in each place that is
// read. The text repeats what parsers look for.
func longRequests(size int) []longRequest {
	texts := []string{
		"a", ",", ";", "=", `"`, `\`, " ", "\t", "&", "%", "%61", "+", "/", "?", "#", ":", "[", ".", "1", "é",
		"a,", "a;", "a=b;", "a=b&", `x="`, `\"`, "for=10.0.0.2,", "10.0.0.2, ", "10.0.0.2", "2001:db8::", "*/*;q=0.1,", ";q=0.5", "api_key=x&", "%61pi_key=x&", "Bearer ", "YTpi",
	}
	places := map[string]func(r *http.Request, text string){
		"Authorization":   func(r *http.Request, text string) { r.Header["Authorization"] = []string{text} },
		"Bearer":          func(r *http.Request, text string) { r.Header["Authorization"] = []string{"Bearer " + text} },
		"Basic":           func(r *http.Request, text string) { r.Header["Authorization"] = []string{"Basic " + text} },
		"X-API-Key":       func(r *http.Request, text string) { r.Header["X-Api-Key"] = []string{text} },
		"X-Forwarded-For": func(r *http.Request, text string) { r.Header["X-Forwarded-For"] = []string{text} },
		"Forwarded":       func(r *http.Request, text string) { r.Header["Forwarded"] = []string{text} },
		"one element of Forwarded": func(r *http.Request, text string) {
			r.Header["Forwarded"] = []string{"for=192.0.2.1;" + strings.ReplaceAll(text, ",", ";")}
		},
		"query":           func(r *http.Request, text string) { r.URL.RawQuery = text },
		"query and token": func(r *http.Request, text string) { r.URL.RawQuery = "api_key=token&" + text },
		"Accept":          func(r *http.Request, text string) { r.Header["Accept"] = []string{text} },
		"Cookie":          func(r *http.Request, text string) { r.Header["Cookie"] = []string{text} },
		"Origin": func(r *http.Request, text string) {
			r.Header["Origin"], r.Header["Authorization"] = []string{text}, []string{"Basic YTpi"}
		},
		"Sec-Fetch-Site": func(r *http.Request, text string) {
			r.Header["Sec-Fetch-Site"], r.Header["Authorization"] = []string{text}, []string{"Basic YTpi"}
		},
		"Referer": func(r *http.Request, text string) {
			r.Header["Referer"], r.Header["Authorization"] = []string{"https://example.com/?" + text}, []string{"Bearer token"}
		},
		"lines of Authorization":   func(r *http.Request, text string) { r.Header["Authorization"] = strings.SplitAfter(text, ",") },
		"lines of X-Forwarded-For": func(r *http.Request, text string) { r.Header["X-Forwarded-For"] = strings.Split(text, ",") },
		"lines of Accept":          func(r *http.Request, text string) { r.Header["Accept"] = strings.Split(text, ",") },
	}
	requests := []longRequest{{"query", "other names", func() *http.Request {
		var names []string
		for i := range min(size/6, 10_000) {
			names = append(names, fmt.Sprintf("%05x", i))
		}
		return &http.Request{Method: http.MethodPost, Header: http.Header{}, URL: &url.URL{Path: "/", RawQuery: strings.Join(names, "&")}, RemoteAddr: "10.0.0.1:1234"}
	}}}
	for place, put := range places {
		for _, text := range texts {
			long := strings.Repeat(text, size/len(text)+1)[:size]
			requests = append(requests, longRequest{place, text, func() *http.Request {
				r := &http.Request{Method: http.MethodPost, Header: http.Header{}, URL: &url.URL{Path: "/"}, RemoteAddr: "10.0.0.1:1234"}
				put(r, long)
				return r
			}})
		}
	}
	return requests
}

// lengthOf returns the size of a request, with the slices that net/http has made
// of its lines.
func lengthOf(r *http.Request) uint64 {
	length := len(r.URL.RawQuery)
	for _, lines := range r.Header {
		for _, line := range lines {
			length += len(line) + 16
		}
	}
	return uint64(length)
}

// longHandlers read all places: the one rejects every key, the other lets each
// pass on to a server behind.
func longHandlers() []http.Handler {
	var handlers []http.Handler
	for _, header := range []string{"X-Forwarded-For", "Forwarded"} {
		options := &apikeyhttp.Options{Carriers: every(), TrustedProxies: prefixes("10.0.0.0/8"), ProxyHeader: header}
		open := newGuard(apikeytest.Allow(apikey.Key{}), options)
		handlers = append(handlers,
			newGuard(apikeytest.Deny(nil), options).Authenticate(bare),
			open.Optional(open.StripCredential(bare)))
	}
	return handlers
}

// TestLongRequestsCostTheirLength allows a request of n bytes to allocate a few
// copies of them. Memory is counted and not time, which no test can rely on.
func TestLongRequestsCostTheirLength(t *testing.T) {
	const size = 300_000
	for _, long := range longRequests(size) {
		r := long.request()
		for i, h := range longHandlers() {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			h.ServeHTTP(nowhere{http.Header{}}, r)
			runtime.ReadMemStats(&after)
			bytes, objects := after.TotalAlloc-before.TotalAlloc, after.Mallocs-before.Mallocs
			if length := lengthOf(r); bytes > 2*length+64<<10 || objects > 1000 {
				t.Errorf("handler %d: %d bytes in %d objects for %d bytes, of %q in %s", i, bytes, objects, length, long.text, long.place)
			}
		}
	}
}

// BenchmarkLongRequests is for comparing sizes: the time must grow with them.
func BenchmarkLongRequests(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"9KB", 9_000}, {"90KB", 90_000}, {"900KB", 900_000}} {
		byPlace := map[string][]*http.Request{}
		for _, long := range longRequests(size.bytes) {
			byPlace[long.place] = append(byPlace[long.place], long.request())
		}
		for place, requests := range byPlace {
			b.Run(place+"/"+size.name, func(b *testing.B) {
				handlers := longHandlers()
				b.SetBytes(int64(size.bytes * len(requests)))
				for b.Loop() {
					for _, r := range requests {
						for _, h := range handlers {
							h.ServeHTTP(nowhere{http.Header{}}, r)
						}
					}
				}
			})
		}
	}
}
