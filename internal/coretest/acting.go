package coretest

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
)

// actingKey checks that what a key issues, changes, regenerates or rotates
// stays within it.
func actingKey(t *testing.T, newStore NewStore) {
	f := newFixture(t, newStore, apikey.Options{})
	inside := netip.MustParsePrefix("192.0.2.0/25")
	rate := apikey.Rate{Requests: 10, Period: time.Minute}
	leaked := f.issue(apikey.IssueParams{
		Scopes: []string{"orders:read"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Rate: rate, Lifetime: apikey.Period{Time: time.Hour},
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
		"longer lifetime":   {Lifetime: apikey.Period{Time: 2 * time.Hour}},
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
	narrow, err := o.Issue(ctx, apikey.IssueParams{Name: "x", Networks: []netip.Prefix{inside}, Lifetime: apikey.Period{Time: time.Minute}})
	f.no(err)
	if narrow.Key.ExpiresAt != f.now().Add(time.Minute) || narrow.Key.Networks.String() != inside.String() {
		t.Errorf("a new key %+v", narrow.Key)
	}

	// Keys that exceed it in anything are not its to touch, but can be read.
	within := apikey.IssueParams{Scopes: []string{"orders:read"}, Networks: []netip.Prefix{inside}, Rate: rate, Lifetime: apikey.Period{Time: time.Hour}}
	exceeding := map[string]apikey.IssueParams{"scopes": within, "networks": within, "expiry": within, "rate": within, "no networks": within, "no rate": within}
	for name, p := range exceeding {
		switch name {
		case "scopes":
			p.Scopes = []string{"orders:read", "orders:write"}
		case "networks":
			p.Networks = append([]netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, inside)
		case "expiry":
			p.Lifetime.Time += time.Microsecond
		case "rate":
			p.Rate.Requests++
		case "no networks":
			p.Networks = nil
		case "no rate":
			p.Rate = apikey.Rate{}
		}
		target := f.issue(p)
		_, err := f.m.Rotate(f.ctx, target.Key.ID, time.Hour)
		f.no(err)
		if name == "expiry" || name == "scopes" { // Rotate gave it a new end
			_, err := f.m.Update(f.ctx, target.Key.ID, apikey.Changes{ExpiresAt: new(f.now().Add(p.Lifetime.Time))})
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
		_, err = f.m.Update(ctx, before.ID, apikey.Changes{Name: new("renamed")})
		f.no(err)
		_, err = o.Update(f.ctx, before.ID, apikey.Changes{Name: new("renamed again")})
		f.no(err)
	}

	// What lies within it can be changed, and stays within.
	for name, changes := range map[string]apikey.Changes{
		"scopes":   {Scopes: &[]string{"orders:read", "orders:write"}},
		"networks": {Networks: &[]netip.Prefix{}},
		"expiry":   {ExpiresAt: new(end.Add(time.Second))},
	} {
		if _, err := o.Update(ctx, narrow.Key.ID, changes); !errors.Is(err, apikey.ErrScope) && !errors.Is(err, apikey.ErrForbidden) {
			t.Errorf("update of %s: %v", name, err)
		}
	}
	fresh, err := o.Regenerate(ctx, narrow.Key.ID)
	f.no(err)
	if fresh.Key.ExpiresAt != end {
		t.Errorf("regenerated until %s, want %s", fresh.Key.ExpiresAt, end)
	}
	fresh, err = o.Rotate(ctx, narrow.Key.ID, time.Minute)
	f.no(err)
	if fresh.Key.ExpiresAt != end {
		t.Errorf("rotated until %s, want %s", fresh.Key.ExpiresAt, end)
	}
	_, err = o.FinishRotation(ctx, narrow.Key.ID)
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
	if _, err := o.Update(ctx, id, apikey.Changes{ExpiresAt: new(end.Add(1000))}); !errors.Is(err, apikey.ErrForbidden) {
		t.Errorf("a key lengthened its own life: %v", err)
	}
	_, err := o.Update(ctx, id, apikey.Changes{Name: new("renamed")})
	f.no(err)

	rotating := f.m.ForOwner(owner, &apikey.OwnerOptions{SelfRotation: 10 * time.Minute})
	reissues(rotating, ctx, "regenerate")
	fresh, err := rotating.Rotate(ctx, id, 50*time.Minute)
	f.no(err)
	if fresh.Key.ExpiresAt != end || fresh.Key.RetiringUntil != f.now().Add(10*time.Minute) {
		t.Errorf("rotated itself until %s with an overlap until %s", fresh.Key.ExpiresAt, fresh.Key.RetiringUntil)
	}
	// Neither the new token nor the old one shortens or lengthens the overlap.
	reissues(rotating, as(fresh.Token), "regenerate", "finish", "extend")
	var soon *apikey.TooSoonError
	if _, err := rotating.Rotate(as(fresh.Token), id, time.Second); !errors.As(err, &soon) || soon.At != f.now().Add(10*time.Minute) {
		t.Errorf("a second rotation: %v", err)
	}
	reissues(rotating, as(self.Token), "regenerate", "rotate", "finish", "extend", "update", "delete")
	if made, err := o.Issue(as(self.Token), apikey.IssueParams{Name: "x"}); err != nil || made.Key.ExpiresAt != f.now().Add(10*time.Minute) {
		t.Errorf("issued with the retiring token: %+v, %v", made.Key, err)
	}

	// The limit of the key counts it, and a stopped key does nothing.
	f.clock.Add(10 * time.Minute)
	limited := f.manager(apikey.Options{ReissueLimit: &apikey.ReissueLimit{N: 2, Window: time.Hour}}).ForOwner(owner, &apikey.OwnerOptions{SelfRotation: time.Minute})
	if _, err := limited.Rotate(as(fresh.Token), id, time.Second); !errors.Is(err, apikey.ErrTooSoon) {
		t.Errorf("over the reissue limit: %v", err)
	}
	stale := as(fresh.Token)
	_, err = f.m.Disable(f.ctx, id)
	f.no(err)
	if _, err := o.Issue(stale, apikey.IssueParams{Name: "x"}); !errors.Is(err, apikey.ErrForbidden) {
		t.Errorf("issued by a disabled key: %v", err)
	}
	_, err = f.m.Enable(f.ctx, id)
	f.no(err)
	_, err = f.m.Update(f.ctx, id, apikey.Changes{Scopes: &[]string{}})
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
		"update":     func() error { _, err := o.Update(ctx, id, apikey.Changes{Name: new("mine")}); return err },
		"disable":    func() error { _, err := o.Disable(ctx, id); return err },
		"enable":     func() error { _, err := o.Enable(ctx, id); return err },
		"regenerate": func() error { _, err := o.Regenerate(ctx, id); return err },
		"rotate":     func() error { _, err := o.Rotate(ctx, id, time.Hour); return err },
		"finish":     func() error { _, err := o.FinishRotation(ctx, id); return err },
		"extend":     func() error { _, err := o.ExtendRotation(ctx, id, time.Hour); return err },
		"delete":     func() error { _, err := o.Delete(ctx, id); return err },
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
