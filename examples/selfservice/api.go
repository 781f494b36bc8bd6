package main

import (
	"fmt"
	"net/http"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeyui"
)

const (
	apiPath    = "/v1/"
	whoamiPath = apiPath + "whoami"
	ordersPath = apiPath + "orders"
)

// scopes are what the API asks for, and what customers can give to their keys.
var scopes = []apikeyui.Scope{
	{Name: "orders:read", Description: "See orders"},
	{Name: "orders:write", Description: "Place orders"},
}

// api is what the keys are for. It knows no session: the cookie of who is
// logged in opens nothing here.
func api(keys apikey.Validator) (http.Handler, error) {
	guard, err := apikeyhttp.New(keys, nil)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	// It asks for no scope, so that the curl line that is shown with a new key
	// works whatever scopes were chosen.
	mux.Handle("GET "+whoamiPath, guard.Authenticate(http.HandlerFunc(whoami)))
	mux.Handle("GET "+ordersPath, guard.Require("orders:read")(http.HandlerFunc(listOrders)))
	mux.Handle("POST "+ordersPath, guard.Require("orders:write")(http.HandlerFunc(placeOrder)))
	return mux, nil
}

func whoami(w http.ResponseWriter, r *http.Request) {
	key, _ := apikey.FromContext(r.Context()) // the key that the guard accepted
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%s, with the key %q and the scopes %q\n", key.Owner, key.Name, key.Scopes)
}

func listOrders(w http.ResponseWriter, r *http.Request) {
	key, _ := apikey.FromContext(r.Context())
	fmt.Fprintf(w, "orders of %s\n", key.Owner)
}

func placeOrder(w http.ResponseWriter, r *http.Request) {
	key, _ := apikey.FromContext(r.Context())
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "order of %s placed\n", key.Owner)
}
