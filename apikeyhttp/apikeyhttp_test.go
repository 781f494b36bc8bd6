package apikeyhttp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

// guard returns a Guard with options that are valid.
func newGuard(v apikey.Validator, o *apikeyhttp.Options) *apikeyhttp.Guard {
	g, err := apikeyhttp.New(v, o)
	if err != nil {
		panic(err)
	}
	return g
}

// handler counts its calls and remembers what it was called with.
type handler struct {
	hasKey  bool
	calls   int
	key     apikey.Key
	request *http.Request
}

func newHandler() *handler { return &handler{} }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.calls++
	h.key, h.hasKey = apikey.FromContext(r.Context())
	h.request = r
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

// verbs are all of package fmt, also those that fit no context.
var verbs = []string{
	"%v", "%+v", "%#v", "%T", "%t", "%b", "%c", "%d", "%o", "%O", "%q", "%x", "%X", "%U", "%e", "%E", "%f", "%F", "%g", "%G", "%s", "%p", "%z",
}
