package dbtest

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey/sqlstore"
)

// catalogue are statements that return a line for each part of a schema.
var catalogue = map[sqlstore.Dialect][]string{
	sqlstore.SQLite: {"SELECT name || ': ' || COALESCE(sql, '') FROM sqlite_schema"},
	sqlstore.PostgreSQL: {
		`SELECT CONCAT_WS(' ', table_name, ordinal_position, column_name, data_type, is_nullable, column_default, collation_name)
			FROM information_schema.columns WHERE table_schema = current_schema()`,
		`SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()`,
		`SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
			FROM pg_constraint WHERE connamespace = current_schema()::regnamespace`,
	},
	sqlstore.MySQL: {
		`SELECT CONCAT_WS(' ', table_name, ordinal_position, column_name, column_type, is_nullable, HEX(column_default), collation_name)
			FROM information_schema.columns WHERE table_schema = DATABASE()`,
		`SELECT CONCAT_WS(' ', table_name, index_name, seq_in_index, column_name, non_unique)
			FROM information_schema.statistics WHERE table_schema = DATABASE()`,
		`SELECT CONCAT_WS(' ', table_name, constraint_name, check_clause)
			FROM information_schema.check_constraints WHERE constraint_schema = DATABASE()`,
		`SELECT CONCAT_WS(' ', table_name, engine) FROM information_schema.tables WHERE table_schema = DATABASE()`,
	},
}

// schema returns what the database says of all tables and indexes, and the rows
// that Migrate makes.
func schema(t *testing.T, e Engine, db *sql.DB) string {
	t.Helper()
	var all []string
	for _, statement := range catalogue[e.Dialect] {
		lines, err := column(t.Context(), db, statement+" ORDER BY 1")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, lines...)
	}
	text := strings.Join(all, "\n")
	for _, kept := range [][2]string{{"apikey_schema", "version"}, {"apikey_schema", "min_version"}, {"apikey_counter", "seq"}} {
		if strings.Contains(text, kept[0]) {
			rows, err := column(t.Context(), db, fmt.Sprintf("SELECT %s FROM %s ORDER BY id", kept[1], kept[0]))
			if err != nil {
				t.Fatal(err)
			}
			text += fmt.Sprintf("\n%s: %s", kept[0], rows)
		}
	}
	return text
}

// freshSchema is the schema that Migrate makes in one go.
func freshSchema(t *testing.T, e Engine) string {
	t.Helper()
	d := e.EmptyDatabase(t)
	d.Migrate(t)
	return schema(t, e, d.Pool(t))
}

func mustExec(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

// migrationFiles returns the texts of the migrations of a dialect.
func migrationFiles(t *testing.T, dialect sqlstore.Dialect) (all []string) {
	t.Helper()
	files := sqlstore.Migrations(dialect)
	names, err := fs.Glob(files, "*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d files: %v", len(names), err)
	}
	for _, name := range names {
		file, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(file))
	}
	return all
}

// TestMigrateTwice checks that Migrate leaves a current schema alone, its rows
// too, and only reads: a program that starts waits for no writer.
func TestMigrateTwice(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		s, db := e.EmptyDatabase(t).spied(t)
		is.NoErr(sqlstore.Migrate(t.Context(), db, e.Dialect))
		store := sqlstore.New(db, e.Dialect, nil)
		is.NoErr(store.Check(t.Context()))
		is.Equal(cmp.Diff(freshSchema(t, e), schema(t, e, db)), "")
		mustCommit(t, store, commitOf(newRecord(t, "acme", 1)))
		before := schema(t, e, db)

		s.reset(nil, nil)
		is.NoErr(sqlstore.Migrate(t.Context(), db, e.Dialect))
		for _, c := range s.all() {
			is.True(strings.HasPrefix(c.statement, "SELECT"))
		}
		is.Equal(cmp.Diff(before, schema(t, e, db)), "")
		is.Equal(len(checkLog(t, store, 0)), 1)
	})
}

// TestMigrateWaitsForNoWriter checks that a program can start on a current
// schema of SQLite while another writes.
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

