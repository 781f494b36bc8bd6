package apikey_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
)

// request is what the tests below repeat.
func request() apikey.IssueParams {
	return apikey.IssueParams{
		Owner: "acme", Name: "deploy", Scopes: []string{"a:read", "b:read"},
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Rate:     apikey.Rate{Requests: 10, Period: time.Minute}, Metadata: map[string]string{"plan": "gold"},
		Lifetime: apikey.Period{Time: time.Hour}, IdempotencyKey: "order 7",
	}
}

func TestIdempotencyKeyComparesParameters(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := apikeytest.New(t)
	first, err := keys.Issue(ctx, request())
	is.NoErr(err)
	other := netip.MustParsePrefix("192.0.2.0/25")
	for _, test := range []struct {
		name   string
		change func(*apikey.IssueParams)
		want   error
	}{
		{"the same", func(*apikey.IssueParams) {}, apikey.ErrExists},
		{"scopes in another order", func(p *apikey.IssueParams) { p.Scopes = []string{"b:read", "a:read", "b:read"} }, apikey.ErrExists},
		{"another name", func(p *apikey.IssueParams) { p.Name = "Deploy" }, apikey.ErrIdempotencyMismatch},
		{"wider scopes", func(p *apikey.IssueParams) { p.Scopes = append(p.Scopes, "c:*") }, apikey.ErrIdempotencyMismatch},
		{"no scopes", func(p *apikey.IssueParams) { p.Scopes = nil }, apikey.ErrIdempotencyMismatch},
		{"one scope of both", func(p *apikey.IssueParams) { p.Scopes = []string{"a:readb:read"} }, apikey.ErrIdempotencyMismatch},
		{"another network", func(p *apikey.IssueParams) { p.Networks[0] = other }, apikey.ErrIdempotencyMismatch},
		{"no network", func(p *apikey.IssueParams) { p.Networks = nil }, apikey.ErrIdempotencyMismatch},
		{"another rate", func(p *apikey.IssueParams) { p.Rate.Requests = 11 }, apikey.ErrIdempotencyMismatch},
		{"another period", func(p *apikey.IssueParams) { p.Rate.Period = time.Hour }, apikey.ErrIdempotencyMismatch},
		{"no rate", func(p *apikey.IssueParams) { p.Rate = apikey.Rate{} }, apikey.ErrIdempotencyMismatch},
		{"other metadata", func(p *apikey.IssueParams) { p.Metadata["plan"] = "free" }, apikey.ErrIdempotencyMismatch},
		{"metadata cut elsewhere", func(p *apikey.IssueParams) { p.Metadata = map[string]string{"plang": "old"} }, apikey.ErrIdempotencyMismatch},
		{"another lifetime", func(p *apikey.IssueParams) { p.Lifetime.Time = 2 * time.Hour }, apikey.ErrIdempotencyMismatch},
		{"a lifetime in days", func(p *apikey.IssueParams) { p.Lifetime = apikey.Period{Days: 1} }, apikey.ErrIdempotencyMismatch},
		{"an expiry", func(p *apikey.IssueParams) { p.Lifetime, p.ExpiresAt = apikey.Period{}, keys.Now().Add(time.Hour) }, apikey.ErrIdempotencyMismatch},
		{"the usual lifetime", func(p *apikey.IssueParams) { p.Lifetime = apikey.Period{} }, apikey.ErrIdempotencyMismatch},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := request()
			test.change(&p)
			again, err := keys.Issue(ctx, p)
			if !errors.Is(err, test.want) {
				t.Fatalf("got error %v, want %v", err, test.want)
			}
			if want := map[bool]string{true: first.Key.ID}[test.want == apikey.ErrExists]; again.Key.ID != want || !again.Token.IsZero() {
				t.Errorf("got key %q, want %q, and no token", again.Key.ID, want)
			}
		})
	}

	// What became of the key since does not count.
	_, err = keys.Update(ctx, first.Key.ID, apikey.Changes{Name: new("renamed"), Scopes: new([]string{"c:*"})})
	is.NoErr(err)
	_, err = keys.Regenerate(ctx, first.Key.ID)
	is.NoErr(err)
	_, err = keys.Issue(ctx, request())
	is.True(errors.Is(err, apikey.ErrExists))
}

