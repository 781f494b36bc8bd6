package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "github.com/lib/pq"              // the driver "postgres"

	"github.com/keyturn/apikey/sqlstore"
)

// kind is what differs between servers, in how databases are made there.
type kind struct {
	driver string

	// at returns the data source name of another database of a server.
	at func(dsn, name string, settings []string) (string, error)

	create, drop string // followed by a name and by a rest
	createRest   string
	dropRest     string
	databases    string // their names
	tables       string // those of the database of the connection
	others       string // how many others are connected to that database
}

var postgres = kind{
	driver: "pgx",
	at: func(dsn, name string, settings []string) (string, error) {
		u, err := url.Parse(dsn)
		if err != nil {
			return "", err
		}
		u.Path = "/" + name
		query := u.Query()
		for _, s := range settings {
			key, value, _ := strings.Cut(s, "=")
			query.Set(key, value)
		}
		u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // as pgx reads it
		return u.String(), nil
	},
	create:     "CREATE DATABASE ",
	createRest: " TEMPLATE template0 ENCODING 'UTF8'",
	drop:       "DROP DATABASE IF EXISTS ",
	dropRest:   " WITH (FORCE)",
	databases:  "SELECT datname FROM pg_database",
	tables:     "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace",
	others: `SELECT COUNT(*) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`,
}

