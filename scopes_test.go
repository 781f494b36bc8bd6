package apikey_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// TestCeiling checks the scopes that are left below a ceiling, by a table.
func TestCeiling(t *testing.T) {
	for _, test := range []struct{ key, ceiling, want string }{
		{"", "", ""},
		{"a", "", ""},
		{"", "a", ""},
		{"a b c", "b d", "b"},
		{"orders:*", "orders:read", "orders:read"},
		{"orders:read", "orders:*", "orders:read"},
		{"orders:*", "orders:*", "orders:*"},
		{"orders:*", "orders:items:*", "orders:items:*"},
		{"orders:items:*", "orders:*", "orders:items:*"},
		{"orders:*", "orders", ""},
		{"orders", "orders:*", ""},
		{"orders:*", "orders:", "orders:"},
		{"orders:", "orders:*", "orders:"},
		{"orders:*", "ordersx:read", ""},
		{"orders:* orders:read", "orders:write orders:*", "orders:* orders:read orders:write"},
		{"a:* b:1 b:2", "a:1 a:2 b:*", "a:1 a:2 b:1 b:2"},
		{"a:*", "b:*", ""},
	} {
		if got := below(t, strings.Fields(test.key), strings.Fields(test.ceiling)).String(); got != test.want {
			t.Errorf("%q below %q: %q, want %q", test.key, test.ceiling, got, test.want)
		}
	}
	// A ceiling of 100 scopes can leave more than 100.
	var key, ceiling []string
	for i := range 99 {
		key, ceiling = append(key, fmt.Sprint("a:", i)), append(ceiling, fmt.Sprint("b:", i))
	}
	if got := below(t, append(key, "b:*"), append(ceiling, "a:*")).Len(); got != 198 {
		t.Errorf("%d scopes, want 198", got)
	}
}

// below returns the scopes that Validate returns for a key below a ceiling.
func below(t testing.TB, scopes, ceiling []string) apikey.Scopes {
	t.Helper()
	m, _, _ := newManager(t, apikey.Options{})
	issued := issue(t, m, apikey.IssueParams{Scopes: scopes})
	if _, err := m.SetOwnerScopes(t.Context(), "acme", ceiling); err != nil {
		t.Fatal(err)
	}
	key, err := m.Validate(t.Context(), issued.Token.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return key.Scopes
}

// TestCeilingIsTheIntersection compares the scopes that are left with the
// definition: each scope is allowed if, and only if, both sets allow it.
func TestCeilingIsTheIntersection(t *testing.T) {
	var all []string
	for _, a := range []string{"a", "b", "a:", "a:b", "a:b:", "a:b:c", "ab:c", "a:bc", "b:c"} {
		all = append(all, a)
		if strings.HasSuffix(a, ":") {
			all = append(all, a+"*")
		}
	}
	all = append(all, "b:*", "ab:*")
	for range 2000 {
		pick := func() []string {
			var some []string
			for range rand.IntN(5) {
				some = append(some, all[rand.IntN(len(all))])
			}
			return some
		}
		one, two := pick(), pick()
		left := below(t, one, two)
		a, _ := apikey.NewScopes(one...)
		b, _ := apikey.NewScopes(two...)
		for _, scope := range all {
			if got, want := left.Allows(scope), a.Allows(scope) && b.Allows(scope); got != want {
				t.Fatalf("%q below %q leaves %q: allows %s: %t, want %t", a, b, left, scope, got, want)
			}
		}
	}
}

// TestCatalogue checks that a scope which is not among Options.Scopes is given
// to no key and no owner.
func TestCatalogue(t *testing.T) {
	is := is.New(t)
	m, store, mock := newManager(t, apikey.Options{})
	old := issue(t, m, apikey.IssueParams{Scopes: []string{"legacy:*"}}).Key
	listed, err := apikey.New(store, &apikey.Options{
		Now: mock.Now, Peppers: []apikey.Secret{apikey.NoPepper()}, Scopes: []string{"orders:read", "orders:write", "users:*", "me"},
	})
	is.NoErr(err)
	ctx := t.Context()
	for scope, want := range map[string]bool{
		"orders:read": true, "me": true, "users:anything": true, "users:": true, "users:*": true, "users:a:*": true,
		"orders:*":   true, // covers some that exist
		"order:read": false, "orders:raed": false, "Orders:read": false, "orders": false, "order:*": false, "orders:read:*": false,
		"me:*": false, "user:*": false, "legacy:a": false,
	} {
		errs := map[string]error{
			"issue":  second(listed.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "x", Scopes: []string{"me", scope}})),
			"update": second(listed.Update(ctx, issue(t, m, apikey.IssueParams{}).Key.ID, apikey.Changes{Scopes: &[]string{scope}})),
			"ceiling": func() error {
				_, err := listed.SetOwnerScopes(ctx, "owner of "+scope, []string{scope})
				return err
			}(),
			"grant": second(listed.ForOwner("acme", &apikey.OwnerOptions{Scopes: []string{scope}}).List(ctx, apikey.Query{})),
			"owner": second(listed.ForOwner("acme", &apikey.OwnerOptions{Scopes: []string{"users:*", "orders:*", "me"}}).
				Issue(ctx, apikey.IssueParams{Name: "x", Scopes: []string{scope}})),
		}
		for call, err := range errs {
			var field *apikey.FieldError
			if (err == nil) != want || err != nil && (!errors.As(err, &field) || field.Field != "scopes") {
				t.Errorf("%s with %s: %v", call, scope, err)
			}
		}
	}
	// What a key has already stays.
	key, err := listed.Update(ctx, old.ID, apikey.Changes{Scopes: &[]string{"legacy:*", "me"}})
	is.NoErr(err)
	_, err = listed.Update(ctx, key.ID, apikey.Changes{Scopes: &[]string{"legacy:a"}})
	is.True(err != nil) // a typo, for all that is known
	_, err = listed.Regenerate(ctx, key.ID)
	is.NoErr(err)

	// An empty catalogue has no scopes; a malformed one is rejected.
	none, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Scopes: []string{}})
	is.NoErr(err)
	_, err = none.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "x", Scopes: []string{"me"}})
	is.True(err != nil)
	_, err = apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Scopes: []string{"a b"}})
	var field *apikey.FieldError
	is.True(errors.As(err, &field) && field.Field == "scopes")
}

