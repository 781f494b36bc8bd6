//go:build linux

package servers

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver "mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// StartPostgres starts PostgreSQL. Settings are those of its configuration,
// like "synchronous_commit=off".
func StartPostgres(t testing.TB, settings ...string) *Server {
	t.Helper()
	const newest = "/usr/lib/postgresql/*/bin/"
	initdb, postgres := program(t, newest+"initdb"), program(t, newest+"postgres")
	s := newServer(t, "postgres")
	data := filepath.Join(s.dir, "data")
	s.run(initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8")
	s.driver, s.ready, s.stop = "pgx", ping, syscall.SIGINT
	s.command = func() []string {
		command := []string{postgres, "-D", data, "-k", s.dir, "-c", "listen_addresses=", "-c", "shared_buffers=64MB"}
		for _, setting := range settings {
			command = append(command, "-c", setting)
		}
		return command
	}
	s.dsn = "postgres://postgres@/postgres?sslmode=disable&host=" + s.dir
	s.Start()
	s.exec("CREATE DATABASE test")
	s.dsn = strings.Replace(s.dsn, "@/postgres", "@/test", 1)
	return s
}

// StartMariaDB starts MariaDB. Settings are options of the server without
// their dashes, like "innodb_flush_log_at_trx_commit=0".
func StartMariaDB(t testing.TB, settings ...string) *Server {
	t.Helper()
	mariadbd := program(t, "/usr/sbin/mariadbd")
	s := newServer(t, "mysql")
	data := s.initMariaDB()
	socket := filepath.Join(s.dir, "socket")
	s.driver, s.ready, s.stop = "mysql", ping, syscall.SIGTERM
	s.command = func() []string {
		command := []string{
			mariadbd, "--no-defaults", "--datadir=" + data, "--socket=" + socket,
			"--pid-file=" + filepath.Join(s.dir, "pid"), "--skip-networking", "--innodb-buffer-pool-size=64M",
			"--tmpdir=" + data, // a server that starts removes the temporary tables of others
		}
		for _, setting := range settings {
			command = append(command, "--"+setting)
		}
		return command
	}
	s.dsn = "root@unix(" + socket + ")/mysql"
	s.Start()
	s.exec("CREATE DATABASE test")
	s.dsn = "root@unix(" + socket + ")/test"
	return s
}

// initMariaDB makes a data directory whose root has no password.
func (s *Server) initMariaDB() (data string) {
	s.t.Helper()
	data = filepath.Join(s.dir, "data")
	s.run(program(s.t, "/usr/bin/mariadb-install-db"), "--no-defaults", "--datadir="+data, "--tmpdir="+s.dir, "--skip-test-db",
		"--auth-root-authentication-method=normal", "--innodb-log-file-size=32M", "--skip-name-resolve")
	return data
}

func (s *Server) exec(statement string) {
	s.t.Helper()
	db, err := sql.Open(s.driver, s.dsn)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), statement); err != nil {
		s.t.Fatal(err)
	}
}
