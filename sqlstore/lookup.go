package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"

	"github.com/keyturn/apikey"
)

// Lookup implements [apikey.Store] with one statement. It reads the columns of
// the credential only, and leaves those of its key and owner to Match.Rest: how
// long they take depends on the key, and the caller may not know the secret.
func (s *Store) Lookup(ctx context.Context, credentialID string) (apikey.Match, error) {
	var m apikey.Match
	err := s.read(ctx, func() error { return s.tryLookup(ctx, credentialID, &m) })
	if err != nil {
		return apikey.Match{}, failed(ctx, "lookup", err)
	}
	return m, nil
}

// lookupColumns are the names of the columns of a key and its owner, in their
// order in dialect.lookup.
var lookupColumns = [...]string{
	"id", "owner", "name", "scopes", "networks", "rate_requests", "rate_period", "metadata",
	"created_at", "disabled_at", "disabled_by", "disabled_reason", "held", "deleted_at",
	"prefix", "credential_id", "issued_at", "expires_at", "retiring_id", "revision",
	"disabled_at", "disabled_by", "disabled_reason", "has_ceiling", "ceiling", "tokens_until",
	"revision", "nonce", "seal",
}

// ofOwner is the number of columns that are the owner's, the last ones.
const ofOwner = 9

// late is a column as the driver returned it.
type late struct{ value any }

func (l *late) Scan(v any) error {
	if b, ok := v.([]byte); ok {
		v = bytes.Clone(b) // the driver's own memory
	}
	l.value = v
	return nil
}

func (s *Store) tryLookup(ctx context.Context, credentialID string, m *apikey.Match) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	row, err := s.lookupRow(ctx, credentialID)
	if err != nil {
		return err
	}
	values := new([len(lookupColumns)]late)
	columns := make([]any, 0, 2*len(values))
	for i := range values {
		columns = append(columns, &values[i])
	}
	key, owner := columns[:len(values)-ofOwner], columns[len(values)-ofOwner:]
	columns = append(credentialColumns(key[:len(key):len(key)], &m.Credential), owner...)
	if err := row.Scan(columns...); s.absent(err) {
		return apikey.ErrNotFound
	} else if err != nil {
		return err
	}
	m.Rest = func() (apikey.Key, apikey.Owner, error) { return scanRest(values[:]) }
	return nil
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
