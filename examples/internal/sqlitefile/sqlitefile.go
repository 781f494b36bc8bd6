// Package sqlitefile keeps the keys of an example in a SQLite file, with its
// pepper beside it.
package sqlitefile

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver is the host's choice

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// Open opens a SQLite file, creates it if there is none, and brings
// its tables up to date.
func Open(ctx context.Context, file string) (*sql.DB, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: url.Values{
		"_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	if err := sqlstore.Migrate(ctx, db, sqlstore.SQLite); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Pepper reads the pepper, the secret that whoever has the database alone
// lacks, and makes one at the first run. It lies beside the database only to
// keep the example small: a host takes it from where its secrets are.
func Pepper(file string) (apikey.Secret, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(rand.Text() + rand.Text()) // 52 characters, 260 random bits
		err = os.WriteFile(file, text, 0o600)
	}
	return apikey.NewSecret(string(text)), err
}
