package dbtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/keyturn/apikey/sqlstore"
)

// The variables that name a server. The database named there is only used to
// make others.
const (
	PostgresDSN = "APIKEY_POSTGRES_DSN" // a URL: postgres://root@127.0.0.1:5432/test?sslmode=disable
	MariaDBDSN  = "APIKEY_MARIADB_DSN"  // as go-sql-driver has it: root@tcp(127.0.0.1:3306)/test
)

// Engine is a kind of database, with the driver that reaches it.
type Engine struct {
	Name    string // "sqlite", "postgres-pgx", "postgres-pq" or "mariadb"
	Dialect sqlstore.Dialect

	driver  string   // as database/sql knows it
	server  *server  // nil: each database is a file
	pooler  string   // data source name of a pooler in front of the server, or ""
	session []string // settings of every connection
}

// The engines, before they have a server. See [Engine.At].
var (
	SQLite      = Engine{Name: "sqlite", Dialect: sqlstore.SQLite, driver: "sqlite"}
	PostgresPGX = Engine{Name: "postgres-pgx", Dialect: sqlstore.PostgreSQL, driver: "pgx"}
	PostgresPQ  = Engine{Name: "postgres-pq", Dialect: sqlstore.PostgreSQL, driver: "postgres"}
	MariaDB     = Engine{Name: "mariadb", Dialect: sqlstore.MySQL, driver: "mysql"}
)

// Engines returns SQLite, and those engines whose server is named in the
// environment. In CI all of them must be.
func Engines(t testing.TB) []Engine {
	t.Helper()
	all := []Engine{SQLite}
	for _, named := range []struct {
		variable string
		kind     *kind
		engines  []Engine
	}{
		{PostgresDSN, &postgres, []Engine{PostgresPGX, PostgresPQ}},
		{MariaDBDSN, &mariadb, []Engine{MariaDB}},
	} {
		dsn := os.Getenv(named.variable)
		if dsn == "" {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not set, and in CI no engine is left out", named.variable)
			}
			continue
		}
		for _, e := range named.engines {
			e.server = machineServer(named.kind, dsn)
			all = append(all, e)
		}
	}
	return all
}

// Each runs a test on each of [Engines].
func Each(t *testing.T, run func(t *testing.T, e Engine)) {
	t.Helper()
	for _, e := range Engines(t) {
		t.Run(e.Name, func(t *testing.T) { run(t, e) })
	}
}

// At returns the engine on a server of the test's own. What is made there goes
// with the server.
func (e Engine) At(dsn string) Engine {
	kind := &postgres
	if e.Dialect == sqlstore.MySQL {
		kind = &mariadb
	}
	e.server = newServer(kind, dsn)
	return e
}

// Database is a database of a test's own.
type Database struct {
	Engine
	Name string // that of a file, for SQLite
}

// Database returns a database with the tables of sqlstore, without rows. When
// the test ends all pools on it must be closed; another test gets it then, so
// that whoever changes its tables, or leaves a connection behind, asks for an
// [Engine.EmptyDatabase] instead.
func (e Engine) Database(t testing.TB) *Database {
	t.Helper()
	if e.server == nil {
		d := e.EmptyDatabase(t)
		d.Migrate(t)
		return d
	}
	name, err := e.server.take(context.Background(), e.Dialect)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.leavePooler(name); err != nil {
			t.Error(err)
		}
		// What a test that failed has left is nothing to build on.
		if err := e.server.giveBack(context.Background(), name, !t.Failed()); err != nil {
			t.Error(err)
		}
	})
	return &Database{e, name}
}

// EmptyDatabase returns a database without tables, which is dropped when the
// test ends, whoever uses it still.
func (e Engine) EmptyDatabase(t testing.TB) *Database {
	t.Helper()
	if e.server == nil {
		return &Database{e, filepath.Join(t.TempDir(), "keys.db")}
	}
	name, err := e.server.create(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.leavePooler(name); err != nil {
			t.Error(err)
		}
		if err := e.server.drop(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	return &Database{e, name}
}

// At returns the same database, as another server of a cluster has it.
func (d *Database) At(dsn string) *Database { return &Database{d.Engine.At(dsn), d.Name} }

// Migrate makes the tables.
func (d *Database) Migrate(t testing.TB) {
	t.Helper()
	db, err := sql.Open(d.driver, d.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if err := sqlstore.Migrate(context.Background(), db, d.Dialect); err != nil {
		t.Fatal(err)
	}
}

// DSN returns the data source name of the database. The settings are for each
// connection: pragmas of SQLite like "synchronous(OFF)", parameters of a
// server like "synchronous_commit=off".
func (d *Database) DSN(t testing.TB, settings ...string) string {
	t.Helper()
	if d.server == nil {
		return DataSource(d.Name, settings...)
	}
	server := d.server.dsn
	if d.pooler != "" {
		server = d.pooler
	}
	dsn, err := d.server.kind.at(server, d.Name, slices.Concat(d.session, settings))
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

// Connector returns what opens connections to the database, for a driver that
// stands in front of the real one.
func (d *Database) Connector(t testing.TB, settings ...string) driver.Connector {
	t.Helper()
	dsn := d.DSN(t, settings...)
	db, err := sql.Open(d.driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if c, ok := db.Driver().(driver.DriverContext); ok {
		connector, err := c.OpenConnector(dsn)
		if err != nil {
			t.Fatal(err)
		}
		return connector
	}
	return connector{db.Driver(), dsn}
}

// connector is that of a driver which has none.
type connector struct {
	driver driver.Driver
	dsn    string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }

func (c connector) Driver() driver.Driver { return c.driver }

// Pool returns a new pool of connections, which is closed when the test ends.
func (d *Database) Pool(t testing.TB, settings ...string) *sql.DB {
	t.Helper()
	return d.PoolOf(t, d.Connector(t, settings...))
}

// PoolOf is Pool with connections of another make, like those of a driver that
// stands in front of the real one.
func (d *Database) PoolOf(t testing.TB, c driver.Connector) *sql.DB {
	t.Helper()
	db := sql.OpenDB(c)
	if d.server != nil {
		d.server.pools.add(db)
	}
	t.Cleanup(func() {
		err := db.Close()
		if d.server != nil {
			// A server notices a connection that was left; one that broke is
			// part of some tests, and Close complains of it.
			d.server.pools.remove(db)
		} else if err != nil {
			t.Error(err)
		}
	})
	return db
}

// Store returns a Store on a pool of its own.
func (d *Database) Store(t testing.TB) *sqlstore.Store {
	t.Helper()
	return sqlstore.New(d.Pool(t), d.Dialect, nil)
}
