package apikeyhttp_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

// counter counts what a Validator is asked.
type counter struct {
	apikey.Validator
	calls int
}

func (c *counter) Validate(ctx context.Context, token string, needs ...apikey.Requirement) (apikey.Key, error) {
	c.calls++
	return c.Validator.Validate(ctx, token, needs...)
}

// uncomparable is a Validator that == would panic on.
type uncomparable struct {
	apikey.Validator
	_ []int
}

func TestStackedWorkIsDoneOnce(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	v, l := &counter{Validator: keys}, &limiter{key: apikeyhttp.Quota{Allowed: true, Policy: "key"}, client: apikeyhttp.Quota{Allowed: true}}
	observed := 0
	options := &apikeyhttp.Options{Limiter: l, Observe: func(*http.Request, apikey.Observation) { observed++ }}
	narrow := *options
	narrow.Carriers = apikeyhttp.Bearer

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	served := newHandler()
	handler := newGuard(v, options).Authenticate(newGuard(v, &narrow).Optional(newGuard(v, options).Authenticate(served)))
	got := serve(handler, r)
	is.Equal(got.StatusCode, 200)
	is.Equal(served.calls, 1)
	is.Equal(v.calls, 1)
	is.Equal(observed, 1)
	is.Equal(len(l.keys), 1)
	is.Equal(len(l.clients), 1)
	is.Equal(len(got.Header.Values("RateLimit")), 1)
	is.NoErr(keys.Flush(t.Context()))
	listed, err := keys.List(t.Context(), apikey.Query{})
	is.NoErr(err)
	is.Equal(listed[0].Uses, int64(1))

	// The next request is another one.
	is.Equal(serve(handler, r).StatusCode, 200)
	is.Equal(v.calls, 2)
	is.Equal(len(l.keys), 2)
}

// TestOtherRequests: a request that a handler makes with the context of its own
// is another one.
func TestOtherRequests(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	l := &limiter{key: apikeyhttp.Quota{Allowed: true}, client: apikeyhttp.Quota{Allowed: true}}
	observed := 0
	options := &apikeyhttp.Options{Limiter: l, Observe: func(*http.Request, apikey.Observation) { observed++ }}
	part := newGuard(keys, options).Authenticate(newHandler())
	var statuses []int
	batch := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 2 {
			inner := apikeytest.Request(t, "GET", "/", issued.Token).WithContext(r.Context())
			statuses = append(statuses, serve(part, inner).StatusCode)
			statuses = append(statuses, serve(part, r.Clone(r.Context())).StatusCode)
			_, err := keys.Disable(t.Context(), issued.Key.ID)
			is.NoErr(err)
		}
	})
	is.Equal(serve(newGuard(keys, options).Authenticate(batch), apikeytest.Request(t, "GET", "/", issued.Token)).StatusCode, 200)
	is.Equal(statuses, []int{200, 200, 401, 401})
	is.Equal(len(l.keys), 3)
	is.Equal(observed, 5)
}

