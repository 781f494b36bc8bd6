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
// After a restart of the server or a failover, pooled connections are dead, or
// lead to a server that is now read-only. The Store replaces them, so no call
// fails once new connections reach a primary. Connections that other code of
// yours uses are not replaced. Set SetConnMaxLifetime, so that no session with a
// former primary lasts.
//
// # Connection poolers
//
// The Store does not prepare statements on a server, and a transaction keeps its
// connection, so poolers in transaction mode work. Your driver must not prepare
// statements either, unless the pooler supports that (PgBouncer 1.21 or later with
// max_prepared_statements): with pgx set default_query_exec_mode=exec, with lib/pq
// set binary_parameters=yes. A proxy in front of MariaDB or MySQL must track
// autocommit; set interpolateParams=true if it shares sessions. Check reports a
// driver mode that does not fit, if the pool has at least two connections.
// Statement mode does not work.
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
	"sync/atomic"
	"time"

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
	timeout  time.Duration

	// writing is held by who writes, in a dialect that has one writer at a
	// time: waiting here is fair and ends with the context, waiting in the
	// database is a matter of luck.
	writing chan struct{}

	// healing is held by the call that looks for a connection to a better
	// server. verdict is what the last one has found: see healing.decide.
	healing   chan struct{}
	verdict   atomic.Uint64
	failovers failovers

	prepared prepared
}

var _ apikey.Store = (*Store)(nil)

// Options of a Store. The zero value of a field is its default.
type Options struct {
	// Attempts is how often a transaction is run that the database itself gave
	// up and of which nothing was written: because of a deadlock, a conflict
	// that only showed at its end (Galera), a lost connection, or because
	// SQLite was busy. Before each repetition the Store waits for a random time
	// of at most 100 ms. With SQLite it does not wait, because SQLite has
	// waited for its busy timeout. A transaction whose outcome is unknown is
	// never run again. A read is repeated if its connection was lost.
	//
	// A run does not count if its pooled connection turns out to be dead, or
	// to lead to a server that is now read-only: the Store discards the
	// connection and takes another. It returns the error once new connections
	// fail as well.
	// Default 10; 1 = never again. A negative number is taken for 1.
	Attempts int

	// Timeout bounds a Lookup that has been sent to the database, with all its
	// repetitions. The end of the caller's context does not interrupt it,
	// whether the context was canceled or its deadline has passed: drivers
	// close a connection whose statement is interrupted, and clients that hang
	// up could take all connections away. The Lookup returns its own result
	// then. A context that has ended before the call sends nothing, and waiting
	// for a connection while all are in use ends with the context.
	//
	// The same holds for every other statement, except that Timeout begins when
	// the context ends: a long List is not cut short. A transaction sends no
	// further statement after the end of the context, and is rolled back; its
	// COMMIT is waited for.
	//
	// http.Server.Shutdown may have to wait for a request by as much.
	// In SQLite the end of a context interrupts a statement that writes, and
	// a Lookup waits for as long as the busy timeout says.
	// Statements in a transaction of your own (Tx) end with the context.
	// Default 5 s, also in place of a negative duration.
	Timeout time.Duration
}

const (
	defaultAttempts = 10
	defaultTimeout  = 5 * time.Second
)

// New returns a Store on a database that Migrate has been run on; nil Options
// are all defaults. It does no I/O: see Check.
func New(db *sql.DB, dialect Dialect, options *Options) *Store {
	s := &Store{
		db: db, dialect: dialect.d, attempts: defaultAttempts, timeout: defaultTimeout,
		writing: make(chan struct{}, 1), healing: make(chan struct{}, 1),
	}
	if options == nil {
		return s
	}
	if options.Attempts != 0 {
		s.attempts = max(options.Attempts, 1)
	}
	if options.Timeout > 0 {
		s.timeout = options.Timeout
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
// back as it is.
func failed(ctx context.Context, operation string, err error) error {
	if settled(err) {
		return err
	}
	if text := err.Error(); strings.Contains(text, "syntax error") || strings.Contains(text, "SQL syntax") { // which quote what is near it
		err = &hiddenError{"the database does not understand a statement: it is of another kind than the dialect, or too old", err}
	}
	return fmt.Errorf("sqlstore: %s: %w", operation, withEnd(ctx, err))
}

// withEnd adds the error of a context that has ended: a driver may return one of
// its own.
func withEnd(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		return fmt.Errorf("%w: %w", ended, err)
	}
	return err
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
	return &hiddenError{"a credential cannot be written: " + code(err), err}
}

// withoutStatement hides an error of a server that only reads, which names the
// statement.
func (d *dialect) withoutStatement(err error) error {
	if !d.unfit(err) {
		return err
	}
	return &hiddenError{"the server only reads, or serves nobody: " + code(err), err}
}

// code returns what identifies an error besides its text.
func code(err error) string {
	if state := sqlState(err); state != "" {
		return "SQLSTATE " + state
	}
	if n := mysqlNumber(err); n != 0 {
		return fmt.Sprint("error ", n)
	}
	return fmt.Sprintf("%T", err)
}
