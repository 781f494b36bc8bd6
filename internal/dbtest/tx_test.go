package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
	"github.com/keyturn/apikey/storetest"
)

// level is what a host asks for: SQLite's driver has but one.
func (e Engine) level() *sql.TxOptions {
	if e.Dialect == sqlstore.SQLite {
		return nil
	}
	return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
}

// committing is a Store of which every call has a transaction of the host,
// which commits it, or rolls it back after an error.
type committing struct {
	engine Engine
	db     *sql.DB
	store  *sqlstore.Store
}

func within[T any](ctx context.Context, c committing, call func(apikey.Store) (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, fmt.Errorf("%w: %w", err, apikey.ErrAborted)
	}
	tx, err := c.db.BeginTx(context.WithoutCancel(ctx), c.engine.level())
	if err != nil {
		return zero, err
	}
	defer tx.Rollback()
	v, err := call(c.store.Tx(tx))
	if err == nil {
		err = tx.Commit()
	}
	return v, err
}

func (c committing) Lookup(ctx context.Context, id string) (apikey.LookupResult, error) {
	return within(ctx, c, func(s apikey.Store) (apikey.LookupResult, error) { return s.Lookup(ctx, id) })
}

func (c committing) Get(ctx context.Context, id, owner string) (apikey.Record, error) {
	return within(ctx, c, func(s apikey.Store) (apikey.Record, error) { return s.Get(ctx, id, owner) })
}

func (c committing) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	return within(ctx, c, func(s apikey.Store) ([]apikey.Record, error) { return s.List(ctx, q) })
}

func (c committing) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	return within(ctx, c, func(s apikey.Store) (apikey.Owner, error) { return s.Owner(ctx, id) })
}

func (c committing) Commit(ctx context.Context, commit apikey.Commit) (apikey.Position, error) {
	return within(ctx, c, func(s apikey.Store) (apikey.Position, error) { return s.Commit(ctx, commit) })
}

func (c committing) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	return within(ctx, c, func(s apikey.Store) ([]apikey.Event, error) { return s.Events(ctx, q) })
}

func (c committing) OnceNames(ctx context.Context, q apikey.OnceQuery) ([]apikey.OnceName, error) {
	return within(ctx, c, func(s apikey.Store) ([]apikey.OnceName, error) { return s.OnceNames(ctx, q) })
}

func (c committing) AddUsage(ctx context.Context, uses []apikey.Usage) error {
	_, err := within(ctx, c, func(s apikey.Store) (struct{}, error) { return struct{}{}, s.AddUsage(ctx, uses) })
	return err
}

func (c committing) DailyUsage(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
	return within(ctx, c, func(s apikey.Store) ([]apikey.Usage, error) { return s.DailyUsage(ctx, q) })
}

func (c committing) PepperIDs(ctx context.Context) ([]string, error) {
	return within(ctx, c, func(s apikey.Store) ([]string, error) { return s.PepperIDs(ctx) })
}

func (c committing) Check(ctx context.Context) error {
	_, err := within(ctx, c, func(s apikey.Store) (struct{}, error) { return struct{}{}, s.Check(ctx) })
	return err
}

// match is what Lookup returns, in one piece.
type match struct {
	Credential apikey.Credential
	Key        apikey.Key
	Owner      apikey.Owner
}

// lookup asks for all that Lookup returns.
func lookup(ctx context.Context, s apikey.Store, credentialID string) (m match, err error) {
	result, err := s.Lookup(ctx, credentialID)
	if err != nil {
		return m, err
	}
	m.Credential = result.Credential()
	m.Key, m.Owner, err = result.Rest()
	return m, err
}

// days asks for some around start.
func days(keyID string) apikey.UsageQuery {
	midnight := start.Truncate(24 * time.Hour)
	return apikey.UsageQuery{KeyID: keyID, From: midnight.AddDate(0, 0, -5), Until: midnight.AddDate(0, 0, 5)}
}

// TestTxConformance runs the whole contract through transactions of a host.
func TestTxConformance(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		storetest.Run(t, func(t testing.TB) apikey.Store {
			d := e.Database(t)
			return committing{e, d.Pool(t), d.Store(t)}
		})
	})
}

// hosted is a database with a table of the host's own.
type hosted struct {
	*is.I
	t      *testing.T
	ctx    context.Context
	engine Engine
	db     *sql.DB
	store  *sqlstore.Store
	m      *apikey.Manager
}

