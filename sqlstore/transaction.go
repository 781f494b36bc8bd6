package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/keyturn/apikey"
)

// transact runs a function in a transaction, again if the database gave it up.
// An error is an [apikey.ErrAborted], or one of those with which a Commit is
// refused, if it is sure that nothing was written; any other means that this
// is not known. In a transaction of the host the function is run once.
func (s *Store) transact(ctx context.Context, run func(querier) error) error {
	if err := s.ready(ctx); err != nil {
		return aborted(err)
	}
	if s.host != nil {
		if err := run(s.host); err != nil {
			return aborted(s.dialect.withoutStatement(err))
		}
		return nil
	}
	if s.dialect.oneWriter {
		select {
		case s.writing <- struct{}{}:
			defer func() { <-s.writing }()
		case <-ctx.Done():
			return aborted(ctx.Err())
		}
	}
	sent, cancel := outliving(ctx, s.timeout)
	defer cancel()
	err := s.onConnection(ctx, sent, call{
		run:     func(conn *sql.Conn) error { return s.tryTransact(ctx, sent, conn, run) },
		certain: func(err error) bool { return errors.Is(err, apikey.ErrAborted) },
		again:   s.again,
	})
	var end *endError
	if err == nil || errors.As(err, &end) || errors.Is(err, apikey.ErrAborted) {
		return err
	}
	return aborted(err)
}

// again reports whether a transaction can be run again on a sound connection:
// nothing was written, and only because the database gave up.
func (s *Store) again(err error) bool {
	var begin *beginError
	return s.dialect.gaveUp(err) || errors.As(err, &begin) && !s.dialect.oneWriter
}

const (
	firstPause   = 2 * time.Millisecond
	longestPause = 100 * time.Millisecond
)

