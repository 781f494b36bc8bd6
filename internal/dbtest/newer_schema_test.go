package dbtest

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// TestNewerSchema rolls a program back after a newer one has migrated. Where the
// newer migration states that older programs can go on, Migrate, Check and every
// operation work. Otherwise the program does not start.
func TestNewerSchema(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		colour := map[sqlstore.Dialect]string{
			sqlstore.SQLite: "TEXT NOT NULL DEFAULT ''", sqlstore.PostgreSQL: `TEXT COLLATE "C" NOT NULL DEFAULT ''`,
			sqlstore.MySQL: "VARBINARY(255) NOT NULL DEFAULT ''",
		}[e.Dialect]
		for _, test := range []struct {
			name      string
			migration []string
			goesOn    bool
		}{
			{"a column that nothing depends on", []string{
				"ALTER TABLE apikey_keys ADD COLUMN colour " + colour,
				"CREATE TABLE apikey_colours (colour " + colour + ")",
				"UPDATE apikey_schema SET version = 2, min_version = 1",
			}, true},
			{"a new way to stop a key", []string{
				"UPDATE apikey_schema SET min_version = 2",
				"ALTER TABLE apikey_keys ADD COLUMN suspended_at INTEGER NOT NULL DEFAULT 0",
				"UPDATE apikey_schema SET version = 2, min_version = 2",
			}, false},
			{"a new way to stop a key, interrupted", []string{
				"UPDATE apikey_schema SET min_version = 2",
				"ALTER TABLE apikey_keys ADD COLUMN suspended_at INTEGER NOT NULL DEFAULT 0",
			}, false},
			{"one that stops older programs, and one that does not", []string{
				"UPDATE apikey_schema SET version = 3, min_version = 2",
			}, false},
		} {
			t.Run(test.name, func(t *testing.T) {
				is := is.New(t)
				ctx := t.Context()
				d := e.EmptyDatabase(t)
				d.Migrate(t)
				db := d.Pool(t)
				p := program{Dialect: e.Dialect.String(), Name: "o", Callers: 1, Calls: len(cycle)}
				_, err := p.run(ctx, db, func() {}) // has statements prepared, where the driver keeps them
				is.NoErr(err)
				for _, statement := range test.migration {
					mustExec(t, d.Pool(t), statement)
				}
				store := sqlstore.New(db, e.Dialect, nil)
				m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
				is.NoErr(err)
				for _, err := range []error{sqlstore.Migrate(ctx, db, e.Dialect), store.Check(ctx), m.Check(ctx)} {
					var refused *sqlstore.SchemaError
					is.Equal(errors.As(err, &refused), !test.goesOn)
					if test.goesOn {
						is.NoErr(err)
						continue
					}
					is.True(refused.MinVersion == 2 && refused.Want == 1)
					is.True(strings.Contains(err.Error(), "works with programs that know version 2, this program knows 1"))
				}
				if test.goesOn {
					_, err := p.run(ctx, db, func() {})
					is.NoErr(err)
				}
			})
		}
	})
}

var stated = regexp.MustCompile(`apikey_schema (?:\(id, version, min_version\) VALUES \(1, (\d+), (\d+)\)|SET version = (\d+), min_version = (\d+))`)

// TestMigrationsState checks that each migration ends by stating its version and
// whether older programs can go on, and that no migration lets programs go on
// that an earlier one has stopped.
func TestMigrationsState(t *testing.T) {
	for _, dialect := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL, sqlstore.MySQL} {
		lowest := 1
		for i, file := range migrationFiles(t, dialect) {
			all := strings.Split(strings.TrimSuffix(strings.TrimSpace(file), ";"), ";\n")
			found := stated.FindStringSubmatch(all[len(all)-1])
			if found == nil {
				t.Fatalf("%s: migration %d does not state its version and min_version in its last statement", dialect, i+1)
			}
			version, _ := strconv.Atoi(found[1] + found[3])
			minVersion, _ := strconv.Atoi(found[2] + found[4])
			if version != i+1 || minVersion < lowest || minVersion > version {
				t.Errorf("%s: migration %d states version %d and min_version %d", dialect, i+1, version, minVersion)
			}
			lowest = minVersion
		}
	}
}
