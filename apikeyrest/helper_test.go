package apikeyrest_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeyrest"
)

// newAPI returns a handler with options that are valid.
func newAPI(m *apikey.Manager, o *apikeyrest.Options) http.Handler {
	api, err := apikeyrest.New(m, o)
	if err != nil {
		panic(err)
	}
	return api
}

func newGuard(v apikey.Validator, o *apikeyhttp.Options) *apikeyhttp.Guard {
	g, err := apikeyhttp.New(v, o)
	if err != nil {
		panic(err)
	}
	return g
}

func serve(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func read(t *testing.T, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	must(t, err)
	return string(body)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// t stands for the t of a test in the examples.
var t = new(testing.T)

// ownerOfKey lets the owner of a key manage all keys of that owner.
func ownerOfKey(r *http.Request) (owner, actor string, err error) {
	key, ok := apikey.FromContext(r.Context())
	if !ok {
		return "", "", errors.New("no key")
	}
	return key.Owner, key.ID, nil
}

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}
