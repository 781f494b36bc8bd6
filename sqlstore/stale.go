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
	unfit map[any]bool // those that were found so
}

// identity returns what distinguishes a connection from others while it is
// referred to, or nil.
func identity(conn *sql.Conn) (id any) {
	conn.Raw(func(c any) error { // an error means that it is closed
		if reflect.ValueOf(c).Kind() == reflect.Pointer {
			id = c
		}
		return nil
	})
	return id
}

// remember adds a connection to a set. A set that has grown large is emptied
// first: most of its connections are closed.
func remember(set *map[any]bool, id any, open int) {
	if *set == nil || len(*set) > 4*open+16 {
		*set = map[any]bool{}
	}
	(*set)[id] = true
}

// meet notes that a connection is unfit, and reports whether it is the first
// time.
func (f *failovers) meet(conn *sql.Conn, open int) bool {
	id := identity(conn)
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == nil || f.unfit[id] {
		return id == nil
	}
	remember(&f.unfit, id, open)
	return true
}

// happen notes a failover. All connections are to be asked again.
func (f *failovers) happen() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	f.asked = nil
	f.happened.Store(true)
}

// ask reports whether a connection has not been asked since the last failover,
// and returns a function that notes that it has.
func (f *failovers) ask(conn *sql.Conn, open int) (done func(), ok bool) {
	if !f.happened.Load() {
		return nil, false
	}
	id := identity(conn)
	f.mu.Lock()
	defer f.mu.Unlock()
	if id == nil || f.asked[id] {
		return nil, false
	}
	n := f.n
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if n == f.n {
			remember(&f.asked, id, open)
		}
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
