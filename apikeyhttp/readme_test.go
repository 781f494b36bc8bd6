package apikeyhttp_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// server is the program under test of the README.
func server(keys *apikey.Manager) http.Handler {
	guard, err := apikeyhttp.New(keys, nil)
	if err != nil {
		panic(err)
	}
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})
	mux := http.NewServeMux()
	mux.Handle("GET /orders", guard.Require("orders:read")(orders))
	return mux
}

func TestOrders(t *testing.T) {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Scopes: []string{"orders:read"}})
	get := func() int {
		w := httptest.NewRecorder()
		server(keys.Manager).ServeHTTP(w, apikeytest.Request(t, "GET", "/orders", issued.Token))
		return w.Code
	}
	if got := get(); got != http.StatusOK {
		t.Errorf("a fresh key: %d", got)
	}

	keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Lookup}) // the database is down, once
	if got := get(); got != http.StatusServiceUnavailable {
		t.Errorf("without a database: %d", got)
	}

	keys.Advance(366 * 24 * time.Hour) // the key has expired
	if got := get(); got != http.StatusUnauthorized {
		t.Errorf("a year later: %d", got)
	}
}

// TestReadme: the test that the README shows is the one above.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	must(t, err)
	this, err := os.ReadFile("readme_test.go")
	must(t, err)
	_, section, ok := strings.Cut(string(readme), "## Testing your program\n")
	_, code, ok2 := strings.Cut(section, "```go\n")
	code, _, ok3 := strings.Cut(code, "```")
	if !ok || !ok2 || !ok3 || !strings.Contains(string(this), "\n"+code+"\n") {
		t.Errorf("the README shows another test:\n%s", code)
	}
}