var mariadb = kind{
	driver: "mysql",
	at: func(dsn, name string, settings []string) (string, error) {
		c, err := mysql.ParseDSN(dsn)
		if err != nil {
			return "", err
		}
		c.DBName = name
		for _, s := range settings {
			key, value, _ := strings.Cut(s, "=")
			if c.Params == nil {
				c.Params = map[string]string{}
			}
			c.Params[key] = value
		}
		return c.FormatDSN(), nil
	},
	create:    "CREATE DATABASE ",
	drop:      "DROP DATABASE IF EXISTS ",
	databases: "SELECT schema_name FROM information_schema.schemata",
	tables:    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
	others:    "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}

// server makes databases. A database takes longer to make than most tests to
// run, and some tests need a hundred: those that are done with come back.
type server struct {
	kind  *kind
	dsn   string
	pools pools
	wait  time.Duration // for others to leave a database

	mu    sync.Mutex
	swept bool
	free  []string // migrated, without rows
	made  map[string]bool
}

// databases counts all that were made, to name them.
var databases atomic.Int64

func newServer(k *kind, dsn string) *server {
	return &server{kind: k, dsn: dsn, wait: patience / 6, made: map[string]bool{}}
}

var (
	machineMu      sync.Mutex
	machineServers = map[string]*server{} // by data source name
)

// machineServer returns the server that the environment names, always the same.
func machineServer(k *kind, dsn string) *server {
	machineMu.Lock()
	defer machineMu.Unlock()
	s, ok := machineServers[dsn]
	if !ok {
		s = newServer(k, dsn)
		machineServers[dsn] = s
	}
	return s
}

// dropAll drops what was made on the servers that the environment names.
func dropAll(ctx context.Context) error {
	machineMu.Lock()
	defer machineMu.Unlock()
	var errs []error
	for _, s := range machineServers {
		s.mu.Lock()
		names := make([]string, 0, len(s.made))
		for name := range s.made {
			names = append(names, name)
		}
		s.mu.Unlock()
		if len(names) > 0 {
			errs = append(errs, s.drop(ctx, names...))
		}
	}
	return errors.Join(errs...)
}

// patience is how long a server is waited for. No test waits so long but one
// that has gone wrong.
const patience = time.Minute

// on runs a function on a connection to a database, "" for the one that the
// data source name has. There is no pool that lasts: a test that counts
// goroutines and connections is to find its own only.
func (s *server) on(ctx context.Context, name string, run func(context.Context, *sql.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dsn, err := s.dsn, error(nil)
	if name != "" {
		if dsn, err = s.kind.at(s.dsn, name, nil); err != nil {
			return err
		}
	}
	db, err := sql.Open(s.kind.driver, dsn)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	return errors.Join(run(ctx, db), db.Close())
}

const prefix = "apikey_test_"

// create makes a database without tables.
func (s *server) create(ctx context.Context) (name string, err error) {
	s.mu.Lock()
	sweep := !s.swept
	s.swept = true
	name = fmt.Sprintf("%s%d_%d_%d", prefix, time.Now().Unix(), os.Getpid(), databases.Add(1))
	s.made[name] = true
	s.mu.Unlock()
	return name, s.on(ctx, "", func(ctx context.Context, db *sql.DB) error {
		if sweep {
			s.sweep(ctx, db)
		}
		_, err := db.ExecContext(ctx, s.kind.create+name+s.kind.createRest)
		return err
	})
}

// sweep drops what tests that were killed have left a day ago or earlier. If
// it fails, which it may when two do it at once, nothing is lost.
func (s *server) sweep(ctx context.Context, db *sql.DB) {
	names, err := column(ctx, db, s.kind.databases)
	if err != nil {
		return
	}
	for _, name := range names {
		rest, ours := strings.CutPrefix(name, prefix)
		made, _, _ := strings.Cut(rest, "_")
		seconds, err := strconv.ParseInt(made, 10, 64)
		if ours && err == nil && time.Since(time.Unix(seconds, 0)) > 24*time.Hour {
			db.ExecContext(ctx, s.kind.drop+name+s.kind.dropRest)
		}
	}
}

// drop removes databases.
func (s *server) drop(ctx context.Context, names ...string) error {
	return s.on(ctx, "", func(ctx context.Context, db *sql.DB) error {
		for _, name := range names {
			if _, err := db.ExecContext(ctx, s.kind.drop+name+s.kind.dropRest); err != nil {
				return fmt.Errorf("drop %s: %w", name, err)
			}
			s.mu.Lock()
			delete(s.made, name)
			s.mu.Unlock()
		}
		return nil
	})
}

// take returns a database with tables and without rows.
func (s *server) take(ctx context.Context, dialect sqlstore.Dialect) (string, error) {
	s.mu.Lock()
	if n := len(s.free); n > 0 {
		name := s.free[n-1]
		s.free = s.free[:n-1]
		s.mu.Unlock()
		return name, nil
	}
	s.mu.Unlock()
	name, err := s.create(ctx)
	if err != nil {
		return "", err
	}
	return name, s.on(ctx, name, func(ctx context.Context, db *sql.DB) error {
		return sqlstore.Migrate(ctx, db, dialect)
	})
}

// giveBack ends the use of a database that was taken. It returns an error if
// somebody is still connected to it.
func (s *server) giveBack(ctx context.Context, name string, again bool) error {
	var err error
	if again {
		if again, err = s.wipe(ctx, name); err != nil {
			err = fmt.Errorf("wipe %s: %w", name, err)
		}
	}
	if !again || err != nil {
		return errors.Join(err, s.drop(ctx, name))
	}
	s.mu.Lock()
	s.free = append(s.free, name)
	s.mu.Unlock()
	return nil
}

// many is with how many events a database is sooner dropped than wiped.
const many = 10_000

// wipe removes all rows and further tables. It reports whether the database is
// worth to be used again.
func (s *server) wipe(ctx context.Context, name string) (again bool, err error) {
	return again, s.on(ctx, name, func(ctx context.Context, db *sql.DB) error {
		if err := s.alone(ctx, db); err != nil {
			return err
		}
		var events int64
		if err := db.QueryRowContext(ctx, "SELECT seq FROM apikey_counter WHERE id = 1").Scan(&events); err != nil {
			return err
		}
		if events > many {
			return nil
		}
		tables, err := column(ctx, db, s.kind.tables)
		if err != nil {
			return err
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		var foreign []string
		for _, table := range tables {
			switch {
			case table == "apikey_schema":
			case table == "apikey_counter":
				_, err = tx.ExecContext(ctx, "UPDATE apikey_counter SET seq = 0")
			case strings.HasPrefix(table, "apikey_"):
				_, err = tx.ExecContext(ctx, "DELETE FROM "+table)
			default:
				foreign = append(foreign, table)
			}
			if err != nil {
				return err
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		for _, table := range foreign {
			if _, err := db.ExecContext(ctx, "DROP TABLE "+table); err != nil {
				return err
			}
		}
		again = true
		return nil
	})
}

// alone waits until nobody else is connected to a database: a server takes a
// moment to notice that a connection was closed.
func (s *server) alone(ctx context.Context, db *sql.DB) error {
	end := time.After(s.wait)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		var others int
		if err := db.QueryRowContext(ctx, s.kind.others).Scan(&others); err != nil {
			return err
		}
		if others == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-end:
			return fmt.Errorf("%d connections are still open", others)
		}
	}
}

func column(ctx context.Context, db *sql.DB, query string) (all []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// pools keeps the connections of a process to one server below what it allows,
// which is 100 to 150 for all together. Each pool opens a few at most, and only
// the newest pools keep those that are idle.
type pools struct {
	mu  sync.Mutex
	all []*sql.DB
}

const (
	connections = 12 // of one pool
	keeping     = 3  // so many pools
)

func (p *pools) add(db *sql.DB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	p.all = append(p.all, db)
	if n := len(p.all); n > keeping {
		p.all[n-1-keeping].SetMaxIdleConns(-1)
	}
}

func (p *pools) remove(db *sql.DB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = slices.DeleteFunc(p.all, func(other *sql.DB) bool { return other == db })
}
