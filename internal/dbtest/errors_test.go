package dbtest

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// TestErrorsHoldNoDigest: a database or a driver that quotes a value which does
// not fit its column is not passed on with it.
func TestErrorsHoldNoDigest(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		d := e.EmptyDatabase(t)
		d.Migrate(t)
		db := d.Pool(t)
		switch e.Dialect {
		case sqlstore.SQLite:
			mustExec(t, db, "DROP TABLE apikey_credentials")
			mustExec(t, db, `CREATE TABLE apikey_credentials (id TEXT PRIMARY KEY, key_id TEXT, prefix TEXT, created_at INTEGER,
				expires_at INTEGER, retire_before INTEGER, scheme INTEGER, pepper_id BLOB, digest INTEGER, seal BLOB, is_current INTEGER) STRICT`)
		default:
			mustExec(t, db, "ALTER TABLE apikey_credentials DROP COLUMN digest")
			mustExec(t, db, "ALTER TABLE apikey_credentials ADD COLUMN digest BIGINT")
		}
		for name, digest := range map[string]string{
			"bytes": "\x9a\x01\xfe\x7f'\\\x00 \xc3\x28\n\t\x80\x81\x82\x83\x9a\x01\xfe\x7f'\\\x00 \xc3\x28\n\t\x80\x81\x82\x83",
			"text":  "0123456789abcdefghijklmnopqrstuv",
		} {
			t.Run(name, func(t *testing.T) {
				r := newRecord(t, "acme", 1)
				r.Credentials[0].Digest = apikey.Digest(digest)
				_, err := sqlstore.New(db, e.Dialect, nil).Commit(t.Context(), commitOf(r))
				if err == nil {
					t.Fatal("no error")
				}
				t.Log(err)
				b := []byte(digest)
				for _, form := range []string{
					digest, string(b[:8]), hex.EncodeToString(b), hex.EncodeToString(b[:8]), base64.StdEncoding.EncodeToString(b),
					fmt.Sprintf("%q", b[:8]), fmt.Sprintf("%#v", b), fmt.Sprint(b), strings.Trim(fmt.Sprint(b[:8]), "[]"),
				} {
					if strings.Contains(err.Error(), strings.Trim(form, `"`)) {
						t.Errorf("a digest in an error: %s", err)
					}
				}
			})
		}
	})
}

// TestWrongDialect: a database that does not understand a statement quotes it,
// which is not passed on; the driver's own error is there to look at.
func TestWrongDialect(t *testing.T) {
	keyword := regexp.MustCompile(`\b(SELECT|INSERT|UPDATE|VALUES|BEGIN|READ|ISOLATION|IMMEDIATE|JSON_TABLE|SET)\b`)
	Each(t, func(t *testing.T, e Engine) {
		d := e.Database(t)
		for _, dialect := range []sqlstore.Dialect{sqlstore.SQLite, sqlstore.PostgreSQL, sqlstore.MySQL} {
			if dialect == e.Dialect {
				continue
			}
			t.Run(dialect.String(), func(t *testing.T) {
				store := sqlstore.New(d.Pool(t), dialect, nil)
				calls := everyCall(t, 1)
				calls["Migrate"] = nil
				for name, call := range calls {
					var err error
					if call == nil {
						err = sqlstore.Migrate(t.Context(), d.Pool(t), dialect)
					} else {
						err = call(t.Context(), store)
					}
					if err == nil || errors.Is(err, apikey.ErrNotFound) {
						continue // it is the same in both
					}
					// That a right to SELECT is missing is no statement.
					text := strings.NewReplacer("sqlstore.Migrate", "", "SELECT command denied", "").Replace(err.Error())
					if keyword.MatchString(text) {
						t.Errorf("%s: SQL in an error: %s", name, err)
					}
				}
			})
		}
	})
}
