package coretest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
)

// ownerCeiling checks that every Validate applies the ceiling of an owner, and
// that the keys stay as they are.
func ownerCeiling(t *testing.T, newStore NewStore) {
	f := newFixture(t, newStore, apikey.Options{})
	wide := f.issue(apikey.IssueParams{Scopes: []string{"orders:*", "me"}})
	other := f.issue(apikey.IssueParams{Owner: owner + " ", Scopes: []string{"orders:*"}})
	ctx := apikey.WithActor(f.ctx, "billing")
	check := func(want string, allowed, denied []string) {
		t.Helper()
		key, err := f.m.Validate(f.ctx, wide.Token.Reveal())
		f.no(err)
		if key.Scopes.String() != want {
			t.Errorf("scopes %q, want %q", key.Scopes, want)
		}
		for _, scope := range allowed {
			f.no(f.validate(wide.Token, apikey.Scope(scope)))
		}
		for _, scope := range denied {
			if err := f.validate(wide.Token, apikey.Scope(scope)); err != apikey.ErrScope {
				t.Errorf("%s: %v", scope, err)
			}
		}
		if stored := f.get(wide.Key.ID); stored.Scopes != wide.Key.Scopes || stored.Revision != 1 {
			t.Errorf("the key was changed: %+v", stored)
		}
		f.no(f.validate(other.Token, apikey.Scope("orders:write")))
	}
	check("me orders:*", []string{"orders:read", "me"}, []string{"admin"})

	state, err := f.m.SetOwnerScopes(ctx, owner, []string{"orders:read", "admin"}, apikey.Reason("downgrade"))
	f.no(err)
	if !state.HasCeiling || state.Ceiling.String() != "admin orders:read" || state.Revision != 1 {
		t.Errorf("owner %+v", state)
	}
	check("orders:read", []string{"orders:read"}, []string{"orders:write", "me", "admin", "orders:*"})
	again, err := f.m.SetOwnerScopes(ctx, owner, []string{"admin", "orders:read", "admin"}, apikey.Reason("again"))
	f.no(err)
	if diff := cmp.Diff(state, again); diff != "" {
		t.Errorf("setting the same scopes changed the owner:\n%s", diff)
	}

	// The attack: a new token for a key with the old scopes. And new keys are
	// issued below the ceiling only.
	o := f.m.ForOwner(owner, &apikey.OwnerOptions{Scopes: []string{"orders:*", "me"}})
	fresh, err := o.Regenerate(f.ctx, wide.Key.ID)
	f.no(err)
	if err := f.validate(fresh.Token, apikey.Scope("orders:write")); err != apikey.ErrScope {
		t.Errorf("a regenerated key: %v", err)
	}
	f.no(f.validate(fresh.Token, apikey.Scope("orders:read")))
	for scope, want := range map[string]error{"orders:read": nil, "orders:*": apikey.ErrScope, "orders:write": apikey.ErrScope, "me": apikey.ErrScope, "admin": apikey.ErrScope} {
		if _, err := o.Issue(f.ctx, apikey.IssueParams{Name: "x", Scopes: []string{scope}}); !errors.Is(err, want) {
			t.Errorf("issue with %s: %v", scope, err)
		}
	}
	wide.Token, wide.Key = fresh.Token, fresh.Key

	// No scopes allow nothing, also as nil; a cleared ceiling allows all.
	for _, none := range [][]string{nil, {}} {
		state, err = f.m.SetOwnerScopes(ctx, owner, none)
		f.no(err)
		key, err := f.m.Validate(f.ctx, wide.Token.Reveal())
		f.no(err)
		if !state.HasCeiling || key.Scopes.Len() != 0 {
			t.Errorf("owner %+v, scopes %q", state, key.Scopes)
		}
		if err := f.validate(wide.Token, apikey.Scope("orders:read")); err != apikey.ErrScope {
			t.Errorf("below an empty ceiling: %v", err)
		}
	}
	_, err = f.m.DisableOwner(ctx, owner)
	f.no(err)
	state, err = f.m.ClearOwnerScopes(ctx, owner, apikey.Reason("upgrade"))
	f.no(err)
	if state.HasCeiling || state.Ceiling.Len() != 0 || !state.Disabled() {
		t.Errorf("owner %+v", state)
	}
	_, err = f.m.EnableOwner(ctx, owner)
	f.no(err)
	_, err = f.m.ClearOwnerScopes(ctx, owner, apikey.Reason("again"))
	f.no(err)
	f.no(f.validate(wide.Token, apikey.Scope("orders:write")))
	f.no(f.validate(wide.Token, apikey.Scope("me")))

	var got []string
	for _, e := range f.events("") {
		if e.Kind == apikey.EventOwnerScopesSet || e.Kind == apikey.EventOwnerScopesCleared {
			scopes, _ := e.Data.Get("scopes")
			got = append(got, fmt.Sprintf("%s %q by %s: %s", e.Kind, scopes, e.Actor, e.Reason))
		}
	}
	if diff := cmp.Diff([]string{
		`owner.scopes_set "admin orders:read" by billing: downgrade`,
		`owner.scopes_set "" by billing: `,
		`owner.scopes_cleared "" by billing: upgrade`,
	}, got); diff != "" {
		t.Error(diff)
	}
}

