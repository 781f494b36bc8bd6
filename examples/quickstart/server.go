package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

// orders is the application: an HTTP server whose routes need a key.
//
// Require validates the key of each request, and checks its scopes. A handler
// behind it only runs for a key that is valid.
func orders(keys apikey.Validator) (http.Handler, error) {
	// Basic is off by default. It is for programs such as curl --user.
	options := &apikeyhttp.Options{Carriers: apikeyhttp.Bearer | apikeyhttp.Header | apikeyhttp.Basic}
	guard, err := apikeyhttp.New(keys, options)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", guard.Require("orders:read")(http.HandlerFunc(listOrders)))
	mux.Handle("POST /orders", guard.Require("orders:write")(http.HandlerFunc(placeOrder)))
	return mux, nil
}

func listOrders(w http.ResponseWriter, r *http.Request) {
	key, _ := apikey.FromContext(r.Context()) // the key that the guard accepted
	fmt.Fprintf(w, "orders of %s\n", key.Owner)
}

func placeOrder(w http.ResponseWriter, r *http.Request) {
	key, _ := apikey.FromContext(r.Context())
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "order of %s placed\n", key.Owner)
}

// server is an HTTP server that runs.
type server struct {
	url  string
	http *http.Server
	done chan error
}

func startServer(ctx context.Context, addr string, handler http.Handler) (*server, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &server{
		url:  "http://" + listener.Addr().String(),
		http: &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second},
		done: make(chan error, 1),
	}
	go func() { s.done <- s.http.Serve(listener) }()
	return s, nil
}

func (s *server) stop() error {
	err := s.http.Close()
	if end := <-s.done; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}
