// Postgres-tx makes a customer and the customer's first API key in one
// transaction of PostgreSQL: rolled back, neither is there; committed, both are.
//
//	go run ./examples/postgres-tx -dsn postgres://root@127.0.0.1:5432/test
//
// It works in a schema of its own, which it drops at the end.
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

func main() {
	dsn := flag.String("dsn", os.Getenv("APIKEY_POSTGRES_DSN"), "data source name of a PostgreSQL database; default $APIKEY_POSTGRES_DSN")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dsn, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "postgres-tx:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dsn string, out io.Writer) (err error) {
	db, drop, err := openSchema(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	if _, err := db.ExecContext(ctx, "CREATE TABLE customers (id TEXT PRIMARY KEY, name TEXT NOT NULL)"); err != nil {
		return err
	}
	if err := sqlstore.Migrate(ctx, db, sqlstore.PostgreSQL); err != nil {
		return err
	}
	store := sqlstore.New(db, sqlstore.PostgreSQL, nil)
	keys, err := apikey.New(store, &apikey.Options{
		// The schema is dropped when the program ends. A pepper for keys that
		// stay comes from your secret store.
		Peppers: []apikey.Secret{apikey.EphemeralPepper()},
	})
	if err != nil {
		return err
	}
	s := shop{db, store, keys}

	// Something goes wrong after both were written: neither stays.
	var first apikey.Issued
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		if first, err = s.addCustomer(ctx, tx, "c-1", "Acme"); err != nil {
			return err
		}
		return errPayment
	})
	if !errors.Is(err, errPayment) {
		return fmt.Errorf("the payment was not refused: %w", err)
	}
	if err := s.report(ctx, out, "rolled back", first.Token); err != nil {
		return err
	}

	// Nothing goes wrong: both stay, and the token works from now on. It is
	// shown only now.
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		first, err = s.addCustomer(ctx, tx, "c-1", "Acme")
		return err
	})
	if err != nil {
		return err
	}
	return s.report(ctx, out, "committed", first.Token)
}

var errPayment = errors.New("payment refused")

type shop struct {
	db    *sql.DB
	store *sqlstore.Store
	keys  *apikey.Manager
}

// inTx runs a function in a transaction, and commits it if there is no error.
func (s shop) inTx(ctx context.Context, run func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := run(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// addCustomer writes the shop's own row first, and the key last: from then on
// all others who change keys wait for this transaction to end.
func (s shop) addCustomer(ctx context.Context, tx *sql.Tx, id, name string) (apikey.Issued, error) {
	if _, err := tx.ExecContext(ctx, "INSERT INTO customers (id, name) VALUES ($1, $2)", id, name); err != nil {
		return apikey.Issued{}, err
	}
	keys := s.keys.WithStore(s.store.Tx(tx))
	return keys.Issue(ctx, apikey.IssueParams{Owner: id, Name: name + "'s first key", Scopes: []string{"orders:read"}})
}

// report writes what is there.
func (s shop) report(ctx context.Context, out io.Writer, what string, token apikey.Secret) error {
	var customers int
	if err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM customers").Scan(&customers); err != nil {
		return err
	}
	keys, err := s.keys.List(ctx, apikey.Query{Owner: "c-1"})
	if err != nil {
		return err
	}
	answer := "accepted"
	switch _, err := s.keys.Validate(ctx, token.Reveal(), apikey.Scope("orders:read")); err {
	case nil:
	case apikey.ErrInvalid:
		answer = "refused: " + err.Error()
	default:
		return err
	}
	_, err = fmt.Fprintf(out, "%-12s customers %d, keys %d, the token is %s\n", what+":", customers, len(keys), answer)
	return err
}

// openSchema opens a pool whose connections work in a new schema.
func openSchema(ctx context.Context, dsn string) (db *sql.DB, drop func() error, err error) {
	if dsn == "" {
		return nil, nil, errors.New("no database: set -dsn or APIKEY_POSTGRES_DSN")
	}
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, nil, err
	}
	schema := "apikey_example_" + strings.ToLower(rand.Text())
	config.RuntimeParams["search_path"] = schema
	db = stdlib.OpenDB(*config)
	if _, err := db.ExecContext(ctx, "CREATE SCHEMA "+schema); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, func() error {
		_, err := db.ExecContext(context.WithoutCancel(ctx), "DROP SCHEMA "+schema+" CASCADE")
		return errors.Join(err, db.Close())
	}, nil
}
