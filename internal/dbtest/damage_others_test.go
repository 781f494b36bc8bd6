package dbtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/backup"
	"github.com/keyturn/apikey/sqlstore"
)

// TestDamageStopsNoOther damages every column of a row in turn, with values of
// several kinds, and checks that every call still does its work for all other
// rows, and names the damaged one where it leaves it out. On a server the short
// form damages each column with one value, each column with another.
func TestDamageStopsNoOther(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		d := newDamaged(t, e)
		values := []any{"{", int64(-1), int64(1) << 62, []byte{0xff, 0}}
		columns := 0
		for _, table := range []string{"keys", "credentials", "owners", "events", "usage", "usage_days"} {
			for _, column := range d.columns("apikey_" + table) {
				columns++
				for i := range values {
					value := values[(columns+i)%len(values)]
					undo, taken := d.damage("apikey_"+table, column, value)
					if !taken {
						continue
					}
					t.Run(fmt.Sprintf("%s of %s is %v", column, table, value), func(t *testing.T) {
						d.others(t)
						if table != "credentials" && column != "id" {
							d.wrongSecret(t)
						}
					})
					undo()
					if !long && e.Name != SQLite.Name {
						break
					}
				}
			}
		}
	})
}

// damaged is a store with two keys of acme and one of another owner, which gets
// damaged.
type damaged struct {
	*testing.T
	e     Engine
	db    *sql.DB
	store *sqlstore.Store
	now   time.Time
	m     *apikey.Manager
	good  []apikey.Issued
	bad   apikey.Issued
}

func newDamaged(t *testing.T, e Engine) *damaged {
	db := e.Database(t).Pool(t)
	d := &damaged{T: t, e: e, db: db, store: sqlstore.New(db, e.Dialect, nil), now: start}
	var err error
	d.m, err = apikey.New(d.store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: func() time.Time { return d.now }})
	d.no(err)
	for range 2 {
		d.good = append(d.good, d.issue("acme"))
	}
	d.bad = d.issue("damaged")
	_, err = d.m.DisableOwner(t.Context(), "damaged")
	d.no(err)
	_, err = d.m.EnableOwner(t.Context(), "damaged")
	d.no(err)
	_, err = d.m.Validate(t.Context(), d.bad.Token.Reveal())
	d.no(err)
	d.no(d.m.Flush(t.Context()))
	return d
}

func (d *damaged) no(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *damaged) issue(owner string) apikey.Issued {
	d.Helper()
	issued, err := d.m.Issue(d.Context(), apikey.IssueParams{Owner: owner, Name: "n", Scopes: []string{"a"}, Metadata: map[string]string{"a": "b"}})
	d.no(err)
	return issued
}

func (d *damaged) columns(table string) []string {
	d.Helper()
	rows, err := d.db.QueryContext(d.Context(), "SELECT * FROM "+table)
	d.no(err)
	defer rows.Close()
	names, err := rows.Columns()
	d.no(err)
	return names
}

// damage sets a column of a row of the bad key, unless the database refuses it.
func (d *damaged) damage(table, column string, value any) (undo func(), taken bool) {
	d.Helper()
	name, id := "id", d.bad.Key.ID
	switch table {
	case "apikey_credentials":
		id = d.bad.Key.CredentialID
	case "apikey_usage", "apikey_usage_days":
		name, id = "credential_id", d.bad.Key.CredentialID
	case "apikey_owners":
		id = "damaged"
	case "apikey_events":
		name = "key_id"
	}
	mark := func(n int) string {
		if d.e.Dialect == sqlstore.PostgreSQL {
			return fmt.Sprint("$", n)
		}
		return "?"
	}
	if table == "apikey_events" && column == "seq" {
		return nil, false // the primary key of the log: what is there is another log
	}
	var before any
	d.no(d.db.QueryRowContext(d.Context(), fmt.Sprintf("SELECT %s FROM %s WHERE %s = %s", column, table, name, mark(1)), id).Scan(&before))
	if b, ok := before.([]byte); before == nil || ok && b == nil {
		before = []byte{}
	}
	set := func(to, of any) error {
		_, err := d.db.ExecContext(d.Context(), fmt.Sprintf("UPDATE %s SET %s = %s WHERE %s = %s", table, column, mark(1), name, mark(2)), to, of)
		return err
	}
	if set(value, id) != nil {
		return nil, false
	}
	return func() {
		d.Helper()
		var of any = id
		if column == name {
			of = fmt.Sprint(value) // with a number MariaDB would compare numbers
			if b, ok := value.([]byte); ok {
				of = b
			}
		}
		d.no(set(before, of))
	}, true
}

