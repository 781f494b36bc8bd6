package dbtest

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/keyturn/apikey/sqlstore"
)

// TestDatabases checks that what one test leaves no other finds.
func TestDatabases(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		before := goleak.IgnoreCurrent()
		var names []string
		for range 3 {
			t.Run("filled", func(t *testing.T) {
				is := is.New(t)
				d := e.Database(t)
				names = append(names, d.Name)
				store := d.Store(t)
				is.NoErr(store.Check(t.Context()))
				is.Equal(mustCommit(t, store, commitOf(newRecord(t, "acme", 1))).Seq, int64(1))
				mustExec(t, d.Pool(t), "CREATE TABLE customers (id INTEGER)") // fails if it is there
				is.Equal(len(checkLog(t, d.Store(t), 0)), 1)
			})
		}
		t.Run("empty", func(t *testing.T) {
			is := is.New(t)
			d := e.EmptyDatabase(t)
			is.True(d.Store(t).Check(t.Context()) != nil)
			d.Migrate(t)
			is.NoErr(d.Store(t).Check(t.Context()))
		})
		if e.server != nil {
			is.Equal(names[0], names[2]) // used again
		}
		goleak.VerifyNone(t, before)
	})
}

// TestConnectionLeft checks that a test which leaves a connection behind is
// told, and that nobody gets its database.
func TestConnectionLeft(t *testing.T) {
	for _, e := range Engines(t)[1:] {
		t.Run(e.Name, func(t *testing.T) {
			is := is.New(t)
			ctx := context.Background()
			s := newServer(e.server.kind, e.server.dsn)
			s.wait = 100 * time.Millisecond
			name, err := s.take(ctx, e.Dialect)
			is.NoErr(err)
			is.NoErr(s.giveBack(ctx, name, true))
			again, err := s.take(ctx, e.Dialect)
			is.NoErr(err)
			is.Equal(again, name)

			dsn, err := s.kind.at(s.dsn, name, nil)
			is.NoErr(err)
			db, err := sql.Open(e.driver, dsn)
			is.NoErr(err)
			defer db.Close()
			is.NoErr(db.PingContext(ctx))
			err = s.giveBack(ctx, name, true)
			is.True(err != nil)
			is.True(strings.Contains(err.Error(), "1 connections are still open"))
			is.Equal(len(s.free), 0)
			is.NoErr(s.on(ctx, "", func(ctx context.Context, db *sql.DB) error {
				names, err := column(ctx, db, s.kind.databases)
				is.True(len(names) > 0 && !slices.Contains(names, name))
				return err
			}))
		})
	}
}

// TestSettings checks that settings reach every connection.
func TestSettings(t *testing.T) {
	for _, e := range Engines(t) {
		t.Run(e.Name, func(t *testing.T) {
			is := is.New(t)
			test := map[sqlstore.Dialect][3]string{
				sqlstore.SQLite:     {"synchronous(OFF)", "PRAGMA synchronous", "0"},
				sqlstore.PostgreSQL: {"synchronous_commit=off", "SHOW synchronous_commit", "off"},
				sqlstore.MySQL:      {"innodb_lock_wait_timeout=7", "SELECT @@innodb_lock_wait_timeout", "7"},
			}[e.Dialect]
			d := e.EmptyDatabase(t)
			values := map[string]bool{}
			for _, db := range []*sql.DB{d.Pool(t), d.Pool(t, test[0])} {
				var value string
				is.NoErr(db.QueryRowContext(t.Context(), test[1]).Scan(&value))
				values[value] = value == test[2]
			}
			is.Equal(len(values), 2)
			is.True(values[test[2]])
		})
	}
}
