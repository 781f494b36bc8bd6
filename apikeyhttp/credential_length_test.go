package apikeyhttp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

// asked is a Validator that accepts every text and counts them.
type asked struct{ n int }

func (v *asked) Validate(context.Context, string, ...apikey.Requirement) (apikey.Key, error) {
	v.n++
	return apikey.Key{ID: "key", Owner: "acme"}, nil
}

// TestCredentialLength checks that a text of more than 4096 bytes is rejected
// before the Validator is asked.
func TestCredentialLength(t *testing.T) {
	for _, test := range []struct{ bytes, status int }{{4096, 200}, {4097, 401}} {
		is := is.New(t)
		v := new(asked)
		handler := newGuard(v, &apikeyhttp.Options{Carriers: apikeyhttp.Header}).Authenticate(newHandler())
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-API-Key", strings.Repeat("x", test.bytes))
		is.Equal(serve(handler, r).StatusCode, test.status)
		is.Equal(v.n == 1, test.status == 200)
	}
}