// named checks that an error, if there is one, names what is damaged.
func (d *damaged) named(t *testing.T, call string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := err.Error()
	if !strings.Contains(text, d.bad.Key.ID) && !strings.Contains(text, "1 owners") && !strings.Contains(text, "1 events (3)") &&
		!strings.Contains(text, "(unknown)") {
		t.Errorf("%s: the error does not name what is damaged: %v", call, err)
	}
	if strings.Contains(text, "{") || strings.Contains(text, "SELECT") {
		t.Errorf("%s: the error shows what is stored, or SQL: %v", call, err)
	}
}

// others makes every call that reads several rows.
func (d *damaged) others(t *testing.T) {
	ctx := context.Background()
	has := func(call string, keys []apikey.Key, err error) {
		t.Helper()
		d.named(t, call, err)
		for _, good := range d.good {
			if !slices.ContainsFunc(keys, func(k apikey.Key) bool { return k.ID == good.Key.ID }) {
				t.Errorf("%s misses a key that is not damaged: %v", call, err)
			}
		}
	}
	keys, err := d.m.List(ctx, apikey.Query{})
	has("List", keys, err)
	var paged []apikey.Key
	for q := (apikey.Query{Limit: 1}); ; {
		page, err := d.m.List(ctx, q)
		d.named(t, "List of one", err)
		paged = append(paged, page...)
		if len(page) < 1 {
			break
		}
		q.After = page[0].ID
		if len(paged) > 10 {
			t.Fatal("the pages have no end")
		}
	}
	has("pages of List", paged, nil)
	keys, err = d.m.Expiring(ctx, 400*24*time.Hour, apikey.Query{})
	has("Expiring", keys, err)
	for _, good := range d.good {
		if _, err := d.m.Validate(ctx, good.Token.Reveal()); err != nil {
			t.Errorf("Validate of another key: %v", err)
		}
		if _, err := d.m.Find(ctx, good.AccessKey()); err != nil {
			t.Errorf("Find of another key: %v", err)
		}
	}
	if err := d.m.Flush(ctx); err != nil {
		t.Errorf("Flush: %v", err)
	}
	if err := d.m.Check(ctx); err != nil && !errors.Is(err, apikey.ErrPepper) {
		t.Errorf("Check: %v", err)
	}

	// Sweep, with a key of another that is to be purged.
	victim := d.issue("acme")
	_, err = d.m.Delete(ctx, victim.Key.ID)
	d.no(err)
	d.now = start.AddDate(0, 0, 91)
	swept, err := d.m.Sweep(ctx)
	d.named(t, "Sweep", err)
	if swept.Keys < 1 {
		t.Errorf("Sweep left a deleted key of another: %v", err)
	}
	d.now = start

	// A follower of the log gets to its end, past every event.
	var seen int
	for position := (apikey.Position{}); ; {
		page, err := d.m.Events(ctx, apikey.EventQuery{After: position, Limit: 7})
		if err != nil {
			t.Errorf("Events: %v", err)
			break
		}
		for _, e := range page {
			seen++
			if e.Position.Seq != position.Seq+1 {
				t.Errorf("Events: position %d follows %d", e.Position.Seq, position.Seq)
			}
			position = e.Position
		}
		if len(page) < 7 {
			break
		}
	}
	var stored int
	d.no(d.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM apikey_events").Scan(&stored))
	if seen != stored {
		t.Errorf("Events: got %d, want %d", seen, stored)
	}

	// An export is whole, or its error names what is damaged.
	var file bytes.Buffer
	err = backup.Export(ctx, d.store, &file, &backup.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	d.named(t, "Export", err)
	if records := strings.Count(file.String(), `{"record":`); err == nil && records != 3 {
		t.Errorf("Export: got %d records without an error", records)
	}
}

// wrongSecret checks that nobody learns from an answer that a key is damaged.
func (d *damaged) wrongSecret(t *testing.T) {
	if _, err := d.m.Validate(context.Background(), wrongSecretOf(d.bad.Token)); err != apikey.ErrInvalid {
		t.Errorf("a wrong secret for the damaged key: got error %v, want %v", err, apikey.ErrInvalid)
	}
}

// wrongSecretOf returns a well-formed token with the access key of another one.
func wrongSecretOf(token apikey.Secret) string {
	const (
		digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		secret = 32 + 6 // with the checksum
	)
	text := token.Reveal()
	text = text[:len(text)-secret] + strings.Repeat("0", 32)
	sum := make([]byte, 6)
	for i, n := len(sum)-1, crc32.ChecksumIEEE([]byte(text)); i >= 0; i-- {
		sum[i] = digits[n%62]
		n /= 62
	}
	return text + string(sum)
}
