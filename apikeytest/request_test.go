package apikeytest_test

import (
	"context"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

func TestRequest(t *testing.T) {
	is := is.New(t)
	r := apikeytest.Request(t, "PUT", "/orders?page=2", apikey.NewSecret("token"))
	is.Equal(r.Method, "PUT")
	is.Equal(r.URL.String(), "/orders?page=2")
	is.Equal(r.Header.Values("Authorization"), []string{"Bearer token"})
	is.Equal(r.RequestURI, "/orders?page=2")
	is.Equal(r.RemoteAddr, "192.0.2.1:1234")
	is.Equal(r.Context(), t.Context())

	r = apikeytest.Request(t, "GET", "https://shop.example/", apikey.Secret{})
	is.Equal(r.Host, "shop.example")
	is.Equal(len(r.Header), 0)

	is.Equal(apikeytest.Request(new(testing.T), "GET", "/", apikey.Secret{}).Context(), context.Background())

	for _, bad := range [][2]string{{"GET", ""}, {"GET", "/a b"}, {"GET", "/\x00"}, {"G T", "/"}, {"GET", "orders"}} {
		messages, finished := failures(t, func(t testing.TB) { apikeytest.Request(t, bad[0], bad[1], apikey.Secret{}) })
		if len(messages) != 1 || finished {
			t.Errorf("%q: %v", bad, messages)
		}
	}
}
