package apikeyrest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

// TestCrossScheme checks that a page loaded over http changes nothing through
// the API of the https site of the same name, unless it is in Origins.
func TestCrossScheme(t *testing.T) {
	is := is.New(t)
	api := newAPI(apikeytest.New(t).Manager, &apikeyrest.Options{
		Owner:   func(*http.Request) (string, string, error) { return "ada", "", nil },
		Origins: []string{"http://intranet.example.net"},
	})
	post := func(target string, header ...string) int {
		r := httptest.NewRequest("POST", target, strings.NewReader(`{"name": "billing"}`))
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		return w.Code
	}
	const secure, plain = "https://example.com/keys", "http://example.com/keys"
	is.Equal(post(secure, "Origin", "http://example.com"), 403)
	is.Equal(post(plain, "Origin", "http://example.com", "X-Forwarded-Proto", "https"), 403)
	is.Equal(post(secure, "Origin", "ftp://example.com"), 403)
	is.Equal(post(secure, "Origin", "https://example.com"), 201)
	is.Equal(post(secure, "Origin", "http://intranet.example.net"), 201)
	is.Equal(post(plain, "Origin", "http://example.com"), 201)
	is.Equal(post(secure), 201) // no browser
}
