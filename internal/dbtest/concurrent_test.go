package dbtest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// TestManyWriters checks that writers of one program wait in line, not in the
// database, where none of them has a busy timeout.
func TestManyWriters(t *testing.T) {
	is := is.New(t)
	s, _, store := newSpied(t, &sqlstore.Options{Attempts: 1}, "busy_timeout(0)")
	s.reset(nil, nil)
	var group sync.WaitGroup
	const writers = 20
	for n := range writers {
		group.Go(func() {
			if _, err := store.Commit(t.Context(), commitOf(newRecord(t, "acme", n))); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	is.Equal(s.count("BEGIN IMMEDIATE"), writers)
	is.Equal(s.count("COMMIT"), writers)
}

// TestInMemory checks that a database in memory, which lives in one
// connection, outlives calls that fail.
func TestInMemory(t *testing.T) {
	is := is.New(t)
	db := OpenEmpty(t, ":memory:")
	db.SetMaxOpenConns(1)
	is.NoErr(sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
	store := sqlstore.New(db, sqlstore.SQLite, nil)
	c := commitOf(newRecord(t, "acme", 1))
	mustCommit(t, store, c)
	_, err := store.Commit(t.Context(), c)
	is.Equal(err, apikey.ErrExists)
	_, err = store.Get(t.Context(), c.Records[0].Key.ID, "")
	is.NoErr(err)
}

// TestMovedCredential checks that a credential which one Record gives up is not
// free for another of the same Commit, in whichever order they are written.
func TestMovedCredential(t *testing.T) {
	for _, test := range []struct {
		name       string
		give, take int // numbers, in the order of ids
	}{
		{"given up first", 1, 2},
		{"taken first", 2, 1},
	} {
		for _, purge := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, purge %v", test.name, purge), func(t *testing.T) {
				Each(t, func(t *testing.T, e Engine) {
					is := is.New(t)
					store := e.newStore(t)
					gives, takes := newRecord(t, "acme", test.give), newRecord(t, "acme", test.take)
					mustCommit(t, store, commitOf(gives))
					takes.Credentials = gives.Credentials
					c := commitOf(takes)
					if purge {
						c.Purge = []apikey.RecordRef{{ID: gives.Key.ID, Revision: 1}}
					} else {
						gives.Key.Revision = 1
						gives.Credentials = nil
						c.Records = append(c.Records, gives)
					}
					_, err := store.Commit(t.Context(), c)
					is.Equal(err, apikey.ErrExists)
				})
			})
		}
	}
}

// TestWritesWhatDiffers checks that a change writes only the credentials that
// it changes, and what follows from the key naming another one as current.
func TestWritesWhatDiffers(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		s, _, store := e.newSpied(t, nil)
		r := newRecord(t, "acme", 1)
		second := newRecord(t, "acme", 2).Credentials[0]
		r.Credentials = append(r.Credentials, second)
		mustCommit(t, store, commitOf(r))
		is.NoErr(store.AddUsage(t.Context(), []apikey.Usage{{CredentialID: second.ID, Day: start, Uses: 1, LastUsedAt: start}}))
		written := func(change func(*apikey.Record)) (n int) {
			t.Helper()
			stored, err := store.Get(t.Context(), r.Key.ID, "")
			is.NoErr(err)
			change(&stored)
			s.reset(nil, nil)
			mustCommit(t, store, commitOf(stored))
			for _, c := range s.all() {
				if !c.prepare && strings.Contains(c.statement, "apikey_credentials") && !strings.HasPrefix(c.statement, "SELECT") {
					n++
				}
			}
			return n
		}
		retired := func() (n int) {
			records, err := store.List(t.Context(), apikey.Query{RetiredBefore: r.Key.ExpiresAt.Add(time.Microsecond), Limit: 10})
			is.NoErr(err)
			return len(records)
		}
		is.Equal(retired(), 0) // the second ends a day later
		is.Equal(written(func(r *apikey.Record) { r.Key.Name = "changed" }), 0)
		is.Equal(written(func(r *apikey.Record) { r.Credentials[1].Seal = "new" }), 1)
		is.Equal(written(func(r *apikey.Record) { r.Key.CredentialID = second.ID }), 2)
		is.Equal(retired(), 1)
	})
}

