package sqlstore

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
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

// PostgreSQL is PostgreSQL 12 or later, with any driver whose errors have a
// method SQLState() string (pgx, by its package stdlib, and lib/pq do). With
// another driver a deadlock is an error at once, not after Options.Attempts.
var PostgreSQL = Dialect{&postgres}

// MySQL is MariaDB 10.6 or later, or MySQL 8.0 or later, with a driver whose
// errors have a field Number uint16 (github.com/go-sql-driver/mysql does): no
// other driver can tell an id that is taken.
var MySQL = Dialect{&mysql}

// String returns the name of the dialect: "sqlite", "postgres" or "mysql".
func (d Dialect) String() string {
	if d.d == nil {
		return "none"
	}
	return d.d.name
}

// dialect is all that differs between databases. Parameters of a statement
// stand in the order in which they are named here. A part of a statement has
// ? for each parameter, whatever the database calls them.
type dialect struct {
	name      string // also the directory of the migrations
	oneWriter bool   // a second transaction that writes waits for the first
	embedded  bool   // runs in this process: no server can fail, and the end of a context loses no connection
	numbered  bool   // parameters are $1, $2, not ?

	keepsLookup bool // prepared; see prepared

	begin        []string // begin a transaction that writes, READ COMMITTED
	mark, unmark string   // the second fails unless the first was said in the same transaction; or ""
	restore      string   // undoes what begin has changed for good; or ""

	gaveUp     func(error) bool // the database gave up the transaction, and nothing was written
	dead       func(error) bool // the server has ended the connection
	unfit      func(error) bool // the server behind the connection only reads, or serves nobody; nothing was written
	onlyReads  func(ctx context.Context, q querier) (bool, error)
	taken      func(error) bool // the id of a row to be added is taken
	impossible func(error) bool // a text is none that a column could hold
	check      func(ctx context.Context, conn *sql.Conn) error
	checkHost  func(ctx context.Context, tx querier) error // refuses a transaction of the host in which a Commit would not be exact

	modeAdvice    string // how to set a driver behind a pooler; "": there is none
	session       string // returns the id of the server's session; or ""
	transactionID string // 'virtualxid': session, "/", number of the transaction in it

	lockSchema string // keeps others from migrating until the transaction ends; returns one row
	hasSchema  string // returns one row, whether apikey_schema exists
	version    string // returns the version of the schema, and the lowest that a program must know

	lookup   string // credential: the columns of a match
	get      string // key: the columns of a record, by credential
	getOwned string // key, owner: as get
	listHead string // followed by conditions, "AND" in between
	listTail string // limit
	owner    string // owner
	peppers  string
	days     string // key, first day, day after the last one: credential, day, uses, last used

	onceNames string // seq, seq again, name, limit: the columns of a name
	onceName  string // name: the columns of a name

	events, newestEvents       string // after, before, limit
	keyEvents, newestKeyEvents string // key, after, before, limit

	// Conditions of a list. Those with one parameter are named as in
	// apikey.Query.
	owned, after, notDeleted, ofCredential      string
	expiresFrom, expiresBefore, expiresFromTill string
	issuedBefore, deletedBefore, retiredBefore  string

	addOwners     insert // owner; locks a row that is there
	changeOwner   string // columns, owner, revision
	ownerRevision string // owner

	addKeys     insert // id, owner, columns
	changeKey   string // columns, id, revision
	countKeys   string // owner
	removeKey   string // id, revision
	lockKey     string // id; or "", if keyRevision locks the row
	keyRevision string // id
	credentials string // key: the columns of credentials

	addCredentials    insert   // id, key, columns
	changeCredential  string   // columns, id
	removeCredential  []string // credential; its usage as well
	removeCredentials []string // key; their usage as well, in this order
	addSeq, seq       string   // number of events; without a second, the first returns the last one's
	addEvents         insert   // columns
	addOnce           insert   // name, key, position
	removeOnce        string   // key
	addUsage          []string // uses as JSON: [["credential", day, uses, last used], ...]
}

// insert is a statement that adds rows.
type insert struct {
	head string // up to VALUES
	row  string // the values of one row
	tail string // what happens to a row that is there: not added, unless the statement fails with one that is taken
}

// rows returns the statement for n rows.
func (d *dialect) rows(i insert, n int) string {
	return d.number(i.head + strings.Repeat(i.row+",", n-1) + i.row + i.tail)
}

// number gives the parameters of a statement that was put together from parts
// their numbers, in a dialect that has them.
func (d *dialect) number(statement string) string {
	if !d.numbered {
		return statement
	}
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(statement, "?") {
		if n > 0 {
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}

// querier is a *sql.DB, a *sql.Conn or a transaction.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}
