package dbtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/keyturn/apikey/sqlstore"
)

// spy is a driver in front of the real one. It keeps what was asked and can
// answer in its place. A test in which a COMMIT follows an error of the same
// transaction fails: on a cluster such a COMMIT answers success and has written
// nothing.
type spy struct {
	connector driver.Connector

	interpolates bool // the driver puts values into statements itself

	mu             sync.Mutex
	calls          []call
	around         func(c call, run func() error) error // runs a statement, or does not
	preparing      bool                                 // PREPARE is a call as well
	opened, closed int
	wrong          []string // what no transaction may do
}

// call is one statement that was run, or prepared.
type call struct {
	n         int // 1 for the first since reset
	statement string
	args      []driver.NamedValue
	prepare   bool
	inside    bool // of a transaction, or the begin of one
	conn      *spyConn
}

// spied returns a pool on a database, with a spy in between.
func (d *Database) spied(t testing.TB, settings ...string) (*spy, *sql.DB) {
	t.Helper()
	s := newSpy(t, d.Connector(t, settings...))
	s.interpolates = slices.Contains(slices.Concat(d.session, settings), "interpolateParams=true")
	return s, d.PoolOf(t, s)
}

// newSpy returns a spy in front of what opens the connections.
func newSpy(t testing.TB, c driver.Connector) *spy {
	t.Helper()
	s := &spy{connector: c}
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, wrong := range s.wrong {
			t.Error(wrong)
		}
	})
	return s
}

// newSpied returns a Store on a spied pool of a database of its own.
func (e Engine) newSpied(t testing.TB, options *sqlstore.Options, settings ...string) (*spy, *sql.DB, *sqlstore.Store) {
	t.Helper()
	s, db := e.Database(t).spied(t, settings...)
	return s, db, sqlstore.New(db, e.Dialect, options)
}

// openSpy returns a spied pool on a SQLite file of its own, with tables.
func openSpy(t testing.TB, pragmas ...string) (*spy, *sql.DB) {
	t.Helper()
	return SQLite.Database(t).spied(t, pragmas...)
}

// newSpied returns a Store on a spied pool of SQLite.
func newSpied(t testing.TB, options *sqlstore.Options, pragmas ...string) (*spy, *sql.DB, *sqlstore.Store) {
	t.Helper()
	return SQLite.newSpied(t, options, pragmas...)
}

// reset forgets the calls and sets what is done with the next ones: an error
// of before is answered instead of running them, the error of after instead of
// theirs.
func (s *spy) reset(before func(call) error, after func(call, error) error) {
	s.intercept(func(c call, run func() error) error {
		if before != nil {
			if err := before(c); err != nil {
				return err
			}
		}
		err := run()
		if after != nil {
			err = after(c, err)
		}
		return err
	})
}

// intercept forgets the calls and sets what runs the next ones.
func (s *spy) intercept(around func(c call, run func() error) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.around = nil, around
}

// all returns the statements that were run.
func (s *spy) all() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// count returns how often a statement was run.
func (s *spy) count(statement string) (n int) {
	for _, c := range s.all() {
		if c.statement == statement && !c.prepare {
			n++
		}
	}
	return n
}

// connections returns how many were opened, and how many of those closed.
func (s *spy) connections() (opened, closed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened, s.closed
}

func (s *spy) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := s.connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.opened++
	s.mu.Unlock()
	return &spyConn{fullConn: c.(fullConn), spy: s}, nil
}

func (s *spy) Driver() driver.Driver { return s.connector.Driver() }

// pass runs one statement, or prepares it.
func (c *spyConn) pass(statement string, args []driver.NamedValue, prepare bool, run func() error) error {
	s := c.spy
	s.mu.Lock()
	made := call{len(s.calls) + 1, statement, args, prepare, c.inside || begins(statement), c}
	around := s.around
	if prepare && !s.preparing {
		around = nil
	} else {
		s.calls = append(s.calls, made)
	}
	if c.failed && statement == "COMMIT" && !prepare {
		s.wrong = append(s.wrong, "COMMIT follows an error in the same transaction")
	}
	s.mu.Unlock()
	real := func() error {
		if c.dead {
			return driver.ErrBadConn
		}
		err := run()
		switch {
		case err != nil || prepare:
		case begins(statement):
			c.inside, c.failed = true, false
		case statement == "COMMIT" || statement == "ROLLBACK":
			c.inside, c.failed = false, false
		}
		return err
	}
	var err error
	if around == nil {
		err = real()
	} else {
		err = around(made, real)
	}
	c.failed = c.failed || err != nil
	return err
}

