package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/micros"
)

// Get implements [apikey.Store].
func (s *Store) Get(ctx context.Context, id, owner string) (apikey.Record, error) {
	var record apikey.Record
	err := s.read(ctx, func(ctx context.Context, db querier) (err error) {
		record, err = s.tryGet(ctx, db, id, owner)
		return err
	})
	return record, failed(ctx, "get", err)
}

func (s *Store) tryGet(ctx context.Context, db querier, id, owner string) (apikey.Record, error) {
	statement, args := s.dialect.get, []any{id}
	if owner != "" {
		statement, args = s.dialect.getOwned, []any{id, owner}
	}
	rows, err := db.QueryContext(ctx, statement, args...)
	record, err := scanRecord(rows, err)
	if s.absent(err) {
		err = apikey.ErrNotFound
	}
	return record, err
}

// List implements [apikey.Store].
func (s *Store) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	var records []apikey.Record
	err := s.read(ctx, func(ctx context.Context, db querier) (err error) {
		records, err = s.tryList(ctx, db, q)
		return err
	})
	return records, failed(ctx, "list", err)
}

func (s *Store) tryList(ctx context.Context, db querier, q apikey.Query) ([]apikey.Record, error) {
	statement, args := s.dialect.list(q)
	rows, err := db.QueryContext(ctx, statement, args...)
	records, err := scanList(rows, err)
	if s.absent(err) {
		return nil, nil
	}
	return records, err
}

// list returns the statement for a Query, and its parameters.
func (d *dialect) list(q apikey.Query) (string, []any) {
	conditions := []string{d.after}
	args := []any{q.After}
	add := func(condition string, values ...any) {
		conditions = append(conditions, condition)
		args = append(args, values...)
	}
	if q.Owner != "" {
		add(d.owned, q.Owner)
	}
	if q.CredentialID != "" {
		add(d.ofCredential, q.CredentialID)
	}
	switch {
	case !q.DeletedBefore.IsZero():
		add(d.deletedBefore, micros.Of(q.DeletedBefore))
	case !q.IncludeDeleted:
		add(d.notDeleted)
	}
	switch from, before := q.ExpiresFrom, q.ExpiresBefore; {
	case !from.IsZero() && !before.IsZero():
		add(d.expiresFromTill, micros.Of(from), micros.Of(before))
	case !from.IsZero():
		add(d.expiresFrom, micros.Of(from))
	case !before.IsZero():
		add(d.expiresBefore, micros.Of(before))
	}
	if !q.IssuedBefore.IsZero() {
		add(d.issuedBefore, micros.Of(q.IssuedBefore))
	}
	if !q.RetiredBefore.IsZero() {
		add(d.retiredBefore, micros.Of(q.RetiredBefore))
	}
	statement := d.listHead + strings.Join(conditions, " AND ") + d.listTail
	return d.number(statement), append(args, int64(q.Limit))
}

// scanRecord reads the rows of one record, one for each credential.
func scanRecord(rows *sql.Rows, err error) (apikey.Record, error) {
	if err != nil {
		return apikey.Record{}, err
	}
	defer rows.Close()
	var (
		r    apikey.Record
		c    apikey.Credential
		list []apikey.Credential
		any  bool
	)
	columns := append(credentialColumns(recordColumns(&r), &c), (*instant)(&c.LastUsedAt), (*number)(&c.Uses))
	for rows.Next() {
		if err := rows.Scan(columns...); err != nil {
			return apikey.Record{}, ofKey(&r.Key, err)
		}
		if any = true; c.ID != "" {
			list = append(list, c)
		}
	}
	if err := rows.Err(); err != nil {
		return apikey.Record{}, err
	}
	if !any {
		return apikey.Record{}, sql.ErrNoRows
	}
	r.Credentials = list
	return r, nil
}

// scanList reads a row for each record.
func scanList(rows *sql.Rows, err error) ([]apikey.Record, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var (
		records  []apikey.Record
		r        apikey.Record
		retiring instant
	)
	columns := append(recordColumns(&r), &retiring, (*instant)(&r.Key.LastUsedAt), (*number)(&r.Key.Uses))
	for rows.Next() {
		r.Key.ID = ""
		switch err := rows.Scan(columns...); {
		case err != nil && r.Key.ID != "" && errors.Is(err, apikey.ErrDamaged):
			records = append(records, apikey.Record{Key: apikey.Key{ID: r.Key.ID}, Err: ofKey(&r.Key, err)})
			continue
		case err != nil:
			return nil, ofKey(&r.Key, err)
		}
		r.Key.RetiringUntil = time.Time(retiring)
		if r.Key.ExpiresAt.Before(r.Key.RetiringUntil) {
			r.Key.RetiringUntil = r.Key.ExpiresAt
		}
		records = append(records, r)
	}
	return records, rows.Err()
}

// ofKey adds the id of the key to an error of its row. The id is the first
// column, which is read before any that can be refused.
func ofKey(k *apikey.Key, err error) error {
	if k.ID == "" {
		return err
	}
	return fmt.Errorf("key %s: %w", k.ID, err)
}

// Owner implements [apikey.Store].
func (s *Store) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	var owner apikey.Owner
	err := s.read(ctx, func(ctx context.Context, db querier) (err error) {
		owner, err = s.tryOwner(ctx, db, id)
		return err
	})
	if err != nil {
		return apikey.Owner{}, failed(ctx, "owner", err)
	}
	return owner, nil
}

