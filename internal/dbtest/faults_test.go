package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/coretest"
	"github.com/keyturn/apikey/sqlstore"
)

var errFault = errors.New("the disk is on fire")

// write is a call that writes, and how to tell whether it was done.
type write struct {
	name string
	run  func(context.Context, testing.TB, apikey.Store) error
	done func(context.Context, testing.TB, apikey.Store) bool
}

// writes are the calls that write, each of which succeeds once on a Store that
// holds key 1.
var writes = []write{
	{"issue", func(ctx context.Context, t testing.TB, s apikey.Store) error {
		c := commitOf(newRecord(t, "acme", 2))
		c.Limit = 5
		_, err := s.Commit(ctx, c)
		return err
	}, func(ctx context.Context, t testing.TB, s apikey.Store) bool {
		_, err := s.Get(ctx, newRecord(t, "acme", 2).Key.ID)
		return err == nil
	}},
	{"change", func(ctx context.Context, t testing.TB, s apikey.Store) error {
		r := newRecord(t, "acme", 1)
		r.Key.Revision = 1
		r.Key.Name = "changed"
		r.Credentials = append(newRecord(t, "acme", 3).Credentials, newRecord(t, "acme", 4).Credentials...)
		_, err := s.Commit(ctx, commitOf(r))
		return err
	}, func(ctx context.Context, t testing.TB, s apikey.Store) bool {
		r, err := s.Get(ctx, newRecord(t, "acme", 1).Key.ID)
		return err == nil && r.Key.Name == "changed" && len(r.Credentials) == 2
	}},
	{"owner", func(ctx context.Context, t testing.TB, s apikey.Store) error {
		_, err := s.Commit(ctx, apikey.Commit{
			Owners: []apikey.Owner{{ID: "acme", DisabledAt: start}},
			Events: []apikey.Event{{Owner: "acme", Kind: apikey.EventOwnerDisabled}},
		})
		return err
	}, func(ctx context.Context, t testing.TB, s apikey.Store) bool {
		o, err := s.Owner(ctx, "acme")
		return err == nil && o.Disabled()
	}},
	{"purge", func(ctx context.Context, t testing.TB, s apikey.Store) error {
		r := newRecord(t, "acme", 1)
		_, err := s.Commit(ctx, apikey.Commit{Purge: []apikey.Ref{{ID: r.Key.ID, Revision: 1}}, Events: []apikey.Event{event(r)}})
		return err
	}, func(ctx context.Context, t testing.TB, s apikey.Store) bool {
		_, err := s.Get(ctx, newRecord(t, "acme", 1).Key.ID)
		return errors.Is(err, apikey.ErrNotFound)
	}},
	{"touch", func(ctx context.Context, t testing.TB, s apikey.Store) error {
		return s.Touch(ctx, []apikey.Usage{{
			CredentialID: newRecord(t, "acme", 1).Key.CredentialID, Day: start, Uses: 7, LastUsedAt: start,
		}})
	}, func(ctx context.Context, t testing.TB, s apikey.Store) bool {
		r, err := s.Get(ctx, newRecord(t, "acme", 1).Key.ID)
		return err == nil && r.Credentials[0].Uses == 7
	}},
}

var long = coretest.Long()

// eachStatement runs a write once for each statement it takes, on a Store of
// its own with one connection, and tells it which one that is. It stops after
// the first that has fewer.
func eachStatement(t *testing.T, run func(t *testing.T, n int, s *spy, db *sql.DB, store *sqlstore.Store) (statements int)) {
	for n := 1; ; n++ {
		s, db, store := newSpied(t, &sqlstore.Options{Attempts: 1})
		db.SetMaxOpenConns(1)
		mustCommit(t, store, commitOf(newRecord(t, "acme", 1)))
		if statements := run(t, n, s, db, store); n >= statements {
			if n < 4 {
				t.Fatalf("only %d statements were run", n)
			}
			return
		}
	}
}