func newHosted(t *testing.T, e Engine, options *apikey.Options) *hosted {
	t.Helper()
	d := e.EmptyDatabase(t)
	d.Migrate(t)
	h := &hosted{I: is.New(t), t: t, ctx: t.Context(), engine: e, db: d.Pool(t), store: d.Store(t)}
	mustExec(t, h.db, "CREATE TABLE customers (name VARCHAR(100) NOT NULL)")
	o := apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}}
	if options != nil {
		o.MaxKeysPerOwner = options.MaxKeysPerOwner
	}
	var err error
	h.m, err = apikey.New(h.store, &o)
	h.NoErr(err)
	return h
}

// begin begins a transaction of the host, in which it has added a customer.
func (h *hosted) begin() (*sql.Tx, apikey.Store, *apikey.Manager) {
	h.t.Helper()
	tx, err := h.db.BeginTx(h.ctx, h.engine.level())
	h.NoErr(err)
	h.t.Cleanup(func() { tx.Rollback() })
	_, err = tx.ExecContext(h.ctx, "INSERT INTO customers (name) VALUES ('acme')")
	h.NoErr(err)
	store := h.store.Tx(tx)
	return tx, store, h.m.WithStore(store)
}

func (h *hosted) customers() (n int) {
	h.t.Helper()
	h.NoErr(h.db.QueryRowContext(h.ctx, "SELECT COUNT(*) FROM customers").Scan(&n))
	return n
}

// TestTx: a key and a row of the host are made together, or not at all.
func TestTx(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		h := newHosted(t, e, nil)
		for _, commit := range []bool{false, true} {
			tx, _, m := h.begin()
			issued, err := m.Issue(h.ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
			h.NoErr(err)
			key, err := m.Validate(h.ctx, issued.Token.Reveal()) // seen inside
			h.NoErr(err)
			h.Equal(key.ID, issued.Key.ID)
			_, err = m.Disable(h.ctx, key.ID)
			h.NoErr(err)
			_, err = h.m.Validate(h.ctx, issued.Token.Reveal()) // not outside
			h.Equal(err, apikey.ErrInvalid)

			if !commit {
				h.NoErr(tx.Rollback())
				h.Equal(h.customers(), 0)
				_, err = h.m.Get(h.ctx, key.ID)
				h.True(errors.Is(err, apikey.ErrNotFound))
				h.Equal(len(checkLog(t, h.store, 0)), 0)
				continue
			}
			h.NoErr(tx.Commit())
			h.Equal(h.customers(), 1)
			_, err = h.m.Validate(h.ctx, issued.Token.Reveal())
			h.Equal(err, apikey.ErrDisabled)
			h.Equal(len(checkLog(t, h.store, 0)), 2) // from position 1
		}
	})
}

// TestTxHoldsTheCounter: who writes while a host's transaction has written, and
// has not been committed, comes after it in the log.
func TestTxHoldsTheCounter(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		h := newHosted(t, e, nil)
		tx, _, m := h.begin()
		first, err := m.Issue(h.ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
		h.NoErr(err)
		second := make(chan error)
		go func() {
			_, err := h.m.Issue(h.ctx, apikey.IssueParams{Owner: "other", Name: "n"})
			second <- err
		}()
		h.Equal(len(checkLog(t, h.store, 0)), 0)
		h.NoErr(tx.Commit())
		h.NoErr(<-second)
		events := checkLog(t, h.store, 0)
		h.Equal(len(events), 2)
		h.Equal(events[0].KeyID, first.Key.ID)
	})
}

// refusals are what a Commit is refused with, in a store that has one key of
// acme, issued with the idempotency key "first", under a limit of two.
var refusals = map[string]struct {
	want error
	call func(h *hosted, s apikey.Store, m *apikey.Manager, id string) error
}{
	"conflict": {apikey.ErrConflict, func(h *hosted, s apikey.Store, _ *apikey.Manager, id string) error {
		stale, err := s.Get(h.ctx, id, "")
		h.NoErr(err)
		stale.Key.Revision = 7
		fresh := newRecord(h.t, "acme", 1) // which is written first
		_, err = s.Commit(h.ctx, commitOf(fresh, stale))
		return err
	}},
	"taken": {apikey.ErrExists, func(h *hosted, s apikey.Store, m *apikey.Manager, id string) error {
		again, err := m.Issue(h.ctx, apikey.IssueParams{Owner: "acme", Name: "n", IdempotencyKey: "first"})
		h.Equal(again.Key.ID, id) // which a repeat tells
		return err
	}},
	"limit": {apikey.ErrLimit, func(h *hosted, _ apikey.Store, m *apikey.Manager, _ string) error {
		for range 2 {
			if _, err := m.Issue(h.ctx, apikey.IssueParams{Owner: "acme", Name: "n"}); err != nil {
				return err
			}
		}
		return nil
	}},
}

