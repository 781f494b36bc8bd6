package coretest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
)

// dailyUsage: what a key was used on each day, by each of its credentials,
// through a rotation and to its end.
func dailyUsage(t *testing.T, newStore NewStore) {
	f := newFixture(t, newStore, apikey.Options{})
	const day = 24 * time.Hour
	midnight := f.now().Truncate(day)
	o := f.m.ForOwner(owner, nil)
	old, other := f.issue(apikey.IssueParams{}), f.issue(apikey.IssueParams{})
	id := old.Key.ID
	second := f.manager(apikey.Options{}) // of another program

	// expect compares 5 days, each of which is told as the uses of the
	// credentials named.
	expect := func(when string, want ...map[string]int64) {
		t.Helper()
		for len(want) < 5 {
			want = append(want, nil)
		}
		days, err := f.m.DailyUsage(f.ctx, id, midnight, midnight.Add(5*day))
		f.no(err)
		same, err := o.DailyUsage(f.ctx, id, midnight.Add(time.Hour), midnight.Add(4*day+time.Hour))
		f.no(err)
		if diff := cmp.Diff(days, same); diff != "" {
			t.Errorf("%s: the owner sees others:\n%s", when, diff)
		}
		var got []map[string]int64
		for i, d := range days {
			if !d.Day.Equal(midnight.Add(time.Duration(i) * day)) {
				t.Errorf("%s: day %d is %v", when, i, d.Day)
			}
			var sum int64
			var of map[string]int64
			for _, u := range d.Credentials {
				if of == nil {
					of = map[string]int64{}
				}
				of[u.CredentialID] += u.Uses
				sum += u.Uses
				if u.KeyID != id || !u.Day.Equal(d.Day) || u.LastUsedAt.Before(d.Day) || !u.LastUsedAt.Before(d.Day.Add(day)) || d.Of(u.CredentialID) != u {
					t.Errorf("%s: %+v on %v", when, u, d.Day)
				}
			}
			if d.Uses != sum {
				t.Errorf("%s: %d uses on %v, of credentials %d", when, d.Uses, d.Day, sum)
			}
			got = append(got, of)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", when, diff)
		}
	}
	use := func(m *apikey.Manager, token apikey.Secret, times int) {
		t.Helper()
		for range times {
			_, err := m.Validate(f.ctx, token.Reveal())
			f.no(err)
		}
	}
	flush := func(managers ...*apikey.Manager) {
		t.Helper()
		for _, m := range managers {
			f.no(m.Flush(f.ctx))
		}
	}

	expect("never used")
	use(f.m, old.Token, 3)
	use(f.m, other.Token, 7)
	expect("not flushed")
	flush(f.m)
	expect("flushed", map[string]int64{old.Key.CredentialID: 3})
	use(second, old.Token, 2)
	flush(f.m, second, f.m)
	first := map[string]int64{old.Key.CredentialID: 5}
	expect("flushed by two", first)

	f.clock.Set(midnight.Add(2 * day)) // the first instant of a day
	use(f.m, old.Token, 1)
	rotated, err := f.m.Rotate(f.ctx, id, 100*day)
	f.no(err)
	use(f.m, old.Token, 4)
	use(f.m, rotated.Token, 6)
	f.clock.Set(midnight.Add(3*day - time.Microsecond)) // the last one
	use(f.m, rotated.Token, 8)
	f.clock.Set(midnight.Add(4 * day))
	use(f.m, rotated.Token, 9)
	flush(f.m)
	third := map[string]int64{old.Key.CredentialID: 5, rotated.Key.CredentialID: 14}
	fifth := map[string]int64{rotated.Key.CredentialID: 9}
	expect("rotating", first, nil, third, nil, fifth)
	if got := f.get(id).Uses; got != 5+5+14+9 {
		t.Errorf("%d uses in all", got)
	}

	// Who looks for the retiring one finds when it was used last.
	days, err := f.m.DailyUsage(f.ctx, id, rotated.Key.IssuedAt, f.clock.Now().Add(1))
	f.no(err)
	if last := days[0].Of(rotated.Key.RetiringID).LastUsedAt; len(days) != 3 || !last.Equal(midnight.Add(2*day)) {
		t.Errorf("%d days since the rotation, on the first of which it was used last at %v", len(days), last)
	}

	// A restored key has the same days.
	want, err := f.m.DailyUsage(f.ctx, id, midnight, midnight.Add(5*day))
	f.no(err)
	elsewhere := f.on(newStore(t))
	f.no(elsewhere.restore(f.export()))
	days, err = elsewhere.m.DailyUsage(f.ctx, id, midnight, midnight.Add(5*day))
	f.no(err)
	if diff := cmp.Diff(want, days); diff != "" {
		t.Errorf("restored:\n%s", diff)
	}
	if got := elsewhere.get(id).Uses; got != 5+5+14+9 {
		t.Errorf("restored: %d uses in all", got)
	}

	// A disabled owner can look; so it is until the key is purged.
	_, err = f.m.DisableOwner(f.ctx, owner)
	f.no(err)
	expect("the owner is disabled", first, nil, third, nil, fifth)
	_, err = f.m.FinishRotation(f.ctx, id)
	f.no(err)
	f.clock.Add(91 * day)
	_, err = f.m.Sweep(f.ctx)
	f.no(err)
	third = map[string]int64{rotated.Key.CredentialID: 14}
	expect("the old credential was swept", nil, nil, third, nil, fifth)
	_, err = f.m.Delete(f.ctx, id)
	f.no(err)
	expect("deleted", nil, nil, third, nil, fifth)
	f.clock.Add(91 * day)
	_, err = f.m.Sweep(f.ctx)
	f.no(err)
	for _, call := range []func() ([]apikey.DayUsage, error){
		func() ([]apikey.DayUsage, error) { return f.m.DailyUsage(f.ctx, id, midnight, midnight.Add(day)) },
		func() ([]apikey.DayUsage, error) { return o.DailyUsage(f.ctx, id, midnight, midnight.Add(day)) },
		func() ([]apikey.DayUsage, error) {
			return f.m.ForOwner("another", nil).DailyUsage(f.ctx, other.Key.ID, midnight, midnight.Add(day))
		},
	} {
		if days, err := call(); !errors.Is(err, apikey.ErrNotFound) || days != nil {
			t.Errorf("what is not there: %v, %v", days, err)
		}
	}
}
