package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"strconv"
	"strings"
)

// statementLost reports whether an error means that the server does not have
// a statement which the driver prepared, or has another under its name. The
// session was reset, or a pooler put another one behind the connection. The
// statement did not run.
func statementLost(err error) bool {
	switch sqlState(err) {
	case "26000", "42P05": // no such statement; the name is taken
		return true
	case "08P01": // the parameters of another statement, or any error of PgBouncer's own
		return strings.Contains(err.Error(), "bind message")
	}
	return mysqlNumber(err) == 1243 // unknown handler
}

// unfitMode returns the error of a driver that sends statements in a way which
// does not fit what it is connected to.
func (d *dialect) unfitMode(mode string) error {
	return &SettingError{Setting: "statement mode of the driver", Value: mode, Advice: d.modeAdvice}
}

// modeError replaces an error which shows that statements were lost.
func (d *dialect) modeError(err error) error {
	if err != nil && statementLost(err) {
		return d.unfitMode("prepared statements")
	}
	return err
}

// mostSessions is on how many connections checkSessions looks.
const mostSessions = 16

// checkSessions reports a driver that prepares statements although a pooler
// changes the session behind a connection. It runs the lookup twice on several
// connections at once. In transaction mode they share sessions, so that a
// statement is missing, or taken by another connection.
func (s *Store) checkSessions(ctx context.Context) error {
	if s.dialect.modeAdvice == "" {
		return nil
	}
	conns, err := s.severalConns(ctx)
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	if err != nil {
		return err
	}
	id := "check " + rand.Text()
	for range 2 {
		for _, conn := range conns {
			// Other errors are those of single connections, as old ones have.
			if err := lookUpNothing(ctx, conn, s.dialect.lookup, id); err != nil && statementLost(err) {
				return s.dialect.modeError(err)
			}
		}
	}
	if s.dialect.session == "" || !s.sharesSessions(ctx, conns) {
		return ctx.Err()
	}
	twice, err := s.asksTwice(ctx, conns[0])
	if err == nil && twice {
		return s.dialect.unfitMode("two round trips per statement")
	}
	return s.dialect.modeError(err)
}

// severalConns returns connections of the pool, at least one. It takes no more
// than the pool has free, so that it does not wait for other callers, and makes
// do with fewer if the server refuses more.
func (s *Store) severalConns(ctx context.Context) (conns []*sql.Conn, err error) {
	short, cancel := context.WithTimeout(ctx, s.timeout) // another caller may take the last one first
	defer cancel()
	for wait := ctx; len(conns) < mostSessions; wait = short {
		if most := s.db.Stats(); len(conns) > 0 && most.MaxOpenConnections > 0 && most.InUse >= most.MaxOpenConnections {
			break
		}
		conn, err := s.db.Conn(wait)
		if err != nil {
			if len(conns) > 0 && ctx.Err() == nil {
				break
			}
			return conns, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// lookUpNothing runs a statement with one parameter and ignores its rows.
func lookUpNothing(ctx context.Context, q querier, statement, id string) error {
	rows, err := q.QueryContext(ctx, statement, id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

// sharesSessions reports whether two connections were seen in one session of the
// server, or one connection in two.
func (s *Store) sharesSessions(ctx context.Context, conns []*sql.Conn) bool {
	of := map[number]*sql.Conn{}
	last := map[*sql.Conn]number{}
	for range 2 {
		for _, conn := range conns {
			var session number
			if err := conn.QueryRowContext(ctx, s.dialect.session).Scan(&session); err != nil {
				continue
			}
			other, seen := of[session]
			before, again := last[conn]
			if seen && other != conn || again && before != session {
				return true
			}
			of[session], last[conn] = conn, session
		}
	}
	return false
}

// asksTwice reports whether the driver asks the server for the types of a
// statement before it runs it, each time. A pooler can put another session
// between the two, where the statement is missing or, worse, another one. The
// server counts transactions per session, and each request outside of a
// transaction is one.
func (s *Store) asksTwice(ctx context.Context, conn *sql.Conn) (bool, error) {
	fewest := int64(0)
	var session string
	var count int64
	for range mostSessions {
		var id text
		err := conn.QueryRowContext(ctx, s.dialect.transactionID, "virtualxid").Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		backend, counted, _ := strings.Cut(string(id), "/")
		n, err := strconv.ParseInt(counted, 10, 64)
		if err != nil {
			return false, nil
		}
		// Other connections may have used the session in between.
		if backend == session && n > count && (fewest == 0 || n-count < fewest) {
			fewest = n - count
		}
		session, count = backend, n
	}
	return fewest == 2, nil
}
