//go:build linux

package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/dbtest/servers"
	"github.com/keyturn/apikey/sqlstore"
)

// ownServer is a server of a test's own, behind a relay.
type ownServer struct {
	Engine
	server *servers.Server
	relay  *relay
	admin  *Database // not by way of the relay
	t      testing.TB
}

// eachServer runs a test on each engine that has a server, on one of its own.
// The drivers of PostgreSQL share it.
func eachServer(t *testing.T, run func(t *testing.T, o *ownServer)) {
	t.Helper()
	quiet(t)
	for _, test := range []struct {
		start   func(testing.TB, ...string) *servers.Server
		engines []Engine
	}{
		{servers.StartPostgres, []Engine{PostgresPGX, PostgresPQ}},
		{servers.StartMariaDB, []Engine{MariaDB}},
	} {
		if !enabled(t, test.engines[0]) {
			continue
		}
		s := test.start(t)
		for i, e := range test.engines {
			t.Run(e.Name, func(t *testing.T) {
				o := &ownServer{Engine: e, server: s, admin: &Database{e.At(s.DSN()), "test"}, t: t}
				if i == 0 {
					o.admin.prepareServer(t)
				}
				o.relay = newRelay(t, "unix", socket(e, s.DSN()))
				run(t, o)
			})
		}
	}
}

// quiet keeps a driver from writing to stderr that the server is gone.
func quiet(t testing.TB) {
	t.Helper()
	if err := mysql.SetLogger(log.New(io.Discard, "", 0)); err != nil {
		t.Fatal(err)
	}
}

// prepareServer makes the tables and, on MariaDB, an account that read_only
// binds.
func (d *Database) prepareServer(t *testing.T) {
	t.Helper()
	d.Migrate(t)
	if d.Dialect != sqlstore.MySQL {
		return
	}
	db := d.Pool(t)
	mustExec(t, db, "CREATE USER app@localhost IDENTIFIED BY 'app'")
	mustExec(t, db, "GRANT ALL ON test.* TO app@localhost")
}

