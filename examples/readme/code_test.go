// Package readme contains the code of README.md and of the pages in docs, so
// that it compiles. TestCode compares the two.
package readme

import (
	"context"
	"database/sql"
	"log"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeyui"
	"github.com/keyturn/apikey/sqlstore"
)

func production(ctx context.Context) error {
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16) // as many, or connections are closed and opened all the time
	if err := sqlstore.Migrate(ctx, db, sqlstore.PostgreSQL); err != nil {
		return err
	}
	keys, err := apikey.New(sqlstore.New(db, sqlstore.PostgreSQL, nil), &apikey.Options{
		Peppers: []apikey.Secret{apikey.NewSecret(os.Getenv("APIKEY_PEPPER"))}, // openssl rand -hex 32
	})
	if err != nil {
		return err
	}
	if err := keys.Check(ctx); err != nil { // the schema, the settings, the peppers, the clock
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- keys.Run(ctx) }() // writes usage every 10 seconds, and once more when ctx ends
	defer func() { cancel(); <-done }()   // so wait for it
	return serve(keys)
}

func routes(mux *http.ServeMux, guard *apikeyhttp.Guard, orders, search http.Handler) {
	mux.Handle("GET /orders", guard.Require("orders:read")(orders))
	mux.Handle("POST /orders", guard.Require("orders:write")(orders))
	mux.Handle("GET /search", guard.Optional(search)) // a valid key or none
}

func settings(ctx context.Context, keys *apikey.Manager, session session, id string, shown int64) (apikey.Issued, error) {
	mine := keys.ForOwner(session.Customer, &apikey.OwnerOptions{
		Scopes: []string{"orders:*"},                            // all that this owner can give to a key
		Rate:   apikey.Rate{Requests: 100, Period: time.Minute}, // of every key that it issues
	})
	issued, err := mine.Regenerate(apikey.WithActor(ctx, session.User), id, apikey.Reason("laptop lost"), apikey.IfRevision(shown))
	return issued, err
}

func page(mux *http.ServeMux, keys *apikey.Manager) {
	pages, err := apikeyui.New(keys, &apikeyui.Options{
		Owner:  func(r *http.Request) (owner, actor string, err error) { return customerOf(r) }, // your login
		Scopes: []apikeyui.Scope{{Name: "orders:read", Description: "See orders"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/account/keys/", http.StripPrefix("/account/keys", pages))
}

func rest(mux *http.ServeMux, keys *apikey.Manager) {
	api, err := apikeyrest.New(keys, &apikeyrest.Options{
		Owner: func(r *http.Request) (owner, actor string, err error) { return customerOf(r) }, // your login
		OwnerOptions: func(r *http.Request, owner string) (*apikey.OwnerOptions, error) { // your customer's plan
			return &apikey.OwnerOptions{Scopes: []string{"orders:*"}}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("/account/", http.StripPrefix("/account", api)) // POST /account/keys, POST /account/keys/{id}/rotate, ...
}

func options(keys *apikey.Manager) *apikeyhttp.Guard {
	guard, err := apikeyhttp.New(keys, &apikeyhttp.Options{
		Carriers:       apikeyhttp.Bearer | apikeyhttp.Header,
		Header:         "Shop-Key",                                          // instead of X-API-Key
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, // whose X-Forwarded-For is believed
		Observe: func(r *http.Request, o apikey.Observation) { // once per request; o never contains the token, r does
			slog.InfoContext(r.Context(), "request", "path", r.URL.Path, "apikey", o)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	return guard
}

func own(w http.ResponseWriter, r *http.Request, err error) {
	status, code := apikeyhttp.StatusOf(err) // 409 "not_rotating", 429 "too_soon", 503 "unavailable", ...
	apikeyhttp.Problem{Status: status, Code: code}.Write(w, r, nil)
}

func withoutMiddleware(ctx context.Context, keys *apikey.Manager, r *http.Request, token string) int {
	addr, _ := netip.ParseAddrPort(r.RemoteAddr)
	key, err := keys.Validate(ctx, token, apikey.Scope("orders:read"), apikey.From(addr.Addr()))
	switch err { // a rejection is exactly one of these values
	case nil:
		// serve the request for key.Owner
	case apikey.ErrScope, apikey.ErrAddress:
		return 403
	case apikey.ErrInvalid, apikey.ErrDeleted, apikey.ErrReplaced, apikey.ErrOwnerDisabled, apikey.ErrDisabled, apikey.ErrExpired:
		return 401
	default:
		return 503 // or 500 for a *apikey.FieldError: your application failed, and the key may be good
	}
	slog.InfoContext(ctx, "request", "owner", key.Owner)
	return 200
}

func together(ctx context.Context, db *sql.DB, store *sqlstore.Store, keys *apikey.Manager, id string, params apikey.IssueParams) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO customers (id) VALUES ($1)", id); err != nil {
		return err
	}
	issued, err := keys.WithStore(store.Tx(tx)).Issue(ctx, params) // last: other changes wait for your COMMIT
	if err != nil {
		return err // and the deferred Rollback undoes both
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return show(issued.Token) // from now on it works
}

func openSQLite() (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:keys.db?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	return db, err
}

var _ = []any{production, routes, settings, page, rest, options, own, withoutMiddleware, together, openSQLite}

// session, customerOf, serve and show stand for your application.
type session struct{ Customer, User string }

func customerOf(r *http.Request) (owner, actor string, err error) {
	return r.Header.Get("Session"), "", nil
}

func serve(*apikey.Manager) error { return nil }

func show(apikey.Secret) error { return nil }
