// Chi protects routes of github.com/go-chi/chi with API keys. It needs no
// glue: chi's middlewares are net/http's own.
//
//	go run ./examples/frameworks/chi
//
// A key that is bound to networks is checked against the peer of the
// connection. Behind chi's deprecated middleware.RealIP, which writes what
// anyone can send over it, such a key is refused.
package main

import (
	"io"
	"net"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

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

func routes(guard *apikeyhttp.Guard, book *orders.Book) chi.Router {
	r := chi.NewRouter()
	r.Use(guard.Authenticate, middleware.GetHead)
	r.With(guard.Require("orders:read"), visit(book)).Get("/orders", func(w http.ResponseWriter, r *http.Request) {
		key, _ := apikey.FromContext(r.Context())
		io.WriteString(w, book.List(key.Owner))
	})
	r.With(guard.Require("orders:write"), visit(book)).Post("/orders", func(w http.ResponseWriter, r *http.Request) {
		order, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1000))
		if err != nil {
			http.Error(w, "the order is too long", http.StatusRequestEntityTooLarge)
			return
		}
		key, _ := apikey.FromContext(r.Context())
		io.WriteString(w, book.Place(key.Owner, string(order)))
	})
	return r
}

// visit is a middleware behind Require.
func visit(book *orders.Book) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			key, _ := apikey.FromContext(r.Context())
			book.Visit(key.Owner)
			next.ServeHTTP(w, r)
		})
	}
}