// TestStackedDiffer: what is not the same work is done.
func TestStackedDiffer(t *testing.T) {
	keys := apikeytest.New(t)
	first := keys.MustIssue(t, apikey.IssueParams{Owner: "first"}).Token.Reveal()
	second := keys.MustIssue(t, apikey.IssueParams{Owner: "second"}).Token.Reveal()
	l1 := &limiter{key: apikeyhttp.Quota{Allowed: true}, client: apikeyhttp.Quota{Allowed: true}}
	l2 := &limiter{key: apikeyhttp.Quota{Allowed: true}, client: apikeyhttp.Quota{Allowed: true}}
	tests := []struct {
		name         string
		outer, inner apikey.Validator // nil is the same one
		outerOptions *apikeyhttp.Options
		innerOptions *apikeyhttp.Options
		own          string // token in X-API-Key; first is in Authorization
		status       int
		owner        string
		calls        int
	}{
		{"same", nil, nil, nil, nil, "", 200, "first", 1},
		{"other carriers, same token", nil, nil, nil, &apikeyhttp.Options{Carriers: apikeyhttp.Bearer}, "", 200, "first", 1},
		{"other token", nil, nil, &apikeyhttp.Options{Carriers: apikeyhttp.Bearer}, &apikeyhttp.Options{Carriers: apikeyhttp.Header}, second, 200, "second", 2},
		{"bad other token", nil, nil, &apikeyhttp.Options{Carriers: apikeyhttp.Bearer}, &apikeyhttp.Options{Carriers: apikeyhttp.Header}, "bad", 401, "", 2},
		{"two for the inner", nil, nil, &apikeyhttp.Options{Carriers: apikeyhttp.Bearer}, nil, second, 400, "", 1},
		{"none for the inner", nil, nil, nil, &apikeyhttp.Options{Carriers: apikeyhttp.Header}, "", 401, "", 1},
		{"other address", nil, nil, nil, &apikeyhttp.Options{TrustedProxies: prefixes("192.0.2.0/24")}, "", 200, "first", 2},
		{"an Optional between", nil, nil, nil, &apikeyhttp.Options{Carriers: apikeyhttp.Bearer}, "between", 200, "first", 1},
		{"other Validator", nil, apikeytest.Deny(nil), nil, nil, "", 401, "", 1},
		{"other Validator before", apikeytest.Allow(apikey.Key{Owner: "stub"}), nil, nil, nil, "", 200, "first", 1},
		{"not comparable", uncomparable{Validator: keys}, uncomparable{Validator: keys}, nil, nil, "", 200, "first", 0},
		{"two limiters", nil, nil, &apikeyhttp.Options{Limiter: l1}, &apikeyhttp.Options{Limiter: l2}, "", 200, "first", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			v := &counter{Validator: keys}
			outer, inner := test.outer, test.inner
			if outer == nil {
				outer = v
			}
			if inner == nil {
				inner = v
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Authorization", "Bearer "+first)
			served := newHandler()
			handler := newGuard(inner, test.innerOptions).Authenticate(served)
			switch test.own {
			case "":
			case "between":
				handler = newGuard(outer, &apikeyhttp.Options{Carriers: apikeyhttp.Query}).Optional(handler)
			default:
				r.Header.Set("X-API-Key", test.own)
			}
			handler = newGuard(outer, test.outerOptions).Authenticate(handler)
			is.Equal(serve(handler, r).StatusCode, test.status)
			is.Equal(served.key.Owner, test.owner)
			is.Equal(v.calls, test.calls)
		})
	}
	// Behind one that let an anonymous caller pass, the limiter has taken
	// nothing yet.
	l3 := &limiter{key: apikeyhttp.Quota{Allowed: true}, client: apikeyhttp.Quota{Allowed: true}}
	ownHeader := &apikeyhttp.Options{Carriers: apikeyhttp.Header, Limiter: l3}
	handler := newGuard(keys, ownHeader).Optional(newGuard(keys, &apikeyhttp.Options{Limiter: l3}).Authenticate(newHandler()))
	serve(handler, apikeytest.Request(t, "GET", "/", apikey.NewSecret(first)))
	if len(l3.keys) != 1 {
		t.Errorf("the limiter took %d, want 1", len(l3.keys))
	}

	// Two keys in one request are limited each.
	both := &limiter{key: apikeyhttp.Quota{Allowed: true}, client: apikeyhttp.Quota{Allowed: true}}
	handler = newGuard(keys, &apikeyhttp.Options{Carriers: apikeyhttp.Bearer, Limiter: both}).Authenticate(
		newGuard(keys, &apikeyhttp.Options{Carriers: apikeyhttp.Header, Limiter: both}).Authenticate(newHandler()))
	r := apikeytest.Request(t, "GET", "/", apikey.NewSecret(first))
	r.Header.Set("X-API-Key", second)
	serve(handler, r)
	if len(both.keys) != 2 {
		t.Errorf("the limiter took %d, want 2", len(both.keys))
	}

	if len(l1.keys) != 1 || len(l2.keys) != 1 {
		t.Errorf("limiters took %d and %d, want 1 each", len(l1.keys), len(l2.keys))
	}
}

