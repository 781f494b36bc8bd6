package apikey_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

func TestStatusBoundaries(t *testing.T) {
	end := start.Add(time.Hour)
	for _, test := range []struct {
		name string
		key  apikey.Key
		now  time.Time
		want apikey.Status
	}{
		{"before the end", apikey.Key{ExpiresAt: end}, end.Add(-time.Microsecond), apikey.StatusActive},
		{"at the end", apikey.Key{ExpiresAt: end}, end, apikey.StatusExpired},
		{"disabled and expired", apikey.Key{ExpiresAt: end, DisabledAt: start}, end, apikey.StatusDisabled},
		{"deleted and disabled", apikey.Key{ExpiresAt: end, DisabledAt: start, DeletedAt: start}, start, apikey.StatusDeleted},
		{"disabled later than now", apikey.Key{ExpiresAt: end, DisabledAt: end}, start, apikey.StatusDisabled},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.key.StatusAt(test.now); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

func TestRotatingBoundaries(t *testing.T) {
	is := is.New(t)
	m, _, mock := newManager(t, apikey.Options{})
	id := issue(t, m, apikey.IssueParams{}).Key.ID
	_, err := m.Rotate(t.Context(), id, time.Hour)
	is.NoErr(err)
	key, err := m.Get(t.Context(), id)
	is.NoErr(err)
	end := start.Add(time.Hour)
	is.Equal(key.RetiringUntil, end)
	rotating := func(at time.Time) bool {
		mock.Set(at)
		key, err := m.Get(t.Context(), id)
		is.NoErr(err)
		return key.Rotating
	}
	is.True(rotating(end.Add(-time.Microsecond)))
	is.True(!rotating(end))
	_, err = m.FinishRotation(t.Context(), id)
	is.True(errors.Is(err, apikey.ErrNotRotating))
	_, err = m.ExtendRotation(t.Context(), id, time.Hour)
	is.True(errors.Is(err, apikey.ErrNotRotating))
}

// TestReasonLength checks the longest reason on every call that takes one.
func TestReasonLength(t *testing.T) {
	is := is.New(t)
	m, _, _ := newManager(t, apikey.Options{})
	ctx := t.Context()
	id := issue(t, m, apikey.IssueParams{}).Key.ID
	long := apikey.Reason(strings.Repeat("r", 501))
	errs := changes(m, ctx, id, long)
	errs["disable owner"] = second(m.DisableOwner(ctx, "acme", long))
	errs["enable owner"] = second(m.EnableOwner(ctx, "acme", long))
	errs["set owner scopes"] = second(m.SetOwnerScopes(ctx, "acme", nil, long))
	errs["clear owner scopes"] = second(m.ClearOwnerScopes(ctx, "acme", long))
	errs["issue"] = second(m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "n"}, long))
	for call, err := range errs {
		var field *apikey.FieldError
		if !errors.As(err, &field) || field.Field != "reason" {
			t.Errorf("%s: %v", call, err)
		}
	}
	longest := strings.Repeat("r", 500)
	key, err := m.Disable(ctx, id, apikey.Reason(longest))
	is.NoErr(err)
	is.Equal(key.DisabledReason, longest)
}

// TestDisabledOwnerCanRead checks that an owner that is disabled as a whole can
// read everything and change nothing.
func TestDisabledOwnerCanRead(t *testing.T) {
	is := is.New(t)
	m, _, _ := newManager(t, apikey.Options{})
	ctx := t.Context()
	issued := issue(t, m, apikey.IssueParams{})
	id := issued.Key.ID
	_, err := m.DisableOwner(ctx, "acme")
	is.NoErr(err)
	o := m.ForOwner("acme", nil)
	for call, err := range map[string]error{
		"get":         second(o.Get(ctx, id)),
		"list":        second(o.List(ctx, apikey.Query{})),
		"find":        second(o.Find(ctx, issued.AccessKey())),
		"credentials": second(o.Credentials(ctx, id)),
		"daily usage": func() error {
			_, err := o.DailyUsage(ctx, id, start, start.Add(time.Hour))
			if errors.Is(err, errors.ErrUnsupported) {
				return nil
			}
			return err
		}(),
	} {
		if err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
	events, err := o.Events(ctx, apikey.EventQuery{KeyID: id})
	is.NoErr(err)
	is.Equal(len(events), 1)
	for call, err := range changes(m, ctx, id) {
		if strings.HasPrefix(call, "owner ") && !errors.Is(err, apikey.ErrOwnerDisabled) && !errors.Is(err, apikey.ErrDeleted) {
			t.Errorf("%s: %v", call, err)
		}
	}
	_, err = o.Issue(ctx, apikey.IssueParams{Name: "n"})
	is.True(errors.Is(err, apikey.ErrOwnerDisabled))
}

// TestEnableBoundaries checks that an expired key cannot be enabled, from the
// instant of its expiry on.
func TestEnableBoundaries(t *testing.T) {
	is := is.New(t)
	m, _, mock := newManager(t, apikey.Options{})
	key := issue(t, m, apikey.IssueParams{Lifetime: apikey.Period{Time: time.Hour}}).Key
	_, err := m.Disable(t.Context(), key.ID)
	is.NoErr(err)
	mock.Set(key.ExpiresAt)
	_, err = m.Enable(t.Context(), key.ID)
	is.True(errors.Is(err, apikey.ErrExpired))
	mock.Set(key.ExpiresAt.Add(-time.Microsecond))
	_, err = m.Enable(t.Context(), key.ID)
	is.NoErr(err)
}

// TestTokenLimitOfAManager checks that the tokens that a Manager issues neither
// fail nor count against the limit of the owner.
func TestTokenLimitOfAManager(t *testing.T) {
	is := is.New(t)
	m, _, _ := newManager(t, apikey.Options{OwnerTokenLimit: &apikey.ReissueLimit{N: 2, Window: time.Hour}})
	ctx := t.Context()
	id := issue(t, m, apikey.IssueParams{}).Key.ID
	for range 2 {
		issue(t, m, apikey.IssueParams{})
		_, err := m.Regenerate(ctx, id)
		is.NoErr(err)
		_, err = m.Rotate(ctx, id, time.Hour)
		is.NoErr(err)
	}
	owner, err := m.Owner(ctx, "acme")
	is.NoErr(err)
	is.Equal(owner, apikey.Owner{ID: "acme"}) // never changed
	o := m.ForOwner("acme", nil)
	for _, want := range []error{nil, nil, apikey.ErrTooSoon} {
		_, err := o.Issue(ctx, apikey.IssueParams{Name: "n"})
		is.True(errors.Is(err, want))
	}
}