// TestMigrateAtOnce lets several programs start at once, on nothing and on a
// schema that is half migrated.
func TestMigrateAtOnce(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		fresh := freshSchema(t, e)
		half := strings.Split(migrationFiles(t, e.Dialect)[0], ";\n")[:4]
		for name, before := range map[string][]string{"empty": nil, "half migrated": half} {
			t.Run(name, func(t *testing.T) {
				is := is.New(t)
				d := e.EmptyDatabase(t)
				for _, statement := range before {
					mustExec(t, d.Pool(t), statement)
				}
				const programs = 8
				errs := make([]error, programs)
				var group sync.WaitGroup
				for i := range programs {
					db := d.Pool(t)
					group.Go(func() { errs[i] = sqlstore.Migrate(t.Context(), db, e.Dialect) })
				}
				group.Wait()
				is.NoErr(errors.Join(errs...))
				is.NoErr(d.Store(t).Check(t.Context()))
				is.Equal(cmp.Diff(fresh, schema(t, e, d.Pool(t))), "")
			})
		}
	})
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

// TestMigrateInterrupted ends the migration before each of its statements. Where
// tables are made in a transaction nothing is left; else Check tells that the
// schema is half migrated. Migrate then completes it.
func TestMigrateInterrupted(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		s, db := e.EmptyDatabase(t).spied(t)
		store := sqlstore.New(db, e.Dialect, nil)
		halves := 0
		for n, failed := 1, ""; failed != "COMMIT"; n++ {
			is.True(n < 100)
			s.reset(func(c call) error {
				switch { // all but the first of them are tried in vain
				case c.n < n || c.statement == "ROLLBACK":
					return nil
				case c.n == n:
					failed = c.statement
				}
				return errFault
			}, nil)
			err := sqlstore.Migrate(t.Context(), db, e.Dialect)
			s.reset(nil, nil)
			is.True(errors.Is(err, errFault))
			left := schema(t, e, db)
			if e.Dialect != sqlstore.MySQL {
				is.Equal(left, "")
			}
			var wrong *sqlstore.SchemaError
			is.True(errors.As(store.Check(t.Context()), &wrong))
			is.Equal(*wrong, sqlstore.SchemaError{Version: 0, Want: 1, Half: left != ""})
			if wrong.Half {
				halves++
			}
		}
		is.Equal(halves > 5, e.Dialect == sqlstore.MySQL)
		is.NoErr(sqlstore.Migrate(t.Context(), db, e.Dialect))
		is.NoErr(store.Check(t.Context()))
		is.Equal(cmp.Diff(freshSchema(t, e), schema(t, e, db)), "")
	})
}

// TestMigrateHalf lets another tool, without transactions, stop after each
// statement of the first migration.
func TestMigrateHalf(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		fresh := freshSchema(t, e)
		statements := strings.Split(strings.TrimSpace(migrationFiles(t, e.Dialect)[0]), ";\n")
		d := e.EmptyDatabase(t)
		db := d.Pool(t)
		store := sqlstore.New(db, e.Dialect, nil)
		for done := 1; done < len(statements); done++ {
			for _, statement := range statements[:done] {
				mustExec(t, db, statement)
			}
			err := store.Check(t.Context())
			var wrong *sqlstore.SchemaError
			is.True(errors.As(err, &wrong))
			is.Equal(*wrong, sqlstore.SchemaError{Version: 0, Want: 1, Half: true})
			is.True(strings.Contains(err.Error(), "run sqlstore.Migrate again"))
			is.NoErr(sqlstore.Migrate(t.Context(), db, e.Dialect))
			is.NoErr(store.Check(t.Context()))
			is.Equal(cmp.Diff(fresh, schema(t, e, db)), "")
			for _, table := range []string{"schema", "owners", "keys", "credentials", "usage", "usage_days", "events", "counter"} {
				mustExec(t, db, "DROP TABLE apikey_"+table)
			}
		}

		// The version alone is gone: what is stored stays.
		d.Migrate(t)
		record := newRecord(t, "acme", 1)
		mustCommit(t, store, commitOf(record))
		before := schema(t, e, db)
		mustExec(t, db, "DELETE FROM apikey_schema")
		var wrong *sqlstore.SchemaError
		is.True(errors.As(store.Check(t.Context()), &wrong))
		is.True(wrong.Half)
		is.NoErr(sqlstore.Migrate(t.Context(), db, e.Dialect))
		is.Equal(cmp.Diff(before, schema(t, e, db)), "")
		is.Equal(mustCommit(t, store, commitOf(newRecord(t, "acme", 2))).Seq, int64(2))
		_, err := store.Lookup(t.Context(), record.Key.CredentialID)
		is.NoErr(err)
	})
}

