package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
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
	run  func(context.Context, testing.TB, apikey.Store, set) error
	done func(context.Context, testing.TB, apikey.Store, set) bool
}

// set numbers what a write works on, which no other touches: an owner and
// Records.
type set int

func (s set) owner() string { return fmt.Sprint("acme ", int(s)) }

func (s set) record(t testing.TB, n int) apikey.Record {
	t.Helper()
	r := newRecord(t, s.owner(), int(s)*1000+n)
	r.Key.ExpiresAt = start.AddDate(1, 0, n) // as in every set
	r.Credentials[0].ExpiresAt = r.Key.ExpiresAt
	return r
}

// writes are the calls that write, each of which succeeds once on a Store that
// holds Record 1 of the set.
var writes = []write{
	{"issue", func(ctx context.Context, t testing.TB, s apikey.Store, of set) error {
		c := commitOf(of.record(t, 2))
		c.Limit = 5
		_, err := s.Commit(ctx, c)
		return err
	}, func(ctx context.Context, t testing.TB, s apikey.Store, of set) bool {
		_, err := s.Get(ctx, of.record(t, 2).Key.ID, "")
		return err == nil
	}},
	{"issue many", func(ctx context.Context, t testing.TB, s apikey.Store, of set) error {
		var records []apikey.Record
		for n := range 64 + 8 + 1 {
			records = append(records, of.record(t, 10+n))
		}
		_, err := s.Commit(ctx, commitOf(records...))
		return err
	}, func(ctx context.Context, t testing.TB, s apikey.Store, of set) bool {
		records, err := s.List(ctx, apikey.Query{Owner: of.owner(), Limit: 100})
		return err == nil && len(records) == 1+64+8+1
	}},
	{"change", func(ctx context.Context, t testing.TB, s apikey.Store, of set) error {
		r := of.record(t, 1)
		r.Key.Revision = 1
		r.Key.Name = "changed"
		r.Credentials = append(of.record(t, 3).Credentials, of.record(t, 4).Credentials...)
		_, err := s.Commit(ctx, commitOf(r))
		return err
	}, func(ctx context.Context, t testing.TB, s apikey.Store, of set) bool {
		r, err := s.Get(ctx, of.record(t, 1).Key.ID, "")
		return err == nil && r.Key.Name == "changed" && len(r.Credentials) == 2
	}},
	{"owner", func(ctx context.Context, t testing.TB, s apikey.Store, of set) error {
		_, err := s.Commit(ctx, apikey.Commit{
			Owners: []apikey.Owner{{ID: of.owner(), DisabledAt: start}},
			Events: []apikey.Event{{Owner: of.owner(), Kind: apikey.EventOwnerDisabled}},
		})
		return err
	}, func(ctx context.Context, t testing.TB, s apikey.Store, of set) bool {
		o, err := s.Owner(ctx, of.owner())
		return err == nil && o.Disabled()
	}},
	{"purge", func(ctx context.Context, t testing.TB, s apikey.Store, of set) error {
		r := of.record(t, 1)
		_, err := s.Commit(ctx, apikey.Commit{Purge: []apikey.RecordRef{{ID: r.Key.ID, Revision: 1}}, Events: []apikey.Event{event(r)}})
		return err
	}, func(ctx context.Context, t testing.TB, s apikey.Store, of set) bool {
		_, err := s.Get(ctx, of.record(t, 1).Key.ID, "")
		return errors.Is(err, apikey.ErrNotFound)
	}},
	{"add usage", func(ctx context.Context, t testing.TB, s apikey.Store, of set) error {
		return s.AddUsage(ctx, []apikey.Usage{{
			CredentialID: of.record(t, 1).Key.CredentialID, Day: start, Uses: 7, LastUsedAt: start,
		}})
	}, func(ctx context.Context, t testing.TB, s apikey.Store, of set) bool {
		r, err := s.Get(ctx, of.record(t, 1).Key.ID, "")
		return err == nil && r.Credentials[0].Uses == 7
	}},
}

var long = coretest.Long()

