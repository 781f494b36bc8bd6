package apikeylimit_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeylimit"
	"github.com/keyturn/apikey/memstore"
)

// Two requests a minute for each key that has no rate of its own.
func Example() {
	manager, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.EphemeralPepper()}})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := apikeylimit.New(&apikeylimit.Options{
		Default: apikey.Rate{Requests: 2, Period: time.Minute},
	})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := apikeyhttp.New(manager, &apikeyhttp.Options{Limiter: limiter})
	if err != nil {
		log.Fatal(err)
	}
	handler := guard.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))

	issued, err := manager.Issue(ctx, apikey.IssueParams{Owner: "ada", Name: "billing"})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+issued.Token.Reveal())
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header()["Ratelimit"], w.Header()["Retry-After"])
	}
	// Output:
	// 200 ["key";r=1;t=30] []
	// 200 ["key";r=0;t=60] []
	// 429 ["key";r=0;t=60] [30]
}

// Five bad keys an hour from an address, and no limit for keys that have no
// rate of their own.
func ExampleNew() {
	limiter, err := apikeylimit.New(&apikeylimit.Options{
		Invalid: &apikey.Rate{Requests: 5, Period: time.Hour},
	})
	if err != nil {
		log.Fatal(err)
	}
	manager, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.EphemeralPepper()}})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := apikeyhttp.New(manager, &apikeyhttp.Options{Limiter: limiter})
	if err != nil {
		log.Fatal(err)
	}
	handler := guard.Authenticate(http.NotFoundHandler())
	for n := range 6 {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-API-Key", fmt.Sprint("guess-", n))
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header()["Retry-After"])
	}
	// Output:
	// 401 []
	// 401 []
	// 401 []
	// 401 []
	// 401 []
	// 429 [720]
}

// A rate that says nothing is refused at start-up.
func ExampleNew_refused() {
	_, err := apikeylimit.New(&apikeylimit.Options{Default: apikey.Rate{Requests: 100}})
	fmt.Println(err)
	// Output: apikey: default: must have a number of requests and a period above zero, or neither
}
