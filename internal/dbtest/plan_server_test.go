package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// plannedKeys is how many keys a server plans for: enough to read an index
// rather than a table.
const plannedKeys = 10_000

// daysIndex is how a server reads the uses by day: by their primary key.
// MariaDB reads all days of a credential, and takes those that were asked for.
var daysIndex = map[sqlstore.Dialect]string{
	sqlstore.PostgreSQL: "apikey_usage_days_pkey",
	sqlstore.MySQL:      "table=d type=ref possible_keys=PRIMARY key=PRIMARY",
}

// TestServerPlans asks PostgreSQL and MariaDB how they run each statement that
// a call makes, with 10,000 keys and what they know of them: none may read a
// whole table or index, and those named must use the index made for them. AddUsage
// is left out: for the many uses of one call a table can be the quicker way.
func TestServerPlans(t *testing.T) {
	list := func(q apikey.Query) func(context.Context, *sqlstore.Store) error {
		return func(ctx context.Context, s *sqlstore.Store) error {
			q.Limit = 10
			_, err := s.List(ctx, q)
			return err
		}
	}
	middle := newRecord(t, "", plannedKeys/2).Key
	rare := start.AddDate(1, 0, 0) // few keys have ended, or were deleted
	for _, e := range Engines(t)[1:] {
		t.Run(e.Name, func(t *testing.T) {
			s, db, store := e.newSpied(t, nil)
			fillPlanned(t, e, db, store)
			for _, test := range []struct {
				name string
				run  func(context.Context, *sqlstore.Store) error
				want []string // indexes
			}{
				{"Lookup", func(ctx context.Context, s *sqlstore.Store) error {
					_, err := s.Lookup(ctx, middle.CredentialID)
					return err
				}, nil},
				{"Get", func(ctx context.Context, s *sqlstore.Store) error {
					_, err := s.Get(ctx, middle.ID, "")
					return err
				}, []string{"apikey_credentials_by_key"}},
				{"Get of an owner's", func(ctx context.Context, s *sqlstore.Store) error {
					_, err := s.Get(ctx, middle.ID, "owner 0")
					return err
				}, nil},
				{"List of a credential", list(apikey.Query{CredentialID: middle.CredentialID, Owner: "owner 0", IncludeDeleted: true}), nil},
				{"Names", func(ctx context.Context, s *sqlstore.Store) error {
					_, err := s.OnceNames(ctx, apikey.OnceQuery{After: apikey.OnceName{Seq: plannedKeys / 2}, Limit: 10})
					return err
				}, []string{"apikey_once_by_seq"}},
				{"One name", func(ctx context.Context, s *sqlstore.Store) error {
					_, err := s.OnceNames(ctx, apikey.OnceQuery{Name: "name 17", Limit: 1})
					return err
				}, nil},
				{"Owner", func(ctx context.Context, s *sqlstore.Store) error {
					_, err := s.Owner(ctx, "owner 7")
					return err
				}, nil},
				{"List", list(apikey.Query{}), nil},
				{"List after", list(apikey.Query{After: middle.ID, IncludeDeleted: true}), nil},
				{"List of an owner", list(apikey.Query{Owner: "owner 7"}), []string{"apikey_keys_by_owner"}},
				{"List of an owner after", list(apikey.Query{Owner: "owner 7", After: middle.ID}), []string{"apikey_keys_by_owner"}},
				{"List by end", list(apikey.Query{ExpiresFrom: rare, ExpiresBefore: rare.AddDate(0, 0, 20)}), []string{"apikey_keys_by_expiry"}},
				{"List of deleted", list(apikey.Query{DeletedBefore: rare}), []string{"apikey_keys_by_deletion"}},
				{"List with retired", list(apikey.Query{RetiredBefore: rare}), []string{"apikey_credentials_by_end"}},
				{"Events", func(ctx context.Context, s *sqlstore.Store) error {
					_, err := s.Events(ctx, apikey.EventQuery{After: apikey.Position{Seq: plannedKeys / 2}, Limit: 100})
					return err
				}, nil},
				{"Events of a key", func(ctx context.Context, s *sqlstore.Store) error {
					_, err := s.Events(ctx, apikey.EventQuery{KeyID: middle.ID, Limit: 100})
					return err
				}, []string{"apikey_events_by_key"}},
				{"Newest events of a key", func(ctx context.Context, s *sqlstore.Store) error {
					_, err := s.Events(ctx, apikey.EventQuery{KeyID: middle.ID, Limit: 100, Newest: true})
					return err
				}, []string{"apikey_events_by_key"}},
				{"Uses of a key", func(ctx context.Context, s *sqlstore.Store) error {
					_, err := s.DailyUsage(ctx, days(middle.ID))
					return err
				}, []string{"apikey_credentials_by_key", daysIndex[e.Dialect]}},
				{"Commit of a new key", func(ctx context.Context, s *sqlstore.Store) error {
					c := commitOf(newRecord(t, "owner 7", plannedKeys+1))
					c.Limit = 100
					_, err := s.Commit(ctx, c)
					return err
				}, []string{"apikey_keys_by_owner"}},
				{"Commit of a change", func(ctx context.Context, s *sqlstore.Store) error {
					r, err := s.Get(ctx, middle.ID, "")
					if err != nil {
						return err
					}
					r.Credentials = newRecord(t, "", plannedKeys+2).Credentials // one comes, one goes
					_, err = s.Commit(ctx, commitOf(r))
					return err
				}, []string{"apikey_credentials_by_key"}},
				{"Commit of a purge", func(ctx context.Context, s *sqlstore.Store) error {
					_, err := s.Commit(ctx, apikey.Commit{
						Purge: []apikey.RecordRef{{ID: newRecord(t, "", 3).Key.ID, Revision: 1}}, Events: []apikey.Event{{Owner: "acme"}},
					})
					return err
				}, []string{"apikey_credentials_by_key", "apikey_once_by_key"}},
			} {
				t.Run(test.name, func(t *testing.T) {
					s.reset(nil, nil)
					if err := test.run(t.Context(), store); err != nil {
						t.Fatal(err)
					}
					explained, plan := 0, ""
					for _, c := range s.all() {
						if !strings.Contains(c.statement, "apikey_") || strings.Contains(c.statement, "VALUES") && !strings.Contains(c.statement, "SELECT") || c.prepare {
							continue
						}
						explained++
						lines := explainOn(t, e, db, c)
						plan += strings.Join(lines, "\n") + "\n"
						for _, line := range lines {
							if scans(e, line) {
								t.Errorf("reads a whole table: %s", line)
							}
						}
					}
					if explained == 0 {
						t.Error("no statement was explained")
					}
					for _, want := range test.want {
						if !strings.Contains(plan, want) {
							t.Errorf("no statement uses %s", want)
						}
					}
					if t.Failed() {
						t.Log("\n" + plan)
					}
				})
			}
		})
	}
}

