package dbtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"path/filepath"
	"sync"
	"testing"

	"github.com/keyturn/apikey/sqlstore"
)

// spy is a driver in front of SQLite's. It keeps what was asked and can answer
// in its place.
type spy struct {
	sqlite     driver.Driver
	dataSource string

	mu             sync.Mutex
	calls          []call
	before         func(call) error        // an error is answered instead
	after          func(call, error) error // the error is answered instead
	opened, closed int
}

// call is one statement that was run, or prepared.
type call struct {
	n         int // 1 for the first since reset
	statement string
	args      []driver.NamedValue
}

// openSpy returns a pool on a file of its own, with tables.
func openSpy(t testing.TB, pragmas ...string) (*spy, *sql.DB) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys.db")
	plain := Open(t, file, pragmas...)
	s := &spy{sqlite: plain.Driver(), dataSource: DataSource(file, pragmas...)}
	db := sql.OpenDB(s)
	t.Cleanup(func() { db.Close() })
	return s, db
}

// newSpied returns a Store on a spied pool.
func newSpied(t testing.TB, options *sqlstore.Options, pragmas ...string) (*spy, *sql.DB, *sqlstore.Store) {
	t.Helper()
	s, db := openSpy(t, pragmas...)
	return s, db, sqlstore.New(db, sqlstore.SQLite, options)
}

// reset forgets the calls and sets what is done with the next ones.
func (s *spy) reset(before func(call) error, after func(call, error) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.before, s.after = nil, before, after
}

func (s *spy) all() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// count returns how often a statement was run.
func (s *spy) count(statement string) (n int) {
	for _, c := range s.all() {
		if c.statement == statement {
			n++
		}
	}
	return n
}

func (s *spy) Connect(context.Context) (driver.Conn, error) {
	c, err := s.sqlite.Open(s.dataSource)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.opened++
	s.mu.Unlock()
	return &spyConn{c.(fullConn), s}, nil
}

func (s *spy) Driver() driver.Driver { return s.sqlite }

// pass runs one statement.
func (s *spy) pass(statement string, args []driver.NamedValue, run func() error) error {
	s.mu.Lock()
	c := call{len(s.calls) + 1, statement, args}
	s.calls = append(s.calls, c)
	before, after := s.before, s.after
	s.mu.Unlock()
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
}

// fullConn is what SQLite's connection can do.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type spyConn struct {
	fullConn
	spy *spy
}

func (c *spyConn) Close() error {
	c.spy.mu.Lock()
	c.spy.closed++
	c.spy.mu.Unlock()
	return c.fullConn.Close()
}

func (c *spyConn) ExecContext(ctx context.Context, statement string, args []driver.NamedValue) (r driver.Result, err error) {
	err = c.spy.pass(statement, args, func() (err error) {
		r, err = c.fullConn.ExecContext(ctx, statement, args)
		return err
	})
	return r, err
}

func (c *spyConn) QueryContext(ctx context.Context, statement string, args []driver.NamedValue) (r driver.Rows, err error) {
	err = c.spy.pass(statement, args, func() (err error) {
		r, err = c.fullConn.QueryContext(ctx, statement, args)
		return err
	})
	if err != nil && r != nil {
		r.Close()
		r = nil
	}
	return r, err
}

func (c *spyConn) PrepareContext(ctx context.Context, statement string) (driver.Stmt, error) {
	stmt, err := c.fullConn.PrepareContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	return &spyStmt{stmt.(fullStmt), c.spy, statement}, nil
}

type fullStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type spyStmt struct {
	fullStmt
	spy       *spy
	statement string
}

func (s *spyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (r driver.Rows, err error) {
	err = s.spy.pass(s.statement, args, func() (err error) {
		r, err = s.fullStmt.QueryContext(ctx, args)
		return err
	})
	if err != nil && r != nil {
		r.Close()
		r = nil
	}
	return r, err
}
