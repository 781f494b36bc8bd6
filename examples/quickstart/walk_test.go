package main

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// lax is a Validator that answers what it should, but accepts what it should
// refuse with one error.
type lax struct {
	apikey.Validator
	accepts error
	scopes  string // that it takes keys to have
}

func (v lax) Validate(ctx context.Context, token string, needs ...apikey.Requirement) (apikey.Key, error) {
	key, err := v.Validator.Validate(ctx, token, needs...)
	if err != nil && errors.Is(err, v.accepts) {
		key, err = apikey.Key{Owner: owner}, nil
		key.Scopes, _ = apikey.NewScopes("orders:read")
	}
	if err == nil && v.scopes != "" {
		key.Scopes, _ = apikey.NewScopes(v.scopes)
	}
	return key, err
}

// strict is a Validator that refuses everything.
type strict struct{}

func (strict) Validate(context.Context, string, ...apikey.Requirement) (apikey.Key, error) {
	return apikey.Key{}, apikey.ErrInvalid
}

// forgetful is a Store that does not write changes of one kind.
type forgetful struct {
	apikey.Store
	kind apikey.EventKind
}

func (s forgetful) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	if c.Events[0].Kind == s.kind {
		return apikey.Position{}, nil
	}
	return s.Store.Commit(ctx, c)
}

// torn is a Store whose log lacks the events of one kind.
type torn struct {
	apikey.Store
	kind apikey.EventKind
}

func (s torn) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	events, err := s.Store.Events(ctx, q)
	return slices.DeleteFunc(events, func(e apikey.Event) bool { return e.Kind == s.kind }), err
}

func TestWalkNotices(t *testing.T) {
	for _, test := range []struct {
		name  string
		store apikey.Store
		keys  func(*apikey.Manager) apikey.Validator
		want  string // the first step that fails; "" = none
	}{
		{name: "nothing wrong"},
		{
			name: "all refused", want: "step 2, GET /orders as Authorization: Bearer: 401 invalid_token",
			keys: func(*apikey.Manager) apikey.Validator { return strict{} },
		},
		{
			name: "scopes ignored", want: "step 5, POST /orders needs orders:write: 201",
			keys: func(m *apikey.Manager) apikey.Validator { return lax{m, nil, "orders:*"} },
		},
		{
			name: "disabled accepted", want: "step 9, GET /orders with its token: 200",
			keys: func(m *apikey.Manager) apikey.Validator { return lax{m, apikey.ErrDisabled, ""} },
		},
		{
			name: "replaced accepted", want: "step 16, GET /orders with the old token: 200",
			keys: func(m *apikey.Manager) apikey.Validator { return lax{m, apikey.ErrReplaced, ""} },
		},
		{
			name: "wrong keys accepted", want: "step 22, GET /orders with a word: 200",
			keys: func(m *apikey.Manager) apikey.Validator { return lax{m, apikey.ErrInvalid, ""} },
		},
		{
			name: "expired accepted", want: "step 28, GET /orders at that instant: 200",
			keys: func(m *apikey.Manager) apikey.Validator { return lax{m, apikey.ErrExpired, ""} },
		},
		{
			name: "deleted accepted", want: "step 33, GET /orders with its token: 200",
			keys: func(m *apikey.Manager) apikey.Validator { return lax{m, apikey.ErrDeleted, ""} },
		},
		{
			name: "disabled not written", want: "step 9, GET /orders with its token: 200",
			store: forgetful{memstore.New(), apikey.EventDisabled},
		},
		{
			name: "rotated not written", want: "step 14, GET /orders with the new token: 401 invalid_token",
			store: forgetful{memstore.New(), apikey.EventRotated},
		},
		{
			name: "regenerated not written", want: "step 19, GET /orders with the old token: 200",
			store: forgetful{memstore.New(), apikey.EventRegenerated},
		},
		{
			name: "deleted not written", want: "step 33, GET /orders with its token: 200",
			store: forgetful{memstore.New(), apikey.EventDeleted},
		},
		{
			name: "gap in the log", want: "step 35, one event for each change: 8 events",
			store: torn{memstore.New(), apikey.EventEnabled},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.store == nil {
				test.store = memstore.New()
			}
			clock := &clock{}
			manager, err := apikey.New(test.store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			var keys apikey.Validator = manager
			if test.keys != nil {
				keys = test.keys(manager)
			}
			handler, err := orders(keys)
			if err != nil {
				t.Fatal(err)
			}
			server := httptest.NewServer(handler)
			defer server.Close()

			w := walk{manager: manager, clock: clock, client: client{server.URL}, report: &report{out: io.Discard}}
			err = w.run(t.Context())
			switch {
			case test.want == "" && err != nil:
				t.Errorf("the walk failed: %v", err)
			case test.want != "" && (err == nil || !strings.HasPrefix(err.Error(), test.want)):
				t.Errorf("the walk ended with %v, want %s", err, test.want)
			}
		})
	}
}