// TestMigrationsByHand checks that the files make the same schema when a
// host's own tool runs them, each at once.
func TestMigrationsByHand(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		d := e.EmptyDatabase(t)
		db := d.Pool(t)
		if e.Dialect == sqlstore.MySQL {
			db = d.Pool(t, "multiStatements=true")
		}
		for _, file := range migrationFiles(t, e.Dialect) {
			mustExec(t, db, file)
		}
		is.NoErr(d.Store(t).Check(t.Context()))
		is.Equal(cmp.Diff(freshSchema(t, e), schema(t, e, db)), "")
		is.NoErr(sqlstore.Migrate(t.Context(), db, e.Dialect))
		is.Equal(cmp.Diff(freshSchema(t, e), schema(t, e, db)), "")
	})
}

// TestMigrateRefusals checks that Migrate leaves alone what it does not know,
// and that Check says the same.
func TestMigrateRefusals(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage string
		want   *sqlstore.SchemaError // nil = another error
		says   string
	}{
		{
			"newer", "UPDATE apikey_schema SET version = 99, min_version = 7",
			&sqlstore.SchemaError{Version: 99, MinVersion: 7, Want: 1}, "update its github.com/keyturn/apikey",
		},
		{
			"half way to a newer one", "UPDATE apikey_schema SET min_version = 2",
			&sqlstore.SchemaError{Version: 1, MinVersion: 2, Want: 1}, "update its github.com/keyturn/apikey",
		},
		{"no lowest version", "UPDATE apikey_schema SET min_version = 0", nil, "the schema is damaged"},
		{"no version", "UPDATE apikey_schema SET version = 0", nil, "the schema is damaged"},
		{"bad version", "UPDATE apikey_schema SET version = -1", nil, "the schema is damaged"},
		{"no column", "ALTER TABLE apikey_schema DROP COLUMN version", nil, "version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			Each(t, func(t *testing.T, e Engine) {
				is := is.New(t)
				d := e.EmptyDatabase(t)
				d.Migrate(t)
				db := d.Pool(t)
				mustExec(t, db, test.damage)
				lines := func() string {
					all, err := column(t.Context(), db, catalogue[e.Dialect][0]+" ORDER BY 1")
					is.NoErr(err)
					return strings.Join(all, "\n")
				}
				before := lines()
				for _, err := range []error{
					sqlstore.Migrate(t.Context(), db, e.Dialect),
					sqlstore.New(db, e.Dialect, nil).Check(t.Context()),
				} {
					is.True(err != nil)
					is.True(strings.Contains(err.Error(), test.says))
					var refused *sqlstore.SchemaError
					is.Equal(errors.As(err, &refused), test.want != nil)
					is.Equal(cmp.Diff(refused, test.want), "")
				}
				is.Equal(lines(), before)
			})
		})
	}
}

func TestMigrateWithoutDialect(t *testing.T) {
	is := is.New(t)
	db := SQLite.EmptyDatabase(t).Pool(t)
	is.True(sqlstore.Migrate(t.Context(), db, sqlstore.Dialect{}) != nil)
	names, err := fs.Glob(sqlstore.Migrations(sqlstore.Dialect{}), "*")
	is.NoErr(err)
	is.Equal(len(names), 0)
}

// TestSchemaErrors checks that each says what to run.
func TestSchemaErrors(t *testing.T) {
	for _, test := range []struct {
		err  sqlstore.SchemaError
		want string
	}{
		{sqlstore.SchemaError{Want: 2}, "the database has no schema: run sqlstore.Migrate"},
		{sqlstore.SchemaError{Want: 2, Half: true}, "the schema is half migrated: run sqlstore.Migrate again"},
		{sqlstore.SchemaError{Version: 1, MinVersion: 1, Want: 2}, "the schema has version 1, this program needs 2: run sqlstore.Migrate"},
		{
			sqlstore.SchemaError{Version: 4, MinVersion: 3, Want: 2},
			"the schema has version 4 and works with programs that know version 3, this program knows 2: update its github.com/keyturn/apikey",
		},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("%+v says %q, want %q", test.err, got, test.want)
		}
	}
}
