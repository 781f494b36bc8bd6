package sqlstore

import (
	"context"
	"database/sql"
)

// Dialect is the kind of a database. The zero value is none: a Store made with
// it answers every call with an error.
type Dialect struct {
	d *dialect
}

// SQLite is SQLite 3.38 or later, with any driver whose errors have a method
// Code() int that returns SQLite's result code (modernc.org/sqlite does). With
// another driver a database that stays busy is an error at once, not after
// Options.Attempts.
var SQLite = Dialect{&sqlite}

// String returns the name of the dialect, "sqlite".
func (d Dialect) String() string {
	if d.d == nil {
		return "none"
	}
	return d.d.name
}

// dialect is all that differs between databases. Parameters of a statement
// stand in the order in which they are named here.
type dialect struct {
	name      string // also the directory of the migrations
	oneWriter bool   // a second transaction that writes waits for the first

	begin  func(ctx context.Context, db *sql.DB) (transaction, error)
	gaveUp func(error) bool // the database gave up the transaction: busy, deadlock
	check  func(ctx context.Context, conn *sql.Conn) error

	hasSchema string // returns one row, whether apikey_schema exists
	version   string // returns the version of the schema

	lookup    string // credential: the columns of a match
	get       string // key: the columns of a record, by credential
	listHead  string // followed by conditions, "AND" in between
	listTail  string // limit
	owner     string // owner
	events    string // after, limit
	keyEvents string // after, limit, key
	peppers   string

	// Conditions of a list. Those with one parameter are named as in
	// apikey.Query.
	owned, after, notDeleted                    string
	expiresFrom, expiresBefore, expiresFromTill string
	issuedBefore, deletedBefore, retiredBefore  string

	addOwner    string // owner; nothing if it is there
	lockOwner   string // owner; "" if the transaction has locked it already
	changeOwner string // columns, owner, revision

	addKey      string // id, owner, columns; nothing if it is there
	changeKey   string // columns, id, revision
	countKeys   string // owner
	removeKey   string // id, revision
	credentials string // key: the columns of credentials

	addCredential        string   // id, key, columns; nothing if it is there
	changeCredential     string   // columns, id
	removeCredential     []string // credential; its usage as well
	removeCredentials    []string // key; their usage as well, in this order
	addSeq, seq          string   // number of events; -
	addEvent             string   // columns
	touchTotal, touchDay string   // uses as JSON: [["credential", day, uses, last used], ...]
}

// querier is a *sql.DB, a *sql.Conn or a transaction.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// transaction is one that writes. Exactly one of commit and rollback ends it.
type transaction interface {
	querier

	// commit returns an error if it is not known whether the transaction was
	// committed.
	commit(ctx context.Context) error

	// rollback leaves no connection in the pool that is still inside of the
	// transaction.
	rollback(ctx context.Context)
	abandon(ctx context.Context) // after a panic
}