// ownerTokens checks that no loop gives an owner more tokens than the limit.
func ownerTokens(t *testing.T, newStore NewStore) {
	f := newFixture(t, newStore, apikey.Options{
		OwnerTokenLimit: &apikey.ReissueLimit{N: 6, Window: time.Hour}, ReissueLimit: &apikey.ReissueLimit{}, Retain: apikey.Period{Days: 1},
	})
	o := f.m.ForOwner(owner, nil)
	issue := func() (string, error) {
		issued, err := o.Issue(f.ctx, apikey.IssueParams{Name: "x"})
		return issued.Key.ID, err
	}
	tooSoon := func(call string, err error, after time.Duration) {
		t.Helper()
		var soon *apikey.TooSoonError
		if !errors.As(err, &soon) || !soon.At.Equal(f.now().Add(after)) {
			t.Errorf("%s: %v, want one in %s", call, err, after)
		}
	}
	for range 4 { // the loop of the attack
		id, err := issue()
		f.no(err)
		_, err = o.Delete(f.ctx, id)
		f.no(err)
	}
	kept, err := issue()
	f.no(err)
	_, err = o.Regenerate(f.ctx, kept)
	f.no(err)

	events := len(f.events(""))
	_, err = issue()
	tooSoon("issue", err, 10*time.Minute)
	_, err = o.Regenerate(f.ctx, kept)
	tooSoon("regenerate", err, 10*time.Minute)
	_, err = o.Rotate(f.ctx, kept, time.Hour)
	tooSoon("rotate", err, 10*time.Minute)
	_, err = f.manager(apikey.Options{OwnerTokenLimit: &apikey.ReissueLimit{N: 6, Window: time.Hour}}).ForOwner(owner, nil).Issue(f.ctx, apikey.IssueParams{Name: "x"})
	tooSoon("issue by another Manager", err, 10*time.Minute)
	if more := len(f.events("")) - events; more != 0 {
		t.Errorf("%d events of changes that were rejected", more)
	}
	// Nothing else is bound: stopping a key, other owners, the Manager.
	_, err = o.Disable(f.ctx, kept)
	f.no(err)
	_, err = f.m.ForOwner("another", nil).Issue(f.ctx, apikey.IssueParams{Name: "x"})
	f.no(err)
	_, err = f.m.Regenerate(f.ctx, kept)
	f.no(err)
	f.issue(apikey.IssueParams{})
	f.clock.Add(9 * time.Minute)
	_, err = issue()
	tooSoon("issue", err, time.Minute)

	// Then one for each sixth of the window, and all of them after a window.
	f.clock.Add(time.Minute)
	_, err = issue()
	f.no(err)
	_, err = issue()
	tooSoon("issue", err, 10*time.Minute)

	// A repeat of an Issue is a repeat first.
	f.clock.Add(time.Hour)
	first, err := o.Issue(f.ctx, apikey.IssueParams{Name: "x", IdempotencyKey: "once"})
	f.no(err)
	for range 5 {
		_, err := issue()
		f.no(err)
	}
	repeat, err := o.Issue(f.ctx, apikey.IssueParams{Name: "x", IdempotencyKey: "once"})
	if !errors.Is(err, apikey.ErrExists) || repeat.Key.ID != first.Key.ID {
		t.Errorf("a repeat at the limit: %+v, %v", repeat.Key, err)
	}

	// Keys that are purged still count: the owner's row has all of it.
	keys, err := f.m.List(f.ctx, apikey.Query{Owner: owner})
	f.no(err)
	for _, key := range keys {
		_, err := f.m.Delete(f.ctx, key.ID)
		f.no(err)
	}
	short := f.manager(apikey.Options{OwnerTokenLimit: &apikey.ReissueLimit{N: 2, Window: 10 * 24 * time.Hour}})
	f.clock.Add(48 * time.Hour)
	for range 2 {
		_, err := short.ForOwner(owner, nil).Issue(f.ctx, apikey.IssueParams{Name: "x"})
		f.no(err)
	}
	keys, err = f.m.List(f.ctx, apikey.Query{Owner: owner})
	f.no(err)
	for _, key := range keys {
		_, err := f.m.Delete(f.ctx, key.ID)
		f.no(err)
	}
	f.clock.Add(48 * time.Hour)
	swept, err := f.m.Sweep(f.ctx)
	f.no(err)
	if swept.Keys == 0 {
		t.Error("nothing was purged")
	}
	_, err = short.ForOwner(owner, nil).Issue(f.ctx, apikey.IssueParams{Name: "x"})
	tooSoon("issue after a sweep", err, 72*time.Hour)

	// A clock that was wrong by years does not lock the owner out for years.
	now := f.clock.Now()
	f.clock.Set(now.AddDate(40, 0, 0))
	_, err = issue()
	f.no(err)
	f.clock.Set(now)
	_, err = issue()
	f.no(err)
}

