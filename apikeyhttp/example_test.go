package apikeyhttp_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/memstore"
)

// A route for keys with the scope orders:read.
func Example() {
	manager, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.EphemeralPepper()}})
	if err != nil {
		log.Fatal(err)
	}
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := apikey.FromContext(r.Context())
		fmt.Fprintf(w, "orders of %s\n", key.Owner)
	})
	guard, err := apikeyhttp.New(manager, nil)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", guard.Require("orders:read")(orders))

	issued, err := manager.Issue(context.Background(), apikey.IssueParams{
		Owner: "ada", Name: "billing", Scopes: []string{"orders:read"},
	})
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/orders", nil)
	r.Header.Set("Authorization", "Bearer "+issued.Token.Reveal())
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Print(w.Code, " ", w.Body)

	r = httptest.NewRequest("GET", "/orders", nil)
	w = httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Values("WWW-Authenticate"))
	// Output:
	// 200 orders of ada
	// 401 [Bearer realm="api"]
}

// The access key as user and the access secret as password, as in
// curl --user.
func ExampleGuard_Authenticate_basic() {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Owner: "ada"})
	options := &apikeyhttp.Options{Carriers: apikeyhttp.Bearer | apikeyhttp.Basic} // Basic is off by default
	guard, err := apikeyhttp.New(keys, options)
	if err != nil {
		log.Fatal(err)
	}
	handler := guard.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := apikey.FromContext(r.Context())
		fmt.Println("called by", key.Owner)
	}))

	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth(issued.AccessKey(), issued.AccessSecret().Reveal())
	handler.ServeHTTP(httptest.NewRecorder(), r)
	// Output: called by ada
}

// Keys in a header of the host's own, and nowhere else.
func ExampleOptions() {
	options := &apikeyhttp.Options{Carriers: apikeyhttp.Header, Header: "Shop-Key", Realm: "shop"}
	guard, err := apikeyhttp.New(apikeytest.Deny(apikey.ErrExpired), options)
	if err != nil {
		log.Fatal(err)
	}
	handler := guard.Authenticate(http.NotFoundHandler())

	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Shop-Key", "any")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	fmt.Print(w.Body)
	// Output:
	// 401 ApiKey realm="shop", header="Shop-Key", error="invalid_token"
	// {"type":"about:blank","title":"Unauthorized","status":401,"code":"expired","detail":"The API key has expired."}
}

func ExampleGuard_Require() {
	scopes, err := apikey.NewScopes("orders:*")
	if err != nil {
		log.Fatal(err)
	}
	guard, err := apikeyhttp.New(apikeytest.Allow(apikey.Key{Scopes: scopes}), nil)
	if err != nil {
		log.Fatal(err)
	}
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "OK") })
	for _, scope := range []string{"orders:read", "users:read"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-API-Key", "any")
		w := httptest.NewRecorder()
		guard.Require(scope)(ok).ServeHTTP(w, r)
		fmt.Println(w.Code, scope, w.Header()["Www-Authenticate"])
	}
	// Output:
	// 200 orders:read []
	// 403 users:read [Bearer realm="api", error="insufficient_scope", scope="users:read"]
}
