// Nethttp protects routes of net/http's ServeMux with API keys. It needs no
// glue: the middlewares of apikeyhttp are net/http's own.
//
//	go run ./examples/frameworks/nethttp
package main

import (
	"io"
	"net"
	"net/http"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/examples/frameworks/internal/demo"
	"github.com/keyturn/apikey/examples/frameworks/internal/orders"
)

func main() {
	demo.Main(func(l net.Listener, keys apikey.Validator) error { return serve(l, keys, &orders.Book{}) }, demo.Curl)
}

func serve(l net.Listener, keys apikey.Validator, book *orders.Book) error {
	guard, err := apikeyhttp.New(keys, nil)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: routes(guard, book), ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(l)
}

// routes are behind Authenticate as a whole, so that nobody without a key learns
// which routes exist. Require uses what Authenticate found out.
func routes(guard *apikeyhttp.Guard, book *orders.Book) http.Handler {
	list := func(w http.ResponseWriter, r *http.Request) {
		key, _ := apikey.FromContext(r.Context())
		io.WriteString(w, book.List(key.Owner))
	}
	place := func(w http.ResponseWriter, r *http.Request) {
		order, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1000))
		if err != nil {
			http.Error(w, "the order is too long", http.StatusRequestEntityTooLarge)
			return
		}
		key, _ := apikey.FromContext(r.Context())
		io.WriteString(w, book.Place(key.Owner, string(order)))
	}
	canRead, canWrite := guard.Require("orders:read"), guard.Require("orders:write")
	mux := http.NewServeMux()
	mux.Handle("GET /orders", canRead(visit(book, http.HandlerFunc(list))))
	mux.Handle("POST /orders", canWrite(visit(book, http.HandlerFunc(place))))
	return guard.Authenticate(mux)
}

// visit is a middleware behind Require.
func visit(book *orders.Book, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := apikey.FromContext(r.Context())
		book.Visit(key.Owner)
		next.ServeHTTP(w, r)
	})
}