// eachStatement runs a write once for each statement it takes, on a set of its
// own, and tells it which one that is. It stops after COMMIT, of which run
// returns true.
func eachStatement(t *testing.T, e Engine, run func(t *testing.T, n int, s *spy, store *sqlstore.Store, of set) (last bool)) {
	s, db, store := e.newSpied(t, &sqlstore.Options{Attempts: 1})
	db.SetMaxOpenConns(1)
	for n := 1; ; n++ {
		mustCommit(t, store, commitOf(set(n).record(t, 1)))
		last := run(t, n, s, store, set(n))
		if n > 50 || last && n < 3 || t.Failed() {
			t.Fatalf("COMMIT was statement %d", n)
		}
		if last {
			return
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
			Each(t, func(t *testing.T, e Engine) {
				is := is.New(t)
				s, db, store := e.newSpied(t, nil)
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
				_, closed := s.connections()
				is.Equal(closed, test.closed)
				mustCommit(t, store, commitOf(newRecord(t, "acme", 2)))
			})
		})
	}
}

// TestGivenUp checks how often a transaction is run that the database gives up,
// at whichever statement it does.
func TestGivenUp(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		for _, gaveUp := range e.gaveUp(t) {
			for _, test := range []struct {
				name     string
				options  *sqlstore.Options
				works    int // the attempt
				attempts int
			}{
				{"default", nil, 0, 10},
				{"3 attempts", &sqlstore.Options{Attempts: 3}, 0, 3},
				{"once", &sqlstore.Options{Attempts: 1}, 0, 1},
				{"negative", &sqlstore.Options{Attempts: -1}, 0, 1},
				{"works at the last", &sqlstore.Options{Attempts: 3}, 3, 3},
				{"works at once", nil, 1, 1},
			} {
				for _, statement := range []string{"the first", "COMMIT"} {
					t.Run(fmt.Sprintf("%s, %s, %s", gaveUp, test.name, statement), func(t *testing.T) {
						is := is.New(t)
						s, db, store := e.newSpied(t, test.options)
						s.preparing = false
						attempts := 0
						s.reset(func(c call) error {
							if statement == "COMMIT" != (c.statement == "COMMIT") || c.statement != "COMMIT" && !begins(c.statement) {
								return nil
							}
							if e.Name == MariaDB.Name && begins(c.statement) && c.statement != "SET autocommit = 0" || c.statement == "BEGIN" {
								return nil // not the first of those that begin one transaction
							}
							if attempts++; attempts == test.works {
								return nil
							}
							return gaveUp
						}, nil)
						_, err := store.Commit(t.Context(), commitOf(newRecord(t, "acme", 1)))
						s.reset(nil, nil)
						is.Equal(attempts, test.attempts)
						is.Equal(db.Stats().InUse, 0)
						if test.works > 0 {
							is.NoErr(err)
							is.Equal(len(checkLog(t, store, 0)), 1)
							return
						}
						is.True(errors.Is(err, apikey.ErrAborted))
						is.True(errors.Is(err, gaveUp)) // the driver's error is wrapped
						is.Equal(len(checkLog(t, store, 0)), 0)
					})
				}
			}
		}
	})
}

// TestBusy checks how often a transaction is run for which SQLite is busy.
func TestBusy(t *testing.T) {
	for _, test := range []struct {
		name string
		free int // the attempt before which the database is free again
	}{
		{"for ever", 0},
		{"free at the last", 10},
		{"free at once", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			d := SQLite.Database(t)
			s, db := d.spied(t, "busy_timeout(0)")
			store := sqlstore.New(db, sqlstore.SQLite, nil)
			conn, err := d.Pool(t).Conn(t.Context())
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
			if test.free > 0 {
				is.NoErr(err)
				is.Equal(s.count("BEGIN IMMEDIATE"), test.free)
				return
			}
			is.Equal(s.count("BEGIN IMMEDIATE"), 10)
			is.True(errors.Is(err, apikey.ErrAborted))
			var coded interface{ Code() int }
			is.True(errors.As(err, &coded))         // the driver's error is wrapped
			is.Equal(db.Stats().OpenConnections, 1) // and its connection used again
			_, closed := s.connections()
			is.Equal(closed, 0)
		})
	}
}

// TestRefusalsAreNotRepeated checks that what is wrong stays wrong.
func TestRefusalsAreNotRepeated(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		s, _, store := e.newSpied(t, nil)
		c := commitOf(newRecord(t, "acme", 1))
		mustCommit(t, store, c)
		s.reset(nil, nil)
		_, err := store.Commit(t.Context(), c)
		is.Equal(err, apikey.ErrExists)
		begun := 0
		for _, c := range s.all() {
			if strings.HasPrefix(c.statement, "BEGIN") || strings.HasPrefix(c.statement, "START") {
				begun++
			}
		}
		is.Equal(begun, 1)
		is.Equal(s.count("ROLLBACK"), 1)
		is.Equal(s.count("COMMIT"), 0)
	})
}

