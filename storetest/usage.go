package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

var usageRules = []rule{
	{
		"daily usage adds up",
		"DailyUsage returns one Usage for each Credential of the Key and each Day on which it was used: the sum of all Uses that AddUsage was given for that Day, and the latest LastUsedAt of that Day.",
		daysAddUp,
	},
	{
		"daily usage order",
		"DailyUsage returns its list in ascending order of Day, and in byte order of the CredentialID where that is the same.",
		daysInOrder,
	},
	{
		"daily usage interval",
		"DailyUsage returns only Days at or after q.From and before q.Until.",
		daysInInterval,
	},
	{
		"daily usage of unknown days",
		"DailyUsage never returns uses of which the Day is not known.",
		unknownDays,
	},
	{
		"daily usage of changed records",
		"A change of the Record keeps the days of the Credentials that stay; a Credential that goes, by a change or a Purge, takes its days along, also if its id comes again.",
		daysOfChanges,
	},
	{
		"daily usage of one key",
		"DailyUsage returns only the uses of the Key with exactly that id; one that is not stored has none, which is no error.",
		daysOfOneKey,
	},
}

const day = 24 * time.Hour

// midnight is the first instant of the day of base.
var midnight = base.Truncate(day)

// daysOf asks for so many days of a key, from that of an instant on.
func daysOf(keyID string, from time.Time, days int) apikey.UsageQuery {
	first := from.Truncate(day)
	return apikey.UsageQuery{KeyID: keyID, From: first, Until: first.AddDate(0, 0, days)}
}

// days reads the uses of so many days of a key.
func (s *subject) days(keyID string, from time.Time, days int) []apikey.Usage {
	s.t.Helper()
	q := daysOf(keyID, from, days)
	uses, err := s.DailyUsage(background, q)
	if err != nil {
		s.fatalf("DailyUsage(%+v): %v", q, err)
	}
	return uses
}

// sameDays compares the uses of 20 days around base, in whatever order.
func (s *subject) sameDays(what, keyID string, want ...apikey.Usage) {
	s.t.Helper()
	got := slices.Clone(s.days(keyID, base.AddDate(0, 0, -10), 20))
	slices.SortFunc(got, byDay)
	slices.SortFunc(want, byDay)
	s.equal(what, got, want)
}

func byDay(a, b apikey.Usage) int {
	return cmp.Or(a.Day.Compare(b.Day), cmp.Compare(a.CredentialID, b.CredentialID))
}

func daysAddUp(c *check) {
	s := c.on("two credentials on three days")
	r := newRecord("acme", 2)
	s.commit(records(r))
	s.sameDays("before any use", r.Key.ID)
	old, current := r.Credentials[0].ID, r.Credentials[1].ID
	early, late := midnight, midnight.Add(day-time.Microsecond)
	s.addUsage(used(r, old, 1, late), used(r, current, 2, late))
	s.addUsage(used(r, current, 4, early.AddDate(0, 0, 1)))
	s.addUsage(used(r, current, 8, early), used(r, old, 16, early.AddDate(0, 0, -1)))
	s.addUsage(used(r, current, 1<<40, late.AddDate(0, 0, 1)))
	s.sameDays("uses", r.Key.ID,
		used(r, old, 16, early.AddDate(0, 0, -1)),
		used(r, old, 1, late), used(r, current, 2+8, late),
		used(r, current, 4+1<<40, late.AddDate(0, 0, 1)),
	)

	s = c.on("20 credentials, each on 20 days")
	r = newRecord("acme", 20)
	s.commit(records(r))
	var all []apikey.Usage
	for i := range 20 {
		var uses []apikey.Usage
		for j, id := range credentialIDs(r) {
			uses = append(uses, used(r, id, int64(20*i+j+1), base.AddDate(0, 0, i-10)))
		}
		s.addUsage(uses...)
		all = append(all, uses...)
	}
	s.sameDays("uses", r.Key.ID, all...)
}

func daysInOrder(c *check) {
	s := c.on("days and credentials used out of order")
	r := newRecord("acme", 4)
	// By number, case or creation they would come in another order.
	for i, id := range []string{"b9", "b10", "a", "B"} {
		r.Credentials[i].ID = id + strings.Repeat("0", 12-len(id))
	}
	setCurrent(&r)
	s.commit(records(r))
	for _, days := range []int{2, 0, 3, 1} {
		for _, id := range credentialIDs(r) {
			s.addUsage(used(r, id, 1, base.AddDate(0, 0, days)))
		}
	}
	var got, want []string
	for _, u := range s.days(r.Key.ID, base, 10) {
		got = append(got, fmt.Sprint(u.Day.Format(time.DateOnly), " ", u.CredentialID))
	}
	for i := range 4 {
		for _, id := range slices.Sorted(slices.Values(credentialIDs(r))) {
			want = append(want, fmt.Sprint(base.AddDate(0, 0, i).Format(time.DateOnly), " ", id))
		}
	}
	if !slices.Equal(got, want) {
		s.errorf("got %q, want %q", got, want)
	}
}

