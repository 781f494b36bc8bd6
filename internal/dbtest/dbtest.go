// Package dbtest holds the tests that need a database or its driver, which
// the modules that hosts import do without.
package dbtest

import (
	"context"
	"database/sql"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/keyturn/apikey/sqlstore"
)

// DataSource returns the data source name of a SQLite file with safe settings,
// each of which further ones, like "synchronous(OFF)", can replace.
func DataSource(file string, pragmas ...string) string {
	for _, safe := range []string{"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)"} {
		name, _, _ := strings.Cut(safe, "(")
		if !slices.ContainsFunc(pragmas, func(p string) bool { return strings.HasPrefix(p, name+"(") }) {
			pragmas = append(pragmas, safe)
		}
	}
	path := url.URL{Path: filepath.ToSlash(file)} // a directory of a test may have a # in its name
	return "file:" + path.EscapedPath() + "?" + url.Values{"_pragma": pragmas}.Encode()
}

// Open returns a pool of connections to a SQLite file, which it makes if there
// is none, with the tables of sqlstore. An empty name is a file of the test's
// own. The pool is closed when the test ends.
func Open(t testing.TB, file string, pragmas ...string) *sql.DB {
	t.Helper()
	if file == "" {
		file = filepath.Join(t.TempDir(), "keys.db")
	}
	db := OpenEmpty(t, DataSource(file, pragmas...))
	if err := sqlstore.Migrate(t.Context(), db, sqlstore.SQLite); err != nil {
		t.Fatal(err)
	}
	return db
}

// openFile is Open for a program that is no test.
func openFile(file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", DataSource(file))
	if err != nil {
		return nil, err
	}
	return db, sqlstore.Migrate(context.Background(), db, sqlstore.SQLite)
}

// OpenEmpty returns a pool of connections as Open does, without any tables.
func OpenEmpty(t testing.TB, dataSource string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dataSource)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
