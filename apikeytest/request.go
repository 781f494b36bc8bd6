package apikeytest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/keyturn/apikey"
)

// Request returns a request as a server receives it, to hand to an
// [http.Handler], with the token as "Authorization: Bearer"; without a
// credential if the token is the zero Secret. It comes from 192.0.2.1, and its
// context ends with the test. The url is a path, or absolute. What is no
// method or no url ends the test.
//
//	w := httptest.NewRecorder()
//	handler.ServeHTTP(w, apikeytest.Request(t, "GET", "/orders", issued.Token))
//
// To send something to a running server, make the request with
// [http.NewRequest].
func Request(t testing.TB, method, url string, token apikey.Secret) *http.Request {
	t.Helper()
	// httptest panics where a test had better fail.
	defer func() {
		if recover() != nil {
			t.Fatalf("apikeytest: request: %q %q is no request", method, url)
		}
	}()
	ctx := t.Context()
	if ctx == nil { // new(testing.T), in an Example
		ctx = context.Background()
	}
	r := httptest.NewRequestWithContext(ctx, method, url, nil)
	if !token.IsZero() {
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	return r
}