// TestTxRefusals: what is refused leaves nothing behind, although the host
// commits, and the transaction goes on.
func TestTxRefusals(t *testing.T) {
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			Each(t, func(t *testing.T, e Engine) {
				h := newHosted(t, e, &apikey.Options{MaxKeysPerOwner: 2})
				issued, err := h.m.Issue(h.ctx, apikey.IssueParams{Owner: "acme", Name: "n", IdempotencyKey: "first"})
				h.NoErr(err)
				tx, store, m := h.begin()
				h.True(errors.Is(refusal.call(h, store, m, issued.Key.ID), refusal.want))
				_, err = m.Issue(h.ctx, apikey.IssueParams{Owner: "later", Name: "n"})
				h.NoErr(err)
				h.NoErr(tx.Commit())
				h.Equal(h.customers(), 1)

				keys, err := h.m.List(h.ctx, apikey.Query{})
				h.NoErr(err)
				events := checkLog(t, h.store, 0)
				h.Equal(len(keys), len(events)) // each with its event
				owned, err := h.m.List(h.ctx, apikey.Query{Owner: "acme"})
				h.NoErr(err)
				if refusal.want == apikey.ErrLimit {
					h.Equal(len(owned), 2)
				} else {
					h.Equal(len(owned), 1)
				}
			})
		})
	}
}

// TestTxFails: after an error that is none of these nothing more is done, and
// each call says why.
func TestTxFails(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		h := newHosted(t, e, nil)
		issued, err := h.m.Issue(h.ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
		h.NoErr(err)
		tx, store, m := h.begin()
		_, err = m.Get(h.ctx, "00000000000000000000")
		h.True(errors.Is(err, apikey.ErrNotFound)) // which is no failure
		gone, cancel := context.WithCancel(h.ctx)
		cancel()
		_, err = store.Get(gone, issued.Key.ID, "")
		h.True(errors.Is(err, context.Canceled))

		_, err = m.Issue(h.ctx, apikey.IssueParams{Owner: "later", Name: "n"})
		h.True(errors.Is(err, context.Canceled)) // says why
		for name, call := range everyCallOf(t, store) {
			if err := call(h.ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%s after the error: %v", name, err)
			}
		}
		h.NoErr(tx.Rollback())
		h.Equal(len(checkLog(t, h.store, 0)), 1)
		_, err = h.m.Validate(h.ctx, issued.Token.Reveal())
		h.NoErr(err)
	})
}

// TestTxUndoes: what a statement that fails leaves is undone, should the host
// commit all the same.
func TestTxUndoes(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		h := newHosted(t, e, nil)
		mustExec(t, h.db, "ALTER TABLE apikey_events RENAME TO gone")
		tx, _, m := h.begin()
		_, err := m.Issue(h.ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
		h.True(errors.Is(err, apikey.ErrAborted))
		h.NoErr(tx.Commit())
		mustExec(t, h.db, "ALTER TABLE gone RENAME TO apikey_events")
		keys, err := h.m.List(h.ctx, apikey.Query{})
		h.NoErr(err)
		h.Equal(len(keys), 0)
		h.Equal(h.customers(), 1)
		_, err = h.m.Issue(h.ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
		h.NoErr(err)
		h.Equal(len(checkLog(t, h.store, 0)), 1)
	})
}

