package dbtest

import (
	"errors"
	"strings"
	"testing"

	"github.com/keyturn/apikey/sqlstore"
)

// TestPoolerCalls lets two programs with 16 callers make 1,600 calls of all
// operations through PgBouncer in transaction mode, which replaces each server
// connection after a second, and twice when the test asks for it.
func TestPoolerCalls(t *testing.T) {
	for _, e := range Poolers(t) {
		t.Run(e.Name, func(t *testing.T) {
			d := e.EmptyDatabase(t)
			d.Migrate(t)
			if err := d.Store(t).Check(t.Context()); err != nil {
				t.Error(err)
			}
			mustExec(t, d.Pool(t), "ALTER DATABASE "+d.Name+" SET synchronous_commit = off") // for speed
			runTwoPrograms(t, d, d.DSN(t), func() error { return e.console("RECONNECT " + d.Name) })
			checkLog(t, d.Store(t), 0)
		})
	}
}

// TestCheckDriverMode checks that Check reports the modes of drivers that do not
// work behind PgBouncer in transaction mode, and is silent about all others.
func TestCheckDriverMode(t *testing.T) {
	const setting = "statement mode of the driver"
	for _, e := range append(Modes(t), Poolers(t)...) {
		t.Run(e.Name, func(t *testing.T) {
			db := e.Database(t).Pool(t)
			for _, connections := range []int{1, 2, 12} {
				db.SetMaxOpenConns(connections)
				checkSettings(t, db, e.Dialect)
			}
		})
	}
	for _, e := range UnfitModes(t) {
		t.Run(e.Name, func(t *testing.T) {
			direct := e
			direct.pooler = ""
			d := direct.Database(t) // with its tables, which such a driver may fail to make
			d.pooler = e.pooler
			defer e.leavePooler(d.Name)
			db := d.Pool(t)
			db.SetMaxOpenConns(4)
			err := sqlstore.New(db, e.Dialect, nil).Check(t.Context())
			var wrong *sqlstore.SettingError
			if !errors.As(err, &wrong) || wrong.Setting != setting {
				t.Fatal("not reported: ", err)
			}
			for _, word := range []string{"default_query_exec_mode=exec", "binary_parameters=yes", "pooler"} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%v does not name %s", err, word)
				}
			}
			t.Log(err)
		})
	}
}

// TestLostStatements takes away, between calls, all statements that were
// prepared in the sessions of a pool, and all else that a session has.
func TestLostStatements(t *testing.T) {
	for _, e := range Modes(t) {
		if e.Dialect != sqlstore.PostgreSQL {
			continue
		}
		for _, statement := range []string{"DEALLOCATE ALL", "DISCARD ALL"} {
			t.Run(e.Name+", "+statement, func(t *testing.T) {
				d := e.Database(t)
				db := d.Pool(t)
				db.SetMaxOpenConns(1)
				p := program{Dialect: e.Dialect.String(), Name: "one", Callers: 1, Calls: 2 * len(cycle)}
				reset := func() {
					// pgx must not see it, or it would forget its statements.
					mustExec(t, db, "DO $$ BEGIN EXECUTE '"+statement+"'; END $$")
				}
				if statement == "DISCARD ALL" { // not inside of a block
					reset = func() { mustExec(t, db, statement) }
				}
				if _, err := p.run(t.Context(), db, reset); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
