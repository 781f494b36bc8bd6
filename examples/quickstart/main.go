// Quickstart walks an API key through its whole life. From the root of the
// repository:
//
//	go run ./examples/quickstart
//
// It keeps keys in a SQLite file, starts an HTTP server with routes that need
// a key, and is its own client. Every step shows what came back, and is
// checked. With -db the keys stay, with -serve the server does.
//
//	main.go      the parts put together
//	sqlitefile   where keys are kept: ../internal/sqlitefile
//	server.go    the routes and the middleware
//	walk.go      the life of a key
//	client.go    the client
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/examples/internal/sqlitefile"
	"github.com/keyturn/apikey/sqlstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	file := flags.String("db", "", "SQLite `file` for the keys (default: a temporary one)")
	serve := flags.Bool("serve", false, "leave the server running, with a fresh key")
	addr := flags.String("addr", "127.0.0.1:0", "`address` of the server; port 0 is any free one")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *file == "" {
		dir, err := os.MkdirTemp("", "apikey-quickstart-")
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
	clock := &clock{}
	manager, err := apikey.New(sqlstore.New(db, sqlstore.SQLite, nil), &apikey.Options{
		Peppers: []apikey.Secret{pepper},
		Now:     clock.Now,
	})
	if err != nil {
		return err
	}
	if err := manager.Check(ctx); err != nil {
		return err
	}

	// Uses are counted in memory and written from time to time.
	counting, stopCounting := context.WithCancel(ctx)
	counted := make(chan error, 1)
	go func() { counted <- manager.Run(counting) }()
	defer func() {
		stopCounting()
		err = errors.Join(err, <-counted)
	}()

	handler, err := orders(manager)
	if err != nil {
		return err
	}
	server, err := startServer(ctx, *addr, handler)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()

	report := &report{out: stdout}
	fmt.Fprintf(stdout, "database  %s\nserver    %s\n", *file, server.url)
	last, err := showEarlier(ctx, manager, report)
	if err != nil {
		return err
	}
	w := walk{manager: manager, clock: clock, client: client{server.url}, report: report, last: last}
	if err := w.run(ctx); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nAll %d steps came out as expected.\n", report.steps)
	if *serve {
		clock.Reset()
		return leaveRunning(ctx, manager, server.url, stdout)
	}
	return nil
}

// showEarlier prints what earlier runs left in the database, and returns the
// position of the last event.
func showEarlier(ctx context.Context, manager *apikey.Manager, report *report) (last apikey.Position, err error) {
	events, err := allEvents(ctx, manager, last)
	if err != nil {
		return last, err
	}
	keys, err := allKeys(ctx, manager)
	if err != nil {
		return last, err
	}
	if len(events) == 0 {
		fmt.Fprintln(report.out, "found     nothing, the database is new")
		return last, nil
	}
	fmt.Fprintf(report.out, "found     %d keys and %d events of earlier runs\n", len(keys), len(events))
	report.keys(keys)
	return events[len(events)-1].Position, nil
}

// leaveRunning issues a key to try and waits until the program is told to end.
func leaveRunning(ctx context.Context, manager *apikey.Manager, url string, stdout io.Writer) error {
	issued, err := manager.Issue(ctx, apikey.IssueParams{
		Owner: owner, Name: "to try", Scopes: []string{"orders:read"},
	}, apikey.Reason("-serve"))
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, `
The server is left running, until Ctrl-C. In another shell:

TOKEN=%[1]s
curl -i -H "Authorization: Bearer $TOKEN" %[2]s/orders
curl -i -H "X-API-Key: $TOKEN" %[2]s/orders
curl -i -u "${TOKEN%%_*}:${TOKEN##*_}" %[2]s/orders
curl -i -X POST -H "Authorization: Bearer $TOKEN" %[2]s/orders  # 403, needs orders:write
curl -i %[2]s/orders  # 401, no key
`, issued.Token.Reveal(), url)
	<-ctx.Done()
	return nil
}
