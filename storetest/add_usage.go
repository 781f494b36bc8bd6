package storetest

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/keyturn/apikey"
)

var addUsageRules = []rule{
	{
		"AddUsage adds uses",
		"AddUsage adds Uses to what is stored and moves last-used forward, never back.",
		addUsageAdds,
	},
	{
		"AddUsage changes nothing else",
		"AddUsage never changes anything else: not the Record, not its Revision, not the log.",
		addUsageChangesNothingElse,
	},
	{
		"AddUsage of what is not stored",
		"AddUsage ignores a Credential that is not stored.",
		addUsageIgnores,
	},
	{
		"concurrent AddUsage",
		"Concurrent calls of AddUsage lose no use.",
		concurrentAddUsage,
	},
}

// usage reports a usage that differs, as Get and as List return it.
func (s *subject) usage(r apikey.Record, credentialID string, uses int64, last time.Time) {
	s.t.Helper()
	kept, _ := credential(s.get(r.Key.ID), credentialID)
	if kept.Uses != uses || kept.LastUsedAt != last {
		s.errorf("usage: got %d, last %v, want %d, %v", kept.Uses, kept.LastUsedAt, uses, last)
	}
}

// byDay reports days of which the uses of all Credentials differ.
func (s *subject) byDay(keyID string, want map[time.Time]int64) {
	s.t.Helper()
	got := map[time.Time]int64{}
	for _, u := range s.days(keyID, base.AddDate(0, 0, -10), 20) {
		got[u.Day] += u.Uses
	}
	if !maps.Equal(got, want) {
		s.errorf("uses by day: got %v, want %v", got, want)
	}
}

func addUsageAdds(c *check) {
	for _, test := range []struct {
		name    string
		batches [][]time.Duration // after base, one use more each
		uses    int64
		last    time.Duration
	}{
		{"one use", [][]time.Duration{{0}}, 1, 0},
		{"later uses", [][]time.Duration{{0}, {time.Microsecond}, {2 * time.Microsecond}}, 6, 2 * time.Microsecond},
		{"an earlier use comes later", [][]time.Duration{{time.Hour}, {time.Minute}, {time.Hour - time.Microsecond}}, 6, time.Hour},
		{"several days at once", [][]time.Duration{{0, day, 2 * day}, {day, 3 * day}}, 15, 3 * day},
		{"several days at once, the latest first", [][]time.Duration{{2 * day, day, 0}}, 6, 2 * day},
	} {
		s := c.on(test.name)
		r := newRecord("acme", 2)
		s.commit(records(r))
		next := int64(1)
		days := map[time.Time]int64{}
		for _, batch := range test.batches {
			var uses []apikey.Usage
			for _, after := range batch {
				uses = append(uses, used(r, r.Key.CredentialID, next, base.Add(after)))
				days[base.Add(after).Truncate(day)] += next
				next++
			}
			s.addUsage(uses...)
		}
		s.usage(r, r.Key.CredentialID, test.uses, base.Add(test.last))
		s.byDay(r.Key.ID, days)
	}

	s := c.on("times of other years, from another zone")
	r := newRecord("acme", 1)
	s.commit(records(r))
	first := time.Date(1999, 12, 31, 23, 59, 59, 999999000, time.UTC)
	last := time.Date(9998, 12, 31, 23, 59, 59, 999999000, time.UTC)
	s.addUsage(used(r, r.Key.CredentialID, 1, last.In(time.FixedZone("NPT", 5*3600+45*60))))
	s.addUsage(used(r, r.Key.CredentialID, 1<<40, first))
	s.usage(r, r.Key.CredentialID, 1<<40+1, last)

	s = c.on("a batch of a thousand")
	var list []apikey.Record
	var uses []apikey.Usage
	for i := range 100 {
		r := newRecord("acme", 1)
		list = append(list, r)
		for n := range 10 {
			uses = append(uses, used(r, r.Key.CredentialID, int64(i+n+1), base.Add(time.Duration(i)*time.Microsecond-time.Duration(n)*day)))
		}
	}
	s.commit(apikey.Commit{Records: list, Events: change(records(list[0])).Events})
	s.addUsage(uses...)
	for i, r := range list {
		got, want, last := s.get(r.Key.ID).Credentials[0], int64(10*i+55), base.Add(time.Duration(i)*time.Microsecond)
		if got.Uses != want || !got.LastUsedAt.Equal(last) {
			s.fatalf("usage of key %d: got %d, last %v, want %d, %v", i+1, got.Uses, got.LastUsedAt, want, last)
		}
	}
	s.addUsage()
}