func TestOptional(t *testing.T) {
	keys, others := apikeytest.New(t), apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{Owner: "ada"}).Token.Reveal()
	ownHeader := &apikeyhttp.Options{Carriers: apikeyhttp.Header}
	tests := []struct {
		name    string
		set     map[string]string
		protect func(http.Handler) http.Handler
		status  int
		owner   string
	}{
		{"anonymous", nil, newGuard(keys, nil).Optional, 200, ""},
		{"good", map[string]string{"X-API-Key": token}, newGuard(keys, nil).Optional, 200, "ada"},
		{"bad", map[string]string{"X-API-Key": token + "x"}, newGuard(keys, nil).Optional, 401, ""},
		{"empty", map[string]string{"X-API-Key": ""}, newGuard(keys, nil).Optional, 400, ""},
		{"unknown scheme", map[string]string{"Authorization": "Digest x"}, newGuard(keys, nil).Optional, 401, ""},
		{"behind one that let a key in", map[string]string{"Authorization": "Bearer " + token}, func(next http.Handler) http.Handler {
			return newGuard(keys, nil).Authenticate(newGuard(keys, ownHeader).Optional(next))
		}, 200, "ada"},
		{"behind another Validator", map[string]string{"Authorization": "Bearer " + token}, func(next http.Handler) http.Handler {
			return newGuard(keys, nil).Authenticate(newGuard(others, ownHeader).Optional(next))
		}, 401, ""},
		{"anonymous behind another Validator", nil, func(next http.Handler) http.Handler {
			return newGuard(keys, nil).Optional(newGuard(others, ownHeader).Optional(next))
		}, 200, ""},
		{"behind another Validator, twice", map[string]string{"Authorization": "Bearer " + token}, func(next http.Handler) http.Handler {
			return newGuard(keys, nil).Authenticate(newGuard(keys, ownHeader).Optional(newGuard(others, ownHeader).Optional(next)))
		}, 401, ""},
		{"token without scheme", map[string]string{"Authorization": token}, newGuard(keys, nil).Optional, 401, ""},
		{"scheme with a colon", map[string]string{"Authorization": "Bearer: " + token}, newGuard(keys, nil).Optional, 400, ""},
		{"unknown scheme, not read", map[string]string{"Authorization": "Digest x"}, newGuard(keys, ownHeader).Optional, 200, ""},
		{"required after all", nil, func(next http.Handler) http.Handler {
			return newGuard(keys, nil).Optional(newGuard(keys, nil).Require("orders:read")(next))
		}, 401, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			served := newHandler()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			for name, value := range test.set {
				r.Header.Set(name, value)
			}
			got := serve(test.protect(served), r)
			is.Equal(got.StatusCode, test.status)
			is.Equal(served.key.Owner, test.owner)
			is.Equal(served.hasKey, test.owner != "")
			is.Equal(served.calls == 1, test.status == 200)
			is.Equal(got.Header.Get("WWW-Authenticate") != "", test.status != 200)
		})
	}
}

