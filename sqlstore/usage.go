package sqlstore

import (
	"context"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/micros"
)

// AddUsage implements [apikey.Store] in one transaction of one statement, or of
// two where a statement can write to one table only, whatever the number of
// uses. Its errors are as those of Commit.
func (s *Store) AddUsage(ctx context.Context, uses []apikey.Usage) error {
	return failed(ctx, "add usage", s.tryAddUsage(ctx, uses))
}

func (s *Store) tryAddUsage(ctx context.Context, uses []apikey.Usage) error {
	if err := s.ready(ctx); err != nil {
		return aborted(err)
	}
	if len(uses) == 0 {
		return nil
	}
	return s.transact(ctx, func(tx querier) error { return s.addUses(ctx, tx, uses) })
}

// addUses hands all uses to the database as one text, of JSON.
func (s *Store) addUses(ctx context.Context, tx querier, uses []apikey.Usage) error {
	list := make([][4]any, 0, len(uses))
	for i := range uses {
		u := &uses[i]
		if !utf8.ValidString(u.CredentialID) || strings.ContainsRune(u.CredentialID, 0) {
			continue // JSON would make another id of it, and none such is stored
		}
		list = append(list, [4]any{u.CredentialID, micros.Of(u.Day), u.Uses, micros.Of(u.LastUsedAt)})
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	for _, statement := range s.dialect.addUsage {
		if _, err := tx.ExecContext(ctx, statement, string(b)); err != nil {
			return err
		}
	}
	return nil
}
