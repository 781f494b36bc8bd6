package sqlstore

import (
	"context"
	"database/sql"
	"sync"
)

// prepared is the lookup's statement in a dialect that keeps it prepared.
// Only SQLite does, where parsing takes longer than running it. Its statements
// live in this process as long as their connection, and SQLite compiles them
// again when the schema changes. A server's statements can be lost under a
// live connection, and database/sql never prepares them again.
type prepared struct {
	mu   sync.RWMutex
	stmt *sql.Stmt
}

// prepare does not hold the lock while it waits for the database. If two
// callers prepare at once, the second closes its own.
func (p *prepared) prepare(ctx context.Context, db *sql.DB, statement string) (*sql.Stmt, error) {
	p.mu.RLock()
	stmt := p.stmt
	p.mu.RUnlock()
	if stmt != nil {
		return stmt, nil
	}
	stmt, err := db.PrepareContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stmt != nil {
		stmt.Close()
		return p.stmt, nil
	}
	p.stmt = stmt
	return stmt, nil
}

// lookupRow runs the lookup. Other statements, and those on a server, are not
// prepared by the Store: a server loses prepared statements when the session
// behind a connection is reset or replaced, and database/sql never prepares them
// again. Your driver's settings decide how a statement is sent.
func (s *Store) lookupRow(ctx context.Context, db querier, credentialID string) (*sql.Row, error) {
	if s.host != nil || !s.dialect.keepsLookup {
		return db.QueryRowContext(ctx, s.dialect.lookup, credentialID), nil
	}
	stmt, err := s.prepared.prepare(ctx, s.db, s.dialect.lookup)
	if err != nil {
		return nil, err
	}
	return stmt.QueryRowContext(ctx, credentialID), nil
}
