package apikey_test

import (
	"errors"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

func TestChangeOptions(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	m, _, _ := newManager(t, apikey.Options{})
	key := issue(t, m, apikey.IssueParams{}).Key
	for _, test := range []struct {
		name   string
		opts   []apikey.ChangeOption
		reason string
		err    error
	}{
		{"none", nil, "", nil},
		{"zero option", []apikey.ChangeOption{{}}, "", nil},
		{"reason", []apikey.ChangeOption{apikey.Reason("why")}, "why", nil},
		{"two reasons", []apikey.ChangeOption{apikey.Reason("why"), apikey.Reason("because")}, "because", nil},
		{"revision", []apikey.ChangeOption{apikey.IfRevision(5), apikey.Reason("why")}, "why", nil},
		{"same revision twice", []apikey.ChangeOption{apikey.IfRevision(6), apikey.IfRevision(6)}, "", nil},
		{"other revision", []apikey.ChangeOption{apikey.IfRevision(6)}, "", apikey.ErrConflict},
		{"other revision first", []apikey.ChangeOption{apikey.IfRevision(6), apikey.IfRevision(7)}, "", apikey.ErrConflict},
		{"other revision last", []apikey.ChangeOption{apikey.IfRevision(7), apikey.IfRevision(6)}, "", apikey.ErrConflict},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			changed, err := m.Update(ctx, key.ID, apikey.Changes{Name: new(test.name)}, test.opts...)
			if test.err != nil {
				is.True(errors.Is(err, test.err))
				return
			}
			is.NoErr(err)
			events, err := m.Events(ctx, apikey.EventQuery{KeyID: key.ID, Newest: true, Limit: 1})
			is.NoErr(err)
			is.Equal(events[0].Reason, test.reason)
			is.Equal(changed.Name, test.name)
		})
	}
	last, err := m.Get(ctx, key.ID)
	is.NoErr(err)
	is.Equal(last.Name, "same revision twice")
}

func TestIssueRejectsIfRevision(t *testing.T) {
	is := is.New(t)
	m, _, _ := newManager(t, apikey.Options{})
	for _, n := range []int64{-1, 0, 1} {
		p := apikey.IssueParams{Owner: "acme", Name: "test"}
		_, err := m.Issue(t.Context(), p, apikey.IfRevision(n))
		var field *apikey.FieldError
		is.True(errors.As(err, &field) && field.Field == "revision")
		_, err = m.ForOwner("acme", nil).Issue(t.Context(), p, apikey.IfRevision(n))
		is.True(errors.As(err, &field) && field.Field == "revision")
	}
	keys, err := m.List(t.Context(), apikey.Query{})
	is.NoErr(err)
	is.Equal(len(keys), 0)
}

func TestIfRevisionOfOwner(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	m, _, _ := newManager(t, apikey.Options{})
	_, err := m.DisableOwner(ctx, "acme", apikey.IfRevision(-1))
	var field *apikey.FieldError
	is.True(errors.As(err, &field) && field.Field == "revision")
	_, err = m.DisableOwner(ctx, "acme", apikey.IfRevision(1))
	is.True(errors.Is(err, apikey.ErrConflict))
	owner, err := m.DisableOwner(ctx, "acme", apikey.IfRevision(0), apikey.Reason("unpaid")) // it never changed
	is.NoErr(err)
	is.Equal(owner.DisabledReason, "unpaid")
	_, err = m.EnableOwner(ctx, "acme", apikey.IfRevision(0))
	is.True(errors.Is(err, apikey.ErrConflict))
	_, err = m.SetOwnerScopes(ctx, "acme", []string{"a"}, apikey.IfRevision(1))
	is.NoErr(err)
	_, err = m.ClearOwnerScopes(ctx, "acme", apikey.IfRevision(2))
	is.NoErr(err)
	owner, err = m.EnableOwner(ctx, "acme", apikey.IfRevision(3), apikey.Reason("paid"))
	is.NoErr(err)
	is.True(!owner.Disabled())
}