// TestIdempotencyKeySpaces checks that an owner cannot take the key that the
// application is about to issue with the same text, nor the other way round.
func TestIdempotencyKeySpaces(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := apikeytest.New(t)
	mine := keys.ForOwner("acme", &apikey.OwnerOptions{Scopes: []string{"orders:*"}})
	owners, err := mine.Issue(ctx, apikey.IssueParams{Name: "trial", Scopes: []string{"orders:*"}, IdempotencyKey: "trial"})
	is.NoErr(err)
	ours, err := keys.Issue(ctx, apikey.IssueParams{
		Owner: "acme", Name: "trial", Scopes: []string{"orders:read"}, Rate: apikey.Rate{Requests: 1, Period: time.Second}, IdempotencyKey: "trial",
	})
	is.NoErr(err)
	is.True(owners.Key.ID != ours.Key.ID)
	again, err := mine.Issue(ctx, apikey.IssueParams{Name: "trial", Scopes: []string{"orders:*"}, IdempotencyKey: "trial"})
	is.True(errors.Is(err, apikey.ErrExists))
	is.Equal(again.Key.ID, owners.Key.ID)
}

// TestIdempotencyKeyAuthorize checks that a repeat does not show a key that
// Options.Authorize hides, whatever the parameters.
func TestIdempotencyKeyAuthorize(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	refuse := errors.New("not yours")
	hidden := false
	store := apikeytest.New(t).Store
	m, err := apikey.New(store, &apikey.Options{
		Peppers: []apikey.Secret{apikey.NoPepper()},
		Authorize: func(_ context.Context, action apikey.Action, key apikey.Key) error {
			if hidden && action == apikey.ActionGet {
				return refuse
			}
			return nil
		},
	})
	is.NoErr(err)
	mine := m.ForOwner("acme", nil)
	p := apikey.IssueParams{Name: "n", IdempotencyKey: "k"}
	_, err = mine.Issue(ctx, p)
	is.NoErr(err)
	hidden = true
	for _, name := range []string{"n", "other"} {
		p.Name = name
		again, err := mine.Issue(ctx, p)
		is.True(errors.Is(err, apikey.ErrForbidden))
		is.True(!errors.Is(err, apikey.ErrExists))
		is.True(!errors.Is(err, apikey.ErrIdempotencyMismatch))
		is.Equal(again, apikey.Issued{})
	}
}

// TestIdempotencyKeyAfterSweep checks that an id never returns: not after Sweep
// and not at the limit.
func TestIdempotencyKeyAfterSweep(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := apikeytest.New(t)
	first, err := keys.Issue(ctx, request())
	is.NoErr(err)
	_, err = keys.Delete(ctx, first.Key.ID)
	is.NoErr(err)
	again, err := keys.Issue(ctx, request()) // until it is purged
	is.True(errors.Is(err, apikey.ErrExists))
	is.Equal(again.Key.ID, first.Key.ID)
	keys.Clock.Advance(100 * 24 * time.Hour)
	swept, err := keys.Sweep(ctx)
	is.NoErr(err)
	is.Equal(swept.Keys, 1)

	repeat := func(m *apikey.Manager) {
		t.Helper()
		for _, name := range []string{"deploy", "other"} {
			p := request()
			p.Name = name
			again, err := m.Issue(ctx, p)
			is.True(errors.Is(err, apikey.ErrDeleted))
			is.Equal(again, apikey.Issued{})
		}
		_, err := m.Get(ctx, first.Key.ID)
		is.True(errors.Is(err, apikey.ErrNotFound))
	}
	repeat(keys.Manager)

	limited, err := apikey.New(keys.Store, &apikey.Options{
		Peppers: []apikey.Secret{apikey.NoPepper()}, MaxKeysPerOwner: 1, Now: keys.Now,
	})
	is.NoErr(err)
	_, err = limited.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
	is.NoErr(err)
	repeat(limited)
	_, err = limited.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "n", IdempotencyKey: "order 8"})
	is.True(errors.Is(err, apikey.ErrLimit))
}
