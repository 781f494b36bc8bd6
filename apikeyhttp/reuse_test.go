package apikeyhttp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

// parts are the ways in which a handler makes request i of a batch from its own
// and serves it.
var parts = []struct {
	name string
	part func(h http.Handler, w http.ResponseWriter, r *http.Request, i int)
}{
	{"new URL, shared headers", func(h http.Handler, _ http.ResponseWriter, r *http.Request, i int) {
		part, _ := http.NewRequestWithContext(r.Context(), "GET", fmt.Sprintf("/orders/%d", i), nil)
		part.Header, part.RemoteAddr = r.Header, r.RemoteAddr
		h.ServeHTTP(httptest.NewRecorder(), part)
	}},
	{"equal URL, shared headers", func(h http.Handler, _ http.ResponseWriter, r *http.Request, _ int) {
		part, _ := http.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), nil)
		part.Header, part.RemoteAddr = r.Header, r.RemoteAddr
		h.ServeHTTP(httptest.NewRecorder(), part)
	}},
	{"equal URL, shared headers and response", func(h http.Handler, w http.ResponseWriter, r *http.Request, _ int) {
		part, _ := http.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), nil)
		part.Header, part.RemoteAddr = r.Header, r.RemoteAddr
		h.ServeHTTP(w, part)
	}},
	{"the same request", func(h http.Handler, _ http.ResponseWriter, r *http.Request, _ int) {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}},
	{"a shallow copy", func(h http.Handler, _ http.ResponseWriter, r *http.Request, _ int) {
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(r.Context()))
	}},
	{"a deep copy", func(h http.Handler, w http.ResponseWriter, r *http.Request, _ int) {
		h.ServeHTTP(w, r.Clone(r.Context()))
	}},
	{"path changed in place", func(h http.Handler, w http.ResponseWriter, r *http.Request, i int) {
		r.URL.Path = fmt.Sprintf("/orders/%d", i)
		h.ServeHTTP(w, r)
	}},
	{"query changed in place", func(h http.Handler, w http.ResponseWriter, r *http.Request, i int) {
		r.URL.RawQuery = fmt.Sprintf("part=%d", i)
		h.ServeHTTP(w, r)
	}},
	{"URL replaced", func(h http.Handler, w http.ResponseWriter, r *http.Request, i int) {
		r.URL = &url.URL{Path: fmt.Sprintf("/orders/%d", i)}
		h.ServeHTTP(w, r)
	}},
	{"other method", func(h http.Handler, w http.ResponseWriter, r *http.Request, _ int) {
		part := r.WithContext(r.Context())
		part.Method = "DELETE"
		h.ServeHTTP(w, part)
	}},
	{"other RemoteAddr", func(h http.Handler, w http.ResponseWriter, r *http.Request, _ int) {
		part := r.WithContext(r.Context())
		part.RemoteAddr = "192.0.2.1:2"
		h.ServeHTTP(w, part)
	}},
	{"prefix stripped", func(h http.Handler, w http.ResponseWriter, r *http.Request, _ int) {
		http.StripPrefix("/batch", h).ServeHTTP(w, r)
	}},
}

// TestPartsAreChecked has a handler stop the key of its own request and
// then serve 100 requests under that request's context.
func TestPartsAreChecked(t *testing.T) {
	for _, test := range parts {
		for routes, routesName := range map[int]string{1: "one route", 100: "100 routes"} {
			for _, optional := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, optional %v", test.name, routesName, optional), func(t *testing.T) {
					is := is.New(t)
					keys := apikeytest.New(t)
					issued := keys.MustIssue(t, apikey.IssueParams{})
					v, l := &counter{Validator: keys}, &limiter{key: apikeyhttp.Quota{Allowed: true}, client: apikeyhttp.Quota{Allowed: true}}
					var observed []apikey.Observation
					options := &apikeyhttp.Options{Limiter: l, Observe: func(_ *http.Request, o apikey.Observation) { observed = append(observed, o) }}
					guard := newGuard(v, options).Authenticate
					if optional {
						guard = newGuard(v, options).Optional
					}
					served := newHandler()
					var guarded []http.Handler
					for range routes {
						guarded = append(guarded, guard(served))
					}
					before := 0
					batch := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						part := func(n, i int) {
							copied := *r // a change of the request's fields is for this part only
							u := *r.URL
							test.part(guarded[i%routes], w, &copied, n+i)
							*r.URL = u
						}
						for i := range 3 {
							part(1000, i)
						}
						before = served.calls
						_, err := keys.Disable(t.Context(), issued.Key.ID)
						is.NoErr(err)
						for i := range 100 {
							part(0, i)
						}
					})
					serve(newGuard(v, options).Authenticate(batch), apikeytest.Request(t, "GET", "/batch/orders", issued.Token))
					is.Equal(before, 3)
					is.Equal(served.calls, 3) // none after Disable
					is.Equal(v.calls, 104)
					is.Equal(len(l.keys), 4)
					is.Equal(len(observed), 104)
					rejected := 0
					for _, o := range observed {
						if o.Code == "disabled" {
							rejected++
						}
					}
					is.Equal(rejected, 100)
					is.Equal(observed[103].Status, 0) // the batch itself
				})
			}
		}
	}
}

