package coretest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
)

// reissues: an owner can reissue a key only so often; the Manager, and killing
// a key, know no limit.
func reissues(t *testing.T, newStore NewStore) {
	f := newFixture(t, newStore, apikey.Options{ReissueLimit: &apikey.ReissueLimit{N: 3, Window: 24 * time.Hour}})
	o := f.m.ForOwner(owner, nil)
	id := f.issue(apikey.IssueParams{}).Key.ID
	first := f.now()
	f.clock.Add(time.Hour)
	_, err := o.Regenerate(f.ctx, id)
	f.no(err)
	f.clock.Add(time.Hour)
	_, err = o.Rotate(f.ctx, id, time.Hour)
	f.no(err)

	for _, reissue := range []func() (apikey.Issued, error){
		func() (apikey.Issued, error) { return o.Regenerate(f.ctx, id) },
		func() (apikey.Issued, error) { return o.Rotate(f.ctx, id, time.Hour) },
	} {
		var soon *apikey.TooSoonError
		if _, err := reissue(); !errors.As(err, &soon) || !errors.Is(err, apikey.ErrTooSoon) || !soon.At.Equal(first.Add(24*time.Hour)) {
			t.Fatalf("a fourth: %v", err)
		}
	}
	// The Manager's count as well, but are not bound.
	f.clock.Add(time.Hour)
	_, err = f.m.Regenerate(f.ctx, id)
	f.no(err)
	var soon *apikey.TooSoonError
	if _, err := o.Regenerate(f.ctx, id); !errors.As(err, &soon) || !soon.At.Equal(first.Add(25*time.Hour)) {
		t.Fatalf("after one more by the Manager: %v", err) // two must leave the window
	}
	f.clock.Set(first.Add(24*time.Hour - time.Microsecond))
	if _, err := o.Regenerate(f.ctx, id); !errors.Is(err, apikey.ErrTooSoon) {
		t.Fatalf("a microsecond too early: %v", err)
	}
	f.clock.Set(first.Add(25 * time.Hour)) // now two are in the window
	_, err = o.Regenerate(f.ctx, id)
	f.no(err)

	_, err = o.Disable(f.ctx, id)
	f.no(err)
	_, err = o.Delete(f.ctx, id)
	f.no(err)

	free := f.manager(apikey.Options{ReissueLimit: &apikey.ReissueLimit{}}).ForOwner(owner, nil)
	id = f.issue(apikey.IssueParams{}).Key.ID
	for range 20 {
		_, err := free.Regenerate(f.ctx, id)
		f.no(err)
	}
	usual := f.manager(apikey.Options{}).ForOwner(owner, nil) // 5 in 24 hours
	id = f.issue(apikey.IssueParams{}).Key.ID
	for range 4 {
		_, err := usual.Regenerate(f.ctx, id)
		f.no(err)
	}
	if _, err := usual.Regenerate(f.ctx, id); !errors.Is(err, apikey.ErrTooSoon) {
		t.Errorf("a fifth reissue in a day: %v", err)
	}
}

