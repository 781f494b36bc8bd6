package dbtest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// TestDamage checks that what this package cannot have written is an error
// that names the column and the row, and nothing of what is stored there;
// never a panic, and never taken for something else.
func TestDamage(t *testing.T) {
	const canary = "cAnArY"
	type read struct {
		name string
		run  func(*testing.T, *sqlstore.Store) error
	}
	record := newRecord(t, "acme", 1)
	look := read{"Lookup", func(t *testing.T, s *sqlstore.Store) error {
		_, err := lookup(t.Context(), s, record.Key.CredentialID)
		return err
	}}
	get := read{"Get", func(t *testing.T, s *sqlstore.Store) error {
		_, err := s.Get(t.Context(), record.Key.ID, "")
		return err
	}}
	list := read{"List", func(t *testing.T, s *sqlstore.Store) error {
		list, err := s.List(t.Context(), apikey.Query{Limit: 10})
		if err == nil && len(list) == 1 && list[0].Err != nil {
			err = list[0].Err
			if want := (apikey.Record{Key: apikey.Key{ID: record.Key.ID}, Err: err}); !reflect.DeepEqual(list[0], want) {
				t.Errorf("a damaged record has more than its id: %+v", list[0])
			}
		}
		return err
	}}
	owner := read{"Owner", func(t *testing.T, s *sqlstore.Store) error {
		_, err := s.Owner(t.Context(), "acme")
		return err
	}}
	events := read{"Events", func(t *testing.T, s *sqlstore.Store) error {
		list, err := s.Events(t.Context(), apikey.EventQuery{Limit: 10})
		if err == nil && list[0].Err != nil {
			err = list[0].Err
			list[0].Position.Nonce = apikey.Nonce{}
			if want := (apikey.Event{Position: apikey.Position{Seq: 1}, Err: err}); !reflect.DeepEqual(list[0], want) {
				t.Errorf("a damaged event has more than its position: %+v", list[0])
			}
		}
		return err
	}}
	commit := read{"Commit", func(t *testing.T, s *sqlstore.Store) error {
		r := record
		r.Key.Revision = 1
		_, err := s.Commit(t.Context(), commitOf(r))
		return err
	}}
	whole := []read{look, get, list}
	credential := []read{look, get}
	for _, test := range []struct {
		table, column string
		value         any
		reads         []read
		row           string
	}{
		{"keys", "scopes", canary + "  b", whole, record.Key.ID},
		{"keys", "scopes", canary + "\"", whole, record.Key.ID},
		{"keys", "networks", canary, whole, record.Key.ID},
		{"keys", "networks", "192.0.2.0/33", whole, record.Key.ID},
		{"keys", "metadata", canary, whole, record.Key.ID},
		{"keys", "metadata", "", whole, record.Key.ID},
		{"keys", "metadata", "null", whole, record.Key.ID},
		{"keys", "metadata", `["` + canary + `"]`, whole, record.Key.ID},
		{"keys", "metadata", `{"a": 1}`, whole, record.Key.ID},
		{"keys", "rate_period", int64(1 << 60), whole, record.Key.ID},
		{"keys", "locked", int64(2), whole, record.Key.ID},
		{"keys", "created_at", int64(253402300800000000), whole, record.Key.ID}, // the year 10000
		{"keys", "disabled_at", int64(-1 << 60), whole, record.Key.ID},
		{"keys", "nonce", []byte(canary), []read{get, list}, record.Key.ID},
		{"keys", "nonce", []byte{}, []read{get, list}, record.Key.ID},
		{"credentials", "scheme", int64(256), append(credential, commit), ""},
		{"credentials", "scheme", int64(-1), append(credential, commit), ""},
		{"credentials", "is_current", int64(7), []read{commit}, record.Key.ID},
		{"owners", "nonce", []byte(canary + strings.Repeat("x", 30)), []read{owner}, ""},
		{"owners", "ceiling", canary + "  b", []read{owner, look}, ""},
		{"events", "nonce", []byte(canary), []read{events}, "event 1"},
		{"events", "at", int64(1 << 62), []read{events}, "event 1"},
		{"events", "data", canary, []read{events}, "event 1"},
	} {
		for _, read := range test.reads {
			t.Run(fmt.Sprintf("%s of %s is %v, %s", test.column, test.table, test.value, read.name), func(t *testing.T) {
				Each(t, func(t *testing.T, e Engine) {
					db := e.Database(t).Pool(t)
					store := sqlstore.New(db, e.Dialect, nil)
					mustCommit(t, store, commitOf(record))
					if err := read.run(t, store); err != nil && read.name != "Commit" {
						t.Fatal(err)
					}
					parameter := "?"
					if e.Dialect == sqlstore.PostgreSQL {
						parameter = "$1"
					}
					set := fmt.Sprintf("UPDATE apikey_%s SET %s = %s", test.table, test.column, parameter)
					if _, err := db.ExecContext(t.Context(), set, test.value); err != nil {
						return // the column does not even take it
					}
					if read.name == "Commit" {
						mustExec(t, db, "UPDATE apikey_keys SET revision = 1")
					}
					err := read.run(t, store)
					switch {
					case err == nil:
						t.Fatal("no error")
					case errors.Is(err, apikey.ErrNotFound), errors.Is(err, apikey.ErrConflict), !errors.Is(err, apikey.ErrDamaged):
						t.Fatal(err)
					case errors.As(err, new(*apikey.FieldError)):
						t.Error("the error is one of bad input")
					case !strings.Contains(err.Error(), `"`+test.column+`"`), !strings.Contains(err.Error(), test.row):
						t.Errorf("the error does not say where: %s", err)
					case strings.Contains(err.Error(), canary):
						t.Errorf("the error says what is stored: %s", err)
					}
				})
			})
		}
	}
}

// TestSchemaRefusesWrongTypes checks that the tables are strict: a text in a
// column of numbers does not even get in.
func TestSchemaRefusesWrongTypes(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		db := e.Database(t).Pool(t)
		mustCommit(t, sqlstore.New(db, e.Dialect, nil), commitOf(newRecord(t, "acme", 1)))
		statements := []string{
			"UPDATE apikey_keys SET expires_at = 'never'",
			"UPDATE apikey_keys SET expires_at = NULL",
			"UPDATE apikey_keys SET locked = 'yes'",
			"UPDATE apikey_events SET seq = 'first'",
			"INSERT INTO apikey_counter (id, seq) VALUES (2, 0)",
			"INSERT INTO apikey_schema (id, version, min_version) VALUES (2, 0, 0)",
		}
		switch e.Dialect {
		case sqlstore.SQLite:
			statements = append(statements,
				"UPDATE apikey_credentials SET digest = 'text'",
				"UPDATE apikey_owners SET disabled_at = x'00'")
		case sqlstore.MySQL: // too long is not cut
			statements = append(statements,
				"UPDATE apikey_keys SET name = REPEAT('x', 1001)",
				"UPDATE apikey_credentials SET digest = REPEAT('x', 256)")
		}
		for _, statement := range statements {
			if _, err := db.ExecContext(t.Context(), statement); err == nil {
				t.Errorf("done: %s", statement)
			}
		}
	})
}