// TestADecisionIsUsedOnce serves the request itself with its own response, as a
// stacked guard would: nothing distinguishes the first from a stack.
func TestADecisionIsUsedOnce(t *testing.T) {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	served := newHandler()
	guard := newGuard(keys, nil).Authenticate
	batch := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := keys.Disable(t.Context(), issued.Key.ID)
		must(t, err)
		for range 100 {
			guard(served).ServeHTTP(w, r)
		}
	})
	serve(guard(batch), apikeytest.Request(t, "GET", "/", issued.Token))
	if served.calls != 1 {
		t.Errorf("served %d, want 1", served.calls)
	}
}

// TestADecisionIsUsedOnceConcurrently does the same with a goroutine for each.
func TestADecisionIsUsedOnceConcurrently(t *testing.T) {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	var served atomic.Int32
	guard := newGuard(keys, nil).Authenticate
	part := guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	batch := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := keys.Disable(t.Context(), issued.Key.ID)
		must(t, err)
		header := w.Header()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { part.ServeHTTP(&lockedWriter{header: header}, r) })
		}
		all.Wait()
	})
	serve(guard(batch), apikeytest.Request(t, "GET", "/", issued.Token))
	if n := served.Load(); n > 1 {
		t.Errorf("served %d, want at most 1", n)
	}
}

// lockedWriter has the headers of another ResponseWriter until its own guard
// has compared them: what a guard writes goes into a map of its own.
type lockedWriter struct {
	header http.Header
	calls  int
}

func (w *lockedWriter) Header() http.Header {
	if w.calls++; w.calls > 1 {
		return http.Header{}
	}
	return w.header
}
func (w *lockedWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *lockedWriter) WriteHeader(int)             {}

// TestADecisionEndsWithItsGuard has the handler behind an inner guard give away
// its request, context included, and serves that one again and again.
func TestADecisionEndsWithItsGuard(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	guard := newGuard(keys, nil).Authenticate
	calls := 0
	var last *http.Request
	part := guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		calls++
		last = r
	}))
	batch := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		part.ServeHTTP(w, r)
		_, err := keys.Disable(t.Context(), issued.Key.ID)
		is.NoErr(err)
		for range 100 {
			part.ServeHTTP(w, last)
		}
	})
	w := httptest.NewRecorder()
	guard(batch).ServeHTTP(w, apikeytest.Request(t, "GET", "/", issued.Token))
	is.Equal(calls, 1)
	part.ServeHTTP(w, last) // also after the whole request
	is.Equal(calls, 1)
}

