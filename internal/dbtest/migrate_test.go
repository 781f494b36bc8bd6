package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
	"github.com/keyturn/apikey/sqlstore"
)

// schema returns what SQLite says of all tables and indexes.
func schema(t *testing.T, db *sql.DB) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT name || ': ' || COALESCE(sql, '') FROM sqlite_schema ORDER BY name")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	return strings.Join(all, "\n")
}

func empty(t *testing.T, pragmas ...string) *sql.DB {
	t.Helper()
	return OpenEmpty(t, DataSource(filepath.Join(t.TempDir(), "keys.db"), pragmas...))
}

func mustExec(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func TestMigrateTwice(t *testing.T) {
	is := is.New(t)
	db := empty(t)
	is.NoErr(sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
	before := schema(t, db)
	is.True(strings.Contains(before, "apikey_keys"))
	store := sqlstore.New(db, sqlstore.SQLite, nil)
	mustCommit(t, store, commitOf(newRecord(t, "acme", 1)))

	is.NoErr(sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
	is.Equal(schema(t, db), before)
	is.Equal(len(checkLog(t, store, 0)), 1)
}

// TestMigrateWaitsForNoWriter checks that a program can start on a current
// schema while another writes.
func TestMigrateWaitsForNoWriter(t *testing.T) {
	is := is.New(t)
	s, db := openSpy(t, "busy_timeout(0)")
	conn, err := db.Conn(t.Context())
	is.NoErr(err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	is.NoErr(err)
	s.reset(nil, nil)
	is.NoErr(sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
	is.Equal(s.count("BEGIN IMMEDIATE"), 0)
}

func TestMigrateAtOnce(t *testing.T) {
	is := is.New(t)
	file := filepath.Join(t.TempDir(), "keys.db")
	const programs = 8
	errs := make([]error, programs)
	var group sync.WaitGroup
	for i := range programs {
		db := OpenEmpty(t, DataSource(file))
		group.Go(func() { errs[i] = sqlstore.Migrate(t.Context(), db, sqlstore.SQLite) })
	}
	group.Wait()
	is.NoErr(errors.Join(errs...))
	is.NoErr(sqlstore.New(Open(t, file), sqlstore.SQLite, nil).Check(t.Context()))
}

// busyError is SQLite's answer when it does not wait.
type busyError struct{ error }

func (busyError) Code() int { return 5 }

func (e busyError) Unwrap() error { return e.error }

// TestMigrateBusy checks that what a program is told while another makes the
// file, which SQLite does not wait for, does not end Migrate at once, nor keep
// it for ever.
func TestMigrateBusy(t *testing.T) {
	for _, test := range []struct {
		name   string
		busy   int // so many times
		err    error
		failed bool
	}{
		{"a while", 4, busyError{errFault}, false},
		{"for ever", 1000, busyError{errFault}, true},
		{"something else", 1, errFault, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			s, db := openSpy(t)
			s.reset(func(c call) error {
				if c.n <= test.busy {
					return test.err
				}
				return nil
			}, nil)
			err := sqlstore.Migrate(t.Context(), db, sqlstore.SQLite)
			is.Equal(errors.Is(err, errFault), test.failed)
			is.Equal(err != nil, test.failed)
			is.True(len(s.all()) <= 11)
		})
	}
}

// TestMigrateAllOrNothing lets each statement of the migration fail.
func TestMigrateAllOrNothing(t *testing.T) {
	is := is.New(t)
	plain := empty(t)
	s := &spy{sqlite: plain.Driver(), dataSource: DataSource(filepath.Join(t.TempDir(), "keys.db"))}
	db := sql.OpenDB(s)
	defer db.Close()
	for n, failed := 1, ""; failed != "COMMIT"; n++ {
		is.True(n < 100)
		s.reset(func(c call) error {
			if c.n != n {
				return nil
			}
			failed = c.statement
			return errFault
		}, nil)
		err := sqlstore.Migrate(t.Context(), db, sqlstore.SQLite)
		s.reset(nil, nil)
		is.True(errors.Is(err, errFault))
		is.Equal(schema(t, db), "")
	}
	is.NoErr(sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
	is.NoErr(sqlstore.New(db, sqlstore.SQLite, nil).Check(t.Context()))
}

// TestMigrationsByHand checks that the files make the same schema when a
// host's own tool runs them.
func TestMigrationsByHand(t *testing.T) {
	is := is.New(t)
	db := empty(t)
	files := sqlstore.Migrations(sqlstore.SQLite)
	names, err := fs.Glob(files, "*.sql")
	is.NoErr(err)
	is.True(len(names) > 0)
	for _, name := range names {
		file, err := fs.ReadFile(files, name)
		is.NoErr(err)
		mustExec(t, db, string(file))
	}
	is.NoErr(sqlstore.New(db, sqlstore.SQLite, nil).Check(t.Context()))
	is.Equal(cmp.Diff(schema(t, db), schema(t, Open(t, ""))), "")
	is.NoErr(sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
}

func TestMigrateRefusals(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage string
		want   *sqlstore.SchemaError // nil = another error
	}{
		{"newer", "UPDATE apikey_schema SET version = 99", &sqlstore.SchemaError{Version: 99, Want: 1}},
		{"bad version", "UPDATE apikey_schema SET version = -1", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			db := Open(t, "")
			mustExec(t, db, test.damage)
			before := schema(t, db)
			err := sqlstore.Migrate(t.Context(), db, sqlstore.SQLite)
			is.True(err != nil)
			is.Equal(schema(t, db), before)
			var refused *sqlstore.SchemaError
			is.Equal(errors.As(err, &refused), test.want != nil)
			is.Equal(cmp.Diff(refused, test.want), "")
		})
	}
}

func TestMigrateWithoutDialect(t *testing.T) {
	is := is.New(t)
	is.True(sqlstore.Migrate(t.Context(), empty(t), sqlstore.Dialect{}) != nil)
	names, err := fs.Glob(sqlstore.Migrations(sqlstore.Dialect{}), "*")
	is.NoErr(err)
	is.Equal(len(names), 0)
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name    string
		pragmas []string
		damage  string
		empty   bool
		schema  *sqlstore.SchemaError
		setting []string // in this order
		says    []string
	}{
		{name: "good"},
		{name: "NORMAL is good", pragmas: []string{"synchronous(NORMAL)"}},
		{
			name: "missing", empty: true,
			schema: &sqlstore.SchemaError{Version: 0, Want: 1}, says: []string{"run sqlstore.Migrate"},
		},
		{
			name: "newer", damage: "UPDATE apikey_schema SET version = 2",
			schema: &sqlstore.SchemaError{Version: 2, Want: 1}, says: []string{"use a newer program"},
		},
		{name: "no journal", pragmas: []string{"journal_mode(OFF)"}, setting: []string{"journal_mode"}, says: []string{"journal_mode is OFF"}},
		{name: "journal in memory", pragmas: []string{"journal_mode(MEMORY)"}, setting: []string{"journal_mode"}, says: []string{"journal_mode is MEMORY"}},
		{name: "journal in a file is good", pragmas: []string{"journal_mode(DELETE)"}},
		{name: "synchronous", pragmas: []string{"synchronous(OFF)"}, setting: []string{"synchronous"}, says: []string{"synchronous is OFF"}},
		{name: "busy timeout", pragmas: []string{"busy_timeout(0)"}, setting: []string{"busy_timeout"}, says: []string{"busy_timeout is 0"}},
		{
			name: "everything", empty: true, pragmas: []string{"synchronous(OFF)", "busy_timeout(0)"},
			schema:  &sqlstore.SchemaError{Version: 0, Want: 1},
			setting: []string{"synchronous", "busy_timeout"},
			says:    []string{"run sqlstore.Migrate", "synchronous is OFF", "busy_timeout is 0"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			var db *sql.DB
			if test.empty {
				db = empty(t, test.pragmas...)
			} else {
				db = Open(t, "", test.pragmas...)
			}
			if test.damage != "" {
				mustExec(t, db, test.damage)
			}
			err := sqlstore.New(db, sqlstore.SQLite, nil).Check(t.Context())
			is.Equal(err == nil, test.schema == nil && test.setting == nil)
			var wrong *sqlstore.SchemaError
			errors.As(err, &wrong)
			is.Equal(cmp.Diff(wrong, test.schema), "")
			is.Equal(cmp.Diff(settings(err), test.setting), "")
			for _, text := range test.says {
				is.True(strings.Contains(err.Error(), text))
			}
			is.Equal(db.Stats().InUse, 0)
		})
	}
}

// settings returns the names of all settings that an error complains about.
func settings(err error) (names []string) {
	switch e := err.(type) {
	case *sqlstore.SettingError:
		return []string{e.Setting}
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			names = append(names, settings(part)...)
		}
	case interface{ Unwrap() error }:
		return settings(e.Unwrap())
	}
	return names
}

// TestManagerChecks checks that Manager.Check finds the Store's Check and its
// list of peppers.
func TestManagerChecks(t *testing.T) {
	is := is.New(t)
	store := sqlstore.New(Open(t, "", "synchronous(OFF)"), sqlstore.SQLite, nil)
	mustCommit(t, store, commitOf(newRecord(t, "acme", 1), newRecord(t, "acme", 2)))
	m, err := apikey.New(store, nil)
	is.NoErr(err)
	err = m.Check(context.Background())
	is.Equal(settings(err), []string{"synchronous"})
	is.True(errors.Is(err, apikey.ErrPepper))
	is.True(strings.Contains(err.Error(), "7065707065722031")) // "pepper 1"

	ids, err := store.PepperIDs(t.Context())
	is.NoErr(err)
	inMemory := memstore.New()
	mustCommit(t, inMemory, commitOf(newRecord(t, "acme", 1), newRecord(t, "acme", 2)))
	want, err := inMemory.PepperIDs(t.Context())
	is.NoErr(err)
	is.Equal(ids, want)
}
