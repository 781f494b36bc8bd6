package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// TestPlans asks SQLite how it runs each statement that a call makes: none may
// read a whole table, and those named must use the index made for them.
func TestPlans(t *testing.T) {
	list := func(q apikey.Query) func(context.Context, *sqlstore.Store) error {
		return func(ctx context.Context, s *sqlstore.Store) error {
			q.Limit = 10
			_, err := s.List(ctx, q)
			return err
		}
	}
	issue := func(ctx context.Context, s *sqlstore.Store) error {
		c := commitOf(newRecord(t, "acme", 1000))
		c.Limit = 100
		_, err := s.Commit(ctx, c)
		return err
	}
	for _, test := range []struct {
		name string
		run  func(context.Context, *sqlstore.Store) error
		want []string // each in the plan of some statement
	}{
		{"Lookup", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Lookup(ctx, "cred000000000001")
			return err
		}, []string{
			"SEARCH c USING PRIMARY KEY (id=?)", "SEARCH k USING PRIMARY KEY (id=?)", "SEARCH o USING PRIMARY KEY (id=?)",
		}},
		{"Get", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Get(ctx, "key00000000000000001", "")
			return err
		}, []string{
			"SEARCH apikey_keys USING PRIMARY KEY (id=?)", "SEARCH c USING INDEX apikey_credentials_by_key (key_id=?)",
			"SEARCH u USING PRIMARY KEY (credential_id=?)",
		}},
		{"Get of an owner's", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Get(ctx, "key00000000000000001", "other")
			return err
		}, []string{
			"SEARCH apikey_keys USING PRIMARY KEY (id=?)", "SEARCH c USING INDEX apikey_credentials_by_key (key_id=?)",
		}},
		{"Owner", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Owner(ctx, "acme")
			return err
		}, []string{"SEARCH o USING PRIMARY KEY (id=?)"}},
		{"List", list(apikey.Query{}), []string{"SEARCH k USING PRIMARY KEY (id>?)"}},
		{"List of an owner", list(apikey.Query{Owner: "acme"}), []string{
			"SEARCH k USING INDEX apikey_keys_by_owner (owner=? AND id>?)",
		}},
		{"List of an owner with everything", list(apikey.Query{
			Owner: "acme", ExpiresFrom: start, ExpiresBefore: start.Add(time.Hour), IssuedBefore: start,
		}), []string{"SEARCH k USING INDEX apikey_keys_by_owner (owner=? AND id>?)"}},
		{"List of a credential", list(apikey.Query{CredentialID: "cred000000000001", Owner: "acme", IncludeDeleted: true}), []string{
			"SEARCH c USING PRIMARY KEY (id=?)",
		}},
		{"Names", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.OnceNames(ctx, apikey.OnceQuery{After: apikey.OnceName{Name: "a", Seq: 3}, Limit: 10})
			return err
		}, []string{"SEARCH apikey_once USING INDEX apikey_once_by_seq (seq>?)"}},
		{"One name", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.OnceNames(ctx, apikey.OnceQuery{Name: "a", Limit: 1})
			return err
		}, []string{"SEARCH apikey_once USING PRIMARY KEY (name=?)"}},
		{"List by end", list(apikey.Query{ExpiresFrom: start, ExpiresBefore: start.Add(time.Hour)}), []string{
			"SEARCH k USING INDEX apikey_keys_by_expiry (expires_at>? AND expires_at<?)",
		}},
		{"List of those to rotate", list(apikey.Query{ExpiresFrom: start, IssuedBefore: start}), []string{
			"SEARCH k USING PRIMARY KEY (id>?)",
		}},
		{"List of deleted", list(apikey.Query{DeletedBefore: start}), []string{
			"SEARCH k USING INDEX apikey_keys_by_deletion (deleted_at>? AND deleted_at<?)",
		}},
		{"List with retired", list(apikey.Query{RetiredBefore: start}), []string{
			"SEARCH c USING COVERING INDEX apikey_credentials_by_end (expires_at<?)",
			"SEARCH k USING PRIMARY KEY (id=?)",
		}},
		{"Events", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Events(ctx, apikey.EventQuery{Limit: 10})
			return err
		}, []string{"SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"}},
		{"Events of a key", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Events(ctx, apikey.EventQuery{KeyID: "key00000000000000001", Limit: 10})
			return err
		}, []string{"SEARCH e USING INDEX apikey_events_by_key (key_id=? AND seq>? AND seq<?)"}},
		{"Newest events of a key", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Events(ctx, apikey.EventQuery{KeyID: "key00000000000000001", Limit: 10, Newest: true})
			return err
		}, []string{"SEARCH e USING INDEX apikey_events_by_key (key_id=? AND seq>? AND seq<?)"}},
		{"Uses of a key", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.DailyUsage(ctx, days("key00000000000000001"))
			return err
		}, []string{
			"SEARCH c USING COVERING INDEX apikey_credentials_by_key (key_id=?)",
			"SEARCH d USING PRIMARY KEY (credential_id=? AND day>? AND day<?)",
		}},
		{"AddUsage", func(ctx context.Context, s *sqlstore.Store) error {
			return s.AddUsage(ctx, []apikey.Usage{{CredentialID: "cred000000000001", Day: start, Uses: 1, LastUsedAt: start}})
		}, []string{"SEARCH c USING PRIMARY KEY (id=?)"}},
		{"Commit of a new key", issue, []string{
			"SEARCH apikey_keys USING COVERING INDEX apikey_keys_by_owner (owner=?)",
			"SEARCH apikey_counter USING INTEGER PRIMARY KEY (rowid=?)",
		}},
		{"Commit of a change", func(ctx context.Context, s *sqlstore.Store) error {
			r, err := s.Get(ctx, "key00000000000000001", "")
			if err != nil {
				return err
			}
			r.Credentials = newRecord(t, "acme", 2000).Credentials // one comes, one goes
			_, err = s.Commit(ctx, commitOf(r))
			return err
		}, []string{
			"SEARCH apikey_keys USING PRIMARY KEY (id=?)", "SEARCH c USING INDEX apikey_credentials_by_key (key_id=?)",
			"SEARCH apikey_usage USING PRIMARY KEY (credential_id=?)",
			"SEARCH apikey_usage_days USING PRIMARY KEY (credential_id=?)",
		}},
		{"Commit of an owner", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Commit(ctx, apikey.Commit{Owners: []apikey.Owner{{ID: "acme"}}, Events: []apikey.Event{{Owner: "acme"}}})
			return err
		}, []string{"SEARCH apikey_owners USING PRIMARY KEY (id=?)"}},
		{"Commit of a purge", func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Commit(ctx, apikey.Commit{
				Purge: []apikey.RecordRef{{ID: "key00000000000000001", Revision: 1}}, Events: []apikey.Event{{Owner: "acme"}},
			})
			return err
		}, []string{
			"SEARCH apikey_keys USING PRIMARY KEY (id=?)",
			"SEARCH apikey_credentials USING INDEX apikey_credentials_by_key (key_id=?)",
			"SEARCH apikey_once USING INDEX apikey_once_by_key (key_id=?)",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, db, store := newSpied(t, nil)
			for n := range 20 {
				mustCommit(t, store, commitOf(newRecord(t, []string{"acme", "other"}[n%2], n)))
			}
			s.reset(nil, nil)
			if err := test.run(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			var plans []string
			for _, c := range s.all() {
				plans = append(plans, explain(t, db, c)...)
			}
			for _, step := range plans {
				if isScan(step, plans) {
					t.Errorf("reads a whole table: %s", step)
				}
			}
			for _, want := range test.want {
				if !contains(plans, want) {
					t.Errorf("no statement does %q", want)
				}
			}
			if t.Failed() {
				t.Log("\n" + strings.Join(plans, "\n"))
			}
		})
	}
}

