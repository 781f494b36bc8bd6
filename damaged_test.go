package apikey_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
)

// issueMany returns the ids of new keys, ascending.
func issueMany(t *testing.T, keys *apikeytest.Manager, n int) []string {
	t.Helper()
	var ids []string
	for range n {
		ids = append(ids, keys.MustIssue(t, apikey.IssueParams{Owner: "acme"}).Key.ID)
	}
	slices.Sort(ids)
	return ids
}

// TestListOfDamaged checks that pages of every size return each key that is not
// damaged once, and name each that is, wherever they are.
func TestListOfDamaged(t *testing.T) {
	keys := apikeytest.New(t)
	ids := issueMany(t, keys, 7)
	for chosen := range 1 << len(ids) {
		keys.Store.Recover()
		var want, bad []string
		for i, id := range ids {
			if chosen>>i&1 == 1 {
				keys.Store.Damage(id)
				bad = append(bad, id)
			} else {
				want = append(want, id)
			}
		}
		for limit := 1; limit <= len(ids)+1; limit++ {
			var got, named []string
			q := apikey.Query{Limit: limit}
			for {
				page, err := keys.ForOwner("acme", nil).List(t.Context(), q)
				var damaged *apikey.DamagedError
				switch {
				case errors.As(err, &damaged):
					named = append(named, damaged.IDs...)
					for _, id := range damaged.IDs {
						if !strings.Contains(err.Error(), id) {
							t.Fatalf("the text does not name %s: %v", id, err)
						}
					}
				case err != nil:
					t.Fatal(err)
				}
				for _, key := range page {
					got = append(got, key.ID)
					q.After = key.ID
				}
				if len(page) < limit {
					break
				}
			}
			slices.Sort(named)
			if !slices.Equal(got, want) || !slices.Equal(slices.Compact(named), bad) {
				t.Fatalf("pages of %d with %d damaged: got %q and named %q, want %q and %q", limit, len(bad), got, named, want, bad)
			}
		}
	}
}

// TestDamagedKeys checks what each call makes of a damaged key.
func TestDamagedKeys(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := apikeytest.New(t)
	good, bad := keys.MustIssue(t, apikey.IssueParams{}), keys.MustIssue(t, apikey.IssueParams{})
	deleted := []string{bad.Key.ID}
	for range 3 {
		id := keys.MustIssue(t, apikey.IssueParams{}).Key.ID
		_, err := keys.Delete(ctx, id)
		is.NoErr(err)
		deleted = append(deleted, id)
	}
	_, err := keys.Delete(ctx, bad.Key.ID)
	is.NoErr(err)
	keys.Store.Damage(bad.Key.ID)

	_, err = keys.Validate(ctx, bad.Token.Reveal())
	is.True(errors.Is(err, apikey.ErrUnavailable))
	is.True(errors.Is(err, apikey.ErrDamaged))
	_, err = keys.Validate(ctx, good.Token.Reveal())
	is.NoErr(err)
	for _, call := range []func() error{
		func() error { _, err := keys.Get(ctx, bad.Key.ID); return err },
		func() error { _, err := keys.Find(ctx, bad.AccessKey()); return err },
		func() error { _, err := keys.Disable(ctx, bad.Key.ID); return err },
		func() error { _, err := keys.Credentials(ctx, bad.Key.ID); return err },
	} {
		err := call()
		is.True(errors.Is(err, apikey.ErrDamaged))
		is.True(!errors.Is(err, apikey.ErrNotFound))
	}

	keys.Clock.Advance(100 * 24 * time.Hour)
	swept, err := keys.Sweep(ctx)
	var damaged *apikey.DamagedError
	is.True(errors.As(err, &damaged))
	is.Equal(damaged.IDs, []string{bad.Key.ID})
	is.Equal(swept.Keys, 3)

	expiring, err := keys.Expiring(ctx, 300*24*time.Hour, apikey.Query{})
	is.NoErr(err) // the damaged one is deleted
	is.Equal(len(expiring), 1)

	// A follower reads past a damaged event.
	keys.Store.DamageEvent(2)
	events, err := keys.Events(ctx, apikey.EventQuery{Limit: 3})
	is.NoErr(err)
	is.Equal(len(events), 3)
	is.Equal(events[1].Position.Seq, int64(2))
	is.True(errors.Is(events[1].Err, apikey.ErrDamaged))
	is.NoErr(events[2].Err)
}

func TestDamagedErrorText(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := apikeytest.New(t)
	ids := issueMany(t, keys, 102)
	for _, id := range ids {
		keys.Store.Damage(id)
	}
	_, err := keys.List(ctx, apikey.Query{})
	var damaged *apikey.DamagedError
	is.True(errors.As(err, &damaged))
	is.Equal(damaged.IDs, ids)
	is.True(strings.Contains(err.Error(), "102 keys ("+ids[0]+" "))
	is.True(strings.Contains(err.Error(), " and 2 more)"))
}
