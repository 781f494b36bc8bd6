package backup_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/backup"
)

// TestExportOfDamagedRows checks that Export names everything that it cannot
// read, and that Restore rejects what was written.
func TestExportOfDamagedRows(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := newSystem(t)
	var ids []string
	for range 3 {
		ids = append(ids, keys.MustIssue(t, apikey.IssueParams{}).Key.ID)
	}
	keys.Store.Damage(ids[1])
	keys.Store.DamageEvent(2)
	var file bytes.Buffer
	err := keys.Export(ctx, &file)
	var damaged *apikey.DamagedError
	is.True(errors.As(err, &damaged))
	is.Equal(damaged.IDs, []string{ids[1]})
	is.Equal(damaged.Events, []int64{2})
	is.True(strings.Contains(err.Error(), ids[1]))
	is.True(errors.Is(damaged.Err, apikey.ErrDamaged))
	is.True(errors.Is(newSystem(t).Restore(ctx, bytes.NewReader(file.Bytes())), backup.ErrFile))
}

// mislabeled is a Store in which someone has changed the id of a row to a token.
type mislabeled struct {
	apikey.Store
	id string
}

func (s mislabeled) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	page, err := s.Store.List(ctx, q)
	if len(page) > 0 {
		page[0].Key.ID = s.id
	}
	return page, err
}

// TestExportQuotesNoDamagedID checks that the error does not contain what is
// stored in place of an id.
func TestExportQuotesNoDamagedID(t *testing.T) {
	is := is.New(t)
	keys := newSystem(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	err := keys.on(mislabeled{keys.Store, token}).Export(t.Context(), &bytes.Buffer{})
	var damaged *apikey.DamagedError
	is.True(errors.As(err, &damaged))
	is.Equal(damaged.IDs, []string{"unknown"})
	is.True(!strings.Contains(err.Error(), token))
}
