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
			return aborted(err)
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
	for attempt := 1; ; attempt++ {
		err := s.tryTransact(ctx, run)
		if err == nil || attempt >= s.attempts || !s.again(err) || s.pause(ctx, attempt) != nil {
			return err
		}
	}
}

// again reports whether a transaction can be run again: nothing was written,
// and only because the database, or the connection to it, gave up.
func (s *Store) again(err error) bool {
	if !errors.Is(err, apikey.ErrAborted) {
		return false
	}
	var begin *beginError
	return s.dialect.gaveUp(err) || errors.Is(err, driver.ErrBadConn) || errors.As(err, &begin) && !s.dialect.oneWriter
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

func (s *Store) tryTransact(ctx context.Context, run func(querier) error) error {
	tx, err := s.begin(ctx)
	if err != nil {
		return aborted(err)
	}
	ended := false
	defer func() {
		if !ended {
			tx.abandon(ctx)
		}
	}()
	err = tx.exec(ctx, s.dialect.mark)
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
		return aborted(err)
	}
	err = tx.commit(ctx)
	ended = true
	return err
}

// transaction is one that writes. Exactly one of commit and rollback ends it.
// It says its words itself, on a connection of its own: database/sql has none
// for BEGIN IMMEDIATE, and a COMMIT of its own knows no context.
type transaction struct {
	*sql.Conn
	dialect *dialect
}

func (s *Store) begin(ctx context.Context) (transaction, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return transaction{}, err
	}
	tx := transaction{conn, s.dialect}
	answered := false
	defer func() {
		if !answered {
			tx.abandon(ctx)
		}
	}()
	for _, statement := range s.dialect.begin {
		if _, err = conn.ExecContext(ctx, statement); err != nil {
			break
		}
	}
	answered = true
	if err != nil {
		tx.rollback(ctx) // a driver may answer the end of the context although it has begun
		return tx, &beginError{err}
	}
	return tx, nil
}

// beginError is the error of a BEGIN. On a server that was started anew, it is
// how the connections of before show that they are dead.
type beginError struct {
	err error
}

func (e *beginError) Error() string { return e.err.Error() }

func (e *beginError) Unwrap() error { return e.err }

// commit returns an error if it is not known whether the transaction was
// committed, and an [apikey.ErrAborted] if the database gave it up at the end,
// as a cluster does that finds it in conflict with one of another node.
func (tx transaction) commit(ctx context.Context) error {
	ctx, cancel := outliving(ctx)
	defer cancel()
	if _, err := tx.ExecContext(ctx, "COMMIT"); err != nil {
		tx.rollback(ctx)
		if tx.dialect.gaveUp(err) {
			return aborted(err)
		}
		return err
	}
	tx.release(ctx)
	return nil
}

// release gives the connection back to the pool, as one that Check accepts: with
// autocommit.
func (tx transaction) release(ctx context.Context) {
	if tx.exec(ctx, tx.dialect.restore) != nil {
		tx.discard()
	}
	tx.Close() // it has no error that matters now
}

// discard closes the connection, and so ends its transaction.
func (tx transaction) discard() {
	tx.Raw(func(any) error { return driver.ErrBadConn })
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
	ctx, cancel := outliving(ctx)
	defer cancel()
	if !tx.outside(ctx) {
		tx.discard()
		tx.Close()
		return
	}
	tx.release(ctx)
}

// abandon ends a transaction in which the driver panicked, so that it does not
// stop all others from writing. The connection is lost to the pool: after a
// panic database/sql may hold locks, for which its own Close, or a call that
// finds the connection bad, would wait for ever.
func (tx transaction) abandon(ctx context.Context) {
	ctx, cancel := outliving(ctx)
	defer cancel()
	tx.Raw(func(conn any) error {
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
	if _, err := tx.ExecContext(ctx, "ROLLBACK"); err == nil {
		return true
	}
	if tx.dialect.name != sqlite.name {
		return false
	}
	// In SQLite there may have been none: BEGIN was refused, or SQLite has
	// rolled back by itself. There, and only there, BEGIN fails inside of a
	// transaction; MySQL would commit it.
	if _, err := tx.ExecContext(ctx, "BEGIN"); err != nil {
		return false
	}
	_, err := tx.ExecContext(ctx, "ROLLBACK")
	return err == nil
}

// patience is how long the end of a transaction is waited for once the context
// of the call has ended.
const patience = 5 * time.Second

// outliving returns a context for what must not be torn: a COMMIT that is
// interrupted has an outcome that nobody knows, and a connection whose ROLLBACK
// is interrupted is lost. It ends some time after the one of the call.
func outliving(ctx context.Context) (context.Context, context.CancelFunc) {
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