func addUsageChangesNothingElse(c *check) {
	s := c.on("a key that is disabled and rotating")
	r := fullRecord(s)
	r.Key.DeletedAt = time.Time{}
	other := newRecord(r.Key.Owner, 2)
	s.commit(apikey.Commit{
		Records: []apikey.Record{r, other},
		Owners:  []apikey.Owner{{ID: r.Key.Owner, DisabledAt: base, Nonce: nonce()}},
	})
	read := func() ([]apikey.Record, []match, apikey.Owner, []apikey.Event) {
		var matches []match
		for _, id := range []string{r.Key.CredentialID, other.Key.CredentialID} {
			m := s.lookup(id)
			m.Key, m.Credential = unseen(m.Key), unused(m.Credential)
			matches = append(matches, m)
		}
		list := append(s.list(apikey.Query{}), s.get(r.Key.ID), s.get(other.Key.ID))
		for i := range list {
			list[i].Key = unseen(list[i].Key)
			for j, kept := range list[i].Credentials {
				if kept.ID == r.Key.CredentialID { // the one that is used
					list[i].Credentials[j] = unused(kept)
				}
			}
		}
		return list, matches, s.owner(r.Key.Owner), s.events(apikey.EventQuery{})
	}
	list, matches, owner, log := read()
	for i := range 3 {
		s.addUsage(used(r, r.Key.CredentialID, 2, base.Add(time.Duration(i)*time.Hour)))
	}
	gotList, gotMatches, gotOwner, gotLog := read()
	s.equal("records", gotList, list)
	s.equal("Lookup", gotMatches, matches)
	s.equal("Owner", gotOwner, owner)
	s.equal("log", gotLog, log)

	s = c.on("while the record is replaced")
	r = newRecord("acme", 1)
	s.commit(records(r))
	s.together(2, func(i int) {
		for n := range int64(max(c.rounds, 20)) {
			if i == 0 {
				if err := s.tryTouch(used(r, r.Key.CredentialID, 1, base)); err != nil {
					s.errorf("AddUsage: %v", err)
					return
				}
				continue
			}
			next := at(n+1, r)
			next.Key.Name = fmt.Sprint(n + 1)
			if _, err := s.try(records(next)); err != nil {
				s.errorf("Commit: %v", err)
				return
			}
		}
	})
	if got, want := s.get(r.Key.ID).Key.Name, fmt.Sprint(max(c.rounds, 20)); got != want {
		s.errorf("Get: got the state of change %s, want %s", got, want)
	}
}

func addUsageIgnores(c *check) {
	s := c.on("a credential never stored")
	r, later := newRecord("acme", 1), newRecord("acme", 1)
	s.commit(records(r))
	s.addUsage(
		used(later, later.Key.CredentialID, 5, base),
		used(r, r.Key.CredentialID, 2, base),
		used(r, credentialID(), 5, base),
	)
	s.usage(r, r.Key.CredentialID, 2, base)
	s.gone(later.Key.ID, later.Key.CredentialID)
	s.commit(records(later))
	s.usage(later, later.Key.CredentialID, 0, time.Time{})
	s.byDay(later.Key.ID, nil)

	s = c.on("a credential that went")
	r = newRecord("acme", 2)
	s.commit(records(r))
	gone := r.Credentials[0]
	swept := at(1, r)
	swept.Credentials = r.Credentials[1:]
	setCurrent(&swept)
	s.commit(records(swept))
	_, before := s.Lookup(background, gone.ID)
	s.addUsage(used(r, gone.ID, 5, base), used(r, r.Key.CredentialID, 2, base))
	if _, after := s.Lookup(background, gone.ID); after == nil && before != nil {
		s.errorf("Lookup(%q): got a credential, before the AddUsage %v", gone.ID, before)
	}
	s.usage(r, r.Key.CredentialID, 2, base)

	s = c.on("a record that was purged")
	r, stays := newRecord("acme", 1), newRecord("acme", 1)
	s.commit(records(r, stays))
	s.commit(purge(r.Key.ID, 1))
	log := len(s.events(apikey.EventQuery{}))
	s.addUsage(used(r, r.Key.CredentialID, 5, base), used(stays, stays.Key.CredentialID, 2, base))
	s.gone(r.Key.ID, r.Key.CredentialID)
	s.sameIDs("records", ids(s.list(apikey.Query{IncludeDeleted: true})), []string{stays.Key.ID})
	s.usage(stays, stays.Key.CredentialID, 2, base)
	if n := len(s.events(apikey.EventQuery{})); n != log {
		s.errorf("the log has %d events, %d before", n, log)
	}
}

