package apikey_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// TestWithStore: the same Manager, on another Store and on that alone.
func TestWithStore(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	mock := clock.NewMock()
	mock.Set(start)
	var observed int
	first, second := memstore.New(), memstore.New()
	m, err := apikey.New(first, &apikey.Options{
		Prefix: "acme", Peppers: []apikey.Secret{apikey.NewSecret("pepper-0123456789-abcdefghij-ABCDEFGHIJ")},
		Lifetime: apikey.Period{Days: 7}, MaxKeysPerOwner: 1, Now: mock.Now,
		ReissueLimit: &apikey.ReissueLimit{N: 2, Window: time.Hour},
		Observe:      func(context.Context, apikey.Observation) { observed++ },
	})
	is.NoErr(err)
	before := dump(t, first)
	other := m.WithStore(second)
	issued, err := other.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
	is.NoErr(err)
	is.Equal(issued.Key.Prefix, "acme")
	is.Equal(issued.Key.ExpiresAt, start.AddDate(0, 0, 7))
	_, err = other.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
	is.True(errors.Is(err, apikey.ErrLimit))
	_, err = other.Validate(ctx, issued.Token.Reveal())
	is.NoErr(err)
	_, err = m.Validate(ctx, issued.Token.Reveal())
	is.Equal(err, apikey.ErrInvalid)
	is.Equal(observed, 2)

	// An OwnerManager made from it changes the second Store, too.
	o := other.ForOwner("acme", nil)
	_, err = o.Regenerate(ctx, issued.Key.ID)
	is.NoErr(err)
	_, err = o.Regenerate(ctx, issued.Key.ID)
	is.True(errors.Is(err, apikey.ErrTooSoon))
	_, err = other.Disable(ctx, issued.Key.ID)
	is.NoErr(err)
	is.Equal(cmp.Diff(before, dump(t, first)), "")

	// What was counted is flushed by either.
	is.NoErr(other.Flush(ctx))
	key, err := other.Get(ctx, issued.Key.ID)
	is.NoErr(err)
	is.Equal(key.Uses, int64(1))
	is.NoErr(m.Check(ctx))
}

// TestWithStoreCounts: a use that is counted on another Store is not lost with
// that Manager.
func TestWithStoreCounts(t *testing.T) {
	is := is.New(t)
	m, store, _ := newManager(t, apikey.Options{})
	issued := issue(t, m, apikey.IssueParams{})
	_, err := m.WithStore(store).Validate(t.Context(), issued.Token.Reveal())
	is.NoErr(err)
	is.NoErr(m.Flush(t.Context()))
	key, err := m.Get(t.Context(), issued.Key.ID)
	is.NoErr(err)
	is.Equal(key.Uses, int64(1))
}

// TestWithNoStore: every call fails with a clear error, and none panics.
func TestWithNoStore(t *testing.T) {
	m, _, _ := newManager(t, apikey.Options{})
	issued := issue(t, m, apikey.IssueParams{})
	_, err := m.Validate(t.Context(), issued.Token.Reveal()) // a use to flush
	if err != nil {
		t.Fatal(err)
	}
	none := m.WithStore(nil)
	ctx := t.Context()
	errs := map[string]error{"flush": none.Flush(ctx), "check": none.Check(ctx)}
	_, errs["issue"] = none.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
	_, errs["get"] = none.Get(ctx, issued.Key.ID)
	_, errs["find"] = none.Find(ctx, issued.AccessKey())
	_, errs["list"] = none.List(ctx, apikey.Query{})
	_, errs["events"] = none.Events(ctx, apikey.EventQuery{})
	_, errs["daily usage"] = none.DailyUsage(ctx, issued.Key.ID, start, start.Add(time.Hour))
	_, errs["owner"] = none.Owner(ctx, "acme")
	_, errs["disable owner"] = none.DisableOwner(ctx, "acme")
	_, errs["validate"] = none.Validate(ctx, issued.Token.Reveal())
	for call, err := range errs {
		var refused *apikey.FieldError
		if !errors.As(err, &refused) || refused.Field != "store" {
			t.Errorf("%s: %v", call, err)
		}
	}
	if !errors.Is(errs["validate"], apikey.ErrUnavailable) {
		t.Errorf("validate: %v", errs["validate"])
	}
	// And nothing is lost.
	if err := m.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if key, err := m.Get(ctx, issued.Key.ID); err != nil || key.Uses != 1 {
		t.Errorf("uses %d, %v", key.Uses, err)
	}
}