// TestFailedStatements lets each statement of each write fail in turn: before
// COMMIT nothing was written and the error says so, at COMMIT the outcome is
// unknown, and always the next change works on the same connection.
func TestFailedStatements(t *testing.T) {
	for _, write := range writes {
		for _, late := range []bool{false, true} { // whether the statement was run
			name := write.name + ", not run"
			if late {
				name = write.name + ", run"
			}
			t.Run(name, func(t *testing.T) {
				eachStatement(t, func(t *testing.T, n int, s *spy, db *sql.DB, store *sqlstore.Store) int {
					is := is.New(t)
					ctx := t.Context()
					var failed string
					fail := func(c call) error {
						if c.n != n {
							return nil
						}
						failed = c.statement
						return errFault
					}
					if late {
						s.reset(nil, func(c call, err error) error { return errors.Join(err, fail(c)) })
					} else {
						s.reset(fail, nil)
					}
					err := write.run(ctx, t, store)
					statements := len(s.all())
					last := s.all()[statements-1].statement
					s.reset(nil, nil)

					is.True(errors.Is(err, errFault)) // the cause is wrapped
					if failed == "COMMIT" {
						is.True(!errors.Is(err, apikey.ErrAborted)) // unknown
						is.Equal(write.done(ctx, t, store), late)
					} else {
						is.True(errors.Is(err, apikey.ErrAborted))     // sure
						is.True(last == "ROLLBACK" || last == "BEGIN") // and nothing else after the error
						is.True(!write.done(ctx, t, store))
					}
					if !write.done(ctx, t, store) {
						is.NoErr(write.run(ctx, t, store))
						is.True(write.done(ctx, t, store))
					}
					checkLog(t, store, 0)
					is.Equal(db.Stats().InUse, 0)
					if failed == "COMMIT" {
						return n
					}
					return n + 1
				})
			})
		}
	}
}

// TestFailedRollback checks that a connection of which it is not known whether
// it is still in a transaction is closed.
func TestFailedRollback(t *testing.T) {
	for _, test := range []struct {
		name   string
		fail   []string // statements that are not run
		closed int
	}{
		{"ROLLBACK works", nil, 0},
		{"ROLLBACK fails", []string{"ROLLBACK"}, 1},
		{"nothing works", []string{"ROLLBACK", "BEGIN"}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			s, db, store := newSpied(t, nil)
			db.SetMaxOpenConns(1)
			mustCommit(t, store, commitOf(newRecord(t, "acme", 1)))
			s.reset(func(c call) error {
				for _, statement := range append(test.fail, "COMMIT") {
					if c.statement == statement {
						return errFault
					}
				}
				return nil
			}, nil)
			_, err := store.Commit(t.Context(), commitOf(newRecord(t, "acme", 2)))
			is.True(errors.Is(err, errFault))
			s.reset(nil, nil)
			is.Equal(s.closed, test.closed)
			mustCommit(t, store, commitOf(newRecord(t, "acme", 2)))
		})
	}
}

// TestBusy checks how often a transaction is run that the database gives up.
func TestBusy(t *testing.T) {
	for _, test := range []struct {
		name     string
		options  *sqlstore.Options
		free     int // the attempt before which the database is free again
		attempts int
	}{
		{"default", nil, 0, 10},
		{"3 attempts", &sqlstore.Options{Attempts: 3}, 0, 3},
		{"once", &sqlstore.Options{Attempts: 1}, 0, 1},
		{"negative", &sqlstore.Options{Attempts: -1}, 0, 1},
		{"free at the last", nil, 10, 10},
		{"free at once", nil, 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			s, db, store := newSpied(t, test.options, "busy_timeout(0)")
			other := OpenEmpty(t, s.dataSource)
			conn, err := other.Conn(t.Context())
			is.NoErr(err)
			defer conn.Close()
			_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
			is.NoErr(err)
			begun := 0
			s.reset(func(c call) error {
				if c.statement != "BEGIN IMMEDIATE" {
					return nil
				}
				if begun++; begun == test.free {
					_, err := conn.ExecContext(t.Context(), "ROLLBACK")
					return err
				}
				return nil
			}, nil)
			_, err = store.Commit(t.Context(), commitOf(newRecord(t, "acme", 1)))
			is.Equal(s.count("BEGIN IMMEDIATE"), test.attempts)
			if test.free > 0 {
				is.NoErr(err)
				return
			}
			is.True(errors.Is(err, apikey.ErrAborted))
			var coded interface{ Code() int }
			is.True(errors.As(err, &coded))         // the driver's error is wrapped
			is.Equal(db.Stats().OpenConnections, 1) // and its connection used again
			is.Equal(s.closed, 0)
		})
	}
}

