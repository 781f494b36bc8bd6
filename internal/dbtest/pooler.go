package dbtest

import (
	"database/sql"
	"fmt"
	"os"
	"strings"
	"testing"
)

// PgBouncerDSN is the variable that names a PgBouncer in transaction mode, in
// front of the server of [PostgresDSN]. Its user may use the admin console.
const PgBouncerDSN = "APIKEY_PGBOUNCER_DSN" // a URL: postgres://root@127.0.0.1:6433/test?sslmode=disable

// With returns the engine with settings for every connection, under a name of
// its own.
func (e Engine) With(name string, settings ...string) Engine {
	e.Name, e.session = name, settings
	return e
}

// Modes returns the engines of servers in each mode in which their drivers send
// statements.
func Modes(t testing.TB) []Engine {
	t.Helper()
	var all []Engine
	for _, e := range Engines(t) {
		switch e.driver {
		case PostgresPGX.driver:
			for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
				all = append(all, e.With(e.Name+"-"+mode, "default_query_exec_mode="+mode))
			}
		case PostgresPQ.driver:
			all = append(all, e, e.With(e.Name+"-binary_parameters", "binary_parameters=yes"))
		case MariaDB.driver:
			all = append(all, e, e.With(e.Name+"-interpolateParams", "interpolateParams=true"))
		}
	}
	return all
}

// Poolers returns the engines behind PgBouncer, each in a mode that its driver
// documents for poolers, if PgBouncer is named in the environment. In CI it must
// be.
func Poolers(t testing.TB) []Engine {
	t.Helper()
	return behind(t, "pgx-exec", "pgx-cache_describe", "pgx-simple_protocol", "pq-binary_parameters")
}

// UnfitModes returns the engines behind PgBouncer in the modes that do not work
// there.
func UnfitModes(t testing.TB) []Engine {
	t.Helper()
	return behind(t, "pgx-cache_statement", "pgx-describe_exec", "pq")
}

// behind returns the modes of PostgreSQL's drivers that have one of the names,
// behind PgBouncer.
func behind(t testing.TB, modes ...string) []Engine {
	t.Helper()
	dsn := os.Getenv(PgBouncerDSN)
	if dsn == "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not set, and in CI no engine is left out", PgBouncerDSN)
		}
		return nil
	}
	var all []Engine
	for _, mode := range modes {
		for _, e := range Modes(t) {
			if e.Name == "postgres-"+mode {
				e.Name, e.pooler = "pgbouncer-"+mode, dsn
				all = append(all, e)
			}
		}
	}
	return all
}

// leavePooler closes the connections that a pooler keeps to a database.
func (e Engine) leavePooler(name string) error {
	if e.pooler == "" {
		return nil
	}
	err := e.console("KILL " + name)
	if err == nil {
		err = e.console("RESUME " + name)
	} else if strings.Contains(err.Error(), "no such database") { // nobody was connected
		err = nil
	}
	return err
}

// console runs a command of PgBouncer's admin console, which takes neither
// parameters nor prepared statements.
func (e Engine) console(command string) error {
	dsn, err := postgres.at(e.pooler, "pgbouncer", nil)
	if err != nil {
		return err
	}
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(command); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}