// ownerTokensInBackups checks that an export has what an owner's row counts,
// also of tokens that the owner gets while the export is read.
func ownerTokensInBackups(t *testing.T, newStore NewStore) {
	options := apikey.Options{OwnerTokenLimit: &apikey.ReissueLimit{N: 1, Window: time.Hour}}
	f := newFixture(t, newStore, options)
	_, err := f.m.SetOwnerScopes(f.ctx, owner, []string{"orders:*"})
	f.no(err)
	late := &lateStore{Store: f.store}
	late.do = func() {
		_, err := f.m.ForOwner(owner, nil).Issue(f.ctx, apikey.IssueParams{Name: "x"})
		f.no(err)
	}
	file := f.exportOf(late)
	want, err := f.m.Owner(f.ctx, owner)
	f.no(err)
	if want.TokensUntil.IsZero() {
		t.Fatal("the token does not count")
	}

	to := newFixture(t, newStore, options)
	f.no(to.restore(file))
	got, err := to.m.Owner(f.ctx, owner)
	f.no(err)
	if got.HasCeiling != want.HasCeiling || got.Ceiling != want.Ceiling || !got.TokensUntil.Equal(want.TokensUntil) {
		t.Errorf("restored %+v, want %+v", got, want)
	}
	if _, err := to.m.ForOwner(owner, nil).Issue(f.ctx, apikey.IssueParams{Name: "x"}); !errors.Is(err, apikey.ErrTooSoon) {
		t.Errorf("a token after Restore: %v", err)
	}
}

// lateStore does something once, after the first Owner was read.
type lateStore struct {
	apikey.Store
	do func()
}

func (s *lateStore) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	o, err := s.Store.Owner(ctx, id)
	if do := s.do; do != nil {
		s.do = nil
		do()
	}
	return o, err
}