// begins reports whether a statement begins a transaction, or is about the one
// that will begin.
func begins(statement string) bool {
	for _, word := range []string{"BEGIN", "START TRANSACTION", "SET TRANSACTION", "SET autocommit = 0"} {
		if strings.HasPrefix(statement, word) {
			return true
		}
	}
	return false
}

// fullConn is what the connections of all drivers can do.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Pinger
}

// spyConn has what some connections can do besides. For others it answers what
// database/sql takes for granted then.
type spyConn struct {
	fullConn
	spy *spy

	inside bool // of a transaction
	failed bool // a statement has, since it began
	dead   bool
	buried bool
	stmts  map[*spyStmt]bool // that are open: SQLite keeps a connection for them
}

// kill breaks the connection while it runs a statement.
func (c *spyConn) kill() { c.dead = true }

// bury closes a connection that broke, once the statement that it ran has been
// put away: SQLite's driver must not be asked to close that later.
func (c *spyConn) bury() {
	if !c.dead || c.buried {
		return
	}
	c.buried = true
	for stmt := range c.stmts {
		stmt.fullStmt.Close()
	}
	c.fullConn.Close()
}

func (c *spyConn) Close() error {
	c.spy.mu.Lock()
	c.spy.closed++
	c.spy.mu.Unlock()
	if c.dead {
		c.bury()
		return nil
	}
	return c.fullConn.Close()
}

func (c *spyConn) IsValid() bool {
	v, ok := c.fullConn.(driver.Validator)
	return !c.dead && (!ok || v.IsValid())
}

func (c *spyConn) ResetSession(ctx context.Context) error {
	if c.dead {
		return driver.ErrBadConn
	}
	return c.fullConn.ResetSession(ctx)
}

func (c *spyConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.fullConn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// preparesFirst reports whether the driver will ask for the statement to be
// prepared, and run then, which is one statement and not two.
func (c *spyConn) preparesFirst(args []driver.NamedValue) bool {
	_, ok := c.spy.Driver().(*mysql.MySQLDriver)
	return ok && len(args) > 0 && !c.spy.interpolates
}

func (c *spyConn) ExecContext(ctx context.Context, statement string, args []driver.NamedValue) (r driver.Result, err error) {
	defer c.bury()
	if c.preparesFirst(args) {
		return nil, driver.ErrSkip
	}
	err = c.pass(statement, args, false, func() (err error) {
		r, err = c.fullConn.ExecContext(ctx, statement, args)
		return err
	})
	return r, err
}

func (c *spyConn) QueryContext(ctx context.Context, statement string, args []driver.NamedValue) (r driver.Rows, err error) {
	defer c.bury()
	if c.preparesFirst(args) {
		return nil, driver.ErrSkip
	}
	err = c.pass(statement, args, false, func() (err error) {
		r, err = c.fullConn.QueryContext(ctx, statement, args)
		return err
	})
	return closed(r, err)
}

// closed closes the rows of a statement that was run and is to have failed.
func closed(r driver.Rows, err error) (driver.Rows, error) {
	if err != nil && r != nil {
		r.Close()
		r = nil
	}
	return r, err
}

func (c *spyConn) PrepareContext(ctx context.Context, statement string) (driver.Stmt, error) {
	defer c.bury()
	var stmt driver.Stmt
	err := c.pass(statement, nil, true, func() (err error) {
		stmt, err = c.fullConn.PrepareContext(ctx, statement)
		return err
	})
	if err != nil {
		if stmt != nil {
			stmt.Close()
		}
		return nil, err
	}
	spied := &spyStmt{stmt.(fullStmt), c, statement}
	if c.stmts == nil {
		c.stmts = map[*spyStmt]bool{}
	}
	c.stmts[spied] = true
	return spied, nil
}

// fullStmt is what the statements of all drivers can do.
type fullStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type spyStmt struct {
	fullStmt
	conn      *spyConn
	statement string
}

func (s *spyStmt) Close() error {
	if s.conn.dead {
		return nil
	}
	delete(s.conn.stmts, s)
	return s.fullStmt.Close()
}

func (s *spyStmt) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := s.fullStmt.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return s.conn.CheckNamedValue(v)
}

func (s *spyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (r driver.Result, err error) {
	defer s.conn.bury()
	err = s.conn.pass(s.statement, args, false, func() (err error) {
		r, err = s.fullStmt.ExecContext(ctx, args)
		return err
	})
	return r, err
}

func (s *spyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (r driver.Rows, err error) {
	defer s.conn.bury()
	err = s.conn.pass(s.statement, args, false, func() (err error) {
		r, err = s.fullStmt.QueryContext(ctx, args)
		return err
	})
	return closed(r, err)
}
