package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
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

// TestEndedContext ends the context before and after each statement of each
// write. The error is the context's; before COMMIT nothing was written and the
// error says so, a COMMIT that was sent is not interrupted.
func TestEndedContext(t *testing.T) {
	for _, write := range writes {
		for _, late := range []bool{false, true} {
			name := write.name + ", before"
			if late {
				name = write.name + ", after"
			}
			t.Run(name, func(t *testing.T) {
				eachStatement(t, func(t *testing.T, n int, s *spy, db *sql.DB, store *sqlstore.Store) int {
					is := is.New(t)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					var at string
					end := func(c call) {
						if c.n == n {
							at = c.statement
							cancel()
						}
					}
					if late {
						s.reset(nil, func(c call, err error) error { end(c); return err })
					} else {
						s.reset(func(c call) error { end(c); return nil }, nil)
					}
					err := write.run(ctx, t, store)
					s.reset(nil, nil)
					if at == "COMMIT" {
						is.NoErr(err)
						is.True(write.done(t.Context(), t, store))
						return n
					}
					is.True(errors.Is(err, context.Canceled))
					is.True(errors.Is(err, apikey.ErrAborted))
					is.True(!write.done(t.Context(), t, store))
					is.NoErr(write.run(t.Context(), t, store))
					is.True(write.done(t.Context(), t, store))
					checkLog(t, store, 0)
					is.Equal(s.closed, 0) // the connection was not thrown away
					return n + 1
				})
			})
		}
	}
}

// TestContextEndedBefore checks that no call reaches the database with a
// context that has ended.
func TestContextEndedBefore(t *testing.T) {
	s, _, store := newSpied(t, nil)
	mustCommit(t, store, commitOf(newRecord(t, "acme", 1)))
	s.reset(nil, nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, run := range everyCall(t) {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			err := run(ended, store)
			is.True(errors.Is(err, context.Canceled))
			is.True(strings.HasPrefix(err.Error(), "sqlstore: "))
			writes := slices.ContainsFunc(writes, func(w write) bool { return w.name == name })
			is.Equal(errors.Is(err, apikey.ErrAborted), writes)
			is.Equal(len(s.all()), 0)
		})
	}
}

// everyCall is each call of a Store, with what a Store with key 1 accepts.
func everyCall(t testing.TB) map[string]func(context.Context, *sqlstore.Store) error {
	calls := map[string]func(context.Context, *sqlstore.Store) error{
		"Lookup": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Lookup(ctx, newRecord(t, "acme", 1).Key.CredentialID)
			return err
		},
		"Get": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Get(ctx, newRecord(t, "acme", 1).Key.ID)
			return err
		},
		"List": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.List(ctx, apikey.Query{Limit: 10})
			return err
		},
		"Owner": func(ctx context.Context, s *sqlstore.Store) error { _, err := s.Owner(ctx, "acme"); return err },
		"Events": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Events(ctx, apikey.EventQuery{Limit: 10})
			return err
		},
		"Check": func(ctx context.Context, s *sqlstore.Store) error { return s.Check(ctx) },
		"PepperIDs": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.PepperIDs(ctx)
			return err
		},
	}
	for _, write := range writes {
		calls[write.name] = func(ctx context.Context, s *sqlstore.Store) error { return write.run(ctx, t, s) }
	}
	return calls
}

// TestTornCalls ends contexts at random moments, on a pool of one connection,
// and checks after each that a change is made whole or not at all, as its error
// says, and that the connection is in no transaction.
func TestTornCalls(t *testing.T) {
	db := Open(t, "")
	db.SetMaxOpenConns(1)
	store := sqlstore.New(db, sqlstore.SQLite, nil)
	rounds := 200
	if long {
		rounds = 5000
	}
	var made, aborted int
	for n := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		ready := make(chan struct{})
		go func() {
			<-ready
			for range n * 7 % 500 {
				runtime.Gosched()
			}
			cancel()
		}()
		record := newRecord(t, "acme", n)
		close(ready)
		_, err := store.Commit(ctx, commitOf(record))
		cancel()
		_, missing := store.Get(t.Context(), record.Key.ID)
		switch {
		case err == nil && missing == nil:
			made++
		case errors.Is(err, apikey.ErrAborted) && errors.Is(err, context.Canceled) && errors.Is(missing, apikey.ErrNotFound):
			aborted++
		default:
			t.Fatalf("Commit returned %v, then Get %v", err, missing)
		}
		mustCommit(t, store, commitOf(newRecord(t, "other", rounds+n)))
	}
	t.Logf("%d made, %d aborted", made, aborted)
	checkLog(t, store, 0)
}

// TestBusy checks how often a transaction is run that the database gives up.
func TestBusy(t *testing.T) {
	for _, test := range []struct {
		name     string
		options  *sqlstore.Options
		free     int // the attempt before which the database is free again
		attempts int
	}{
		{"default", nil, 0, 5},
		{"3 attempts", &sqlstore.Options{Attempts: 3}, 0, 3},
		{"once", &sqlstore.Options{Attempts: 1}, 0, 1},
		{"negative", &sqlstore.Options{Attempts: -1}, 0, 1},
		{"free at the last", nil, 5, 5},
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