// TestAnonymousParts: a request without a credential does not get the key of
// the request in whose context it is served.
func TestAnonymousParts(t *testing.T) {
	tests := []struct {
		name string
		part func(r *http.Request) *http.Request
	}{
		{"headers of its own", func(r *http.Request) *http.Request {
			return httptest.NewRequest("GET", "/orders", nil).WithContext(r.Context())
		}},
		{"no headers", func(r *http.Request) *http.Request {
			part := httptest.NewRequest("GET", "/orders", nil).WithContext(r.Context())
			part.Header = nil
			return part
		}},
		{"credential removed from a copy", func(r *http.Request) *http.Request {
			part := r.Clone(r.Context())
			part.Header.Del("Authorization")
			return part
		}},
		{"credential removed in place", func(r *http.Request) *http.Request {
			r.Header.Del("Authorization")
			return r
		}},
		{"cookies only", func(r *http.Request) *http.Request {
			part := httptest.NewRequest("GET", "/orders", nil).WithContext(r.Context())
			part.Header.Set("Cookie", "session=1")
			return part
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			keys := apikeytest.New(t)
			issued := keys.MustIssue(t, apikey.IssueParams{Scopes: []string{"orders:read"}})
			ran := false
			free := newGuard(keys, nil).Optional
			batch := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				part := test.part(r)
				free(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					ran = true
					_, ok := apikey.FromContext(r.Context())
					is.True(!ok)
					child, cancel := context.WithCancel(r.Context())
					defer cancel()
					_, ok = apikey.FromContext(child)
					is.True(!ok)
					_, err := apikeyhttp.Revalidate(r.Context())
					is.True(err != nil)
					for _, attr := range apikeyhttp.LogAttr(r.Context()).Value.Resolve().Group() {
						is.Equal(attr.Key, "client")
					}
				})).ServeHTTP(w, part)
				served := newHandler()
				w2 := httptest.NewRecorder()
				free(newGuard(keys, nil).Require("orders:read")(served)).ServeHTTP(w2, part)
				is.Equal(w2.Code, 401)
				is.Equal(served.calls, 0)
				// Two Optionals are no way around it.
				w2 = httptest.NewRecorder()
				free(free(newGuard(keys, nil).Require("orders:read")(served))).ServeHTTP(w2, part)
				is.Equal(w2.Code, 401)
				is.Equal(served.calls, 0)
			})
			serve(newGuard(keys, nil).Authenticate(batch), apikeytest.Request(t, "GET", "/", issued.Token))
			is.True(ran)
		})
	}
}

// wrapped is a ResponseWriter as logging and compressing middlewares have it.
type wrapped struct{ http.ResponseWriter }

// TestOrdinaryMiddlewaresBetween: they do not make another request.
func TestOrdinaryMiddlewaresBetween(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	v, l := &counter{Validator: keys}, &limiter{key: apikeyhttp.Quota{Allowed: true}, client: apikeyhttp.Quota{Allowed: true}}
	observed := 0
	guard := newGuard(v, &apikeyhttp.Options{Limiter: l, Observe: func(*http.Request, apikey.Observation) { observed++ }}).Authenticate
	between := func(next http.Handler) http.Handler {
		return http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Seen", "yes")
			r.Header.Set("X-Request-Id", "1")
			ctx, cancel := context.WithCancel(context.WithValue(r.Context(), counter{}, 1))
			defer cancel()
			next.ServeHTTP(wrapped{w}, r.WithContext(ctx))
		}), 100)
	}
	served := newHandler()
	mux := http.NewServeMux()
	mux.Handle("GET /orders/{id}", guard(between(guard(served))))
	is.Equal(serve(guard(between(mux)), apikeytest.Request(t, "GET", "/orders/1", issued.Token)).StatusCode, 200)
	is.Equal(served.calls, 1)
	is.Equal(v.calls, 1)
	is.Equal(len(l.keys), 1)
	is.Equal(len(l.clients), 1)
	is.Equal(observed, 1)
}

// TestOtherHeaderMap checks that a request whose header map was replaced is
// another one, although all else is the same.
func TestOtherHeaderMap(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	v := &counter{Validator: keys}
	guard, served := newGuard(v, nil), newHandler()
	inner := guard.Authenticate(served)
	handler := guard.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		other := *r
		other.Header = r.Header.Clone()
		inner.ServeHTTP(w, &other)
	}))
	serve(handler, apikeytest.Request(t, "GET", "/", keys.MustIssue(t, apikey.IssueParams{}).Token))
	is.Equal(served.calls, 1)
	is.Equal(v.calls, 2)
}

// TestContextHoldsNoRequest checks that a context which a handler keeps does not
// keep the handler's request, with the upload in it.
func TestContextHoldsNoRequest(t *testing.T) {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	var kept context.Context
	collected := make(chan bool, 1)
	served := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		kept = context.WithoutCancel(r.Context())
		r.Form = url.Values{"upload": {strings.Repeat("x", 1000)}}
		runtime.AddCleanup(r, func(collected chan bool) { collected <- true }, collected)
	})
	serve(newGuard(keys, nil).Authenticate(served), apikeytest.Request(t, "GET", "/", issued.Token))
	for range 100 {
		runtime.GC()
		select {
		case <-collected:
			runtime.KeepAlive(kept)
			return
		default:
			runtime.Gosched()
		}
	}
	t.Error("the request is kept")
}
