package sqlstore_test

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/sqlstore"
)

// What needs a driver is tested in internal/dbtest.

func TestDialectString(t *testing.T) {
	is := is.New(t)
	is.Equal(sqlstore.SQLite.String(), "sqlite")
	is.Equal(sqlstore.Dialect{}.String(), "none")
}

// TestMigrationFiles checks what the documentation says of the files: their
// names, and that semicolons stand only at the end of a statement and a line,
// by which Migrate cuts them.
func TestMigrationFiles(t *testing.T) {
	is := is.New(t)
	files := sqlstore.Migrations(sqlstore.SQLite)
	names, err := fs.Glob(files, "*")
	is.NoErr(err)
	is.True(len(names) > 0)
	for i, name := range names {
		parts := regexp.MustCompile(`^(\d{3})_[a-z_]+\.sql$`).FindStringSubmatch(name)
		is.Equal(len(parts), 2)
		is.Equal(strings.TrimLeft(parts[1], "0"), string(rune('1'+i)))
		text, err := fs.ReadFile(files, name)
		is.NoErr(err)
		is.True(strings.HasSuffix(string(text), ";\n"))
		for line := range strings.Lines(string(text)) {
			semicolon := strings.IndexByte(line, ';')
			is.True(semicolon < 0 || semicolon == len(line)-2 && !strings.Contains(line, "--"))
		}
	}
}

func TestErrorTexts(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"missing", &sqlstore.SchemaError{Want: 2}, "the database has no schema: run sqlstore.Migrate"},
		{
			"older", &sqlstore.SchemaError{Version: 1, Want: 2},
			"the schema has version 1, this program needs 2: run sqlstore.Migrate",
		},
		{
			"newer", &sqlstore.SchemaError{Version: 3, Want: 2},
			"the schema has version 3, this program knows 2: use a newer program",
		},
		{
			"setting", &sqlstore.SettingError{Setting: "synchronous", Value: "OFF", Advice: "set it to FULL"},
			"synchronous is OFF: set it to FULL",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			is.Equal(test.err.Error(), test.want)
		})
	}
}
