package apikeyrest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

// TestBehindAuthenticate checks that a key which calls the API makes no key
// that exceeds it, although the handler does nothing for that.
func TestBehindAuthenticate(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	leaked := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Scopes: []string{"orders:read"}, Lifetime: apikey.Period{Time: time.Hour}})
	strong := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Scopes: []string{"orders:*"}})
	api := newGuard(keys.Manager, nil).Authenticate(newAPI(keys.Manager, &apikeyrest.Options{
		Owner: func(r *http.Request) (owner, actor string, err error) {
			key, _ := apikey.FromContext(r.Context())
			return key.Owner, key.ID, nil
		},
		OwnerOptions: mayGive("orders:*"),
	}))
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+leaked.Token.Reveal())
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		return w
	}
	is.Equal(ask("POST", "/keys", `{"name":"x","scopes":["orders:*"]}`).Code, 403)
	is.Equal(ask("POST", "/keys", `{"name":"x","lifetime_seconds":7200}`).Code, 403)
	for _, path := range []string{"regenerate", "disable", "finish"} {
		is.Equal(ask("POST", "/keys/"+strong.Key.ID+"/"+path, "").Code, 403)
	}
	is.Equal(ask("DELETE", "/keys/"+strong.Key.ID, "").Code, 403)
	is.Equal(ask("POST", "/keys/"+leaked.Key.ID+"/regenerate", "").Code, 403)
	is.Equal(ask("POST", "/keys/"+leaked.Key.ID+"/rotate", `{"overlap_seconds":60}`).Code, 403)
	is.Equal(ask("GET", "/keys/"+strong.Key.ID, "").Code, 200)
	made := ask("POST", "/keys", `{"name":"x","scopes":["orders:read"]}`)
	is.Equal(made.Code, 201)
	is.True(strings.Contains(made.Body.String(), leaked.Key.ExpiresAt.Format("2006-01-02T15:04:05.000000Z")))
}
