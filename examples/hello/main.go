// Hello issues a key in memory and protects one route with it.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/memstore"
)

func main() {
	keys, err := apikey.New(memstore.New(), &apikey.Options{
		Peppers: []apikey.Secret{apikey.EphemeralPepper()}, // lasts as long as the process, like the keys
	})
	if err != nil {
		log.Fatal(err)
	}
	issued, err := keys.Issue(context.Background(), apikey.IssueParams{
		Owner: "customer-17", Name: "billing", Scopes: []string{"orders:read"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("curl -H 'X-API-Key: " + issued.Token.Reveal() + "' http://localhost:8080/orders")

	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := apikey.FromContext(r.Context())
		fmt.Fprintf(w, "orders of %s\n", key.Owner)
	})
	guard, err := apikeyhttp.New(keys, nil)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("GET /orders", guard.Require("orders:read")(orders))
	log.Fatal(http.ListenAndServe("localhost:8080", nil))
}
