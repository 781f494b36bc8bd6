package uitest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

const (
	prefix = "/account/keys/"
	ada    = "ada"
)

// site is a host with the pages, on which ada is logged in, and with an API.
type site struct {
	t    testing.TB
	keys *apikeytest.Manager
	url  string // without a slash at the end
	home string // of the pages

	mu      sync.Mutex
	owner   string                                                   // who is logged in
	between func(http.ResponseWriter, *http.Request) (answered bool) // what a network or a host does to a request, if set
	answers []answer
	tokens  []string // that were shown
}

// answer is one answer of the pages.
type answer struct {
	method, address string
	status          int
	body            string
	header          http.Header
}

func newSite(t testing.TB, change ...func(*apikeyui.Options)) *site {
	t.Helper()
	s := &site{t: t, owner: ada, keys: apikeytest.New(t, func(o *apikey.Options) { o.MaxLifetime = apikey.Period{Years: 1} })}
	mux := http.NewServeMux()
	server := httptest.NewUnstartedServer(mux)
	s.url = "http://" + server.Listener.Addr().String()
	s.home = s.url + prefix
	o := &apikeyui.Options{
		Owner: func(*http.Request) (string, string, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.owner, s.owner + "@example.com", nil
		},
		Scopes:      []apikeyui.Scope{{Name: "orders:read", Description: "See orders"}, {Name: "orders:write"}},
		MaxLifetime: apikey.Period{Years: 1},
		APIURL:      s.url + "/v1/orders",
	}
	for _, c := range change {
		c(o)
	}
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("<!DOCTYPE html><title>host</title><h1>Log in</h1>"))
	})
	pages, err := apikeyui.New(s.keys.Manager, o)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle(prefix, s.record(http.StripPrefix(strings.TrimSuffix(prefix, "/"), pages)))
	guard, err := apikeyhttp.New(s.keys.Manager, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("GET /v1/orders", guard.Authenticate(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("orders")) })))
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	server.Start()
	t.Cleanup(func() { server.Close(); s.verdict() })
	return s
}

// recorder keeps a copy of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	w.body.Write(p)
	return w.ResponseWriter.Write(p)
}

func (s *site) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		between := s.between
		s.mu.Unlock()
		if between != nil && between(w, r) {
			return
		}
		kept := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(kept, r)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.answers = append(s.answers, answer{r.Method, r.URL.String(), kept.status, kept.body.String(), w.Header().Clone()})
	})
}

// shown remembers a token that a person saw.
func (s *site) shown(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(s.tokens, token)
}

// statuses counts the answers to one method by status.
func (s *site) statuses(method string) map[int]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := map[int]int{}
	for _, a := range s.answers {
		if a.method == method {
			count[a.status]++
		}
	}
	return count
}

// verdict fails the test if a token was in more than one answer, in an address
// or in a header, if a cookie was set, or if style sheet or script were missing.
func (s *site) verdict() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, token := range s.tokens {
		secret := token[strings.LastIndexByte(token, '_')+1:]
		if secret == "" {
			s.t.Errorf("%q is no token", token)
			continue
		}
		times := 0
		for _, a := range s.answers {
			if strings.Contains(a.body, secret) {
				times++
				if a.method != http.MethodPost {
					s.t.Errorf("a secret in the answer to %s %s", a.method, a.address)
				}
			}
			if strings.Contains(a.address, secret) {
				s.t.Errorf("a secret in the address %s", a.address)
			}
			for _, values := range a.header {
				if strings.Contains(strings.Join(values, " "), secret) {
					s.t.Errorf("a secret in the header of %s", a.address)
				}
			}
		}
		if times != 1 {
			s.t.Errorf("a secret was shown %d times", times)
		}
	}
	for _, a := range s.answers {
		if a.header.Get("Set-Cookie") != "" {
			s.t.Errorf("%s %s set a cookie", a.method, a.address)
		}
		if a.method == http.MethodGet && a.status >= 400 && (strings.Contains(a.address, ".css") || strings.Contains(a.address, ".js")) {
			s.t.Errorf("%s: %d", a.address, a.status)
		}
	}
}

// state is all that is stored of ada's keys, which no looking may change.
type state struct {
	Keys   []apikey.Key
	Events int
}

func (s state) String() string { return fmt.Sprintf("%d events, %+v", s.Events, s.Keys) }

func (s *site) state() state {
	s.t.Helper()
	ctx := context.Background()
	keys, err := s.keys.List(ctx, apikey.Query{Owner: ada, IncludeDeleted: true})
	if err != nil {
		s.t.Fatal(err)
	}
	events, err := s.keys.Events(ctx, apikey.EventQuery{})
	if err != nil {
		s.t.Fatal(err)
	}
	return state{keys, len(events)}
}

// key returns the only key that is not deleted.
func (s *site) key() apikey.Key {
	s.t.Helper()
	keys, err := s.keys.List(context.Background(), apikey.Query{Owner: ada})
	if err != nil || len(keys) != 1 {
		s.t.Fatalf("%d keys, %v", len(keys), err)
	}
	return keys[0]
}

// status returns the status of a key.
func (s *site) status(id string) apikey.Status {
	s.t.Helper()
	key, err := s.keys.Get(context.Background(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return key.Status
}

// issue makes a key of ada's.
func (s *site) issue(name string) apikey.Issued {
	s.t.Helper()
	return s.keys.MustIssue(s.t, apikey.IssueParams{Owner: ada, Name: name, Scopes: []string{"orders:read"}})
}

// works returns what the Manager says of a token.
func (s *site) works(token string, needs ...apikey.Requirement) error {
	_, err := s.keys.Validate(context.Background(), token, needs...)
	return err
}

// interfere sets what is done to requests from now on; nil for nothing.
func (s *site) interfere(between func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.between = between
}

// hold lets requests by a method and with such an end of their path wait until
// they are released.
func (s *site) hold(method, end string) (release func()) {
	return s.holdAll([2]string{method, end})[0]
}

// holdAll holds several, each until it is released.
func (s *site) holdAll(which ...[2]string) (release []func()) {
	released := make([]chan struct{}, len(which))
	for i := range which {
		released[i] = make(chan struct{})
		release = append(release, sync.OnceFunc(func() { close(released[i]) }))
		s.t.Cleanup(release[i])
	}
	s.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		for i, w := range which {
			if r.Method == w[0] && strings.HasSuffix(r.URL.Path, w[1]) {
				<-released[i]
			}
		}
		return false
	})
	return release
}

// cut lets the connection break under requests by a method.
func (s *site) cut(method string) {
	s.interfere(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == method {
			panic(http.ErrAbortHandler)
		}
		return false
	})
}

// login makes another the one who is logged in.
func (s *site) login(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner = owner
}