// explain returns the steps in which SQLite runs a statement.
func explain(t *testing.T, db *sql.DB, c call) []string {
	t.Helper()
	args := make([]any, len(c.args))
	for i, arg := range c.args {
		args[i] = arg.Value
	}
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+c.statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}

// isScan reports whether a step reads all of a table. Reading all rows of a
// subquery, or of the parameter of AddUsage, is not a scan.
func isScan(step string, plan []string) bool {
	name, ok := strings.CutPrefix(step, "SCAN ")
	if !ok || strings.Contains(name, "VIRTUAL TABLE") {
		return false
	}
	name, _, _ = strings.Cut(name, " ")
	return !contains(plan, "CO-ROUTINE "+name) && !contains(plan, "MATERIALIZE "+name)
}

func contains(steps []string, want string) bool {
	for _, step := range steps {
		if strings.HasPrefix(step, want) {
			return true
		}
	}
	return false
}

// TestListSorts checks that a page in the order of ids is read in that order,
// not sorted from all that is stored.
func TestListSorts(t *testing.T) {
	s, db, store := newSpied(t, nil)
	for _, q := range []apikey.Query{{Limit: 10}, {Owner: "acme", Limit: 10}, {ExpiresFrom: start, IssuedBefore: start, Limit: 10}} {
		s.reset(nil, nil)
		if _, err := store.List(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		steps := explain(t, db, s.all()[0])
		inner := steps[:0]
		for _, step := range steps {
			if strings.HasPrefix(step, "SCAN k") {
				break // what follows is about the page alone
			}
			inner = append(inner, step)
		}
		if contains(inner, "USE TEMP B-TREE") {
			t.Errorf("%s sorts: %q", fmt.Sprint(q), inner)
		}
	}
}