// TestRefusalsAreNotRepeated checks that what is wrong stays wrong.
func TestRefusalsAreNotRepeated(t *testing.T) {
	is := is.New(t)
	s, _, store := newSpied(t, nil)
	c := commitOf(newRecord(t, "acme", 1))
	mustCommit(t, store, c)
	s.reset(nil, nil)
	_, err := store.Commit(t.Context(), c)
	is.Equal(err, apikey.ErrExists)
	is.Equal(s.count("BEGIN IMMEDIATE"), 1)
	is.Equal(s.count("ROLLBACK"), 1)
}

// TestErrorsHoldNoSQL lets every call fail in several ways and looks at the
// texts of the errors.
func TestErrorsHoldNoSQL(t *testing.T) {
	sqlWords := regexp.MustCompile(`(?i)\b(select|insert|update|delete|from|where|pragma|into)\b|\?`)
	for _, fault := range []struct {
		name string
		make func(t *testing.T) *sqlstore.Store
	}{
		{"closed", func(t *testing.T) *sqlstore.Store {
			db := Open(t, "")
			db.Close()
			return sqlstore.New(db, sqlstore.SQLite, nil)
		}},
		{"no tables", func(t *testing.T) *sqlstore.Store {
			return sqlstore.New(OpenEmpty(t, DataSource(filepath.Join(t.TempDir(), "keys.db"))), sqlstore.SQLite, nil)
		}},
		{"a column missing", func(t *testing.T) *sqlstore.Store {
			db := Open(t, "")
			mustCommit(t, sqlstore.New(db, sqlstore.SQLite, nil), commitOf(newRecord(t, "acme", 1)))
			for table, column := range map[string]string{
				"keys": "seal", "credentials": "seal", "owners": "seal", "events": "seal", "usage": "uses", "schema": "version",
			} {
				if _, err := db.ExecContext(t.Context(), fmt.Sprintf("ALTER TABLE apikey_%s RENAME COLUMN %s TO gone", table, column)); err != nil {
					t.Fatal(err)
				}
			}
			return sqlstore.New(db, sqlstore.SQLite, nil)
		}},
		{"a table missing", func(t *testing.T) *sqlstore.Store {
			db := Open(t, "")
			mustCommit(t, sqlstore.New(db, sqlstore.SQLite, nil), commitOf(newRecord(t, "acme", 1)))
			for _, table := range []string{"credentials", "events", "usage", "owners"} {
				if _, err := db.ExecContext(t.Context(), "DROP TABLE apikey_"+table); err != nil {
					t.Fatal(err)
				}
			}
			return sqlstore.New(db, sqlstore.SQLite, nil)
		}},
		{"no dialect", func(t *testing.T) *sqlstore.Store {
			return sqlstore.New(Open(t, ""), sqlstore.Dialect{}, nil)
		}},
	} {
		for name, run := range everyCall(t) {
			t.Run(fault.name+", "+name, func(t *testing.T) {
				err := run(t.Context(), fault.make(t))
				switch {
				case err == nil:
					if name == "PepperIDs" && fault.name == "a column missing" || name == "Check" && fault.name == "a table missing" {
						return // what these need is there
					}
					t.Fatal("no error")
				case sqlWords.MatchString(strings.ReplaceAll(err.Error(), "sqlstore.Migrate", "")):
					t.Errorf("SQL in an error: %s", err)
				case !strings.HasPrefix(err.Error(), "sqlstore: "):
					t.Errorf("the error does not say whose it is: %s", err)
				}
			})
		}
	}
}

// TestLookupWorksLater checks that a Store whose first use failed is not
// broken by it.
func TestLookupWorksLater(t *testing.T) {
	is := is.New(t)
	file := filepath.Join(t.TempDir(), "keys.db")
	db := OpenEmpty(t, DataSource(file))
	store := sqlstore.New(db, sqlstore.SQLite, nil)
	_, err := store.Lookup(t.Context(), "cred000000000001")
	is.True(err != nil && !errors.Is(err, apikey.ErrNotFound))
	is.NoErr(sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
	record := newRecord(t, "acme", 1)
	mustCommit(t, store, commitOf(record))
	match, err := store.Lookup(t.Context(), record.Key.CredentialID)
	is.NoErr(err)
	record.Key.Revision = 1
	is.Equal(cmp.Diff(match.Key, record.Key), "")
}
