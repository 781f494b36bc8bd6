package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// TestEndedContext ends the context before and after each statement of each
// write. The error is the context's; before COMMIT nothing was written and the
// error says so, a COMMIT that was sent is not interrupted.
func TestEndedContext(t *testing.T) {
	for _, write := range writes {
		for _, late := range []bool{false, true} {
			name := write.name + ", before"
			if late {
				name = write.name + ", after"
			}
			t.Run(name, func(t *testing.T) {
				eachStatement(t, func(t *testing.T, n int, s *spy, db *sql.DB, store *sqlstore.Store) int {
					is := is.New(t)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					var at string
					end := func(c call) {
						if c.n == n {
							at = c.statement
							cancel()
						}
					}
					if late {
						s.reset(nil, func(c call, err error) error { end(c); return err })
					} else {
						s.reset(func(c call) error { end(c); return nil }, nil)
					}
					err := write.run(ctx, t, store)
					s.reset(nil, nil)
					if at == "COMMIT" {
						is.NoErr(err)
						is.True(write.done(t.Context(), t, store))
						return n
					}
					is.True(errors.Is(err, context.Canceled))
					is.True(errors.Is(err, apikey.ErrAborted))
					is.True(!write.done(t.Context(), t, store))
					is.NoErr(write.run(t.Context(), t, store))
					is.True(write.done(t.Context(), t, store))
					checkLog(t, store, 0)
					is.Equal(s.closed, 0) // the connection was not thrown away
					return n + 1
				})
			})
		}
	}
}

// TestContextEndedBefore checks that no call reaches the database with a
// context that has ended.
func TestContextEndedBefore(t *testing.T) {
	s, _, store := newSpied(t, nil)
	mustCommit(t, store, commitOf(newRecord(t, "acme", 1)))
	s.reset(nil, nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, run := range everyCall(t) {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			err := run(ended, store)
			is.True(errors.Is(err, context.Canceled))
			is.True(strings.HasPrefix(err.Error(), "sqlstore: "))
			writes := slices.ContainsFunc(writes, func(w write) bool { return w.name == name })
			is.Equal(errors.Is(err, apikey.ErrAborted), writes)
			is.Equal(len(s.all()), 0)
		})
	}
}

// everyCall is each call of a Store, with what a Store with key 1 accepts.
func everyCall(t testing.TB) map[string]func(context.Context, *sqlstore.Store) error {
	calls := map[string]func(context.Context, *sqlstore.Store) error{
		"Lookup": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Lookup(ctx, newRecord(t, "acme", 1).Key.CredentialID)
			return err
		},
		"Get": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Get(ctx, newRecord(t, "acme", 1).Key.ID)
			return err
		},
		"List": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.List(ctx, apikey.Query{Limit: 10})
			return err
		},
		"Owner": func(ctx context.Context, s *sqlstore.Store) error { _, err := s.Owner(ctx, "acme"); return err },
		"Events": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Events(ctx, apikey.EventQuery{Limit: 10})
			return err
		},
		"Check": func(ctx context.Context, s *sqlstore.Store) error { return s.Check(ctx) },
		"PepperIDs": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.PepperIDs(ctx)
			return err
		},
	}
	for _, write := range writes {
		calls[write.name] = func(ctx context.Context, s *sqlstore.Store) error { return write.run(ctx, t, s) }
	}
	return calls
}

// TestTornCalls ends contexts at random moments, on a pool of one connection,
// and checks after each that a change is made whole or not at all, as its error
// says, and that the connection is in no transaction.
func TestTornCalls(t *testing.T) {
	db := Open(t, "")
	db.SetMaxOpenConns(1)
	store := sqlstore.New(db, sqlstore.SQLite, nil)
	rounds := 200
	if long {
		rounds = 5000
	}
	var made, aborted int
	for n := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		ready := make(chan struct{})
		go func() {
			<-ready
			for range n * 7 % 500 {
				runtime.Gosched()
			}
			cancel()
		}()
		record := newRecord(t, "acme", n)
		close(ready)
		_, err := store.Commit(ctx, commitOf(record))
		cancel()
		_, missing := store.Get(t.Context(), record.Key.ID)
		switch {
		case err == nil && missing == nil:
			made++
		case errors.Is(err, apikey.ErrAborted) && errors.Is(err, context.Canceled) && errors.Is(missing, apikey.ErrNotFound):
			aborted++
		default:
			t.Fatalf("Commit returned %v, then Get %v", err, missing)
		}
		mustCommit(t, store, commitOf(newRecord(t, "other", rounds+n)))
	}
	t.Logf("%d made, %d aborted", made, aborted)
	checkLog(t, store, 0)
}
