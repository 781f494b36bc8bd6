package dbtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// TestDeadConnections ends all connections of a pool, as a server does that is
// started anew: no call shows it.
func TestDeadConnections(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		if e.Dialect == sqlstore.SQLite {
			return // has no server
		}
		d := e.EmptyDatabase(t)
		d.Migrate(t)
		record := newRecord(t, "acme", 0)
		mustCommit(t, d.Store(t), commitOf(record))
		var n atomic.Int64
		for name, call := range map[string]func(context.Context, *sqlstore.Store) error{
			"Lookup": func(ctx context.Context, s *sqlstore.Store) error {
				_, err := s.Lookup(ctx, record.Key.CredentialID)
				return err
			},
			"Get": func(ctx context.Context, s *sqlstore.Store) error {
				_, err := s.Get(ctx, record.Key.ID, "")
				return err
			},
			"List": func(ctx context.Context, s *sqlstore.Store) error {
				_, err := s.List(ctx, apikey.Query{Limit: 1})
				return err
			},
			"Owner": func(ctx context.Context, s *sqlstore.Store) error {
				_, err := s.Owner(ctx, "acme")
				return err
			},
			"Events": func(ctx context.Context, s *sqlstore.Store) error {
				_, err := s.Events(ctx, apikey.EventQuery{Limit: 1})
				return err
			},
			"DailyUsage": func(ctx context.Context, s *sqlstore.Store) error {
				_, err := s.DailyUsage(ctx, days(record.Key.ID))
				return err
			},
			"Commit": func(ctx context.Context, s *sqlstore.Store) error {
				_, err := s.Commit(ctx, commitOf(newRecord(t, "acme", int(n.Add(1)))))
				return err
			},
			"AddUsage": func(ctx context.Context, s *sqlstore.Store) error {
				return s.AddUsage(ctx, []apikey.Usage{{CredentialID: record.Key.CredentialID, Day: start, Uses: 1, LastUsedAt: start}})
			},
		} {
			t.Run(name, func(t *testing.T) {
				is := is.New(t)
				const connections = 6
				db := d.PoolOf(t, unlooked(t, d))
				db.SetMaxIdleConns(connections)
				store := sqlstore.New(db, e.Dialect, nil)
				endAll(t, e, db, connections, d.Pool(t))
				var group sync.WaitGroup // so that all connections are asked for
				errs := make([]error, connections)
				for i := range errs {
					group.Go(func() { errs[i] = call(t.Context(), store) })
				}
				group.Wait()
				is.NoErr(errors.Join(errs...))
			})
		}
	})
}

// unlooked is what opens connections that no driver looks at before it uses
// them again. That of pgx does if they were not used for a second.
func unlooked(t *testing.T, d *Database) driver.Connector {
	t.Helper()
	if d.Engine.Name != PostgresPGX.Name {
		return d.Connector(t)
	}
	config, err := pgx.ParseConfig(d.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	return stdlib.GetConnector(*config, stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false }))
}