// fillPlanned stores the keys, their usage, and what is rare, and lets the
// server look at them.
func fillPlanned(t *testing.T, e Engine, db *sql.DB, store *sqlstore.Store) {
	t.Helper()
	is := is.New(t)
	var uses []apikey.Usage
	for first := 0; first < plannedKeys; first += 1000 {
		var records []apikey.Record
		for n := first; n < first+1000; n++ {
			r := newRecord(t, fmt.Sprint("owner ", n%1000), n)
			if n%1000 == 500 {
				r.Key.DeletedAt = start
				old := newRecord(t, "", plannedKeys*2+n).Credentials[0]
				old.ExpiresAt = start
				r.Credentials = append(r.Credentials, old)
			}
			records = append(records, r)
			uses = append(uses, apikey.Usage{CredentialID: r.Key.CredentialID, Day: start.Truncate(24 * time.Hour), Uses: 1, LastUsedAt: start})
		}
		c := commitOf(records...)
		for n := range records {
			c.Once = append(c.Once, apikey.OnceName{Name: fmt.Sprint("name ", first+n), KeyID: records[n].Key.ID})
		}
		mustCommit(t, store, c)
	}
	for chunk := range slices.Chunk(uses, 1000) {
		is.NoErr(store.AddUsage(t.Context(), chunk))
	}
	analyze := "ANALYZE"
	if e.Dialect == sqlstore.MySQL {
		analyze = `ANALYZE TABLE apikey_keys, apikey_credentials, apikey_owners, apikey_events, apikey_usage, apikey_usage_days, apikey_once`
	}
	mustExec(t, db, analyze)
}

// explainOn returns a line for each step in which a server runs a statement.
func explainOn(t *testing.T, e Engine, db *sql.DB, c call) (lines []string) {
	t.Helper()
	args := make([]any, len(c.args))
	for i, arg := range c.args {
		args[i] = arg.Value
	}
	rows, err := db.QueryContext(t.Context(), "EXPLAIN "+c.statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, columns := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			columns[i] = &values[i]
		}
		if err := rows.Scan(columns...); err != nil {
			t.Fatal(err)
		}
		var line []string
		for i, v := range values {
			switch {
			case e.Dialect == sqlstore.PostgreSQL:
				line = append(line, v.String)
			case v.Valid:
				line = append(line, names[i]+"="+v.String)
			}
		}
		lines = append(lines, strings.Join(line, " "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// scans reports whether a step reads all of a table or an index. The row that
// counts positions is its whole table, and what was selected before, or given
// as a parameter, is none.
func scans(e Engine, step string) bool {
	if e.Dialect == sqlstore.PostgreSQL {
		return strings.Contains(step, "Seq Scan") && !strings.Contains(step, "apikey_counter")
	}
	return (strings.Contains(step, " type=ALL") || strings.Contains(step, " type=index ")) &&
		!strings.Contains(step, "table=<") && !strings.Contains(step, "table=j ") && !strings.Contains(step, "select_type=INSERT")
}