// sweeping removes what ended long ago, and nothing else.
func sweeping(t *testing.T, newStore NewStore) {
	f := newFixture(t, newStore, apikey.Options{Retain: apikey.Period{Days: 30}})
	const day = 24 * time.Hour
	deleted, kept := f.issue(apikey.IssueParams{}), f.issue(apikey.IssueParams{})
	rotating := f.issue(apikey.IssueParams{})
	_, err := f.m.Delete(f.ctx, deleted.Key.ID)
	f.no(err)
	old := kept
	kept, err = f.m.Regenerate(f.ctx, kept.Key.ID)
	f.no(err)
	rotated, err := f.m.Rotate(f.ctx, rotating.Key.ID, 10*day)
	f.no(err)
	expired := f.issue(apikey.IssueParams{Lifetime: apikey.Period{Time: day}})

	sweep := func(want apikey.Swept) {
		t.Helper()
		got, err := f.m.Sweep(f.ctx)
		f.no(err)
		if got != want {
			t.Errorf("swept %+v at %v, want %+v", got, f.now(), want)
		}
	}
	f.clock.Add(30 * day)
	sweep(apikey.Swept{})
	for token, want := range map[*apikey.Issued]error{
		&deleted: apikey.ErrDeleted, &old: apikey.ErrReplaced, &rotating: apikey.ErrReplaced, &expired: apikey.ErrExpired,
		&kept: nil, &rotated: nil,
	} {
		if err := f.validate(token.Token); err != want {
			t.Errorf("before the sweep: %v, want %v", err, want)
		}
	}
	f.clock.Add(time.Microsecond)
	sweep(apikey.Swept{Keys: 1, Credentials: 1})
	sweep(apikey.Swept{})
	f.clock.Add(10 * day)
	sweep(apikey.Swept{Credentials: 1})
	for token, want := range map[*apikey.Issued]error{
		&deleted: apikey.ErrInvalid, &old: apikey.ErrInvalid, &rotating: apikey.ErrInvalid, &expired: apikey.ErrExpired,
		&kept: nil, &rotated: nil,
	} {
		if err := f.validate(token.Token); err != want {
			t.Errorf("after the sweep: %v, want %v", err, want)
		}
	}
	if _, err := f.m.Get(f.ctx, deleted.Key.ID); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("a purged key: %v", err)
	}
	if got := f.get(rotating.Key.ID); got.RetiringID != "" || got.CredentialID != rotated.Key.CredentialID {
		t.Errorf("after the sweep of the retiring credential: %+v", got)
	}
	var kinds []apikey.EventKind
	for _, e := range f.events("") {
		if e.Kind == apikey.EventPurged || e.Kind == apikey.EventSwept {
			kinds = append(kinds, e.Kind)
		}
	}
	if diff := cmp.Diff([]apikey.EventKind{apikey.EventPurged, apikey.EventSwept, apikey.EventSwept}, kinds); diff != "" {
		t.Error(diff)
	}

	// What the reissue limit counts is kept, however short Retain is.
	short := f.manager(apikey.Options{Retain: apikey.Period{Days: 1}, ReissueLimit: &apikey.ReissueLimit{N: 2, Window: 3 * day}})
	counted := f.issue(apikey.IssueParams{}).Key
	_, err = short.ForOwner(owner, nil).Regenerate(f.ctx, counted.ID)
	f.no(err)
	f.clock.Add(2 * day)
	_, err = short.Sweep(f.ctx)
	f.no(err)
	if _, err := short.ForOwner(owner, nil).Regenerate(f.ctx, counted.ID); !errors.Is(err, apikey.ErrTooSoon) {
		t.Errorf("after a sweep: %v", err)
	}

	// A key that is reissued without end sheds what ended first, and keeps
	// what is accepted.
	id := rotating.Key.ID
	var last apikey.Issued
	for range 150 {
		last, err = f.m.Regenerate(f.ctx, id)
		f.no(err)
	}
	rotated, err = f.m.Rotate(f.ctx, id, day)
	f.no(err)
	credentials, err := f.m.Credentials(f.ctx, id)
	f.no(err)
	if len(credentials) != 100 {
		t.Errorf("%d credentials are kept, want 100", len(credentials))
	}
	f.no(f.validate(last.Token))
	f.no(f.validate(rotated.Token))

	// Also if the clock runs backwards, so that what is newest seems oldest.
	for range 110 {
		f.clock.Add(-time.Second)
		last, err = f.m.Regenerate(f.ctx, id)
		f.no(err)
	}
	f.clock.Add(-time.Second)
	rotated, err = f.m.Rotate(f.ctx, id, day)
	f.no(err)
	f.no(f.validate(last.Token))
	f.no(f.validate(rotated.Token))
}