// TestActingRate checks which rates a key may give to a key that it issues.
func TestActingRate(t *testing.T) {
	is := is.New(t)
	m, _, _ := newManager(t, apikey.Options{})
	per := func(requests int, period string) apikey.Rate { return rate(t, requests, period) }
	for _, test := range []struct{ acting, options, want apikey.Rate }{
		{apikey.Rate{}, apikey.Rate{}, apikey.Rate{}},
		{apikey.Rate{}, per(5, "1s"), per(5, "1s")},
		{per(5, "1s"), apikey.Rate{}, per(5, "1s")},
		{per(5, "1s"), per(4, "1s"), per(4, "1s")},
		{per(5, "1s"), per(5, "2s"), per(5, "2s")},
		{per(5, "1s"), per(6, "1s"), per(5, "1s")},
		{per(5, "1s"), per(6, "1h"), per(5, "1s")}, // fewer in the long run, but more at once
		{per(5, "1s"), per(1, "100ms"), per(5, "1s")},
		{per(1<<40, "2000000h"), per(1<<39, "1000000h"), per(1<<39, "1000000h")},
		{per(1<<40, "2000000h"), per(1<<39, "999999h"), per(1<<40, "2000000h")},
	} {
		acting := issue(t, m, apikey.IssueParams{Rate: test.acting}).Key
		made, err := m.ForOwner("acme", &apikey.OwnerOptions{Rate: test.options}).
			Issue(apikey.NewContext(t.Context(), acting), apikey.IssueParams{Name: "x"})
		is.NoErr(err)
		if made.Key.Rate != test.want {
			t.Errorf("%v for %v: %v, want %v", test.options, test.acting, made.Key.Rate, test.want)
		}
	}
}

func rate(t testing.TB, requests int, period string) apikey.Rate {
	t.Helper()
	d, err := time.ParseDuration(period)
	if err != nil {
		t.Fatal(err)
	}
	return apikey.Rate{Requests: requests, Period: d}
}