// TestErrorsHoldNoSQL lets every call fail in several ways and looks at the
// texts of the errors.
func TestErrorsHoldNoSQL(t *testing.T) {
	sqlWords := regexp.MustCompile(`(?i)\b(select|insert|update|delete|from|where|pragma|into)\b|\?|\$1`)
	Each(t, func(t *testing.T, e Engine) {
		for _, fault := range []struct {
			name   string
			make   func(t *testing.T, d *Database)
			passes []string // calls
		}{
			{"no tables", func(*testing.T, *Database) {}, nil},
			{"a column missing", func(t *testing.T, d *Database) {
				d.Migrate(t)
				db := d.Pool(t)
				mustCommit(t, sqlstore.New(db, e.Dialect, nil), commitOf(set(1).record(t, 1)))
				for table, column := range map[string]string{
					"keys": "seal", "credentials": "seal", "owners": "seal", "events": "seal", "usage": "uses", "usage_days": "day", "schema": "version",
				} {
					mustExec(t, db, fmt.Sprintf("ALTER TABLE apikey_%s RENAME COLUMN %s TO gone", table, column))
				}
			}, []string{"PepperIDs"}},
			{"a table missing", func(t *testing.T, d *Database) {
				d.Migrate(t)
				db := d.Pool(t)
				mustCommit(t, sqlstore.New(db, e.Dialect, nil), commitOf(set(1).record(t, 1)))
				for _, table := range []string{"credentials", "events", "usage", "owners"} {
					mustExec(t, db, "DROP TABLE apikey_"+table)
				}
			}, nil},
		} {
			t.Run(fault.name, func(t *testing.T) {
				d := e.EmptyDatabase(t)
				fault.make(t, d)
				store := d.Store(t)
				for name, run := range everyCall(t, 1) {
					t.Run(name, func(t *testing.T) {
						err := run(t.Context(), store)
						if err == nil {
							if !slices.Contains(fault.passes, name) {
								t.Fatal("no error")
							}
							return // what it needs is there
						}
						checkError(t, err, sqlWords)
					})
				}
			})
		}
		for name, store := range map[string]*sqlstore.Store{
			"no dialect": sqlstore.New(e.EmptyDatabase(t).Pool(t), sqlstore.Dialect{}, nil),
			"closed":     sqlstore.New(closedPool(t, e), e.Dialect, nil),
		} {
			for call, run := range everyCall(t, 1) {
				t.Run(name+", "+call, func(t *testing.T) { checkError(t, run(t.Context(), store), sqlWords) })
			}
		}
	})
}

func closedPool(t *testing.T, e Engine) *sql.DB {
	t.Helper()
	db := e.EmptyDatabase(t).Pool(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return db
}

// checkError looks for what does not belong into an error.
func checkError(t *testing.T, err error, sqlWords *regexp.Regexp) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	// MariaDB names the part of the statement: in 'INSERT INTO'.
	text := regexp.MustCompile(` in '[A-Z ]+'$`).ReplaceAllString(err.Error(), "")
	if sqlWords.MatchString(strings.ReplaceAll(text, "sqlstore.Migrate", "")) {
		t.Errorf("SQL in an error: %s", text)
	}
	if !strings.HasPrefix(text, "sqlstore: ") {
		t.Errorf("the error does not say whose it is: %s", text)
	}
}

// TestLookupWorksLater checks that a Store whose first use failed is not
// broken by it.
func TestLookupWorksLater(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		d := e.EmptyDatabase(t)
		store := d.Store(t)
		_, err := store.Lookup(t.Context(), "cred000000000001")
		is.True(err != nil && !errors.Is(err, apikey.ErrNotFound))
		d.Migrate(t)
		record := newRecord(t, "acme", 1)
		mustCommit(t, store, commitOf(record))
		match, err := lookup(t.Context(), store, record.Key.CredentialID)
		is.NoErr(err)
		record.Key.Revision = 1
		is.Equal(cmp.Diff(match.Key, record.Key), "")
	})
}
