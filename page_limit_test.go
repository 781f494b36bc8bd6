package apikey_test

import (
	"context"
	"errors"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// limitStore records the limits that it is given.
type limitStore struct {
	apikey.Store
	limits []int
}

func (s *limitStore) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	s.limits = append(s.limits, q.Limit)
	return s.Store.List(ctx, q)
}

func (s *limitStore) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	s.limits = append(s.limits, q.Limit)
	return s.Store.Events(ctx, q)
}

func TestPageLimit(t *testing.T) {
	_, counting, mock := newManager(t, apikey.Options{})
	store := &limitStore{Store: counting}
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: mock.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	id := issue(t, m, apikey.IssueParams{}).Key.ID
	o := m.ForOwner("acme", nil)
	calls := map[string]func(limit int) error{
		"list":   func(limit int) error { return second(m.List(ctx, apikey.Query{Limit: limit})) },
		"events": func(limit int) error { return second(m.Events(ctx, apikey.EventQuery{Limit: limit})) },
		"owner list": func(limit int) error {
			return second(o.List(ctx, apikey.Query{Limit: limit}))
		},
		"owner events": func(limit int) error {
			return second(o.Events(ctx, apikey.EventQuery{KeyID: id, Limit: limit}))
		},
		"rotation due": func(limit int) error { return second(m.RotationDue(ctx, apikey.Query{Limit: limit})) },
	}
	for _, test := range []struct{ asked, given int }{{0, 100}, {1, 1}, {999, 999}, {1000, 1000}, {1001, 1000}, {5000, 1000}} {
		for name, call := range calls {
			is := is.New(t)
			store.limits = nil
			is.NoErr(call(test.asked))
			if len(store.limits) != 1 || store.limits[0] != test.given {
				t.Errorf("%s: the store was given %v for a limit of %d", name, store.limits, test.asked)
			}
		}
	}
	for name, call := range calls {
		var field *apikey.FieldError
		if err := call(-1); !errors.As(err, &field) || field.Field != "limit" {
			t.Errorf("%s: %v for a negative limit", name, err)
		}
	}
}
