package apikeytest_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

func TestAllow(t *testing.T) {
	scopes, err := apikey.NewScopes("orders:*")
	if err != nil {
		t.Fatal(err)
	}
	networks, err := apikey.NewNetworks(netip.MustParsePrefix("192.0.2.0/24"))
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	inside, outside := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("198.51.100.7")
	long := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	bad := &apikey.FieldError{Field: "scope", Code: "malformed", Problem: "must be a scope"}

	tests := []struct {
		name  string
		ctx   context.Context
		key   apikey.Key
		token string
		needs []apikey.Requirement
		err   error
	}{
		{"no needs", t.Context(), apikey.Key{}, "any", nil, nil},
		{"zero key", t.Context(), apikey.Key{}, "any", []apikey.Requirement{apikey.From(outside)}, nil},
		{"scope", t.Context(), apikey.Key{ID: "id", Scopes: scopes}, "any", []apikey.Requirement{apikey.Scope("orders:read")}, nil},
		{"missing scope", t.Context(), apikey.Key{Scopes: scopes}, "any", []apikey.Requirement{apikey.Scope("users:read")}, apikey.ErrScope},
		{"no scopes", t.Context(), apikey.Key{}, "any", []apikey.Requirement{apikey.Scope("orders:read")}, apikey.ErrScope},
		{"malformed scope", t.Context(), apikey.Key{Scopes: scopes}, "any", []apikey.Requirement{apikey.Scope("a b")}, bad},
		{"inside", t.Context(), apikey.Key{Networks: networks}, "any", []apikey.Requirement{apikey.From(inside)}, nil},
		{"outside", t.Context(), apikey.Key{Networks: networks}, "any", []apikey.Requirement{apikey.From(outside)}, apikey.ErrAddress},
		{"nowhere", t.Context(), apikey.Key{Networks: networks}, "any", nil, apikey.ErrAddress},
		{"disabled", t.Context(), apikey.Key{DisabledAt: long}, "any", nil, apikey.ErrDisabled},
		{"deleted", t.Context(), apikey.Key{DeletedAt: long}, "any", nil, apikey.ErrDeleted},
		{"no clock", t.Context(), apikey.Key{ExpiresAt: long, CredentialID: "id", RetiringID: "other"}, "any", nil, nil},
		{"no token", t.Context(), apikey.Key{}, "", nil, apikey.ErrInvalid},
		{"context ended", ended, apikey.Key{}, "any", nil, context.Canceled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := apikeytest.Allow(test.key)
			for range 2 { // the first call leaves nothing behind
				key, err := v.Validate(test.ctx, test.token, test.needs...)
				var field *apikey.FieldError
				if errors.As(test.err, &field) && errors.As(err, &field) {
					if diff := cmp.Diff(test.err, error(field)); diff != "" {
						t.Error(diff)
					}
				} else if !errors.Is(err, test.err) {
					t.Errorf("error %v, want %v", err, test.err)
				}
				want := test.key
				if test.err != nil {
					want = apikey.Key{}
				}
				if diff := cmp.Diff(want, key, cmp.Comparer(func(a, b apikey.Scopes) bool { return a == b }), cmp.Comparer(apikey.Networks.Equal), cmp.Comparer(apikey.Metadata.Equal)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}

	is := is.New(t)
	_, err = apikeytest.Allow(apikey.Key{}).Validate(ended, "any")
	is.True(errors.Is(err, apikey.ErrUnavailable))
}

func TestDeny(t *testing.T) {
	is := is.New(t)
	for _, want := range []error{apikey.ErrInvalid, apikey.ErrExpired, context.DeadlineExceeded} {
		key, err := apikeytest.Deny(want).Validate(t.Context(), "any", apikey.Scope("orders:read"))
		is.Equal(err, want)
		is.Equal(key.ID, "")
	}
	_, err := apikeytest.Deny(nil).Validate(t.Context(), "any")
	is.Equal(err, apikey.ErrInvalid) // never an accept
}
