// Package sqlstore keeps keys in a SQL database, through database/sql. It
// brings no driver: the host opens the database with the driver that it likes,
//
//	db, err := sql.Open("pgx", "postgres://app@db.example/app")
//	...
//	err = sqlstore.Migrate(ctx, db, sqlstore.PostgreSQL)
//	...
//	manager, err := apikey.New(sqlstore.New(db, sqlstore.PostgreSQL, nil), &apikey.Options{
//		Peppers: []apikey.Secret{apikey.NewSecret(os.Getenv("APIKEY_PEPPER"))},
//	})
//
// The tables all begin with "apikey_", so that they can stand in the host's
// own database. Manager.Check, called at start-up, tells of a schema that is
// not current and of settings under which what was acknowledged can be lost.
//
// What writes is a transaction at READ COMMITTED, which says so itself, whatever
// the database's default. It is short. Changes of different owners' keys wait for
// one another only at the row that counts the positions of the log.
//
// # PostgreSQL
//
// Version 12 or later, with the encoding UTF8, with github.com/jackc/pgx/v5 (its
// package stdlib) or github.com/lib/pq. A change that was acknowledged survives
// the end of the server with synchronous_commit on, the default. It survives a
// failover only with synchronous replication.
//
// Where the network may go dead without a word, take pgx: when a context ends,
// lib/pq asks the server to give up, and waits for its answer as long as the
// operating system waits for the connection.
//
// # MariaDB and MySQL
//
// MariaDB 10.6 or MySQL 8.0 or later, with github.com/go-sql-driver/mysql. No
// parameter of the data source name is needed, where the server's autocommit is
// on and its level not READ UNCOMMITTED, which are its defaults: see Check. A
// change that was acknowledged survives the end of the server with
// innodb_flush_log_at_trx_commit 1, the default. On a Galera cluster any node takes changes; set wsrep_sync_wait=1 in
// the data source name, so that a node never reads what another has replaced.
//
// # SQLite
//
// Version 3.38 or later. Every connection of the pool needs a busy timeout,
// for which a writer waits until another program has finished, and synchronous
// NORMAL or better; set them in the data source name, since a PRAGMA statement
// reaches one connection only:
//
//	db, err := sql.Open("sqlite", "file:keys.db?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
//
// With journal_mode WAL readers never
// wait for a writer. With synchronous FULL a change that was acknowledged
// survives the loss of power, with NORMAL (in WAL mode) only the end of the
// program; with OFF the file can be destroyed, which Check refuses.
//
// A database in memory (":memory:") belongs to one connection: give its pool
// SetMaxOpenConns(1), and SetConnMaxLifetime and SetConnMaxIdleTime of 0.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/keyturn/apikey"
)

// Store is an [apikey.Store] in a SQL database. It is safe for concurrent use.
// Any number of programs may use one database at once. On a server the Store
// keeps no prepared statements: your driver's settings decide how statements
// are sent. On SQLite it keeps one, so make one Store for each database; it is
// closed with the *sql.DB.
//
// Its errors name the operation and wrap what the driver returned. They hold
// no SQL.
type Store struct {
	db       *sql.DB
	host     *sql.Tx // a transaction of the host, or nil
	dialect  *dialect
	attempts int

	// writing is held by who writes, in a dialect that has one writer at a
	// time: waiting here is fair and ends with the context, waiting in the
	// database is a matter of luck.
	writing chan struct{}

	prepared prepared
}

var (
	_ apikey.Store        = (*Store)(nil)
	_ apikey.Checker      = (*Store)(nil)
	_ apikey.PepperLister = (*Store)(nil)
	_ apikey.UsageStore   = (*Store)(nil)
)

// Options of a Store. The zero value of a field is its default.
type Options struct {
	// Attempts is how often a transaction is run that the database itself
	// gave up, and of which nothing was written: because of a deadlock, a
	// conflict that only showed at its end (Galera), a connection that had
	// died, or because SQLite was busy. In between the Store waits for a random time of at most 100 ms;
	// with SQLite it does not, since SQLite has waited, as long as its busy
	// timeout says. A transaction whose outcome is not known is never run
	// again. What only reads is run so often if its connection has died.
	// Default 10; 1 = never again. A negative number is taken for 1.
	Attempts int
}

const defaultAttempts = 10

// New returns a Store on a database that Migrate has been run on; nil Options
// are all defaults. It does no I/O: see Check.
func New(db *sql.DB, dialect Dialect, options *Options) *Store {
	s := &Store{db: db, dialect: dialect.d, attempts: defaultAttempts, writing: make(chan struct{}, 1)}
	if options != nil && options.Attempts != 0 {
		s.attempts = max(options.Attempts, 1)
	}
	return s
}

var errDialect = errors.New("no dialect: use one of the values of this package, like sqlstore.SQLite")

var errDatabase = errors.New("no database: the *sql.DB is nil")

// ready refuses a Store that was made of nothing.
func (s *Store) ready(ctx context.Context) error {
	switch {
	case s.dialect == nil:
		return errDialect
	case s.db == nil:
		return errDatabase
	}
	return ctx.Err()
}

// failed completes the error of an operation. What the contract names comes
// back as it is. A driver may answer the end of the context with an error of
// its own, so that the context's is added.
func failed(ctx context.Context, operation string, err error) error {
	switch err {
	case nil, apikey.ErrNotFound, apikey.ErrConflict, apikey.ErrExists, apikey.ErrLimit:
		return err
	}
	if text := err.Error(); strings.Contains(text, "syntax error") || strings.Contains(text, "SQL syntax") { // which quote what is near it
		err = &hiddenError{"the database does not understand a statement: it is of another kind than the dialect, or too old", err}
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	return fmt.Errorf("sqlstore: %s: %w", operation, err)
}

// hiddenError has another text than the error that it wraps, which holds what
// no log should.
type hiddenError struct {
	text string
	err  error
}

func (e *hiddenError) Error() string { return e.text }

func (e *hiddenError) Unwrap() error { return e.err }

// withoutDigest hides an error of a statement that writes credentials: a
// database, or a driver, may quote a value that does not fit its column, and
// not always as it was given.
func withoutDigest(err error) error {
	if err == nil {
		return nil
	}
	why := fmt.Sprintf("%T", err)
	if state := sqlState(err); state != "" {
		why = "SQLSTATE " + state
	} else if n := mysqlNumber(err); n != 0 {
		why = fmt.Sprint("error ", n)
	}
	return &hiddenError{"a credential cannot be written: " + why, err}
}
