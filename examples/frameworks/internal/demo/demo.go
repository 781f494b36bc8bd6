// Package demo is the frame of the examples: it issues a key to try, starts
// their server and shows how to call it.
package demo

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// Serve serves until the listener is closed.
type Serve func(l net.Listener, keys apikey.Validator) error

// Show prints how the server at an address is called with a token.
type Show func(out io.Writer, addr, token string) error

// Main is the main function of an example. It serves until it is interrupted,
// and ends the program if it cannot.
func Main(serve Serve, show Show) {
	addr := flag.String("addr", "localhost:8080", "address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := Run(ctx, *addr, os.Stdout, serve, show); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Run serves at an address until the context ends, with a key to try that
// lives in memory.
func Run(ctx context.Context, addr string, out io.Writer, serve Serve, show Show) error {
	keys, err := apikey.New(memstore.New(), &apikey.Options{
		// The keys end with the program, and so may their pepper.
		Peppers: []apikey.Secret{apikey.EphemeralPepper()},
	})
	if err != nil {
		return err
	}
	issued, err := keys.Issue(ctx, apikey.IssueParams{
		Owner: "ada", Name: "to try", Scopes: []string{"orders:read", "health:read"},
	})
	if err != nil {
		return err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- serve(listener, keys) }()
	if err := show(out, listener.Addr().String(), issued.Token.Reveal()); err != nil {
		listener.Close()
		<-served
		return err
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		listener.Close()
		<-served // which tells that the listener is closed
		return nil
	}
}

// Curl shows calls of the routes that the HTTP examples have.
func Curl(out io.Writer, addr, token string) error {
	_, err := fmt.Fprintf(out, `The server runs until Ctrl-C. In another shell:

TOKEN=%[1]s
curl -i -H "Authorization: Bearer $TOKEN" http://%[2]s/orders
curl -i -H "X-API-Key: $TOKEN" http://%[2]s/orders
curl -i -u "${TOKEN%%_*}:${TOKEN##*_}" http://%[2]s/orders
curl -i -H "X-API-Key: $TOKEN" -d apples http://%[2]s/orders  # 403, needs orders:write
curl -i http://%[2]s/orders  # 401, no key
`, token, addr)
	return err
}
