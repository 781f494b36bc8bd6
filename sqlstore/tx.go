package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/keyturn/apikey"
)

// Tx returns a Store that works inside of a transaction of the host's own, so
// that a key is made, or changed, together with the host's rows or not at all:
//
//	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
//	...
//	defer tx.Rollback()
//	... // the host's own rows first
//	issued, err := manager.WithStore(store.Tx(tx)).Issue(ctx, params)
//	...
//	err = tx.Commit()
//
// What a call promises holds only once the host has committed: until then no
// other call sees the change, and a token that was issued is refused. The token
// must not leave the program before. Whoever writes takes the row of the
// counter of positions, for which all others that write wait until the host has
// committed: call it last, and commit at once. A second change in one
// transaction takes its locks while it holds that row, and may meet another
// transaction that waits the other way round: the database then gives up one of
// them with an error.
//
// Each Commit and each AddUsage has a savepoint, to which the transaction goes back
// after an error. After ErrConflict, ErrExists and ErrLimit the transaction can
// go on. After any other error, but that something was not found, the host must
// roll back: further calls are refused with that error. The database's giving up
// is such an error too: nothing is run again. If the host's COMMIT fails, whether
// the change was made is the host's to find out.
//
// The transaction must be READ COMMITTED. On PostgreSQL a higher level is a
// *SettingError. MariaDB and MySQL do not tell the level of a transaction:
// there a Commit reads with locks only and is right at every level. In SQLite
// there is one writer at a time, so that it makes no difference.
//
// On a Galera cluster the data source name must have interpolateParams=true: a
// node can tell that it has given up a transaction in answer to the preparing
// of a statement, where no driver hears it, and runs the rest of the transaction
// outside of it; the host's own statements too. A driver that prepares is a
// *SettingError there. (Outside of Tx the Store guards its transactions.)
//
// A context that ends while a statement runs can end the connection, and with
// it the transaction.
func (s *Store) Tx(tx *sql.Tx) apikey.Store {
	return &hostStore{store: &Store{db: s.db, host: tx, dialect: s.dialect, timeout: s.timeout}}
}

// hostStore is a Store in a transaction of the host. It remembers the first
// error that only the host can end, by rolling back.
type hostStore struct {
	store *Store

	mu      sync.Mutex // one connection: one call at a time
	failed  error
	checked bool
}

var errNoTransaction = errors.New("no transaction: the *sql.Tx is nil")

func (h *hostStore) run(ctx context.Context, operation string, call func() error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.store.host == nil:
		return failed(ctx, operation, aborted(errNoTransaction))
	case h.failed != nil:
		return fmt.Errorf("sqlstore: %s: the transaction has failed and must be rolled back: %w", operation, aborted(h.failed))
	}
	err := call()
	switch err {
	case nil, apikey.ErrNotFound, apikey.ErrConflict, apikey.ErrExists, apikey.ErrLimit:
	default:
		if !errors.Is(err, apikey.ErrDamaged) { // that is one row, not the transaction
			h.failed = err
		}
	}
	return err
}

// write runs a call that writes. What it has written before an error is undone,
// should the host commit all the same.
func (h *hostStore) write(ctx context.Context, operation string, call func() error) error {
	return h.run(ctx, operation, func() error {
		if err := h.fit(ctx); err != nil {
			return failed(ctx, operation, aborted(err))
		}
		if err := h.exec(ctx, "SAVEPOINT apikey"); err != nil {
			return failed(ctx, operation, aborted(err))
		}
		err := call()
		if err != nil {
			ctx, cancel := outliving(ctx, h.store.timeout)
			defer cancel()
			if undo := h.exec(ctx, "ROLLBACK TO SAVEPOINT apikey"); undo != nil {
				return failed(ctx, operation, aborted(fmt.Errorf("%w; and it cannot be undone: %w", err, undo)))
			}
			h.exec(ctx, "RELEASE SAVEPOINT apikey") // it holds nothing, and is only for tidiness
			return err
		}
		if err := h.exec(ctx, "RELEASE SAVEPOINT apikey"); err != nil {
			return failed(ctx, operation, aborted(err))
		}
		return nil
	})
}

func (h *hostStore) exec(ctx context.Context, statement string) error {
	_, err := h.store.host.ExecContext(ctx, statement)
	return err
}

func (h *hostStore) Lookup(ctx context.Context, credentialID string) (m apikey.LookupResult, err error) {
	err = h.run(ctx, "lookup", func() error { m, err = h.store.Lookup(ctx, credentialID); return err })
	return m, err
}

func (h *hostStore) Get(ctx context.Context, id, owner string) (r apikey.Record, err error) {
	err = h.run(ctx, "get", func() error { r, err = h.store.Get(ctx, id, owner); return err })
	return r, err
}

func (h *hostStore) List(ctx context.Context, q apikey.Query) (records []apikey.Record, err error) {
	err = h.run(ctx, "list", func() error { records, err = h.store.List(ctx, q); return err })
	return records, err
}

func (h *hostStore) Owner(ctx context.Context, owner string) (o apikey.Owner, err error) {
	err = h.run(ctx, "owner", func() error { o, err = h.store.Owner(ctx, owner); return err })
	return o, err
}

func (h *hostStore) Commit(ctx context.Context, c apikey.Commit) (p apikey.Position, err error) {
	err = h.write(ctx, "commit", func() error { p, err = h.store.Commit(ctx, c); return err })
	if err != nil {
		return apikey.Position{}, err
	}
	return p, nil
}

func (h *hostStore) Events(ctx context.Context, q apikey.EventQuery) (events []apikey.Event, err error) {
	err = h.run(ctx, "events", func() error { events, err = h.store.Events(ctx, q); return err })
	return events, err
}

func (h *hostStore) OnceNames(ctx context.Context, q apikey.OnceQuery) (names []apikey.OnceName, err error) {
	err = h.run(ctx, "once names", func() error { names, err = h.store.OnceNames(ctx, q); return err })
	return names, err
}

func (h *hostStore) AddUsage(ctx context.Context, uses []apikey.Usage) error {
	return h.write(ctx, "add usage", func() error { return h.store.AddUsage(ctx, uses) })
}

func (h *hostStore) DailyUsage(ctx context.Context, q apikey.UsageQuery) (uses []apikey.Usage, err error) {
	err = h.run(ctx, "daily usage", func() error { uses, err = h.store.DailyUsage(ctx, q); return err })
	return uses, err
}

func (h *hostStore) PepperIDs(ctx context.Context) (ids []string, err error) {
	err = h.run(ctx, "pepper ids", func() error { ids, err = h.store.PepperIDs(ctx); return err })
	return ids, err
}

// Check looks at the schema and at the level of the transaction. The settings of
// the database are checked outside of a transaction.
func (h *hostStore) Check(ctx context.Context) error {
	return h.run(ctx, "check", func() error {
		err := h.fit(ctx)
		if err == nil {
			err = h.store.checkSchema(ctx, h.store.host)
		}
		return failed(ctx, "check", err)
	})
}

// fit looks at the transaction before it first writes.
func (h *hostStore) fit(ctx context.Context) error {
	if err := h.store.ready(ctx); err != nil || h.checked {
		return err
	}
	err := h.store.dialect.checkHost(ctx, h.store.host)
	h.checked = err == nil
	return err
}
