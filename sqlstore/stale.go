package sqlstore

import (
	"context"
	"database/sql"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
)

// failovers knows which pooled connections may lead to a former primary.
//
// A change that meets a read-only session, and a new one that can write, proves
// a failover. Other sessions with the old server go on to answer reads, and
// would accept a key that was disabled on the new one. So after that each
// connection is asked once, before its next use, whether it only reads.
type failovers struct {
	happened atomic.Bool // which is all that is looked at before the first

	mu    sync.Mutex
	n     int
	asked map[any]bool // since the last; by the driver's connection
}

// happen notes a failover. All connections are to be asked again.
func (f *failovers) happen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	f.asked = map[any]bool{}
	f.happened.Store(true)
}

// ask reports whether a connection has not been asked since the last failover,
// and returns a function that notes that it has.
func (f *failovers) ask(conn *sql.Conn, open int) (done func(), ok bool) {
	if !f.happened.Load() {
		return nil, false
	}
	var id any
	conn.Raw(func(c any) error { // an error means that it is closed
		if v := reflect.ValueOf(c); v.IsValid() && v.Comparable() {
			id = c
		}
		return nil
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == nil || f.asked[id] {
		return nil, false
	}
	n := f.n
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if n != f.n {
			return
		}
		if len(f.asked) > 4*open+16 { // most of which are closed
			clear(f.asked)
		}
		f.asked[id] = true
	}, true
}

// stale reports whether a pooled connection leads to a former primary. While new
// ones lead there as well, they are used: then there is no other server.
func (s *Store) stale(ctx context.Context, conn *sql.Conn, fresh bool) bool {
	if !s.failovers.happened.Load() {
		return false
	}
	done, ask := s.failovers.ask(conn, s.db.Stats().OpenConnections)
	if !ask {
		return false
	}
	if !fresh {
		onlyReads, err := s.dialect.onlyReads(ctx, conn)
		if err != nil {
			return false // the call meets the same error
		}
		if onlyReads {
			return true
		}
	}
	done()
	return false
}

func postgresOnlyReads(ctx context.Context, q querier) (bool, error) {
	var value text
	err := q.QueryRowContext(ctx, `SELECT current_setting($1)`, "transaction_read_only").Scan(&value)
	return value == "on", err
}

// mysqlReadOnly are the variables of a server, or a session, that only reads.
// Which there are depends on the server.
var mysqlReadOnly = []string{"read_only", "super_read_only", "innodb_read_only", "tx_read_only", "transaction_read_only"}

func mysqlOnlyReads(ctx context.Context, q querier) (bool, error) {
	settings, err := variables(ctx, q)
	if err != nil {
		return false, err
	}
	for _, setting := range mysqlReadOnly {
		if value, ok := settings[setting]; ok && !strings.EqualFold(value, "OFF") {
			return true, nil
		}
	}
	return false, nil
}
