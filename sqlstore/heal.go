package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/keyturn/apikey"
)

// call is what is run on a connection of the pool, and when it is run again.
type call struct {
	run func(*sql.Conn) error

	// certain reports whether an error means that nothing was written. A call
	// that only reads has none.
	certain func(error) bool

	// again reports whether an error of a sound connection is worth another
	// run, or is nil.
	again func(error) bool
}

// onConnection runs a call on a connection of the pool. ctx is the caller's,
// sent the one under which connections are opened and judged.
//
// A server that restarts leaves a pool of dead connections behind, and a
// failover one of connections to a server that is now read-only. Each run
// throws away at most one of them, and runs on pooled connections that turn out
// so do not count: the call fails only if a connection that was opened
// meanwhile is no better.
func (s *Store) onConnection(ctx, sent context.Context, c call) error {
	h := healing{store: s}
	defer h.end()
	for {
		h.seen = s.verdict.Load()
		conn, fresh, err := s.connect(ctx, sent)
		if err != nil {
			h.fresh = true
			if (lost(err) || startsUp(err)) && h.goesOn(ctx) {
				continue
			}
			return err
		}
		h.fresh = fresh
		if s.stale(sent, conn, fresh) {
			discard(conn)
			if h.goesOn(ctx) {
				continue
			}
			return errStale
		}
		err = c.run(conn)
		if !h.again(ctx, sent, conn, c, err) {
			return err
		}
	}
}

// errStale means that all runs met connections of before a failover.
var errStale = errors.New("too many connections lead to a server that only reads")

// startsUp reports whether PostgreSQL does not accept connections yet, or no
// more.
func startsUp(err error) bool { return sqlState(err) == "57P03" }

// healing is the state of one call over its runs.
type healing struct {
	store *Store
	fresh bool   // the connection of this run was opened for it
	seen  uint64 // the verdict when this run began

	runs   int // that count
	pooled int // runs that met a bad connection of the pool
	most   int // as many of these as there can be

	leads bool // this call holds the token of healing
	held  []held
	news  int // unfit ones that were fresh
}

type held struct {
	conn  *sql.Conn
	fresh bool
}

// again ends a run: it gives its connection back, discards it or holds it, and
// reports whether there is another run.
func (h *healing) again(ctx, sent context.Context, conn *sql.Conn, c call, err error) bool {
	s := h.store
	if settled(err) {
		conn.Close()
		h.decide(true)
		return false
	}
	state := s.judge(sent, conn, err)
	if state == dead {
		discard(conn)
	}
	if c.certain != nil && !c.certain(err) || ctx.Err() != nil || sent.Err() != nil {
		conn.Close()
		return false
	}
	switch state {
	case dead:
		return h.goesOn(ctx)
	case unfit:
		return h.replace(ctx, sent, conn)
	}
	conn.Close()
	h.decide(true)
	h.runs++
	return h.runs < s.attempts && c.again != nil && c.again(err) && s.pause(ctx, h.runs) == nil
}

// settled reports whether an outcome is one that the contract names.
func settled(err error) bool {
	switch err {
	case nil, apikey.ErrNotFound, apikey.ErrConflict, apikey.ErrExists, apikey.ErrLimit:
		return true
	}
	return false
}

// goesOn reports whether another run may follow one with a bad connection.
// Only a bad connection that was new counts, and is a reason to pause.
func (h *healing) goesOn(ctx context.Context) bool {
	s := h.store
	if h.fresh {
		h.runs++
		return h.runs < s.attempts && s.pause(ctx, h.runs) == nil
	}
	if h.pooled == 0 {
		h.most = s.db.Stats().OpenConnections + s.attempts
	}
	h.pooled++
	return h.pooled <= h.most && ctx.Err() == nil
}

// replace looks for a connection to another server than that of conn, which
// does not do what is asked. One call does so at a time. It holds on to the
// connections that it meets, so that the pool must open a new one. If that is
// fit, all those held are stale and are discarded. If not, they are as good as
// any and go back to the pool: while only a standby can be reached, nobody
// opens connections again and again.
func (h *healing) replace(ctx, sent context.Context, conn *sql.Conn) bool {
	s := h.store
	// What the pool showed may have changed before it handed out a connection.
	h.fresh = s.failovers.meet(conn, s.db.Stats().OpenConnections) && h.fresh
	if h.fresh {
		h.news++
	}
	if !h.leads {
		returned := false
		select {
		case s.healing <- struct{}{}:
		default:
			// If all that wait kept their connections, a pool that is full
			// would have none for the call that leads.
			if room, _ := s.room(); !room {
				conn.Close()
				returned = true
			}
			select {
			case s.healing <- struct{}{}:
			case <-ctx.Done():
				conn.Close()
				return false
			case <-sent.Done(): // the Timeout of a lookup
				conn.Close()
				return false
			}
		}
		if verdict := s.verdict.Load(); verdict != h.seen { // another call has looked meanwhile
			<-s.healing
			if verdict&fits == 0 {
				conn.Close()
				return false
			}
			discard(conn)
			return h.goesOn(ctx)
		}
		h.leads = true
		if returned {
			return h.goesOn(ctx)
		}
	}
	h.held = append(h.held, held{conn, h.fresh})
	if h.news >= enoughNews || !h.goesOn(ctx) {
		h.decide(false)
		return false
	}
	if room, _ := s.room(); !room {
		discard(h.held[0].conn)
		h.held = h.held[1:]
	}
	return true
}

const (
	// fits is set in a verdict if a new connection helped. The rest of it
	// counts the verdicts.
	fits uint64 = 1

	// enoughNews is how many new connections must be unfit. One may be another
	// caller's old one, which came back at the same moment.
	enoughNews = 2
)

// decide ends the search of a call that leads one, with a verdict for those that
// wait.
func (h *healing) decide(healed bool) {
	if !h.leads {
		return
	}
	verdict := h.store.verdict.Load()&^fits + 2
	if healed {
		verdict |= fits
		h.store.failovers.happen()
	}
	h.store.verdict.Store(verdict)
	for _, c := range h.held {
		if healed || c.fresh {
			discard(c.conn)
		}
	}
	h.end()
}

// end lets go of what a call that leads a search holds.
func (h *healing) end() {
	if !h.leads {
		return
	}
	for _, c := range h.held {
		c.conn.Close()
	}
	h.held, h.leads = nil, false
	<-h.store.healing
}

// onlyReadsAdvice is that of Check for a server whose answers are not current.
const onlyReadsAdvice = "connect to the primary: on a server that only reads no key can be disabled, and what it answers may be stale"
