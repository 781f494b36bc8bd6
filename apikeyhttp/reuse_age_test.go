package apikeyhttp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

// TestAgeOfADecision lets time pass between three guards. The age counts from
// the check: a guard that uses a decision does not renew it.
func TestAgeOfADecision(t *testing.T) {
	tests := []struct {
		name          string
		first, second time.Duration
		calls         int
	}{
		{"none", 0, 0, 1},
		{"just young enough", 5*time.Second - 1, 0, 1},
		{"too old", 5 * time.Second, 0, 2},
		{"too old together", 3 * time.Second, 2 * time.Second, 2},
		{"young enough together", 3 * time.Second, 2*time.Second - 1, 1},
		{"too old twice", time.Minute, time.Minute, 3},
		{"the clock went back", -1, 0, 2},
	}
	for _, test := range tests {
		for _, inner := range []string{"Authenticate", "Optional", "Optional with other carriers"} {
			t.Run(test.name+", "+inner, func(t *testing.T) {
				is := is.New(t)
				keys := apikeytest.New(t)
				issued := keys.MustIssue(t, apikey.IssueParams{Owner: "ada"})
				v, l := &counter{Validator: keys}, &limiter{key: apikeyhttp.Quota{Allowed: true}, client: apikeyhttp.Quota{Allowed: true}}
				now, observed := time.Unix(1e9, 0), 0
				options := apikeyhttp.Options{
					Limiter: l, Now: func() time.Time { return now },
					Observe: func(*http.Request, apikey.Observation) { observed++ },
				}
				guard := newGuard(v, &options).Authenticate
				second := guard
				if inner != "Authenticate" {
					own := options
					if inner != "Optional" {
						own.Carriers = apikeyhttp.Header
					}
					second = newGuard(v, &own).Optional
				}
				pass := func(d time.Duration, next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						now = now.Add(d)
						next.ServeHTTP(w, r)
					})
				}
				served := newHandler()
				handler := guard(pass(test.first, second(pass(test.second, guard(served)))))
				is.Equal(serve(handler, apikeytest.Request(t, "GET", "/", issued.Token)).StatusCode, 200)
				is.Equal(served.key.Owner, "ada")
				is.Equal(v.calls, test.calls)
				is.Equal(len(l.keys), 1) // it is one request still
				is.Equal(observed, 1)
			})
		}
	}
}

// TestStoppedBetweenSlowGuards: an upload between two guards takes time.
func TestStoppedBetweenSlowGuards(t *testing.T) {
	for _, optional := range []bool{false, true} {
		is := is.New(t)
		keys := apikeytest.New(t)
		issued := keys.MustIssue(t, apikey.IssueParams{})
		now := time.Unix(1e9, 0)
		var got []apikey.Observation
		options := &apikeyhttp.Options{
			Now:     func() time.Time { return now },
			Observe: func(_ *http.Request, o apikey.Observation) { got = append(got, o) },
		}
		guard, served := newGuard(keys, options).Authenticate, newHandler()
		second := guard
		if optional {
			second = newGuard(keys, &apikeyhttp.Options{Now: options.Now, Carriers: apikeyhttp.Header}).Optional
		}
		handler := guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := keys.Disable(t.Context(), issued.Key.ID)
			is.NoErr(err)
			now = now.Add(5 * time.Second)
			second(served).ServeHTTP(w, r)
		}))
		is.Equal(serve(handler, apikeytest.Request(t, "GET", "/", issued.Token)).StatusCode, 401)
		is.Equal(served.calls, 0)
		is.Equal(len(got), 1)
		is.Equal(got[0].Code, "disabled")
	}
}

// TestContextHoldsNoQuery prints what handlers may print of a request that has
// its token in the URL.
func TestContextHoldsNoQuery(t *testing.T) {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	r := httptest.NewRequest(http.MethodGet, "/?api_key="+issued.Token.Reveal(), nil)
	var output []string
	served := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		child, cancel := context.WithCancel(r.Context())
		defer cancel()
		for _, ctx := range []context.Context{r.Context(), child, apikeyhttp.Unwrap(r.Context())} {
			for _, verb := range verbs {
				output = append(output, fmt.Sprintf(verb, ctx), fmt.Sprintf(verb, []any{ctx}), fmt.Sprintf(verb, struct{ c context.Context }{ctx}))
			}
		}
	})
	serve(newGuard(keys, anyCarrier).Authenticate(served), r)
	if len(output) == 0 {
		t.Fatal("nothing was printed")
	}
	apikeytest.AssertNoLeak(t, issued.Token, strings.Join(output, "\n"))
}
