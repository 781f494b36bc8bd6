package apikey_test

import (
	"errors"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// TestUpdateLifetimeFromIssue checks that MaxLifetime counts from the creation
// of the credential. If it counted from now, an owner could prolong a key
// without end.
func TestUpdateLifetimeFromIssue(t *testing.T) {
	m, _, mock := newManager(t, apikey.Options{MaxLifetime: apikey.Period{Days: 100}, Lifetime: apikey.Period{Days: 10}})
	ctx := t.Context()
	id := issue(t, m, apikey.IssueParams{}).Key.ID
	o := m.ForOwner("acme", nil)
	mock.Add(9 * 24 * time.Hour)
	latest := start.AddDate(0, 0, 100)
	updates := map[string]func(end time.Time) error{
		"manager": func(end time.Time) error { return second(m.Update(ctx, id, apikey.Changes{ExpiresAt: &end})) },
		"owner":   func(end time.Time) error { return second(o.Update(ctx, id, apikey.Changes{ExpiresAt: &end})) },
	}
	for name, update := range updates {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			var field *apikey.FieldError
			is.True(errors.As(update(latest.Add(time.Microsecond)), &field))
			is.Equal(field.Field, "expires_at")
			is.True(errors.As(update(mock.Now().AddDate(0, 0, 100)), &field))
			is.NoErr(update(latest))
		})
	}
	t.Run("new credential", func(t *testing.T) {
		is := is.New(t)
		_, err := o.Regenerate(ctx, id)
		is.NoErr(err)
		latest := mock.Now().AddDate(0, 0, 100)
		is.NoErr(updates["owner"](latest))
		is.True(updates["owner"](latest.Add(time.Microsecond)) != nil)
	})
}

// TestUpdateOfAnExpiredRotation checks that more time for an expired key does
// not revive the rotation that the key was in, also if the clock goes back.
func TestUpdateOfAnExpiredRotation(t *testing.T) {
	is := is.New(t)
	m, _, mock := newManager(t, apikey.Options{})
	ctx := t.Context()
	old := issue(t, m, apikey.IssueParams{})
	rotated, err := m.Rotate(ctx, old.Key.ID, 100*time.Hour)
	is.NoErr(err)
	end := start.Add(time.Hour)
	_, err = m.Update(ctx, old.Key.ID, apikey.Changes{ExpiresAt: &end})
	is.NoErr(err)
	mock.Set(end)
	later := start.Add(200 * time.Hour)
	key, err := m.Update(ctx, old.Key.ID, apikey.Changes{ExpiresAt: &later})
	is.NoErr(err)
	is.Equal(key.RetiringID, "")
	for _, now := range []time.Time{end, start.Add(time.Minute)} {
		mock.Set(now)
		_, err = m.Validate(ctx, old.Token.Reveal())
		is.Equal(err, apikey.ErrReplaced)
		_, err = m.Validate(ctx, rotated.Token.Reveal())
		is.NoErr(err)
	}
}
