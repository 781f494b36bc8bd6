package dbtest

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// connectionErrors returns errors after which only another connection helps, as
// an engine's driver returns them.
func (e Engine) connectionErrors() (all []error) {
	for _, number := range []syscall.Errno{syscall.ECONNRESET, syscall.EPIPE, syscall.ETIMEDOUT} {
		all = append(all, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", number)})
	}
	all = append(all, driver.ErrBadConn, io.EOF, fmt.Errorf("read: %w", io.ErrUnexpectedEOF), net.ErrClosed)
	for _, code := range []string{"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04", "08000", "08003", "08006", "08P01", "25006"} {
		switch e.Name {
		case PostgresPGX.Name:
			all = append(all, &pgconn.PgError{Severity: "FATAL", Code: code})
		case PostgresPQ.Name:
			all = append(all, &pq.Error{Severity: "FATAL", Code: pqerror.Code(code)})
		}
	}
	if e.Name == MariaDB.Name {
		for _, number := range []uint16{1053, 1080, 1158, 1161, 1184, 1927, 3169, 4031, 2006, 2013, 2055, 1047, 1290, 1792, 1836} {
			all = append(all, &mysql.MySQLError{Number: number})
		}
	}
	return all
}

// TestConnectionErrors lets each such error come once, at the first statement of
// a read and of a change, at the last before COMMIT, and at COMMIT: only the
// outcome of the last is unknown. Then it lets them come for good, and counts
// the connections.
func TestConnectionErrors(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		if e.Dialect == sqlstore.SQLite {
			return // has no server
		}
		const attempts = 3
		s, db, store := e.newSpied(t, &sqlstore.Options{Attempts: attempts})
		n := 0
		change := func() error {
			n++
			_, err := store.Commit(t.Context(), commitOf(newRecord(t, "acme", n)))
			return err
		}
		lookup := func() error {
			_, err := store.Lookup(t.Context(), "cred000000000001")
			if errors.Is(err, apikey.ErrNotFound) {
				err = nil
			}
			return err
		}
		if err := change(); err != nil { // so that there is a connection
			t.Fatal(err)
		}
		statements := len(s.all())
		commit := statements
		for i, c := range s.all() {
			if c.statement == "COMMIT" {
				commit = i + 1
			}
		}
		for _, fault := range e.connectionErrors() {
			t.Run(fault.Error(), func(t *testing.T) {
				is := is.New(t)
				at := func(n int) {
					s.reset(func(c call) error {
						if asks(c.statement) {
							n++ // it is not one of those that are counted
							return nil
						}
						if c.n == n {
							return fault
						}
						return nil
					}, nil)
				}
				_, before := s.connections()
				at(1)
				is.NoErr(lookup())
				for _, n := range []int{1, commit - 1} {
					at(n)
					is.NoErr(change())
				}
				_, closed := s.connections()
				is.Equal(closed-before, 3) // one for each
				at(commit)
				err := change()
				is.True(errors.Is(err, fault))
				is.True(!errors.Is(err, apikey.ErrAborted))
				is.Equal(s.count("COMMIT"), 1)

				for _, run := range []func() error{lookup, change} {
					s.reset(func(c call) error {
						if c.statement == "ROLLBACK" || c.statement == "SET autocommit = 1" {
							return nil
						}
						return fault
					}, nil)
					opened, _ := s.connections()
					is.True(errors.Is(run(), fault))
					again, _ := s.connections()
					is.True(again-opened <= attempts)
					is.Equal(db.Stats().InUse, 0)
				}
				s.reset(nil, nil)
				is.NoErr(lookup())
				is.NoErr(change())
			})
		}
	})
}

// asks reports whether a statement is the question that the Store asks once a
// failover has happened.
func asks(statement string) bool {
	return strings.Contains(statement, "current_setting") || strings.HasPrefix(statement, "SHOW VARIABLES")
}
