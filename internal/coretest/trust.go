package coretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
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

	state, err := f.m.SetOwnerScopes(ctx, owner, []string{"orders:read", "admin"}, "downgrade")
	f.no(err)
	if !state.HasCeiling || state.Ceiling.String() != "admin orders:read" || state.Revision != 1 {
		t.Errorf("owner %+v", state)
	}
	check("orders:read", []string{"orders:read"}, []string{"orders:write", "me", "admin", "orders:*"})
	again, err := f.m.SetOwnerScopes(ctx, owner, []string{"admin", "orders:read", "admin"}, "again")
	f.no(err)
	if diff := cmp.Diff(state, again); diff != "" {
		t.Errorf("setting the same scopes changed the owner:\n%s", diff)
	}

	// The attack: a new token for a key with the old scopes. And new keys are
	// issued below the ceiling only.
	o := f.m.ForOwner(owner, &apikey.OwnerOptions{Scopes: []string{"orders:*", "me"}})
	fresh, err := o.Regenerate(f.ctx, wide.Key.ID, "")
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
		state, err = f.m.SetOwnerScopes(ctx, owner, none, "")
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
	_, err = f.m.DisableOwner(ctx, owner, "")
	f.no(err)
	state, err = f.m.ClearOwnerScopes(ctx, owner, "upgrade")
	f.no(err)
	if state.HasCeiling || state.Ceiling.Len() != 0 || !state.Disabled() {
		t.Errorf("owner %+v", state)
	}
	_, err = f.m.EnableOwner(ctx, owner, "")
	f.no(err)
	_, err = f.m.ClearOwnerScopes(ctx, owner, "again")
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
		_, err = o.Delete(f.ctx, id, "")
		f.no(err)
	}
	kept, err := issue()
	f.no(err)
	_, err = o.Regenerate(f.ctx, kept, "")
	f.no(err)

	events := len(f.events(""))
	_, err = issue()
	tooSoon("issue", err, 10*time.Minute)
	_, err = o.Regenerate(f.ctx, kept, "")
	tooSoon("regenerate", err, 10*time.Minute)
	_, err = o.Rotate(f.ctx, kept, time.Hour, "")
	tooSoon("rotate", err, 10*time.Minute)
	_, err = f.manager(apikey.Options{OwnerTokenLimit: &apikey.ReissueLimit{N: 6, Window: time.Hour}}).ForOwner(owner, nil).Issue(f.ctx, apikey.IssueParams{Name: "x"})
	tooSoon("issue by another Manager", err, 10*time.Minute)
	if more := len(f.events("")) - events; more != 0 {
		t.Errorf("%d events of changes that were rejected", more)
	}
	// Nothing else is bound: stopping a key, other owners, the Manager.
	_, err = o.Disable(f.ctx, kept, "")
	f.no(err)
	_, err = f.m.ForOwner("another", nil).Issue(f.ctx, apikey.IssueParams{Name: "x"})
	f.no(err)
	_, err = f.m.Regenerate(f.ctx, kept, "")
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
		_, err := f.m.Delete(f.ctx, key.ID, "")
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
		_, err := f.m.Delete(f.ctx, key.ID, "")
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

