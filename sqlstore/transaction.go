package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/keyturn/apikey"
)

// transact runs a function in a transaction, again if the database gave it up.
// An error is an [apikey.ErrAborted], or one of those with which a Commit is
// refused, if it is sure that nothing was written; any other means that this
// is not known.
func (s *Store) transact(ctx context.Context, run func(querier) error) error {
	if err := s.ready(ctx); err != nil {
		return aborted(err)
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
		if err == nil || attempt >= s.attempts || ctx.Err() != nil || !s.again(err) {
			return err
		}
	}
}

// again reports whether a transaction can be run again: nothing was written,
// and only because the database, or the connection to it, gave up.
func (s *Store) again(err error) bool {
	return errors.Is(err, apikey.ErrAborted) && (s.dialect.gaveUp(err) || errors.Is(err, driver.ErrBadConn))
}

func (s *Store) tryTransact(ctx context.Context, run func(querier) error) error {
	tx, err := s.dialect.begin(ctx, s.db)
	if err != nil {
		return aborted(err)
	}
	ended := false
	defer func() {
		if !ended {
			tx.abandon(ctx)
		}
	}()
	err = run(tx)
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
