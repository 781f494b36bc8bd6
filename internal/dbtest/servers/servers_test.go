//go:build linux

package servers_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/internal/dbtest/servers"
)

// TestServers checks that what was committed outlives a crash.
func TestServers(t *testing.T) {
	for _, test := range []struct {
		name, driver string
		start        func(testing.TB, ...string) *servers.Server
	}{
		{"PostgreSQL", "pgx", servers.StartPostgres},
		{"MariaDB", "mysql", servers.StartMariaDB},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			s := test.start(t)
			db := open(t, test.driver, s)
			exec(t, db, "CREATE TABLE numbers (n INTEGER)")
			for n := range 3 {
				exec(t, db, fmt.Sprintf("INSERT INTO numbers VALUES (%d)", n))
				s.Kill()
				is.True(db.PingContext(t.Context()) != nil)
				s.Start()
				is.Equal(count(t, db), n+1)
			}
			s.Stop()
			is.True(db.PingContext(t.Context()) != nil)
			s.Start()
			is.Equal(count(t, db), 3)
		})
	}
}

// TestGalera checks that each node has what any has committed, also one that
// was away meanwhile.
func TestGalera(t *testing.T) {
	is := is.New(t)
	nodes := servers.StartGalera(t, 3)
	var all []*sql.DB
	for _, node := range nodes {
		all = append(all, open(t, "mysql", node))
	}
	exec(t, all[0], "CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
	for n, db := range all {
		exec(t, db, fmt.Sprintf("INSERT INTO numbers VALUES (%d)", n))
	}
	for _, db := range all {
		is.Equal(count(t, db), 3)
	}
	nodes[0].Kill()
	exec(t, all[1], "INSERT INTO numbers VALUES (3)")
	nodes[0].Start()
	is.Equal(count(t, all[0]), 4)
	nodes[2].Stop()
	exec(t, all[0], "INSERT INTO numbers VALUES (4)")
	nodes[2].Start()
	is.Equal(count(t, all[2]), 5)
}

func open(t *testing.T, driver string, s *servers.Server) *sql.DB {
	t.Helper()
	dsn := s.DSN()
	if driver == "mysql" {
		dsn += "?wsrep_sync_wait=15" // for what the other nodes have committed
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM numbers").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
