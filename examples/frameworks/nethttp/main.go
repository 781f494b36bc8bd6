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
	server := &http.Server{Handler: routes(keys, book), ReadHeaderTimeout: 10 * time.Second}
	return server.Serve(l)
}

// routes stand behind Authenticate as a whole, so that nobody without a key
// learns which there are.
func routes(keys apikey.Validator, book *orders.Book) http.Handler {
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
	canRead, canWrite := apikeyhttp.Require("orders:read"), apikeyhttp.Require("orders:write")
	mux := http.NewServeMux()
	mux.Handle("GET /orders", canRead(http.HandlerFunc(list)))
	mux.Handle("POST /orders", canWrite(http.HandlerFunc(place)))
	return apikeyhttp.Authenticate(keys, nil)(visit(book, mux))
}

// visit is a middleware behind Authenticate.
func visit(book *orders.Book, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := apikey.FromContext(r.Context())
		book.Visit(key.Owner)
		next.ServeHTTP(w, r)
	})
}
