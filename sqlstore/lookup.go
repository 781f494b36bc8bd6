package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/keyturn/apikey"
)

// Lookup implements [apikey.Store] with one statement. It reads the columns of
// the credential only, and leaves those of its key and owner to later: how
// long they take depends on the key, and the caller may not know the secret.
func (s *Store) Lookup(ctx context.Context, credentialID string) (apikey.LookupResult, error) {
	var m apikey.LookupResult
	sent := context.WithoutCancel(ctx)
	if s.dialect != nil && !s.dialect.embedded {
		// From the start, not from the end of ctx: nobody waits longer for a
		// lookup. A database in this process has its busy timeout, and for a
		// context that can end its driver starts a goroutine per statement.
		var cancel context.CancelFunc
		sent, cancel = context.WithTimeout(sent, s.timeout)
		defer cancel()
	}
	err := s.readUnder(ctx, sent, func(ctx context.Context, db querier) (err error) {
		m, err = s.tryLookup(ctx, db, credentialID)
		return err
	})
	if sent.Err() != nil && !settled(err) {
		err = fmt.Errorf("no answer within Options.Timeout, %v: %w", s.timeout, withEnd(sent, err))
	}
	if err != nil {
		return apikey.LookupResult{}, failed(ctx, "lookup", err)
	}
	return m, nil
}

// lookupColumns are the names of the columns of a key and its owner, in their
// order in dialect.lookup, which is the same in each dialect. The last ones, as
// many as ownerColumnCount, are the owner's.
var (
	lookupColumns    = columnNames(sqliteKey + "," + sqliteOwner)
	ownerColumnCount = len(columnNames(sqliteOwner))
)

// columnNames returns the names in a list of columns like "k.id, k.owner".
func columnNames(list string) []string {
	var names []string
	for column := range strings.SplitSeq(list, ",") {
		_, name, _ := strings.Cut(strings.TrimSpace(column), ".")
		names = append(names, name)
	}
	return names
}

// late is a column as the driver returned it.
type late struct{ value any }

func (l *late) Scan(v any) error {
	if b, ok := v.([]byte); ok {
		v = bytes.Clone(b) // the driver's own memory
	}
	l.value = v
	return nil
}

func (s *Store) tryLookup(ctx context.Context, db querier, credentialID string) (m apikey.LookupResult, err error) {
	row, err := s.lookupRow(ctx, db, credentialID)
	if err != nil {
		return m, err
	}
	var credential apikey.Credential
	values := make([]late, len(lookupColumns))
	columns := make([]any, 0, len(values)+16)
	ofKey := len(values) - ownerColumnCount
	for i := range ofKey {
		columns = append(columns, &values[i])
	}
	columns = credentialColumns(columns, &credential)
	for i := ofKey; i < len(values); i++ {
		columns = append(columns, &values[i])
	}
	if err := row.Scan(columns...); s.absent(err) {
		return m, apikey.ErrNotFound
	} else if err != nil {
		return m, err
	}
	return apikey.DeferLookupResult(credential, func() (apikey.Key, apikey.Owner, error) { return scanRest(values) }), nil
}

// scanRest reads the columns of a key and its owner.
func scanRest(values []late) (apikey.Key, apikey.Owner, error) {
	var (
		key   apikey.Key
		owner apikey.Owner
	)
	for i, column := range ownerColumns(keyColumns(&key), &owner) {
		if err := column.(sql.Scanner).Scan(values[i].value); err != nil {
			err = ofKey(&key, fmt.Errorf("column %q: %w", lookupColumns[i], err))
			return apikey.Key{ID: key.ID}, apikey.Owner{}, fmt.Errorf("sqlstore: lookup: %w", err)
		}
	}
	owner.ID = key.Owner
	return key, owner, nil
}