// TestUsageByDay checks the table of days: uses of a day add up, days stay
// apart, and nothing is left of a credential that goes. What was left of one all
// the same, no call finds.
func TestUsageByDay(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		db := e.Database(t).Pool(t)
		store := sqlstore.New(db, e.Dialect, nil)
		r := newRecord(t, "acme", 1)
		mustCommit(t, store, commitOf(r, newRecord(t, "acme", 2)))
		day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		use := func(id string, days int, uses int64) apikey.Usage {
			at := day.AddDate(0, 0, days)
			return apikey.Usage{KeyID: r.Key.ID, CredentialID: id, Day: at, Uses: uses, LastUsedAt: at.Add(time.Duration(uses) * time.Hour)}
		}
		id, other := r.Key.CredentialID, newRecord(t, "acme", 2).Key.CredentialID
		is.NoErr(store.AddUsage(t.Context(), []apikey.Usage{use(id, 0, 3), use(id, 1, 4), use(id, 0, 2), use(other, 0, 9), use("unknown", 0, 1)}))
		is.NoErr(store.AddUsage(t.Context(), []apikey.Usage{use(id, 0, 1)}))

		type row struct {
			Credential, Key string
			Day             time.Time
			Uses            int64
			Last            time.Time
		}
		read := func() (all []row) {
			rows, err := db.QueryContext(t.Context(), "SELECT credential_id, key_id, day, uses, last_used_at FROM apikey_usage_days ORDER BY 1, 3")
			is.NoErr(err)
			defer rows.Close()
			for rows.Next() {
				var r row
				var day, last int64
				is.NoErr(rows.Scan(&r.Credential, &r.Key, &day, &r.Uses, &last))
				r.Day, r.Last = time.UnixMicro(day).UTC(), time.UnixMicro(last).UTC()
				all = append(all, r)
			}
			return all
		}
		rest := row{other, newRecord(t, "acme", 2).Key.ID, day, 9, day.Add(9 * time.Hour)}
		is.Equal(cmp.Diff(read(), []row{
			{id, r.Key.ID, day, 6, day.Add(3 * time.Hour)},
			{id, r.Key.ID, day.AddDate(0, 0, 1), 4, day.AddDate(0, 0, 1).Add(4 * time.Hour)},
			rest,
		}), "")

		r.Key.Revision = 1
		r.Credentials = newRecord(t, "acme", 3).Credentials
		mustCommit(t, store, commitOf(r))
		is.Equal(cmp.Diff(read(), []row{rest}), "")
		mustCommit(t, store, apikey.Commit{Purge: []apikey.RecordRef{{ID: rest.Key, Revision: 1}}, Events: []apikey.Event{event(r)}})
		is.Equal(len(read()), 0)
		var left int
		is.NoErr(db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM apikey_usage").Scan(&left))
		is.Equal(left, 0)

		mustExec(t, db, fmt.Sprintf("INSERT INTO apikey_usage_days (credential_id, day, key_id, uses, last_used_at) VALUES ('%s', %d, '%s', 1, 1)",
			id, day.UnixMicro(), r.Key.ID))
		uses, err := store.DailyUsage(t.Context(), days(r.Key.ID))
		is.NoErr(err)
		is.Equal(len(uses), 0)
	})
}

// TestDefaultLevel: a transaction is READ COMMITTED whatever the connection's
// default is. At a higher level some of these would be given up, and nothing is
// run again here.
func TestDefaultLevel(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		setting := map[sqlstore.Dialect]string{
			sqlstore.PostgreSQL: "default_transaction_isolation=serializable",
			sqlstore.MySQL:      "tx_isolation='SERIALIZABLE'",
		}[e.Dialect]
		if setting == "" {
			t.Skip("SQLite has one level")
		}
		store := sqlstore.New(e.Database(t).Pool(t, setting), e.Dialect, &sqlstore.Options{Attempts: 1})
		m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, MaxKeysPerOwner: 5})
		if err != nil {
			t.Fatal(err)
		}
		for round := range 5 {
			var made atomic.Int64
			var group sync.WaitGroup
			for range 20 {
				group.Go(func() {
					switch _, err := m.Issue(t.Context(), apikey.IssueParams{Owner: fmt.Sprint("owner ", round), Name: "n"}); {
					case err == nil:
						made.Add(1)
					case !errors.Is(err, apikey.ErrLimit):
						t.Error(err)
					}
				})
			}
			group.Wait()
			is.New(t).Equal(made.Load(), int64(5))
		}
	})
}
