package apikeyhttp_test

import (
	"net/http"
	"net/http/httptest"
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

// TestOrders is the test of the README; examples/readme compares the two.
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
