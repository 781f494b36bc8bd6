package storetest

import (
	"slices"
	"time"

	"github.com/keyturn/apikey"
)

var fitRules = []rule{
	{
		"pepper ids",
		"PepperIDs returns the PepperID of every stored Credential, retired ones too, each once and in any order.",
		pepperIDs,
	},
	{
		"a store that is fit for use",
		"Check returns nil if the Store is fit for use, and changes nothing that another call returns.",
		fitForUse,
	},
}

func pepperIDs(c *check) {
	s := c.on("credentials under several peppers")
	same := func(what string, want ...string) {
		s.t.Helper()
		got, err := s.PepperIDs(background)
		if err != nil {
			s.fatalf("PepperIDs: %v", err)
		}
		slices.Sort(got)
		want = slices.Sorted(slices.Values(want))
		if !slices.Equal(got, want) {
			s.errorf("PepperIDs %s: got %q, want %q", what, got, want)
		}
	}
	under := func(r apikey.Record, peppers ...string) apikey.Record {
		for i, id := range peppers {
			r.Credentials[i].PepperID = id
		}
		return r
	}
	same("of an empty store")
	first := under(newRecord("acme", 3), "retired1", "retiring", "current1")
	second := under(newRecord("other", 1), "current1")
	deleted := under(newRecord("acme", 1), "deleted1")
	deleted.Key.DeletedAt = base
	raw := under(newRecord("acme", 2), "\x00\xff\xc3\x28 \x00A\x80", "\x00\xff\xc3\x28 \x00a\x80")
	s.commit(records(first, second, deleted, raw))
	want := []string{"retired1", "retiring", "current1", "deleted1", raw.Credentials[0].PepperID, raw.Credentials[1].PepperID}
	same("of all records", want...)

	swept := at(1, first)
	swept.Credentials = slices.Clone(first.Credentials[1:])
	setCurrent(&swept)
	s.commit(records(swept))
	same("after a credential went", want[1:]...)
	s.commit(purge(deleted.Key.ID, 1))
	s.commit(purge(first.Key.ID, 2))
	same("after purges", "current1", raw.Credentials[0].PepperID, raw.Credentials[1].PepperID)
}

func fitForUse(c *check) {
	s := c.on("an empty store, and one with keys")
	if err := s.Check(background); err != nil {
		s.errorf("Check of an empty store: %v", err)
	}
	r := newRecord("acme", 2)
	s.commit(apikey.Commit{
		Records: []apikey.Record{r},
		Owners:  []apikey.Owner{{ID: "acme", DisabledAt: base, Nonce: nonce()}},
		Once:    []apikey.OnceName{{Name: "of the key", KeyID: r.Key.ID}},
	})
	s.addUsage(used(r, r.Key.CredentialID, 3, base))
	read := func() []any {
		m := s.lookup(r.Key.CredentialID)
		return []any{
			m, s.get(r.Key.ID), s.list(apikey.Query{IncludeDeleted: true}), s.owner("acme"),
			s.events(apikey.EventQuery{}), s.names(apikey.OnceQuery{}), s.days(r.Key.ID, base.Add(-24*time.Hour), 3),
		}
	}
	before := read()
	if err := s.Check(background); err != nil {
		s.errorf("Check of a store with keys: %v", err)
	}
	for i, after := range read() {
		what := []string{"Lookup", "Get", "List", "Owner", "Events", "OnceNames", "DailyUsage"}[i]
		s.equal(what+" after Check", after, before[i])
	}
	if got := s.commit(records(newRecord("acme", 1))); got.Seq != 3 {
		s.errorf("the next event has position %d, want 3", got.Seq)
	}
}