// pool returns a pool by way of the relay, with so many connections at most,
// all of which are kept. No driver looks at a connection before it uses it
// again.
func (o *ownServer) pool(connections int) *sql.DB {
	o.t.Helper()
	dsn := o.relay.dsn(o.Engine)
	if o.Dialect == sqlstore.MySQL {
		dsn += "?checkConnLiveness=false"
	}
	db, err := sql.Open(o.driver, dsn)
	if err != nil {
		o.t.Fatal(err)
	}
	if o.Name == PostgresPGX.Name {
		config, err := pgx.ParseConfig(dsn)
		if err != nil {
			o.t.Fatal(err)
		}
		db = sql.OpenDB(stdlib.GetConnector(*config, stdlib.OptionShouldPing(func(context.Context, stdlib.ShouldPingParams) bool { return false })))
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	o.t.Cleanup(func() { db.Close() })
	return db
}

// issued numbers the Records that issue commits.
var issued atomic.Int64

// issue commits a new Record.
func (o *ownServer) issue(ctx context.Context, s *sqlstore.Store) error {
	_, err := s.Commit(ctx, commitOf(newRecord(o.t, "acme", int(issued.Add(1)))))
	return err
}

// fill opens so many connections of a pool and runs a statement on each, "" for
// none.
func fillPool(t testing.TB, db *sql.DB, connections int, statement string) {
	t.Helper()
	var open []*sql.Conn
	for range connections {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
		if statement == "" {
			continue
		}
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, conn := range open {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// each runs a call n times, one after the other or all at once, and returns the
// errors.
func repeated(n int, together bool, run func() error) (errs []error) {
	var group sync.WaitGroup
	var mu sync.Mutex
	for range n {
		one := func() {
			if err := run(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		}
		if together {
			group.Go(one)
		} else {
			one()
		}
	}
	group.Wait()
	return errs
}

// both runs a test with calls one after the other and with all at once.
func both(t *testing.T, run func(t *testing.T, together bool)) {
	t.Helper()
	for name, together := range map[string]bool{"in turn": false, "together": true} {
		t.Run(name, func(t *testing.T) { run(t, together) })
	}
}

// noneFailed fails the test if a call has failed.
func noneFailed(t testing.TB, what string, calls int, errs []error) {
	t.Helper()
	if len(errs) > 0 {
		t.Errorf("%s: %d of %d calls failed, the first with: %v", what, len(errs), calls, errs[0])
	}
}

// TestFailover checks what a failover, or a restart of the server, costs those
// that go on to use their pool.
func TestFailover(t *testing.T) {
	eachServer(t, func(t *testing.T, o *ownServer) {
		t.Run("dead pool", func(t *testing.T) { deadPool(t, o.in(t)) })
		t.Run("read-only sessions", func(t *testing.T) { readOnlySessions(t, o.in(t)) })
		t.Run("only a standby", func(t *testing.T) { onlyStandby(t, o.in(t)) })
		t.Run("standby, in a transaction of the application", func(t *testing.T) { standbyInTransaction(t, o.in(t)) })
	})
}

// in returns the server for a subtest.
func (o *ownServer) in(t testing.TB) *ownServer {
	inner := *o
	inner.t = t
	return &inner
}

// deadPool checks that no call fails because all 30 connections of a pool
// have died, more than the Store's attempts.
func deadPool(t *testing.T, o *ownServer) {
	const connections, calls = 30, 20
	admin := o.admin.Pool(t)
	for _, attempts := range []int{0, 1} {
		store := func(t *testing.T) (*sql.DB, *sqlstore.Store) {
			db := o.pool(connections)
			endAll(t, o.Engine, db, connections, admin)
			return db, sqlstore.New(db, o.Dialect, &sqlstore.Options{Attempts: attempts})
		}
		both(t, func(t *testing.T, together bool) {
			db, s := store(t)
			noneFailed(t, "lookup", calls, repeated(calls, together, func() error {
				if _, err := s.Lookup(t.Context(), "cred000000000001"); !errors.Is(err, apikey.ErrNotFound) {
					return err
				}
				return nil
			}))
			db.Close()
			db, s = store(t)
			noneFailed(t, "commit", calls, repeated(calls, together, func() error { return o.issue(t.Context(), s) }))
			db.Close()
		})
	}
}

// readOnlySessions checks that no change fails because the sessions of a
// pool became read-only, as after a failover, and that they are closed.
func readOnlySessions(t *testing.T, o *ownServer) {
	const connections, changes = 20, 40
	readOnly := "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
	if o.Dialect == sqlstore.MySQL {
		readOnly = "SET SESSION tx_read_only = 1"
	}
	for _, most := range []int{connections, 3 * connections} {
		t.Run(fmt.Sprint("at most ", most), func(t *testing.T) {
			both(t, func(t *testing.T, together bool) {
				is := is.New(t)
				db := o.pool(most)
				store := sqlstore.New(db, o.Dialect, nil)
				fillPool(t, db, connections, readOnly)
				opened := o.relay.count()
				noneFailed(t, "commit", changes, repeated(changes, together, func() error { return o.issue(t.Context(), store) }))
				opened = o.relay.count() - opened
				t.Logf("%d connections opened for %d changes", opened, changes)
				if limit := connections + changes; opened > limit {
					t.Errorf("%d connections were opened, more than %d", opened, limit)
				}
				if together {
					// A session that was in use by a call that went through is
					// found by a later one.
					noneFailed(t, "commit", changes, repeated(changes, false, func() error { return o.issue(t.Context(), store) }))
				}
				is.Equal(db.Stats().InUse, 0)
				// No session is left that only reads.
				var all []*sql.Conn
				for range db.Stats().Idle {
					conn, err := db.Conn(t.Context())
					is.NoErr(err)
					all = append(all, conn)
					_, err = conn.ExecContext(t.Context(), "UPDATE apikey_counter SET seq = seq")
					is.NoErr(err)
				}
				for _, conn := range all {
					conn.Close()
				}
				db.Close()
			})
		})
	}
}

// setReadOnly makes the whole server read-only, or writable again: on
// PostgreSQL for sessions that are opened from then on, on MariaDB for all.
func (o *ownServer) setReadOnly(t *testing.T, on bool) {
	t.Helper()
	db, err := sql.Open(o.driver, o.admin.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	value := map[bool]string{false: "off", true: "on"}[on]
	if o.Dialect == sqlstore.MySQL {
		mustExec(t, db, "SET GLOBAL read_only = "+value)
		return
	}
	mustExec(t, db, "SET default_transaction_read_only = off")
	mustExec(t, db, "ALTER DATABASE test SET default_transaction_read_only = "+value)
}

// onlyStandby checks that changes fail while no server takes them, without
// a storm of new connections or disturbing those that read, that Check reports
// it, and that all is well again once the server takes changes.
func onlyStandby(t *testing.T, o *ownServer) {
	const connections, changes = 20, 20
	for _, most := range []int{connections, 3 * connections} {
		t.Run(fmt.Sprint("at most ", most), func(t *testing.T) {
			both(t, func(t *testing.T, together bool) {
				is := is.New(t)
				o.setReadOnly(t, true)
				defer o.setReadOnly(t, false)
				db := o.pool(most)
				store := sqlstore.New(db, o.Dialect, nil)
				fillPool(t, db, connections, "")
				opened := o.relay.count()
				errs := repeated(changes, together, func() error { return o.issue(t.Context(), store) })
				opened = o.relay.count() - opened
				is.Equal(len(errs), changes)
				for _, err := range errs {
					is.True(errors.Is(err, apikey.ErrAborted))
					is.True(!strings.Contains(strings.ToUpper(err.Error()), "INSERT"))
				}
				t.Logf("%d connections opened for %d changes, %d are kept", opened, changes, db.Stats().Idle)
				is.True(opened <= 2*changes)
				is.True(db.Stats().Idle >= connections-2) // those that read
				is.Equal(db.Stats().InUse, 0)

				var setting *sqlstore.SettingError
				is.True(errors.As(store.Check(t.Context()), &setting))
				is.True(strings.Contains(setting.Setting, "read_only"))

				o.setReadOnly(t, false)
				noneFailed(t, "commit", changes, repeated(changes, together, func() error { return o.issue(t.Context(), store) }))
				is.NoErr(store.Check(t.Context()))
				db.Close()
			})
		})
	}
}

// standbyInTransaction checks that a read-only error in a transaction
// of the application's own is returned, with nothing run again.
func standbyInTransaction(t *testing.T, o *ownServer) {
	is := is.New(t)
	db := o.pool(5)
	store := sqlstore.New(db, o.Dialect, nil)
	fillPool(t, db, 5, "")
	opened := o.relay.count()
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted, ReadOnly: true})
	is.NoErr(err)
	_, err = store.Tx(tx).Commit(t.Context(), commitOf(newRecord(t, "acme", int(issued.Add(1)))))
	is.True(errors.Is(err, apikey.ErrAborted))
	is.NoErr(tx.Rollback())
	is.Equal(o.relay.count(), opened)
}
