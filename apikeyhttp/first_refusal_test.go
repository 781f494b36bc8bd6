package apikeyhttp_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// TestFirstRefusalIsObserved checks that of several rejections within a request
// the first is observed. The second may be a consequence of it.
func TestFirstRefusalIsObserved(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	valid := keys.MustIssue(t, apikey.IssueParams{}).Token
	expired := keys.MustIssue(t, apikey.IssueParams{Lifetime: apikey.Period{Time: time.Hour}}).Token.Reveal()
	keys.Advance(2 * time.Hour)
	var got []apikey.Observation
	observed := &apikeyhttp.Options{Carriers: apikeyhttp.Bearer, Observe: func(_ *http.Request, o apikey.Observation) { got = append(got, o) }}
	inner := newGuard(keys, &apikeyhttp.Options{Carriers: apikeyhttp.Header}).Authenticate(newHandler())
	handler := newGuard(keys, observed).Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		second := r.Clone(r.Context())
		second.Header.Set("X-API-Key", "nonsense")
		inner.ServeHTTP(w, second)
	}))
	r := apikeytest.Request(t, http.MethodGet, "/", valid)
	r.Header.Set("X-API-Key", expired)
	is.Equal(serve(handler, r).StatusCode, 401)
	is.Equal(len(got), 1)
	is.Equal(got[0].Status, 401)
	is.Equal(got[0].Code, "expired")
}