// lists: List, RotationDue and Expiring return what they say, page by page.
func lists(t *testing.T, newStore NewStore) {
	f := newFixture(t, newStore, apikey.Options{})
	const day = 24 * time.Hour
	byName := map[string]string{}
	add := func(name string, p apikey.IssueParams) {
		p.Name = name
		byName[name] = f.issue(p).Key.ID
	}
	add("old", apikey.IssueParams{})
	add("old, disabled", apikey.IssueParams{})
	add("old, rotating", apikey.IssueParams{})
	add("old, expired", apikey.IssueParams{Lifetime: apikey.Period{Time: day}})
	add("old, deleted", apikey.IssueParams{})
	add("old, another owner's", apikey.IssueParams{Owner: "other"})
	f.clock.Add(90*day - time.Microsecond)
	due := func() []string { return f.names(f.m.RotationDue(f.ctx, apikey.Query{Owner: owner})) }
	if got := due(); got != nil {
		t.Errorf("due a microsecond early: %q", got)
	}
	f.clock.Add(time.Microsecond)
	_, err := f.m.Disable(f.ctx, byName["old, disabled"])
	f.no(err)
	_, err = f.m.Delete(f.ctx, byName["old, deleted"])
	f.no(err)
	if diff := cmp.Diff([]string{"old", "old, rotating"}, due()); diff != "" {
		t.Error(diff)
	}
	_, err = f.m.Rotate(f.ctx, byName["old, rotating"], day)
	f.no(err)
	if diff := cmp.Diff([]string{"old"}, due()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"old", "old, another owner's"}, f.names(f.m.RotationDue(f.ctx, apikey.Query{}))); diff != "" {
		t.Error(diff)
	}

	// An overlap longer than RotateAfter: it is still rotating when it would
	// be due again.
	add("rotating for long", apikey.IssueParams{Owner: "patient"})
	_, err = f.m.Rotate(f.ctx, byName["rotating for long"], 200*day)
	f.no(err)
	f.clock.Add(91 * day)
	if got := f.names(f.m.RotationDue(f.ctx, apikey.Query{Owner: "patient"})); got != nil {
		t.Errorf("due while rotating: %q", got)
	}
	f.clock.Add(-91 * day)

	add("ends in 10 days", apikey.IssueParams{Lifetime: apikey.Period{Time: 10 * day}})
	add("ends in 30 days", apikey.IssueParams{Lifetime: apikey.Period{Time: 30 * day}})
	add("ends in 10 days, disabled", apikey.IssueParams{Lifetime: apikey.Period{Time: 10 * day}})
	_, err = f.m.Disable(f.ctx, byName["ends in 10 days, disabled"])
	f.no(err)
	expiring := func(within time.Duration) []string {
		return f.names(f.m.Expiring(f.ctx, within, apikey.Query{Owner: owner}))
	}
	if diff := cmp.Diff([]string{"ends in 10 days"}, expiring(30*day)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"ends in 10 days", "ends in 30 days"}, expiring(30*day+time.Microsecond)); diff != "" {
		t.Error(diff)
	}

	// Pages of an owner whose keys the host lets it see only in part.
	secretive := f.manager(apikey.Options{Authorize: func(ctx context.Context, a apikey.Action, k apikey.Key) error {
		if a == apikey.ActionList && k.Name[0] == 'o' {
			return errors.New("no")
		}
		return nil
	}}).ForOwner(owner, nil)
	var seen []apikey.Key
	q := apikey.Query{Limit: 2, IncludeDeleted: true}
	for {
		page, err := secretive.List(f.ctx, q)
		f.no(err)
		seen = append(seen, page...)
		if len(page) < q.Limit {
			break
		}
		q.After = page[len(page)-1].ID
	}
	want := []string{"ends in 10 days", "ends in 10 days, disabled", "ends in 30 days"}
	if diff := cmp.Diff(want, f.names(seen, nil)); diff != "" {
		t.Error(diff)
	}
	all, err := f.m.List(f.ctx, apikey.Query{})
	f.no(err)
	withDeleted, err := f.m.List(f.ctx, apikey.Query{IncludeDeleted: true})
	f.no(err)
	if len(all) != len(byName)-1 || len(withDeleted) != len(byName) {
		t.Errorf("%d keys, %d with deleted ones, want %d and %d", len(all), len(withDeleted), len(byName)-1, len(byName))
	}
}

func (f *fixture) names(keys []apikey.Key, err error) []string {
	f.Helper()
	f.no(err)
	var names []string
	for _, k := range keys {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	return names
}