// ownerTokensInTransfers checks that an export has what an owner's row counts,
// also of tokens that the owner gets while the export is read.
func ownerTokensInTransfers(t *testing.T, newStore NewStore) {
	options := apikey.Options{OwnerTokenLimit: &apikey.ReissueLimit{N: 1, Window: time.Hour}}
	f := newFixture(t, newStore, options)
	_, err := f.m.SetOwnerScopes(f.ctx, owner, []string{"orders:*"}, "")
	f.no(err)
	late := &lateStore{Store: f.store}
	late.do = func() {
		_, err := f.m.ForOwner(owner, nil).Issue(f.ctx, apikey.IssueParams{Name: "x"})
		f.no(err)
	}
	var file bytes.Buffer
	f.no(f.managerOn(late, options).Export(f.ctx, &file))
	want, err := f.m.Owner(f.ctx, owner)
	f.no(err)
	if want.TokensUntil.IsZero() {
		t.Fatal("the token does not count")
	}

	to := newFixture(t, newStore, options)
	f.no(to.m.Restore(f.ctx, bytes.NewReader(file.Bytes())))
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

// actingKey checks that what a key issues, changes, regenerates or rotates
// stays within it.
func actingKey(t *testing.T, newStore NewStore) {
	f := newFixture(t, newStore, apikey.Options{})
	inside := netip.MustParsePrefix("192.0.2.0/25")
	rate := apikey.Rate{Requests: 10, Period: time.Minute}
	leaked := f.issue(apikey.IssueParams{
		Scopes: []string{"orders:read"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Rate: rate, Lifetime: time.Hour,
	})
	end := f.now().Add(time.Hour)
	as := func(token apikey.Secret) context.Context {
		t.Helper()
		key, err := f.m.Validate(f.ctx, token.Reveal(), apikey.From(netip.MustParseAddr("192.0.2.7")))
		f.no(err)
		return apikey.NewContext(f.ctx, key)
	}
	ctx := as(leaked.Token)
	o := f.m.ForOwner(owner, &apikey.OwnerOptions{Scopes: []string{"orders:*"}})

	// The attack of the leaked key.
	for name, p := range map[string]apikey.IssueParams{
		"wider scopes":      {Scopes: []string{"orders:*"}},
		"other scopes":      {Scopes: []string{"orders:write"}},
		"later expiry":      {ExpiresAt: end.Add(time.Microsecond)},
		"longer lifetime":   {Lifetime: 2 * time.Hour},
		"wider network":     {Networks: []netip.Prefix{netip.MustParsePrefix("192.0.0.0/16")}},
		"another network":   {Networks: []netip.Prefix{inside, netip.MustParsePrefix("2001:db8::/32")}},
		"everywhere":        {Networks: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
		"a faster rate":     {Rate: apikey.Rate{Requests: 11, Period: time.Minute}},
		"the default rate?": {Rate: apikey.Rate{Requests: 1 << 40, Period: time.Hour}},
	} {
		p.Name = name
		if _, err := o.Issue(ctx, p); !errors.Is(err, apikey.ErrScope) && !errors.Is(err, apikey.ErrForbidden) {
			t.Errorf("issue with %s: %v", name, err)
		}
	}
	made, err := o.Issue(ctx, apikey.IssueParams{Name: "x", Scopes: []string{"orders:read"}})
	f.no(err)
	if made.Key.ExpiresAt != end || made.Key.Networks.String() != "192.0.2.0/24" || made.Key.Rate != rate {
		t.Errorf("a new key %+v", made.Key)
	}
	narrow, err := o.Issue(ctx, apikey.IssueParams{Name: "x", Networks: []netip.Prefix{inside}, Lifetime: time.Minute})
	f.no(err)
	if narrow.Key.ExpiresAt != f.now().Add(time.Minute) || narrow.Key.Networks.String() != inside.String() {
		t.Errorf("a new key %+v", narrow.Key)
	}

	// Keys that exceed it in anything are not its to touch, but can be read.
	within := apikey.IssueParams{Scopes: []string{"orders:read"}, Networks: []netip.Prefix{inside}, Rate: rate, Lifetime: time.Hour}
	exceeding := map[string]apikey.IssueParams{"scopes": within, "networks": within, "expiry": within, "rate": within, "no networks": within, "no rate": within}
	for name, p := range exceeding {
		switch name {
		case "scopes":
			p.Scopes = []string{"orders:read", "orders:write"}
		case "networks":
			p.Networks = append([]netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, inside)
		case "expiry":
			p.Lifetime += time.Microsecond
		case "rate":
			p.Rate.Requests++
		case "no networks":
			p.Networks = nil
		case "no rate":
			p.Rate = apikey.Rate{}
		}
		target := f.issue(p)
		_, err := f.m.Rotate(f.ctx, target.Key.ID, time.Hour, "")
		f.no(err)
		if name == "expiry" || name == "scopes" { // Rotate gave it a new end
			_, err := f.m.Update(f.ctx, target.Key.ID, apikey.Changes{ExpiresAt: new(f.now().Add(p.Lifetime))}, "")
			f.no(err)
		}
		before, events := f.get(target.Key.ID), len(f.events(""))
		for call, err := range ownerCalls(o, ctx, target.Key.ID) {
			if !errors.Is(err, apikey.ErrForbidden) {
				t.Errorf("%s of a key that exceeds it in %s: %v", call, name, err)
			}
		}
		if diff := cmp.Diff(before, f.get(target.Key.ID)); diff != "" || len(f.events("")) != events {
			t.Errorf("the key that exceeds it in %s was changed:\n%s", name, diff)
		}
		for _, read := range []func() error{
			func() error { _, err := o.Get(ctx, before.ID); return err },
			func() error { _, err := o.Find(ctx, before.AccessKey()); return err },
			func() error { _, err := o.Events(ctx, apikey.EventQuery{KeyID: before.ID}); return err },
			func() error { _, err := o.List(ctx, apikey.Query{}); return err },
		} {
			f.no(read())
		}
		// The Manager, and the owner without a key, are not bound.
		_, err = f.m.Update(ctx, before.ID, apikey.Changes{Name: new("renamed")}, "")
		f.no(err)
		_, err = o.Update(f.ctx, before.ID, apikey.Changes{Name: new("renamed again")}, "")
		f.no(err)
	}

	// What lies within it can be changed, and stays within.
	for name, changes := range map[string]apikey.Changes{
		"scopes":   {Scopes: &[]string{"orders:read", "orders:write"}},
		"networks": {Networks: &[]netip.Prefix{}},
		"expiry":   {ExpiresAt: new(end.Add(time.Second))},
	} {
		if _, err := o.Update(ctx, narrow.Key.ID, changes, ""); !errors.Is(err, apikey.ErrScope) && !errors.Is(err, apikey.ErrForbidden) {
			t.Errorf("update of %s: %v", name, err)
		}
	}
	fresh, err := o.Regenerate(ctx, narrow.Key.ID, "")
	f.no(err)
	if fresh.Key.ExpiresAt != end {
		t.Errorf("regenerated until %s, want %s", fresh.Key.ExpiresAt, end)
	}
	fresh, err = o.Rotate(ctx, narrow.Key.ID, time.Minute, "")
	f.no(err)
	if fresh.Key.ExpiresAt != end {
		t.Errorf("rotated until %s, want %s", fresh.Key.ExpiresAt, end)
	}
	_, err = o.FinishRotation(ctx, narrow.Key.ID, "")
	f.no(err)

	// Another owner's key touches nothing.
	foreign := f.issue(apikey.IssueParams{Owner: "another", Scopes: []string{"orders:*"}})
	for call, err := range ownerCalls(o, as(foreign.Token), narrow.Key.ID) {
		if !errors.Is(err, apikey.ErrForbidden) {
			t.Errorf("%s with another owner's key: %v", call, err)
		}
	}
	if _, err := o.Issue(as(foreign.Token), apikey.IssueParams{Name: "x"}); !errors.Is(err, apikey.ErrForbidden) {
		t.Errorf("issue with another owner's key: %v", err)
	}
	selfRotation(f, leaked, ctx, as)
}

// selfRotation checks what a key may do to itself.
func selfRotation(f *fixture, self apikey.Issued, ctx context.Context, as func(apikey.Secret) context.Context) {
	t := f.TB
	o := f.m.ForOwner(owner, nil)
	id, end := self.Key.ID, self.Key.ExpiresAt
	reissues := func(o *apikey.OwnerManager, ctx context.Context, calls ...string) {
		t.Helper()
		errs := ownerCalls(o, ctx, id, calls...)
		for call, err := range errs {
			if !errors.Is(err, apikey.ErrForbidden) {
				t.Errorf("%s of itself: %v", call, err)
			}
		}
	}
	reissues(o, ctx, "regenerate", "rotate", "finish", "extend")
	if _, err := o.Update(ctx, id, apikey.Changes{ExpiresAt: new(end.Add(1000))}, ""); !errors.Is(err, apikey.ErrForbidden) {
		t.Errorf("a key lengthened its own life: %v", err)
	}
	_, err := o.Update(ctx, id, apikey.Changes{Name: new("renamed")}, "")
	f.no(err)

	rotating := f.m.ForOwner(owner, &apikey.OwnerOptions{SelfRotation: 10 * time.Minute})
	reissues(rotating, ctx, "regenerate")
	fresh, err := rotating.Rotate(ctx, id, 50*time.Minute, "")
	f.no(err)
	if fresh.Key.ExpiresAt != end || fresh.Key.RetiringUntil != f.now().Add(10*time.Minute) {
		t.Errorf("rotated itself until %s with an overlap until %s", fresh.Key.ExpiresAt, fresh.Key.RetiringUntil)
	}
	// Neither the new token nor the old one shortens or lengthens the overlap.
	reissues(rotating, as(fresh.Token), "regenerate", "finish", "extend")
	var soon *apikey.TooSoonError
	if _, err := rotating.Rotate(as(fresh.Token), id, time.Second, ""); !errors.As(err, &soon) || soon.At != f.now().Add(10*time.Minute) {
		t.Errorf("a second rotation: %v", err)
	}
	reissues(rotating, as(self.Token), "regenerate", "rotate", "finish", "extend", "update", "delete")
	if made, err := o.Issue(as(self.Token), apikey.IssueParams{Name: "x"}); err != nil || made.Key.ExpiresAt != f.now().Add(10*time.Minute) {
		t.Errorf("issued with the retiring token: %+v, %v", made.Key, err)
	}

	// The limit of the key counts it, and a stopped key does nothing.
	f.clock.Add(10 * time.Minute)
	limited := f.manager(apikey.Options{ReissueLimit: &apikey.ReissueLimit{N: 2, Window: time.Hour}}).ForOwner(owner, &apikey.OwnerOptions{SelfRotation: time.Minute})
	if _, err := limited.Rotate(as(fresh.Token), id, time.Second, ""); !errors.Is(err, apikey.ErrTooSoon) {
		t.Errorf("over the reissue limit: %v", err)
	}
	stale := as(fresh.Token)
	_, err = f.m.Disable(f.ctx, id, "")
	f.no(err)
	if _, err := o.Issue(stale, apikey.IssueParams{Name: "x"}); !errors.Is(err, apikey.ErrForbidden) {
		t.Errorf("issued by a disabled key: %v", err)
	}
	_, err = f.m.Enable(f.ctx, id, "")
	f.no(err)
	_, err = f.m.Update(f.ctx, id, apikey.Changes{Scopes: &[]string{}}, "")
	f.no(err)
	wide := f.m.ForOwner(owner, &apikey.OwnerOptions{Scopes: []string{"orders:*"}})
	if _, err := wide.Issue(stale, apikey.IssueParams{Name: "x", Scopes: []string{"orders:read"}}); !errors.Is(err, apikey.ErrScope) {
		t.Errorf("issued with scopes that the key had when it was validated: %v", err)
	}
}

// ownerCalls makes the changes that are named, or all of them.
func ownerCalls(o *apikey.OwnerManager, ctx context.Context, id string, names ...string) map[string]error {
	errs := map[string]error{}
	for name, call := range map[string]func() error{
		"update":     func() error { _, err := o.Update(ctx, id, apikey.Changes{Name: new("mine")}, ""); return err },
		"disable":    func() error { _, err := o.Disable(ctx, id, ""); return err },
		"enable":     func() error { _, err := o.Enable(ctx, id, ""); return err },
		"regenerate": func() error { _, err := o.Regenerate(ctx, id, ""); return err },
		"rotate":     func() error { _, err := o.Rotate(ctx, id, time.Hour, ""); return err },
		"finish":     func() error { _, err := o.FinishRotation(ctx, id, ""); return err },
		"extend":     func() error { _, err := o.ExtendRotation(ctx, id, time.Hour, ""); return err },
		"delete":     func() error { _, err := o.Delete(ctx, id, ""); return err },
	} {
		wanted := len(names) == 0
		for _, one := range names {
			wanted = wanted || one == name
		}
		if wanted {
			errs[name] = call()
		}
	}
	return errs
}

// racesForOwnerTokens checks that the limit over all keys is exact, and that
// no change fails because another key of the owner was changed at once.
func racesForOwnerTokens(t *testing.T, newStores NewStores) {
	const n, limit = 40, 25
	options := apikey.Options{OwnerTokenLimit: &apikey.ReissueLimit{N: limit, Window: time.Hour}}
	f := newRacers(t, newStores, options)
	var ids []string
	for range n / 2 {
		ids = append(ids, f.issue(apikey.IssueParams{}).Key.ID)
	}
	var got, tooSoon atomic.Int64
	atOnce(n, func(i int) {
		o := f.of(i).ForOwner(owner, nil)
		var err error
		if i < len(ids) {
			_, err = o.Regenerate(f.ctx, ids[i], "")
		} else {
			_, err = o.Issue(f.ctx, apikey.IssueParams{Name: "x"})
		}
		switch {
		case err == nil:
			got.Add(1)
		case errors.Is(err, apikey.ErrTooSoon):
			tooSoon.Add(1)
		default:
			t.Error(err)
		}
	})
	if got.Load() != limit || tooSoon.Load() != n-limit {
		t.Errorf("%d tokens and %d rejections, want %d and %d", got.Load(), tooSoon.Load(), limit, n-limit)
	}
}

// manyUpdates checks that none of 200 changes of one key or owner at once
// fails, at the cost of at most two commits each if one Manager makes them.
func manyUpdates(t *testing.T, newStores NewStores) {
	f := newRacers(t, newStores, apikey.Options{})
	few := 40
	if Long() {
		few = 200
	}
	counting := &commitCounter{Store: f.store}
	one := f.managerOn(counting, apikey.Options{})
	for _, test := range []struct {
		name    string
		of      func(i int) *apikey.Manager
		n       int
		counted bool
	}{
		{"by one Manager", func(int) *apikey.Manager { return one }, 200, true},
		{"by several Managers", f.of, few, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			key := f.issue(apikey.IssueParams{}).Key
			counting.n.Store(0)
			var failed atomic.Int64
			atOnce(test.n, func(i int) {
				if _, err := test.of(i).Update(f.ctx, key.ID, apikey.Changes{Name: new(fmt.Sprint("name ", i))}, ""); err != nil {
					t.Error(err)
					failed.Add(1)
				}
			})
			t.Logf("%d of %d updates failed, %d commits", failed.Load(), test.n, counting.n.Load())
			if got := f.get(key.ID).Revision; got != int64(test.n)+1 {
				t.Errorf("revision %d, want %d", got, test.n+1)
			}
			if got, most := counting.n.Load(), int64(2*test.n); test.counted && got > most {
				t.Errorf("%d commits, want at most %d", got, most)
			}
			counting.n.Store(0)
			atOnce(few, func(i int) {
				if _, err := test.of(i).SetOwnerScopes(f.ctx, owner, []string{fmt.Sprint("a:", i)}, ""); err != nil {
					t.Error(err)
				}
			})
			if got, most := counting.n.Load(), int64(2*few); test.counted && got > most {
				t.Errorf("%d commits for the owner, want at most %d", got, most)
			}
		})
	}
}

// commitCounter counts the commits that were asked for.
type commitCounter struct {
	apikey.Store
	n atomic.Int64
}

func (s *commitCounter) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	s.n.Add(1)
	return s.Store.Commit(ctx, c)
}