func concurrentAddUsage(c *check) {
	const callers = 8
	s := c.on("8 callers, in batches that overlap")
	list := []apikey.Record{newRecord("acme", 1), newRecord("acme", 1), newRecord("acme", 1)}
	s.commit(records(list...))
	each := max(c.rounds, 20)
	s.together(callers, func(i int) {
		for n := range each {
			var uses []apikey.Usage
			for _, r := range list {
				uses = append(uses, used(r, r.Key.CredentialID, int64(i+1), base.Add(time.Duration(n*callers+i)*time.Microsecond)))
			}
			if err := s.tryTouch(uses...); err != nil {
				s.errorf("AddUsage: %v", err)
				return
			}
		}
	})
	for _, r := range list {
		want := int64(each * callers * (callers + 1) / 2)
		if got := s.get(r.Key.ID).Credentials[0].Uses; got != want {
			s.errorf("got %d uses, want %d", got, want)
		}
		s.byDay(r.Key.ID, map[time.Time]int64{midnight: want})
	}
}

var callRules = []rule{
	{
		"calls after the context ended",
		"A call whose context has ended returns an error that wraps the context's.",
		endedCalls,
	},
}

// endedCalls is about all calls but Commit, which has a rule of its own.
func endedCalls(c *check) {
	for _, ended := range endedContexts() {
		s := c.on(ended.name)
		r := newRecord("acme", 1)
		s.commit(records(r))
		ctx := ended.ctx
		for _, call := range []struct {
			name string
			make func() error
		}{
			{"Lookup", func() error { _, err := s.Lookup(ctx, r.Key.CredentialID); return err }},
			{"Lookup of an unknown id", func() error { _, err := s.Lookup(ctx, credentialID()); return err }},
			{"Get", func() error { _, err := s.Get(ctx, r.Key.ID, ""); return err }},
			{"Get of an unknown id", func() error { _, err := s.Get(ctx, keyID(), ""); return err }},
			{"List", func() error { _, err := s.List(ctx, apikey.Query{Limit: 10}); return err }},
			{"Owner", func() error { _, err := s.Owner(ctx, "acme"); return err }},
			{"Events", func() error { _, err := s.Events(ctx, apikey.EventQuery{Limit: 10}); return err }},
			{"OnceNames", func() error { _, err := s.OnceNames(ctx, apikey.OnceQuery{Limit: 10}); return err }},
			{"AddUsage", func() error { return s.AddUsage(ctx, []apikey.Usage{used(r, r.Key.CredentialID, 1, base)}) }},
			{"DailyUsage", func() error { _, err := s.DailyUsage(ctx, daysOf(r.Key.ID, base, 1)); return err }},
			{"PepperIDs", func() error { _, err := s.PepperIDs(ctx); return err }},
			{"Check", func() error { return s.Check(ctx) }},
		} {
			if err := call.make(); !errors.Is(err, ended.err) {
				s.errorf("%s: got error %v, want %v", call.name, err, ended.err)
			}
		}
		s.usage(r, r.Key.CredentialID, 0, time.Time{})
	}
}
