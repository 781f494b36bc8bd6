package dbtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// TestEndedContext ends the context before and after each statement of each
// write. The error is the context's; before COMMIT nothing was written and the
// error says so, a COMMIT that was sent is not interrupted.
func TestEndedContext(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		for _, write := range writes {
			for _, late := range []bool{false, true} {
				name := write.name + ", before"
				if late {
					name = write.name + ", after"
				}
				t.Run(name, func(t *testing.T) {
					eachStatement(t, e, func(t *testing.T, n int, s *spy, store *sqlstore.Store, of set) bool {
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
						err := write.run(ctx, t, store, of)
						s.reset(nil, nil)
						if at == "COMMIT" {
							is.NoErr(err)
							is.True(write.done(t.Context(), t, store, of))
							return true
						}
						is.True(errors.Is(err, context.Canceled))
						is.True(errors.Is(err, apikey.ErrAborted))
						is.True(!write.done(t.Context(), t, store, of))
						is.NoErr(write.run(t.Context(), t, store, of))
						is.True(write.done(t.Context(), t, store, of))
						checkLog(t, store, 0)
						if _, closed := s.connections(); e.Name == SQLite.Name {
							is.Equal(closed, 0) // the connection was not thrown away
						}
						return false
					})
				})
			}
		}
	})
}

// TestContextEndedBefore checks that no call reaches the database with a
// context that has ended.
func TestContextEndedBefore(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		s, _, store := e.newSpied(t, nil)
		mustCommit(t, store, commitOf(set(1).record(t, 1)))
		s.preparing = true
		s.reset(nil, nil)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for name, run := range everyCall(t, 1) {
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
	})
}

// everyCall is each call of a Store, with what a Store accepts that holds
// Record 1 of a set.
func everyCall(t testing.TB, of set) map[string]func(context.Context, *sqlstore.Store) error {
	calls := map[string]func(context.Context, *sqlstore.Store) error{
		"Lookup": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Lookup(ctx, of.record(t, 1).Key.CredentialID)
			return err
		},
		"Get": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Get(ctx, of.record(t, 1).Key.ID, "")
			return err
		},
		"List": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.List(ctx, apikey.Query{Limit: 10})
			return err
		},
		"Owner": func(ctx context.Context, s *sqlstore.Store) error { _, err := s.Owner(ctx, of.owner()); return err },
		"Events": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.Events(ctx, apikey.EventQuery{Limit: 10})
			return err
		},
		"DailyUsage": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.DailyUsage(ctx, days(of.record(t, 1).Key.ID))
			return err
		},
		"Check": func(ctx context.Context, s *sqlstore.Store) error { return s.Check(ctx) },
		"PepperIDs": func(ctx context.Context, s *sqlstore.Store) error {
			_, err := s.PepperIDs(ctx)
			return err
		},
	}
	for _, write := range writes {
		calls[write.name] = func(ctx context.Context, s *sqlstore.Store) error { return write.run(ctx, t, s, of) }
	}
	return calls
}

// TestTornCalls ends contexts at random moments, on a pool of one connection,
// and checks after each that a change is made whole or not at all, as its error
// says, and that the connection is in no transaction.
func TestTornCalls(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		db := e.Database(t).Pool(t)
		db.SetMaxOpenConns(1)
		store := sqlstore.New(db, e.Dialect, nil)
		rounds := 200
		if long {
			rounds = 5000
		}
		var made, aborted int
		longest := time.Millisecond // until a context ends; it follows the machine, so that about half of the calls are torn
		for n := range rounds {
			ctx, cancel := context.WithCancel(t.Context())
			ready := make(chan struct{})
			wait := time.Duration(n*7%100) * longest / 100
			go func() {
				<-ready
				for begun := time.Now(); time.Since(begun) < wait; {
					runtime.Gosched()
				}
				cancel()
			}()
			record := newRecord(t, "acme", n)
			if longest < time.Microsecond {
				cancel()
			}
			close(ready)
			_, err := store.Commit(ctx, commitOf(record))
			cancel()
			_, missing := store.Get(t.Context(), record.Key.ID, "")
			switch {
			case err == nil && missing == nil:
				made++
				longest -= longest / 10
			case errors.Is(err, apikey.ErrAborted) && errors.Is(err, context.Canceled) && errors.Is(missing, apikey.ErrNotFound):
				aborted++
				longest += longest/10 + time.Microsecond
			default:
				t.Fatalf("Commit returned %v, then Get %v", err, missing)
			}
			mustCommit(t, store, commitOf(newRecord(t, "other", rounds+n)))
		}
		if made < rounds/20 || aborted < rounds/20 {
			t.Errorf("%d made, %d aborted", made, aborted)
		}
		checkLog(t, store, 0)
	})
}

// TestHangingCommit checks that the end of a context does not interrupt a
// COMMIT, and that one which never answers is given up after 5 seconds: its
// outcome is unknown, and its connection closed.
func TestHangingCommit(t *testing.T) {
	for _, test := range []struct {
		name    string
		answers time.Duration // after the context has ended
		unknown bool
	}{
		{"answers", 4999 * time.Millisecond, false},
		{"never answers", time.Hour, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				is := is.New(t)
				fake := &hanging{answers: test.answers}
				db := sql.OpenDB(fake)
				defer db.Close()
				store := sqlstore.New(db, sqlstore.PostgreSQL, nil)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				fake.end = cancel
				begun := time.Now()
				err := store.AddUsage(ctx, []apikey.Usage{{CredentialID: "c", Day: start, Uses: 1, LastUsedAt: start}})
				is.Equal(fake.commits, 1) // it is not sent again
				if !test.unknown {
					is.NoErr(err)
					is.Equal(time.Since(begun), test.answers)
					is.Equal(fake.closed, 0)
					return
				}
				is.True(errors.Is(err, context.Canceled))
				is.True(!errors.Is(err, apikey.ErrAborted))
				is.Equal(time.Since(begun), 5*time.Second)
				is.Equal(fake.closed, 1)
			})
		})
	}
}

// hanging is a driver of one connection, whose COMMIT takes its time. The
// context of the call ends while it does.
type hanging struct {
	answers         time.Duration
	end             context.CancelFunc
	commits, closed int
	given           bool // up: nothing answers any more
}

func (h *hanging) Connect(context.Context) (driver.Conn, error) { return h, nil }
func (h *hanging) Driver() driver.Driver                        { return nil }
func (h *hanging) Prepare(string) (driver.Stmt, error)          { return nil, errFault }
func (h *hanging) Begin() (driver.Tx, error)                    { return nil, errFault }
func (h *hanging) Close() error                                 { h.closed++; return nil }

func (h *hanging) ExecContext(ctx context.Context, statement string, _ []driver.NamedValue) (driver.Result, error) {
	if h.given {
		return nil, errFault
	}
	if statement == "COMMIT" {
		h.commits++
		h.end()
		select {
		case <-time.After(h.answers):
		case <-ctx.Done():
			h.given = true
			return nil, ctx.Err()
		}
	}
	return driver.RowsAffected(1), nil
}
