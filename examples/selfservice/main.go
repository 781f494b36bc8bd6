// Selfservice is a small site on which customers see and change their own API
// keys, with a login and an API that the keys are for. From the root of the
// repository:
//
//	go run ./examples/selfservice
//
// It prints where it is, and two accounts to log in with. Log in, generate a
// key, call the API by the curl line that is shown with it, regenerate the key,
// and see the old token refused. Keys are kept in a temporary SQLite file, or
// in that of -db; accounts are made anew at each start.
//
//	main.go      the parts put together
//	sqlitefile   where keys are kept: ../internal/sqlitefile
//	demo.go      the keys to begin with, and their past
//	accounts.go  who may log in: passwords with Argon2id
//	login.go     logging in and out, and the session between
//	site.go      the routes, and the frame around the pages of package apikeyui
//	api.go       the API that needs a key
//
// It is plain HTTP, for localhost. On any other name browsers do not tell a
// server without HTTPS which site a form comes from, and the login refuses it.
// A host has HTTPS, sets Secure on the cookie of the session, and bounds how
// often a password can be tried.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/examples/internal/sqlitefile"
	"github.com/keyturn/apikey/sqlstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "selfservice:", err)
		os.Exit(1)
	}
}

// maxLifetime is how long a key may be valid: the Manager decides by it, and
// the pages say it.
var maxLifetime = apikey.Period{Years: 1}

func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet("selfservice", flag.ContinueOnError)
	file := flags.String("db", "", "SQLite `file` for the keys (default: a temporary one)")
	addr := flags.String("addr", "localhost:8080", "`address` of the server; port 0 is any free one")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *file == "" {
		dir, err := os.MkdirTemp("", "apikey-selfservice-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		*file = filepath.Join(dir, "keys.db")
	}

	// The store, and the Manager on it.
	db, err := sqlitefile.Open(ctx, *file)
	if err != nil {
		return err
	}
	defer db.Close()
	pepper, err := sqlitefile.Pepper(*file + ".pepper")
	if err != nil {
		return err
	}
	store := sqlstore.New(db, sqlstore.SQLite, nil)
	keys, err := apikey.New(store, &apikey.Options{
		Peppers:         []apikey.Secret{pepper},
		MaxLifetime:     maxLifetime,
		MaxKeysPerOwner: 50,
		Observe:         reportFlush,
	})
	if err != nil {
		return err
	}
	if err := keys.Check(ctx); err != nil {
		return err
	}
	if err := addDemoKeys(ctx, store, pepper); err != nil {
		return err
	}

	// Uses are counted in memory and written from time to time, the last ones
	// after the server has ended.
	counting, stopCounting := context.WithCancel(context.WithoutCancel(ctx))
	counted := make(chan error, 1)
	go func() { counted <- keys.Run(counting) }()
	defer func() {
		stopCounting()
		err = errors.Join(err, <-counted)
	}()

	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", *addr)
	if err != nil {
		return err
	}
	url := "http://" + shownAddress(*addr, listener.Addr())
	accounts, passwords := demoAccounts()
	site, err := newSite(keys, accounts, url)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	fmt.Fprintf(stdout, "database  %s\npages     %s%s\nAPI       %s%s\n\nLog in as\n", *file, url, pagesPath, url, whoamiPath)
	for _, a := range demoUsers {
		fmt.Fprintf(stdout, "  %-18s password %s\n", a.email, passwords[a.email])
	}
	fmt.Fprintln(stdout, "\nCtrl-C ends it.")
	return serve(ctx, listener, site)
}

// serve answers requests until the context ends, and then finishes those that
// it has, for at most 5 seconds.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if end := <-ended; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

// shownAddress is what a browser is to be told: the host that was asked for,
// with the port that was got. Browsers trust "localhost" as they do HTTPS.
func shownAddress(asked string, got net.Addr) string {
	host, _, err := net.SplitHostPort(asked)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	_, port, err := net.SplitHostPort(got.String())
	if err != nil {
		return got.String()
	}
	return net.JoinHostPort(host, port)
}

// reportFlush logs that counted uses were not written.
func reportFlush(ctx context.Context, o apikey.Observation) {
	if o.Flush {
		slog.ErrorContext(ctx, "uses were not written", "error", o.Err)
	}
}