func (s *Store) tryOwner(ctx context.Context, db querier, id string) (apikey.Owner, error) {
	owner := apikey.Owner{ID: id}
	row := db.QueryRowContext(ctx, s.dialect.owner, id)
	err := row.Scan(ownerStateColumns(&owner)...)
	if s.absent(err) {
		err = nil
	}
	return owner, err
}

// Events implements [apikey.Store].
func (s *Store) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	var events []apikey.Event
	err := s.read(ctx, func(ctx context.Context, db querier) (err error) {
		events, err = s.tryEvents(ctx, db, q)
		return err
	})
	return events, failed(ctx, "events", err)
}

func (s *Store) tryEvents(ctx context.Context, db querier, q apikey.EventQuery) ([]apikey.Event, error) {
	before := q.Before.Seq
	if before <= 0 {
		before = math.MaxInt64
	}
	statements, args := [2]string{s.dialect.events, s.dialect.newestEvents}, []any{q.After.Seq, before, int64(q.Limit)}
	if q.KeyID != "" {
		statements = [2]string{s.dialect.keyEvents, s.dialect.newestKeyEvents}
		args = append([]any{q.KeyID}, args...)
	}
	statement := statements[0]
	if q.Newest {
		statement = statements[1]
	}
	rows, err := db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []apikey.Event
	var e apikey.Event
	columns := eventColumns(&e)
	for rows.Next() {
		e.Position = apikey.Position{}
		switch err := rows.Scan(columns...); {
		case err != nil && e.Position.Seq > 0 && errors.Is(err, apikey.ErrDamaged):
			err = fmt.Errorf("event %d: %w", e.Position.Seq, err)
			events = append(events, apikey.Event{Position: e.Position, Err: err})
			continue
		case err != nil:
			return nil, fmt.Errorf("event %d: %w", e.Position.Seq, err)
		}
		events = append(events, e)
	}
	if q.Newest {
		slices.Reverse(events)
	}
	return events, rows.Err()
}

// DailyUsage implements [apikey.Store].
func (s *Store) DailyUsage(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
	var uses []apikey.Usage
	err := s.read(ctx, func(ctx context.Context, db querier) (err error) {
		uses, err = s.tryDailyUsage(ctx, db, q)
		return err
	})
	return uses, failed(ctx, "daily usage", err)
}

func (s *Store) tryDailyUsage(ctx context.Context, db querier, q apikey.UsageQuery) ([]apikey.Usage, error) {
	rows, err := db.QueryContext(ctx, s.dialect.days, q.KeyID, micros.Of(q.From), micros.Of(q.Until))
	uses, err := scanDays(q.KeyID, rows, err)
	if s.absent(err) {
		return nil, nil
	}
	return uses, err
}

// scanDays reads rows of the uses of one key.
func scanDays(keyID string, rows *sql.Rows, err error) ([]apikey.Usage, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var uses []apikey.Usage
	u := apikey.Usage{KeyID: keyID}
	for rows.Next() {
		err := rows.Scan((*text)(&u.CredentialID), (*instant)(&u.Day), (*number)(&u.Uses), (*instant)(&u.LastUsedAt))
		if err != nil {
			return nil, fmt.Errorf("uses of key %s: %w", keyID, err)
		}
		uses = append(uses, u)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return uses, nil
}

// PepperIDs implements [apikey.Store]. It reads the credentials, and
// nothing else, once.
func (s *Store) PepperIDs(ctx context.Context) ([]string, error) {
	var ids []string
	err := s.read(ctx, func(ctx context.Context, db querier) (err error) {
		ids, err = s.tryPepperIDs(ctx, db)
		return err
	})
	return ids, failed(ctx, "pepper ids", err)
}

func (s *Store) tryPepperIDs(ctx context.Context, db querier) ([]string, error) {
	rows, err := db.QueryContext(ctx, s.dialect.peppers)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id blob
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, string(id))
	}
	return ids, rows.Err()
}

// read runs a call that only reads, again if its connection is dead or the
// server behind it refuses to read.
func (s *Store) read(ctx context.Context, call func(context.Context, querier) error) error {
	sent, cancel := outliving(ctx, s.timeout)
	defer cancel()
	return s.readUnder(ctx, sent, call)
}

// readUnder is read with the context under which a statement runs once it is
// sent. If a driver is interrupted while a statement runs, it closes the
// connection, so clients that hang up would take all connections from everybody
// else. The caller's context ends the waiting for a connection only.
func (s *Store) readUnder(ctx, sent context.Context, run func(context.Context, querier) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	switch {
	case s.host != nil:
		return run(ctx, s.host)
	case s.dialect.embedded:
		// There is no connection to lose, but the prepared lookup, which
		// belongs to the pool.
		if room, _ := s.room(); room {
			ctx = sent
		}
		return run(ctx, s.db)
	}
	return s.onConnection(ctx, sent, call{run: func(conn *sql.Conn) error { return run(sent, conn) }})
}

// absent reports whether an error means that no row has what was asked for:
// there is none, or it is a text that no row could have.
func (s *Store) absent(err error) bool {
	return errors.Is(err, sql.ErrNoRows) || err != nil && s.dialect.impossible(err)
}
