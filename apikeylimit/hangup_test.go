package apikeylimit_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeylimit"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/memstore"
)

// slowStore is a Store whose lookups last until their caller has gone, if it is
// slow. It then gives up, or finishes the lookup as sqlstore does.
type slowStore struct {
	apikey.Store
	slow    atomic.Bool
	goesOn  bool
	asked   chan struct{} // receives a value for each slow lookup
	lookups atomic.Int64
}

func (s *slowStore) Lookup(ctx context.Context, id string) (apikey.LookupResult, error) {
	s.lookups.Add(1)
	if s.slow.Load() {
		s.asked <- struct{}{}
		<-ctx.Done()
		if !s.goesOn {
			return apikey.LookupResult{}, ctx.Err()
		}
	}
	return s.Store.Lookup(context.WithoutCancel(ctx), id)
}

// server is a real HTTP server, since only that notices hang-ups.
type server struct {
	*httptest.Server
	t        *testing.T
	store    *slowStore
	keys     *apikey.Manager
	client   *http.Client
	observed chan string // what Observe reports
}

func newServer(t *testing.T, goesOn bool, o apikeylimit.Options) *server {
	t.Helper()
	s := &server{
		t: t, store: &slowStore{Store: memstore.New(), goesOn: goesOn, asked: make(chan struct{}, 1)},
		observed: make(chan string, 1),
	}
	var err error
	s.keys, err = apikey.New(s.store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	must(t, err)
	limiter, _ := newLimiter(t, o)
	s.Server = httptest.NewServer(newGuard(t, s.keys, &apikeyhttp.Options{
		Limiter: limiter,
		Observe: func(_ *http.Request, o apikey.Observation) { s.observed <- o.LogValue().String() },
	}).Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	t.Cleanup(s.Close)
	s.client = s.Client()
	return s
}

func (s *server) request(ctx context.Context, token string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
	must(s.t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	return s.client.Do(r)
}

// get returns the status of a request, and what was observed of it.
func (s *server) get(token string) (int, string) {
	s.t.Helper()
	r, err := s.request(ctx, token)
	must(s.t, err)
	must(s.t, r.Body.Close())
	return r.StatusCode, <-s.observed
}

// hangUp sends a request, hangs up when the Store is asked, and returns what was
// observed of it.
func (s *server) hangUp(token string) string {
	s.t.Helper()
	s.store.slow.Store(true)
	defer s.store.slow.Store(false)
	client, cancel := context.WithCancel(ctx)
	done := make(chan error)
	go func() {
		r, err := s.request(client, token)
		if err == nil {
			r.Body.Close()
		}
		done <- err
	}()
	<-s.store.asked
	cancel()
	if err := <-done; err == nil {
		s.t.Error("the client got a response")
	}
	return <-s.observed
}

func (s *server) issue() string {
	s.t.Helper()
	issued, err := s.keys.Issue(ctx, apikey.IssueParams{Owner: "ada", Name: "good"})
	must(s.t, err)
	return issued.Token.Reveal()
}

// TestHangUp checks that a bad key counts although its client did not wait for
// the response, and that Observe distinguishes hang-ups from a store failure.
func TestHangUp(t *testing.T) {
	for _, tt := range []struct {
		name   string
		goesOn bool
		want   string
	}{
		{"store finishes the lookup", true, "status=401 code=invalid_token"},
		{"store gives up", false, "status=503 code=unavailable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			s := newServer(t, tt.goesOn, apikeylimit.Options{Invalid: new(per(3, time.Hour))})
			good := s.issue()
			for _, token := range unissued(t, 3) {
				got := s.hangUp(token)
				is.True(strings.Contains(got, tt.want))
				is.True(strings.Contains(got, "canceled=true"))
			}
			status, observed := s.get(good)
			is.Equal(status, 429)
			is.True(!strings.Contains(observed, "canceled"))
			is.Equal(s.store.lookups.Load(), int64(3))
		})
	}
}

// TestHangUpWithGoodKey checks that clients with good keys that hang up do not
// lock out their address.
func TestHangUpWithGoodKey(t *testing.T) {
	for _, goesOn := range []bool{true, false} {
		is := is.New(t)
		s := newServer(t, goesOn, apikeylimit.Options{Invalid: new(per(2, time.Hour))})
		good := s.issue()
		for range 10 {
			is.True(strings.Contains(s.hangUp(good), "canceled=true"))
		}
		for range 10 {
			status, observed := s.get(good)
			is.Equal(status, 200)
			is.True(!strings.Contains(observed, "canceled"))
		}
		bad := unissued(t, 3)
		counts := map[int]int{}
		for _, token := range bad {
			status, _ := s.get(token)
			counts[status]++
		}
		want := 2 // all are left
		if !goesOn {
			want = 1 // it was not known to be good
		}
		is.Equal(counts[401], want)
	}
}

// TestEndWhileWaiting checks that a request which ends before its key is looked
// up has taken nothing, and that Observe reports why it ended.
func TestEndWhileWaiting(t *testing.T) {
	tokens := unissued(t, 3)
	synctest.Test(t, func(t *testing.T) {
		is := is.NewRelaxed(t)
		store := &gate{Store: memstore.New(), open: make(chan struct{})}
		keys, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
		must(t, err)
		limiter, err := apikeylimit.New(&apikeylimit.Options{Invalid: new(per(1, time.Hour)), MaxWait: time.Minute})
		must(t, err)
		var mu sync.Mutex
		observed := make(map[string]apikey.Observation)
		handler := newGuard(t, keys, &apikeyhttp.Options{
			Limiter: limiter,
			Observe: func(r *http.Request, o apikey.Observation) {
				mu.Lock()
				defer mu.Unlock()
				observed[r.URL.Path] = o
			},
		}).Authenticate(http.NotFoundHandler())
		send := func(ctx context.Context, path, token string) {
			r := httptest.NewRequestWithContext(ctx, "GET", path, nil)
			r.Header.Set("Authorization", "Bearer "+token)
			handler.ServeHTTP(httptest.NewRecorder(), r)
		}
		go send(ctx, "/first", tokens[0])
		synctest.Wait()
		hangsUp, hangUp := context.WithCancel(ctx)
		hasDeadline, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		go send(hangsUp, "/hangup", tokens[1])
		go send(hasDeadline, "/deadline", tokens[1])
		go send(ctx, "/maxwait", tokens[1])
		synctest.Wait()
		seen := func() int {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return len(observed)
		}
		is.Equal(seen(), 0)
		hangUp()
		is.Equal(seen(), 1)
		<-hasDeadline.Done()
		is.Equal(seen(), 2)
		<-time.After(time.Minute) // on the clock of the bubble
		is.Equal(seen(), 3)

		for path, want := range map[string]error{
			"/hangup": context.Canceled, "/deadline": context.DeadlineExceeded, "/maxwait": apikeylimit.ErrBusy,
		} {
			is.Equal(observed[path].Status, 503)
			is.True(errors.Is(observed[path].Err, want))
			is.Equal(observed[path].Canceled, path == "/hangup")
		}
		is.Equal(store.lookups.Load(), int64(1))
		close(store.open)
		is.Equal(seen(), 4)
		is.Equal(observed["/first"].Status, 401)
		send(ctx, "/last", tokens[2])
		is.Equal(observed["/last"].Status, 429)
	})
}

// TestDeadlineDuringTheCheck checks that a deadline of the application is no
// way to guess for free either, and is not reported as a hang-up.
func TestDeadlineDuringTheCheck(t *testing.T) {
	tokens := unissued(t, 3)
	synctest.Test(t, func(t *testing.T) {
		is := is.NewRelaxed(t)
		store := &slowStore{Store: memstore.New(), asked: make(chan struct{}, 9)}
		store.slow.Store(true)
		keys, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
		must(t, err)
		limiter, _ := newLimiter(t, apikeylimit.Options{Invalid: new(per(2, time.Hour))})
		var observed apikey.Observation
		handler := newGuard(t, keys, &apikeyhttp.Options{
			Limiter: limiter,
			Observe: func(_ *http.Request, o apikey.Observation) { observed = o },
		}).Authenticate(http.NotFoundHandler())
		for i, want := range []int{503, 503, 429} {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
			r.Header.Set("Authorization", "Bearer "+tokens[i])
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			cancel()
			is.Equal(w.Code, want)
			is.True(!observed.Canceled)
		}
	})
}

// TestCanceledBefore checks that a request whose client has gone already sends
// nothing and takes nothing.
func TestCanceledBefore(t *testing.T) {
	is := is.New(t)
	s := newStack(t, apikeylimit.Options{Invalid: new(per(1, time.Hour))})
	var observed apikey.Observation
	s.options.Observe = func(_ *http.Request, o apikey.Observation) { observed = o }
	s.handler = newGuard(t, s.Manager, s.options).Authenticate(s.handler)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	calls := s.Store.Calls(apikeytest.Any)
	for _, token := range unissued(t, 5) {
		r := httptest.NewRequestWithContext(gone, "GET", "/", nil)
		r.RemoteAddr = home + ":4711"
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		is.Equal(w.Code, 503)
		is.True(strings.Contains(observed.LogValue().String(), "canceled=true"))
	}
	is.Equal(s.Store.Calls(apikeytest.Any), calls)
	is.Equal(s.guesses(home, 3), 1)
}
