package apikeylimit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
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

// gate is a Store whose lookups wait until the gate is open.
type gate struct {
	apikey.Store
	open    chan struct{}
	lookups atomic.Int64
}

func (g *gate) Lookup(ctx context.Context, id string) (apikey.LookupResult, error) {
	g.lookups.Add(1)
	<-g.open
	return g.Store.Lookup(ctx, id)
}

// unissued returns n tokens of the right form that no Manager knows.
func unissued(t testing.TB, n int) []string {
	t.Helper()
	m := apikeytest.New(t)
	tokens := make([]string, n)
	for i := range tokens {
		tokens[i] = m.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	}
	return tokens
}

// TestAtOnce checks that of 5,000 bad keys that come at once from one address no
// more are looked up than may be, and that good ones beside them are served.
func TestAtOnce(t *testing.T) {
	tokens := unissued(t, 5000)
	synctest.Test(t, func(t *testing.T) {
		is := is.NewRelaxed(t) // so that the requests end
		store := &gate{Store: memstore.New(), open: make(chan struct{})}
		keys, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
		must(t, err)
		issued, err := keys.Issue(ctx, apikey.IssueParams{Owner: "ada", Name: "good"})
		must(t, err)
		limiter, _ := newLimiter(t, apikeylimit.Options{})
		handler := newGuard(t, keys, &apikeyhttp.Options{Limiter: limiter}).Authenticate(
			http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		var mu sync.Mutex
		statuses := map[string]int{}
		send := func(kind, token, from string) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = from + ":4711"
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			mu.Lock()
			defer mu.Unlock()
			statuses[fmt.Sprint(kind, " ", w.Code)]++
		}
		for range 100 {
			go send("good", issued.Token.Reveal(), home)
		}
		synctest.Wait()
		for _, token := range tokens {
			go send("bad", token, home)
		}
		synctest.Wait()
		is.Equal(store.lookups.Load(), int64(60)) // in flight
		is.Equal(len(statuses), 0)                // the others wait
		go send("other", issued.Token.Reveal(), other)
		synctest.Wait()
		is.Equal(store.lookups.Load(), int64(61))

		close(store.open)
		synctest.Wait()
		is.Equal(store.lookups.Load(), int64(161))
		is.Equal(statuses, map[string]int{"good 200": 100, "other 200": 1, "bad 401": 60, "bad 429": 4940})
	})
}

// TestForgottenClient checks that a client that goes on with the token of a key
// that was stopped, or swept, does not lock out others at its address.
func TestForgottenClient(t *testing.T) {
	for _, tt := range []struct {
		name string
		stop func(s *stack, key apikey.Key)
	}{
		{"never issued", nil},
		{"expired", func(s *stack, _ apikey.Key) { s.Advance(400 * 24 * time.Hour) }},
		{"disabled", func(s *stack, key apikey.Key) {
			_, err := s.Disable(ctx, key.ID)
			must(s.t, err)
		}},
		{"deleted", func(s *stack, key apikey.Key) {
			_, err := s.Delete(ctx, key.ID)
			must(s.t, err)
		}},
		{"deleted and swept", func(s *stack, key apikey.Key) {
			_, err := s.Delete(ctx, key.ID)
			must(s.t, err)
			s.Advance(10 * 366 * 24 * time.Hour)
			_, err = s.Sweep(ctx)
			must(s.t, err)
		}},
		{"regenerated and swept", func(s *stack, key apikey.Key) {
			_, err := s.Regenerate(ctx, key.ID)
			must(s.t, err)
			s.Advance(10 * 366 * 24 * time.Hour)
			_, err = s.Sweep(ctx)
			must(s.t, err)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			is := is.New(t)
			s := newStack(t, apikeylimit.Options{Invalid: new(per(5, time.Minute))})
			issued := s.MustIssue(t, apikey.IssueParams{})
			token := unissued(t, 1)[0]
			if tt.stop != nil {
				token = issued.Token.Reveal()
				tt.stop(s, issued.Key)
			}
			neighbor := s.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
			for n := range 600 { // 5 minutes
				is.Equal(s.get(token, home).StatusCode, 401)
				s.expect(s.get(neighbor, home), 200, "", n+1)
				s.Advance(500 * time.Millisecond)
			}
			for range 300 { // without a pause
				is.Equal(s.get(token, home).StatusCode, 401)
			}
			is.True(s.guesses(home, 10) >= 4) // it has taken one at most
		})
	}
}

// TestRepeatedTokens checks that a token costs one bad key for each address that
// it comes from, that others are not free for it, and that lookups for repeated
// tokens are bounded too.
func TestRepeatedTokens(t *testing.T) {
	is := is.New(t)
	s := newStack(t, apikeylimit.Options{Invalid: new(per(3, time.Minute))})
	token, good := unissued(t, 1)[0], s.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	is.Equal(s.get(token, home).StatusCode, 401)
	is.Equal(s.get(token, other).StatusCode, 401)
	is.Equal(s.guesses(home, 9), 2)
	is.Equal(s.guesses(other, 9), 2)
	is.Equal(s.get(token, home).StatusCode, 429) // out of bad keys, nothing is looked up
	is.Equal(s.get(good, home).StatusCode, 429)
	s.Advance(time.Minute)

	lookups := s.Store.Calls(apikeytest.Lookup)
	checked := 0
	for range 1000 {
		if s.get(token, home).StatusCode == 401 {
			checked++
		}
	}
	is.Equal(checked, 301) // the first is counted as a bad key, 100 times as many as those repeat it
	is.Equal(s.Store.Calls(apikeytest.Lookup)-lookups, 301)
	r := s.get(token, home)
	is.Equal(r.StatusCode, 429)
	expectLimits(t, r, "repeated", 300, 60, 0, 60)
	is.Equal(s.get(good, home).StatusCode, 200) // nobody else is affected
	is.Equal(s.guesses(home, 9), 2)
}

// TestTokenThatBecomesGood checks that a key which works again is served at
// once, and is then no repeated token any more.
func TestTokenThatBecomesGood(t *testing.T) {
	is := is.New(t)
	s := newStack(t, apikeylimit.Options{Invalid: new(per(1, time.Hour))})
	issued := s.MustIssue(t, apikey.IssueParams{})
	_, err := s.Disable(ctx, issued.Key.ID)
	must(t, err)
	for range 101 {
		is.Equal(s.get(issued.Token.Reveal(), home).StatusCode, 401)
	}
	is.Equal(s.get(issued.Token.Reveal(), home).StatusCode, 429) // for itself only
	s.Advance(36 * time.Second)
	_, err = s.Enable(ctx, issued.Key.ID)
	must(t, err)
	for n := range 500 {
		s.expect(s.get(issued.Token.Reveal(), home), 200, "", n+1)
	}
}