func daysInInterval(c *check) {
	s := c.on("uses on each of 9 days")
	r := newRecord("acme", 1)
	s.commit(records(r))
	for i := range 9 {
		s.addUsage(used(r, r.Key.CredentialID, 1, base.AddDate(0, 0, i)))
	}
	for _, test := range []struct{ from, days int }{
		{0, 9}, {0, 1}, {0, 8}, {1, 8}, {4, 1}, {8, 1}, {-5, 5}, {-5, 6}, {9, 5}, {8, 100}, {-1, 11}, {3, 0},
	} {
		got := map[string]int{}
		for _, u := range s.days(r.Key.ID, base.AddDate(0, 0, test.from), test.days) {
			got[u.Day.Format(time.DateOnly)]++
		}
		for i := -10; i < 120; i++ {
			want := 0
			if i >= max(test.from, 0) && i < min(test.from+test.days, 9) {
				want = 1
			}
			name := base.AddDate(0, 0, i).Format(time.DateOnly)
			if got[name] != want {
				s.errorf("%d days from day %d on: got %d of day %d, want %d", test.days, test.from, got[name], i, want)
			}
		}
	}
}

func unknownDays(c *check) {
	s := c.on("uses of a day, and uses of none")
	r := newRecord("acme", 2)
	s.commit(records(r))
	known, unknown := used(r, r.Key.CredentialID, 3, base), used(r, r.Key.CredentialID, 5, base)
	alone := used(r, r.Credentials[0].ID, 7, base)
	unknown.Day, alone.Day = time.Time{}, time.Time{}
	s.addUsage(known)
	s.addUsage(unknown, alone)
	s.equal("the day", s.days(r.Key.ID, base, 1), []apikey.Usage{known})
	for _, from := range []time.Time{{}, time.Unix(0, 0).UTC(), time.Unix(0, 0).UTC().AddDate(0, 0, -3)} {
		if got := s.days(r.Key.ID, from, 10); len(got) > 0 {
			s.errorf("10 days from %v on: got %+v", from, got)
		}
	}
	q := daysOf(r.Key.ID, time.Unix(0, 0).UTC(), 1)
	q.Until = midnight.AddDate(0, 0, 1)
	got, err := s.DailyUsage(background, q)
	if err != nil {
		s.fatalf("DailyUsage(%+v): %v", q, err)
	}
	s.equal("all days since 1970", got, []apikey.Usage{known})
}

func daysOfChanges(c *check) {
	s := c.on("a credential goes, one stays, one comes")
	r := newRecord("acme", 2)
	s.commit(records(r))
	goes, stays := r.Credentials[0], r.Credentials[1]
	kept := used(r, stays.ID, 5, base)
	s.addUsage(used(r, goes.ID, 3, base), kept)
	changed := at(s.revision(r.Key.ID), r)
	changed.Key.Name = "renamed"
	s.commit(records(changed))
	s.sameDays("after a change of the name", r.Key.ID, used(r, goes.ID, 3, base), kept)
	s.addUsage(used(r, stays.ID, 1, base))
	kept.Uses++
	changed = at(s.revision(r.Key.ID), changed)
	changed.Key.DeletedAt = base
	changed.Credentials = []apikey.Credential{stays, newCredential(base.Add(day), base.AddDate(1, 0, 1))}
	setCurrent(&changed)
	s.commit(records(changed))
	s.sameDays("after a credential went, and the key was deleted", r.Key.ID, kept)
	changed = at(s.revision(r.Key.ID), changed)
	changed.Credentials = append(changed.Credentials, goes)
	s.commit(records(changed))
	s.sameDays("after the credential came again", r.Key.ID, kept)

	s.commit(purge(r.Key.ID, s.revision(r.Key.ID)))
	s.sameDays("after a Purge", r.Key.ID)
	s.commit(records(at(0, r)))
	s.sameDays("after the ids came again", r.Key.ID)
	s.addUsage(kept)
	s.sameDays("used again", r.Key.ID, kept)
}

func daysOfOneKey(c *check) {
	s := c.on("keys whose ids are alike")
	r, other, same := newRecord("acme", 1), newRecord("acme", 1), newRecord("other", 1)
	r.Key.ID, other.Key.ID = "a"+r.Key.ID[1:], "A"+r.Key.ID[1:]
	s.commit(records(r, other, same))
	want := []apikey.Usage{used(r, r.Key.CredentialID, 3, base)}
	s.addUsage(want[0])
	s.addUsage(used(other, other.Key.CredentialID, 5, base))
	s.addUsage(used(same, same.Key.CredentialID, 7, base))
	s.sameDays("of the key", r.Key.ID, want...)
	s.sameDays("of another", other.Key.ID, used(other, other.Key.CredentialID, 5, base))
	for _, id := range []string{keyID(), r.Key.ID + " ", r.Key.ID[1:], "", r.Key.CredentialID, "%", strings.ToUpper(r.Key.ID)} {
		if id != other.Key.ID {
			s.sameDays(fmt.Sprintf("of %q, which is not stored", id), id)
		}
	}
}
