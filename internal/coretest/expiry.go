package coretest

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/keyturn/apikey"
)

func expiry(t *testing.T, newStore NewStore) {
	newStore = sharedStore(t, newStore)
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 10, 30, 0, 999, time.UTC) }
	for _, test := range []struct {
		name      string
		now       time.Time
		options   apikey.Options
		lifetime  time.Duration
		period    apikey.Period
		expiresAt time.Time
		want      time.Time // zero: a *FieldError
		field     string
	}{
		{name: "one year", now: day(2026, 3, 1), want: day(2027, 3, 1)},
		{name: "over a leap day", now: day(2027, 3, 1), want: day(2028, 3, 1)},
		{name: "on a leap day", now: day(2028, 2, 29), want: day(2029, 3, 1)},
		{name: "four years on a leap day", now: day(2028, 2, 29), options: apikey.Options{
			Lifetime: apikey.Period{Years: 4}, MaxLifetime: apikey.Period{Years: 4}}, want: day(2032, 2, 29)},
		{name: "the day before a leap day", now: day(2028, 2, 28), want: day(2029, 2, 28)},
		{name: "one month on the 31st", now: day(2026, 1, 31), options: apikey.Options{
			Lifetime: apikey.Period{Months: 1}}, want: day(2026, 3, 3)},
		{name: "90 days", now: day(2026, 3, 1), options: apikey.Options{
			Lifetime: apikey.Period{Days: 90}}, want: day(2026, 5, 30)},
		{name: "year 9998", now: day(9998, 6, 1), want: day(9999, 6, 1)},
		{name: "year 9999", now: day(9999, 6, 1), want: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
		{name: "after the last instant", now: day(9999, 12, 31), field: "lifetime"},
		{name: "lifetime 0", now: day(2026, 3, 1), lifetime: 0, want: day(2027, 3, 1)},
		{name: "lifetime -1 s", now: day(2026, 3, 1), lifetime: -time.Second, field: "lifetime"},
		{name: "lifetime 1 ns", now: day(2026, 3, 1), lifetime: 1, field: "lifetime"},
		{name: "lifetime 1 us", now: day(2026, 3, 1), lifetime: time.Microsecond, want: day(2026, 3, 1).Add(time.Microsecond)},
		{name: "lifetime 1 h", now: day(2026, 3, 1), lifetime: time.Hour, want: day(2026, 3, 1).Add(time.Hour)},
		{name: "lifetime 2^31 s", now: day(2026, 3, 1), lifetime: 1 << 31 * time.Second, field: "lifetime"},
		{name: "lifetime by the calendar", now: day(2026, 1, 31), period: apikey.Period{Months: 1}, want: day(2026, 3, 3)},
		{name: "lifetime by calendar and clock", now: day(2026, 1, 31), period: apikey.Period{Days: 1, Time: time.Hour}, want: day(2026, 2, 1).Add(time.Hour)},
		{name: "lifetime of a negative part", now: day(2026, 1, 31), period: apikey.Period{Days: 2, Time: -time.Hour}, field: "lifetime"},
		{name: "lifetime of negative days", now: day(2026, 1, 31), period: apikey.Period{Months: 2, Days: -1}, field: "lifetime"},
		{name: "lifetime past the calendar", now: day(2026, 1, 31), period: apikey.Period{Years: math.MaxInt}, field: "lifetime"},
		{name: "lifetime and expiry", now: day(2026, 3, 1), expiresAt: day(2026, 4, 1), period: apikey.Period{Days: 1}, field: "lifetime"},
		{name: "lifetime 2^63-1 ns", now: day(2026, 3, 1), lifetime: math.MaxInt64, field: "lifetime"},
		{name: "lifetime -2^63 ns", now: day(2026, 3, 1), lifetime: math.MinInt64, field: "lifetime"},
		{name: "just at the maximum", now: day(2026, 3, 1), expiresAt: day(2027, 3, 1).Truncate(time.Microsecond), want: day(2027, 3, 1)},
		{name: "past the maximum", now: day(2026, 3, 1), expiresAt: day(2027, 3, 1).Add(time.Microsecond), field: "expires_at"},
		{name: "in the past", now: day(2026, 3, 1), expiresAt: day(2026, 2, 28), field: "expires_at"},
		{name: "now", now: day(2026, 3, 1), expiresAt: day(2026, 3, 1), field: "expires_at"},
		{name: "cut to now", now: day(2026, 3, 1).Truncate(time.Microsecond), expiresAt: day(2026, 3, 1).Truncate(time.Microsecond).Add(999), field: "expires_at"},
		{name: "the far future", now: day(2026, 3, 1), expiresAt: time.Unix(1<<62, 0), field: "expires_at"},
		{name: "the far past", now: day(2026, 3, 1), expiresAt: time.Unix(-1<<62, 0), field: "expires_at"},
		{name: "year 10000", now: day(9998, 3, 1), options: apikey.Options{MaxLifetime: apikey.Period{Years: 9}},
			expiresAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), field: "expires_at"},
		{name: "both", now: day(2026, 3, 1), expiresAt: day(2026, 4, 1), lifetime: time.Hour, field: "lifetime"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, newStore, test.options)
			f.clock.Set(test.now)
			test.period.Time += test.lifetime
			issued, err := f.m.Issue(f.ctx, apikey.IssueParams{
				Owner: owner, Name: "test", Lifetime: test.period, ExpiresAt: test.expiresAt,
			})
			if test.want.IsZero() {
				var field *apikey.FieldError
				if !errors.As(err, &field) || field.Field != test.field {
					t.Fatalf("error %v, want a FieldError for %s", err, test.field)
				}
				return
			}
			f.no(err)
			end := f.get(issued.Key.ID).ExpiresAt
			if want := test.want.Truncate(time.Microsecond); !end.Equal(want) {
				t.Fatalf("expires %v, want %v", end, want)
			}
			f.endsAt(issued.Token, end, apikey.ErrExpired)
		})
	}
}