func everyCallOf(t testing.TB, s apikey.Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Lookup": func(ctx context.Context) error { _, err := s.Lookup(ctx, "0000000000000000"); return err },
		"Get":    func(ctx context.Context) error { _, err := s.Get(ctx, "00000000000000000000", ""); return err },
		"List":   func(ctx context.Context) error { _, err := s.List(ctx, apikey.Query{Limit: 1}); return err },
		"Owner":  func(ctx context.Context) error { _, err := s.Owner(ctx, "acme"); return err },
		"Commit": func(ctx context.Context) error {
			_, err := s.Commit(ctx, commitOf(newRecord(t, "acme", 1)))
			return err
		},
		"Events": func(ctx context.Context) error { _, err := s.Events(ctx, apikey.EventQuery{Limit: 1}); return err },
		"AddUsage": func(ctx context.Context) error {
			return s.AddUsage(ctx, []apikey.Usage{{CredentialID: "0000000000000000", Day: start, Uses: 1, LastUsedAt: start}})
		},
		"DailyUsage": func(ctx context.Context) error {
			_, err := s.DailyUsage(ctx, days("00000000000000000000"))
			return err
		},
	}
}

// TestTxLevel: a transaction that would not see what others commit is refused
// where its level can be told; where it cannot, the limit is exact all the same.
func TestTxLevel(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		if e.Dialect == sqlstore.SQLite {
			t.Skip("SQLite has one level")
		}
		for _, level := range []sql.IsolationLevel{sql.LevelDefault, sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
			if e.Dialect == sqlstore.MySQL && level == sql.LevelSerializable {
				continue // no other can write what has been read there
			}
			t.Run(level.String(), func(t *testing.T) {
				h := newHosted(t, e, &apikey.Options{MaxKeysPerOwner: 1})
				tx, err := h.db.BeginTx(h.ctx, &sql.TxOptions{Isolation: level})
				h.NoErr(err)
				defer tx.Rollback()
				var n int
				h.NoErr(tx.QueryRowContext(h.ctx, "SELECT COUNT(*) FROM apikey_keys").Scan(&n)) // from now on a snapshot
				_, err = h.m.Issue(h.ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
				h.NoErr(err)

				m := h.m.WithStore(h.store.Tx(tx))
				_, err = m.Issue(h.ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
				var refused *sqlstore.SettingError
				if e.Dialect == sqlstore.PostgreSQL && level > sql.LevelReadCommitted {
					h.True(errors.As(err, &refused))
					h.Equal(refused.Setting, "transaction_isolation")
					h.True(errors.Is(err, apikey.ErrAborted))
				} else {
					h.True(errors.Is(err, apikey.ErrLimit))
				}
			})
		}
	})
}

// TestTxOfNothing: a transaction that is nil, or has ended.
func TestTxOfNothing(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		h := newHosted(t, e, nil)
		tx, store, _ := h.begin()
		h.NoErr(tx.Rollback())
		for name, call := range everyCallOf(t, store) {
			if err := call(h.ctx); !errors.Is(err, sql.ErrTxDone) {
				t.Errorf("%s in an ended transaction: %v", name, err)
			}
		}
		for _, none := range []apikey.Store{h.store.Tx(nil), sqlstore.New(h.db, sqlstore.Dialect{}, nil).Tx(tx)} {
			for name, call := range everyCallOf(t, none) {
				if err := call(h.ctx); err == nil {
					t.Errorf("%s in no transaction: no error", name)
				}
			}
		}
		h.Equal(len(checkLog(t, h.store, 0)), 0)
	})
}

// TestTxUnknown: what fails in a transaction of the host is never an unknown
// outcome, and is not sent twice: the host decides.
func TestTxUnknown(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		h := newHosted(t, e, nil)
		tx, _, _ := h.begin()
		h.NoErr(tx.Rollback())
		_, err := h.store.Tx(tx).Commit(h.ctx, commitOf(newRecord(t, "acme", 1)))
		h.True(errors.Is(err, apikey.ErrAborted) && errors.Is(err, sql.ErrTxDone))
		err = h.store.Tx(tx).AddUsage(h.ctx, []apikey.Usage{{CredentialID: "0000000000000000", Day: start, Uses: 1, LastUsedAt: start}})
		h.True(errors.Is(err, apikey.ErrAborted) && errors.Is(err, sql.ErrTxDone))
		issued, err := h.m.WithStore(h.store.Tx(tx)).Issue(h.ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
		h.True(errors.Is(err, sql.ErrTxDone) && !errors.Is(err, apikey.ErrOutcomeUnknown))
		h.Equal(cmp.Diff(issued.Key, apikey.Key{}), "")
	})
}