func TestRevalidate(t *testing.T) {
	network := prefixes("192.0.2.0/24")
	tests := []struct {
		name   string
		change func(keys *apikeytest.Manager, id string) error
		err    error
	}{
		{"nothing", func(*apikeytest.Manager, string) error { return nil }, nil},
		{"renamed", func(keys *apikeytest.Manager, id string) error {
			_, err := keys.Update(context.Background(), id, apikey.Changes{Name: new("new")})
			return err
		}, nil},
		{"more scopes", func(keys *apikeytest.Manager, id string) error {
			_, err := keys.Update(context.Background(), id, apikey.Changes{Scopes: &[]string{"orders:*", "users:read", "a"}})
			return err
		}, nil},
		{"fewer scopes", func(keys *apikeytest.Manager, id string) error {
			_, err := keys.Update(context.Background(), id, apikey.Changes{Scopes: &[]string{"orders:read", "users:read"}})
			return err
		}, apikey.ErrScope},
		{"another network", func(keys *apikeytest.Manager, id string) error {
			other := prefixes("198.51.100.0/24")
			_, err := keys.Update(context.Background(), id, apikey.Changes{Networks: &other})
			return err
		}, apikey.ErrAddress},
		{"disabled", func(keys *apikeytest.Manager, id string) error {
			_, err := keys.Disable(context.Background(), id)
			return err
		}, apikey.ErrDisabled},
		{"rotated", func(keys *apikeytest.Manager, id string) error {
			_, err := keys.Rotate(context.Background(), id, time.Hour)
			return err
		}, nil},
		{"regenerated", func(keys *apikeytest.Manager, id string) error {
			_, err := keys.Regenerate(context.Background(), id)
			return err
		}, apikey.ErrReplaced},
		{"expired", func(keys *apikeytest.Manager, _ string) error {
			keys.Advance(366 * 24 * time.Hour)
			return nil
		}, apikey.ErrExpired},
		{"deleted", func(keys *apikeytest.Manager, id string) error {
			_, err := keys.Delete(context.Background(), id)
			return err
		}, apikey.ErrDeleted},
		{"store down", func(keys *apikeytest.Manager, _ string) error {
			keys.Store.Fail(apikeytest.Failure{})
			return nil
		}, apikey.ErrUnavailable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			keys := apikeytest.New(t)
			issued := keys.MustIssue(t, apikey.IssueParams{Scopes: []string{"orders:*", "users:read"}, Networks: network})
			l := &limiter{key: apikeyhttp.Quota{Allowed: true}, client: apikeyhttp.Quota{Allowed: true}}
			ran := false
			stream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ran = true
				is.NoErr(test.change(keys, issued.Key.ID))
				key, err := apikeyhttp.Revalidate(r.Context())
				is.True(errors.Is(err, test.err))
				is.Equal(err == nil, test.err == nil)
				if err == nil {
					is.Equal(key.ID, issued.Key.ID)
				} else {
					is.Equal(key, apikey.Key{})
				}
			})
			limited := newGuard(keys, &apikeyhttp.Options{Limiter: l})
			handler := limited.Authenticate(limited.StripCredential(stream))
			serve(handler, apikeytest.Request(t, "GET", "/", issued.Token))
			is.True(ran)
			is.Equal(len(l.keys), 1)
		})
	}
}

// TestRevalidateBehindOptional: an Optional that found nothing is passed over.
func TestRevalidateBehindOptional(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	ran := false
	stream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ran = true
		key, err := apikeyhttp.Revalidate(r.Context())
		is.NoErr(err)
		is.Equal(key.ID, issued.Key.ID)
	})
	ownHeader := &apikeyhttp.Options{Carriers: apikeyhttp.Header}
	serve(newGuard(keys, nil).Authenticate(newGuard(keys, ownHeader).Optional(stream)), apikeytest.Request(t, "GET", "/", issued.Token))
	is.True(ran)
}

func TestRevalidateOfNothing(t *testing.T) {
	is := is.New(t)
	_, err := apikeyhttp.Revalidate(t.Context())
	is.True(err != nil)
	_, err = apikeyhttp.Revalidate(apikey.NewContext(t.Context(), apikey.Key{ID: "id"}))
	is.True(err != nil)
	ran := false
	anonymous := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ran = true
		_, err = apikeyhttp.Revalidate(r.Context())
		is.True(err != nil)
	})
	keys := apikeytest.New(t)
	serve(newGuard(keys, nil).Optional(anonymous), httptest.NewRequest(http.MethodGet, "/", nil))
	is.True(ran)
}

// TestContextHoldsNoToken prints what handlers may print.
func TestContextHoldsNoToken(t *testing.T) {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-API-Key", issued.Token.Reveal())
	var output []string
	served := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		child, cancel := context.WithCancel(r.Context())
		defer cancel()
		for _, ctx := range []context.Context{r.Context(), child, apikeyhttp.Unwrap(r.Context())} {
			for _, verb := range verbs {
				output = append(output, fmt.Sprintf(verb, ctx), fmt.Sprintf(verb, []any{ctx}), fmt.Sprintf(verb, struct{ c context.Context }{ctx}))
			}
		}
		output = append(output, fmt.Sprint(apikeyhttp.LogAttr(r.Context())))
	})
	serve(newGuard(keys, nil).Authenticate(served), r)
	apikeytest.AssertNoLeak(t, issued.Token, output...)
}