// endAll opens so many connections of a pool, and ends them from another.
func endAll(t *testing.T, e Engine, db *sql.DB, connections int, other *sql.DB) {
	t.Helper()
	// The second statement waits, in steps of 0.1 s, for those that have not ended.
	id, end := "SELECT pg_backend_pid()", []string{"SELECT pg_terminate_backend(%d)", "SELECT pg_terminate_backend(%d, 10000)"}
	if e.Dialect == sqlstore.MySQL {
		id, end = "SELECT CONNECTION_ID()", []string{"KILL %d"}
	}
	var open []*sql.Conn
	var ids []int64
	for range connections {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var n int64
		if err := conn.QueryRowContext(t.Context(), id).Scan(&n); err != nil {
			t.Fatal(err)
		}
		open, ids = append(open, conn), append(ids, n)
	}
	for _, conn := range open {
		if err := conn.Close(); err != nil { // back to the pool
			t.Fatal(err)
		}
	}
	for _, statement := range end {
		for _, n := range ids {
			if _, err := other.ExecContext(t.Context(), fmt.Sprintf(statement, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// torn is a driver of which each answer breaks off before its first row.
type torn struct{}

func (torn) Connect(context.Context) (driver.Conn, error) { return torn{}, nil }
func (torn) Driver() driver.Driver                        { return nil }
func (torn) Prepare(string) (driver.Stmt, error)          { return torn{}, nil }
func (torn) Begin() (driver.Tx, error)                    { return nil, errFault }
func (torn) Close() error                                 { return nil }
func (torn) NumInput() int                                { return -1 }
func (torn) Exec([]driver.Value) (driver.Result, error)   { return nil, errFault }
func (torn) Query([]driver.Value) (driver.Rows, error)    { return torn{}, nil }
func (torn) Columns() []string                            { return []string{"value"} }
func (torn) Next([]driver.Value) error                    { return errFault }

// TestTornAnswers: rows that could not be read are not taken for rows that are
// not there.
func TestTornAnswers(t *testing.T) {
	for _, dialect := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL, sqlstore.MySQL} {
		db := sql.OpenDB(torn{})
		defer db.Close()
		store := sqlstore.New(db, dialect, &sqlstore.Options{Attempts: 1})
		for name, call := range everyCall(t, 1) {
			if err := call(t.Context(), store); !errors.Is(err, errFault) || errors.Is(err, apikey.ErrNotFound) {
				t.Errorf("%s, %s: %v", dialect, name, err)
			}
		}
	}
}

// TestAddUsageAgainstRemoval lets uses be counted for credentials while a change
// removes them, with nothing run again: they take rows in one order.
func TestAddUsageAgainstRemoval(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		rounds := 30
		if long {
			rounds = 500
		}
		d := e.Database(t)
		options := &sqlstore.Options{Attempts: 1}
		changer, counter := sqlstore.New(d.Pool(t), e.Dialect, options), sqlstore.New(d.Pool(t), e.Dialect, options)
		for n := range rounds {
			r := newRecord(t, "acme", n)
			var uses []apikey.Usage
			for i := range 5 {
				c := newRecord(t, "acme", 1000*(n+1)+i).Credentials[0]
				c.ID = fmt.Sprintf("c%05d%010d", n, i)
				r.Credentials = append(r.Credentials, c)
				uses = append(uses, apikey.Usage{KeyID: r.Key.ID, CredentialID: c.ID, Day: start, Uses: 1, LastUsedAt: start})
			}
			mustCommit(t, changer, commitOf(r))
			if err := counter.AddUsage(t.Context(), uses); err != nil {
				t.Fatal(err)
			}
			r.Key.Revision = 1
			r.Credentials = r.Credentials[:1]
			var group sync.WaitGroup
			group.Go(func() {
				if _, err := changer.Commit(context.WithoutCancel(t.Context()), commitOf(r)); err != nil {
					t.Error("change: ", err)
				}
			})
			group.Go(func() {
				if err := counter.AddUsage(context.WithoutCancel(t.Context()), uses); err != nil {
					t.Error("count: ", err)
				}
			})
			group.Wait()
		}
	})
}

// TestAddUsageOfNoText: an id that is no text is that of no credential, least of
// all of one that looks like it once it was made a text.
func TestAddUsageOfNoText(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		store := e.newStore(t)
		r := newRecord(t, "acme", 1)
		r.Key.CredentialID, r.Credentials[0].ID = "x\ufffd", "x\ufffd"
		mustCommit(t, store, commitOf(r))
		use := func(id string) apikey.Usage {
			return apikey.Usage{KeyID: r.Key.ID, CredentialID: id, Day: start, Uses: 1, LastUsedAt: start}
		}
		is.NoErr(store.AddUsage(t.Context(), []apikey.Usage{use("a\x00b"), use("x\ufffd"), use("x\xff")}))
		got, err := store.Get(t.Context(), r.Key.ID, "")
		is.NoErr(err)
		is.Equal(got.Credentials[0].Uses, int64(1))
	})
}