// pause waits before the next attempt, for a random time, so that those who
// were in each other's way do not meet again. A database with one writer at a
// time has waited by itself.
func (s *Store) pause(ctx context.Context, attempt int) error {
	if s.dialect.oneWriter {
		return ctx.Err()
	}
	timer := time.NewTimer(rand.N(min(longestPause, firstPause<<min(attempt, 10))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tryTransact runs a function in a transaction, once. Afterwards the connection
// is outside of it, or closed.
func (s *Store) tryTransact(ctx, sent context.Context, conn *sql.Conn, run func(querier) error) error {
	tx := transaction{conn, s, sent}
	if s.dialect.embedded {
		tx.sent = ctx // which loses no connection
	}
	ended := false
	defer func() {
		if !ended {
			tx.abandon(ctx)
		}
	}()
	err := tx.begin(ctx)
	if err == nil {
		err = tx.exec(ctx, s.dialect.mark)
	}
	if err == nil {
		err = run(tx)
	}
	if err == nil {
		err = tx.exec(ctx, s.dialect.unmark)
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		// What a transaction has written once it has failed is not what was
		// asked for.
		tx.rollback(ctx)
		ended = true
		return aborted(s.dialect.withoutStatement(err))
	}
	err = tx.commit(ctx)
	ended = true
	return err
}

// transaction is one that writes. Exactly one of commit and rollback ends it.
// It sends its own BEGIN and COMMIT, on a connection of its own: database/sql
// has no BEGIN IMMEDIATE, and its COMMIT takes no context.
//
// A statement that is sent runs under sent, which outlives the context of the
// call: a driver that is interrupted closes the connection. Once the context has
// ended, no further statement is sent.
type transaction struct {
	conn  *sql.Conn
	store *Store
	sent  context.Context
}

func (tx transaction) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return tx.conn.ExecContext(tx.sent, statement, args...)
}

func (tx transaction) QueryContext(ctx context.Context, statement string, args ...any) (*sql.Rows, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return tx.conn.QueryContext(tx.sent, statement, args...)
}

func (tx transaction) QueryRowContext(ctx context.Context, statement string, args ...any) *sql.Row {
	if ctx.Err() != nil {
		return tx.store.db.QueryRowContext(ctx, statement) // which only makes a Row of the error
	}
	return tx.conn.QueryRowContext(tx.sent, statement, args...)
}

func (tx transaction) begin(ctx context.Context) error {
	for _, statement := range tx.store.dialect.begin {
		if err := tx.exec(ctx, statement); err != nil {
			return &beginError{err}
		}
	}
	return nil
}

// beginError is the error of a BEGIN. On a server that was started anew, it is
// how the connections of before show that they are dead.
type beginError struct {
	err error
}

func (e *beginError) Error() string { return e.err.Error() }

func (e *beginError) Unwrap() error { return e.err }

// endError is the error of a COMMIT after which it is not known whether the
// transaction was committed.
type endError struct {
	err error
}

func (e *endError) Error() string { return e.err.Error() }

func (e *endError) Unwrap() error { return e.err }

// commit returns an endError if it is not known whether the transaction was
// committed, and an [apikey.ErrAborted] if the database gave it up at the end,
// as a cluster does that finds it in conflict with one of another node.
func (tx transaction) commit(ctx context.Context) error {
	ctx, cancel := outliving(ctx, tx.store.timeout)
	defer cancel()
	if _, err := tx.conn.ExecContext(ctx, "COMMIT"); err != nil {
		tx.rollback(ctx)
		if tx.store.dialect.gaveUp(err) {
			return aborted(err)
		}
		return &endError{err}
	}
	tx.restore(ctx)
	return nil
}

// restore makes the connection one that Check accepts: with autocommit.
func (tx transaction) restore(ctx context.Context) {
	statement := tx.store.dialect.restore
	if statement == "" {
		return
	}
	if _, err := tx.conn.ExecContext(ctx, statement); err != nil {
		discard(tx.conn)
	}
}

// exec runs a statement, if there is one.
func (tx transaction) exec(ctx context.Context, statement string) error {
	if statement == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, statement)
	return err
}

// rollback leaves no connection in the pool that is still inside of the
// transaction.
func (tx transaction) rollback(ctx context.Context) {
	ctx, cancel := outliving(ctx, tx.store.timeout)
	defer cancel()
	if !tx.outside(ctx) {
		discard(tx.conn)
		return
	}
	tx.restore(ctx)
}

// abandon ends a transaction in which the driver panicked, so that it does not
// stop all others from writing. The connection is lost to the pool: after a
// panic database/sql may hold locks, for which its own Close, or a call that
// finds the connection bad, would wait for ever.
func (tx transaction) abandon(ctx context.Context) {
	ctx, cancel := outliving(ctx, tx.store.timeout)
	defer cancel()
	tx.conn.Raw(func(conn any) error {
		if c, ok := conn.(driver.ExecerContext); ok {
			c.ExecContext(ctx, "ROLLBACK", nil)
		}
		if c, ok := conn.(driver.Conn); ok {
			c.Close()
		}
		return nil
	})
}

// outside leaves the transaction and reports whether it is sure that the
// connection is in none.
func (tx transaction) outside(ctx context.Context) bool {
	if _, err := tx.conn.ExecContext(ctx, "ROLLBACK"); err == nil {
		return true
	}
	if !tx.store.dialect.embedded {
		return false
	}
	// In SQLite there may have been none: BEGIN was refused, or SQLite has
	// rolled back by itself. There, and only there, BEGIN fails inside of a
	// transaction; MySQL would commit it.
	if _, err := tx.conn.ExecContext(ctx, "BEGIN"); err != nil {
		return false
	}
	_, err := tx.conn.ExecContext(ctx, "ROLLBACK")
	return err == nil
}

// outliving returns a context for what must not be torn: a COMMIT that is
// interrupted has an outcome that nobody knows, and a connection whose statement
// is interrupted is lost. It ends some time after the one of the call.
func outliving(ctx context.Context, patience time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(patience, cancel) })
	return longer, func() { stop(); cancel() }
}

// abortedError is an error after which it is sure that nothing was written.
type abortedError struct {
	err error
}

// aborted marks an error as such, unless it says so by itself.
func aborted(err error) error {
	switch err {
	case apikey.ErrConflict, apikey.ErrExists, apikey.ErrLimit:
		return err
	}
	return &abortedError{err}
}

func (e *abortedError) Error() string { return e.err.Error() }

func (e *abortedError) Unwrap() []error { return []error{e.err, apikey.ErrAborted} }
