package sqlstore_test

import (
	"context"
	"errors"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// TestMadeOfNothing: a Store without a database or a dialect refuses every
// call. What it does with both is tested where the drivers are, in
// internal/dbtest.
func TestMadeOfNothing(t *testing.T) {
	for name, store := range map[string]*sqlstore.Store{
		"no database": sqlstore.New(nil, sqlstore.SQLite, nil),
		"nothing":     sqlstore.New(nil, sqlstore.Dialect{}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			ctx := context.Background()
			var errs [10]error
			_, errs[0] = store.Lookup(ctx, "id")
			_, errs[1] = store.Get(ctx, "id", "")
			_, errs[2] = store.List(ctx, apikey.Query{Limit: 1})
			_, errs[3] = store.Owner(ctx, "acme")
			_, errs[4] = store.Commit(ctx, apikey.Commit{})
			_, errs[5] = store.Events(ctx, apikey.EventQuery{Limit: 1})
			errs[6] = store.AddUsage(ctx, []apikey.Usage{{}})
			errs[7] = store.Check(ctx)
			_, errs[8] = store.PepperIDs(ctx)
			_, errs[9] = store.DailyUsage(ctx, apikey.UsageQuery{KeyID: "id"})
			for _, err := range errs {
				is.True(err != nil)
				is.True(!errors.Is(err, apikey.ErrNotFound))
			}
			is.True(errors.Is(errs[4], apikey.ErrAborted))
		})
	}
	is := is.New(t)
	is.True(sqlstore.Migrate(context.Background(), nil, sqlstore.SQLite) != nil)
}
