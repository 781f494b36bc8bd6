package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
)

// connect takes a connection from the pool. Waiting for one that others use
// ends with ctx. Nothing else does: a driver that is interrupted while it opens
// or tests a connection closes it, and whoever calls could do that again and
// again. fresh reports whether the connection was opened for this call, as far
// as the pool shows it.
func (s *Store) connect(ctx, sent context.Context) (conn *sql.Conn, fresh bool, err error) {
	room, idle := s.room()
	if room {
		ctx = sent
	}
	conn, err = s.db.Conn(ctx)
	return conn, room && !idle, err
}

// room reports whether the pool has a connection without waiting for another
// caller, and whether one is idle.
func (s *Store) room() (room, idle bool) {
	pool := s.db.Stats()
	return pool.MaxOpenConnections <= 0 || pool.InUse < pool.MaxOpenConnections, pool.Idle > 0
}

// discard closes a connection instead of giving it back to the pool.
func discard(conn *sql.Conn) {
	conn.Raw(func(any) error { return driver.ErrBadConn })
	conn.Close() // an error only says that it is closed
}

// health is what the error of a call says about its connection.
type health int

const (
	sound health = iota // the error has another cause
	dead                // it is gone, or has lost what the driver prepared there
	unfit               // it works, but the server behind it does not do what is asked
)

// judge returns the health of a connection after a call that failed.
func (s *Store) judge(ctx context.Context, conn *sql.Conn, err error) health {
	switch {
	case s.dialect.unfit(err):
		return unfit
	case lost(err) || s.dialect.dead(err) || statementLost(err) || unusable(ctx, conn):
		return dead
	}
	return sound
}

// lost reports whether an error that the server did not report means that the
// connection is gone.
func lost(err error) bool {
	var network *net.OpError
	switch {
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed):
		return true
	case errors.As(err, &network) && network.Op == "dial":
		return false
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return slices.Contains(lostNumbers, number)
	}
	return network != nil && !network.Timeout()
}

// ETIMEDOUT is that of the operating system, which has given up the connection.
// That of a deadline has no number.
var lostNumbers = []syscall.Errno{syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT}

// unusable reports whether the driver itself would not use a connection again.
// Not every driver's error says so.
func unusable(ctx context.Context, conn *sql.Conn) bool {
	err := conn.Raw(func(c any) error {
		if v, ok := c.(driver.Validator); ok && !v.IsValid() {
			return driver.ErrBadConn
		}
		if r, ok := c.(driver.SessionResetter); ok {
			return r.ResetSession(ctx)
		}
		return nil
	})
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}