// endsAt checks that a token is accepted until an instant and no longer.
func (f *fixture) endsAt(token apikey.Secret, end time.Time, refusal error) {
	f.Helper()
	for _, step := range []struct {
		offset time.Duration
		want   error
	}{
		{-time.Microsecond, nil}, {-1, nil}, {0, refusal}, {1, refusal}, {time.Microsecond, refusal}, {1e6 * time.Hour, refusal},
	} {
		at := end.Add(step.offset)
		if at.Year() > 9999 {
			continue
		}
		f.clock.Set(at)
		if err := f.validate(token); err != step.want {
			f.Errorf("at the end %+v: %v, want %v", step.offset, err, step.want)
		}
	}
}

func expiryZones(t *testing.T, newStore NewStore) {
	newStore = sharedStore(t, newStore)
	zones := []*time.Location{time.UTC, time.FixedZone("odd", 5*3600+45*60+30)}
	for minutes := -12 * 60; minutes <= 14*60; minutes += 15 { // all that are or were in use
		zones = append(zones, time.FixedZone(fmt.Sprint(minutes, " min"), minutes*60))
	}
	for _, zone := range zones {
		t.Run(zone.String(), func(t *testing.T) {
			now := time.Date(2028, 2, 29, 23, 30, 0, 0, zone)
			m, err := apikey.New(newStore(t), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			issued, err := m.Issue(t.Context(), apikey.IssueParams{Owner: owner, Name: "test"})
			if err != nil {
				t.Fatal(err)
			}
			end := now.UTC().AddDate(1, 0, 0) // years are counted in UTC, wherever the program runs
			if !issued.Key.ExpiresAt.Equal(end) || issued.Key.ExpiresAt.Location() != time.UTC {
				t.Errorf("expires %v, want %v", issued.Key.ExpiresAt, end)
			}
			for _, step := range []struct {
				offset time.Duration
				want   error
			}{{-time.Microsecond, nil}, {0, apikey.ErrExpired}, {time.Microsecond, apikey.ErrExpired}} {
				now = end.Add(step.offset).In(zone)
				if _, err := m.Validate(t.Context(), issued.Token.Reveal()); err != step.want {
					t.Errorf("at the end %+v: %v, want %v", step.offset, err, step.want)
				}
			}
		})
	}
}

// expiredRotation: an expired key accepts no token, also not one whose overlap
// would still run.
func expiredRotation(t *testing.T, newStore NewStore) {
	f := newFixture(t, newStore, apikey.Options{})
	issued := f.issue(apikey.IssueParams{})
	fresh, err := f.m.Rotate(f.ctx, issued.Key.ID, 100*time.Hour)
	f.no(err)
	end := f.now().Add(50 * time.Hour)
	_, err = f.m.Update(f.ctx, issued.Key.ID, apikey.Changes{ExpiresAt: &end})
	f.no(err)
	key, err := f.m.Validate(f.ctx, issued.Token.Reveal())
	f.no(err)
	if !key.ExpiresAt.Equal(end) {
		t.Errorf("the retiring token ends %v, want %v", key.ExpiresAt, end)
	}
	f.clock.Set(end.Add(-time.Microsecond))
	f.no(f.validate(issued.Token))
	f.clock.Set(end.Add(-time.Microsecond))
	if !f.get(issued.Key.ID).Rotating {
		t.Error("Rotating ends before the key")
	}
	f.clock.Set(end)
	if err := f.validate(issued.Token); err != apikey.ErrExpired {
		t.Errorf("the retiring token: %v", err)
	}
	if err := f.validate(fresh.Token); err != apikey.ErrExpired {
		t.Errorf("the current token: %v", err)
	}
	if f.get(issued.Key.ID).Rotating {
		t.Error("Rotating does not end with the key")
	}
	if _, err := f.m.ExtendRotation(f.ctx, issued.Key.ID, time.Hour); !errors.Is(err, apikey.ErrNotRotating) {
		t.Errorf("extend on an expired key: %v", err)
	}

	// If the key is given more time, the older token stays refused.
	later := end.Add(time.Hour)
	key, err = f.m.Update(f.ctx, issued.Key.ID, apikey.Changes{ExpiresAt: &later})
	f.no(err)
	f.no(f.validate(fresh.Token))
	if err := f.validate(issued.Token); err != apikey.ErrReplaced {
		t.Errorf("the retiring token of a revived key: %v", err)
	}
	events := f.events(key.ID)
	if e := events[len(events)-1]; e.OldCredentialID != issued.Key.CredentialID || !e.OldExpiresAt.Equal(end) {
		t.Errorf("the event does not name the credential that ended: %+v", e)
	}
}

// rotationEnds: an overlap ends the older token, never later than it would
// have ended by itself, whatever is asked.
func rotationEnds(t *testing.T, newStore NewStore) {
	newStore = sharedStore(t, newStore)
	const life = 100 * time.Hour
	for _, test := range []struct {
		name    string
		age     time.Duration // of the key at the rotation
		overlap time.Duration
		extend  time.Duration // an hour later; 0 = not
		want    time.Duration // the old one's end, after issue
	}{
		{"inside its life", 10 * time.Hour, 24 * time.Hour, 0, 34 * time.Hour},
		{"up to its end", 10 * time.Hour, 90 * time.Hour, 0, life},
		{"past its end", 90 * time.Hour, 24 * time.Hour, 0, life},
		{"without bound", 10 * time.Hour, math.MaxInt64, 0, life},
		{"a fraction is cut", 10 * time.Hour, time.Hour + 1, 0, 11 * time.Hour},
		{"extended", 10 * time.Hour, 2 * time.Hour, 10 * time.Hour, 21 * time.Hour},
		{"shortened", 10 * time.Hour, 20 * time.Hour, time.Hour, 12 * time.Hour},
		{"extended past its end", 10 * time.Hour, 2 * time.Hour, math.MaxInt64, life},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, newStore, apikey.Options{})
			issued := f.issue(apikey.IssueParams{Lifetime: apikey.Period{Time: life}})
			f.clock.Add(test.age)
			fresh, err := f.m.Rotate(f.ctx, issued.Key.ID, test.overlap)
			f.no(err)
			key := f.get(issued.Key.ID)
			if test.extend != 0 {
				f.clock.Add(time.Hour)
				key, err = f.m.ExtendRotation(f.ctx, issued.Key.ID, test.extend)
				f.no(err)
			}
			want := issued.Key.CreatedAt.Add(test.want)
			if !key.RetiringUntil.Equal(want) {
				t.Errorf("retiring until %v, want %v", key.RetiringUntil, want)
			}
			now := f.now()
			f.clock.Set(want.Add(-time.Microsecond))
			before := f.get(issued.Key.ID).Rotating
			f.clock.Set(want)
			after := f.get(issued.Key.ID).Rotating
			f.clock.Set(now)
			if !before || after {
				t.Error("Rotating does not end with the overlap")
			}
			f.endsAt(issued.Token, want, apikey.ErrReplaced)
			f.clock.Set(want)
			f.no(f.validate(fresh.Token))
			if _, err := f.m.FinishRotation(f.ctx, issued.Key.ID); !errors.Is(err, apikey.ErrNotRotating) {
				t.Errorf("finish after the end: %v", err)
			}
		})
	}
}
