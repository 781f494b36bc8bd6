package storetest

import (
	"slices"
	"time"

	"github.com/keyturn/apikey"
)

var credentialRules = []rule{
	{
		"credential whose id is taken",
		"A new Credential is ErrExists if its id is taken by another Record.",
		credentialExists,
	},
	{
		"credentials become those given",
		"The Credentials of a Record become exactly those given; the usage of those that stay is kept, that of those that go is removed.",
		credentialsReplaced,
	},
	{
		"usage in a commit is ignored",
		"Commit ignores Key.RetiringUntil, Key.LastUsedAt, Key.Uses and a Credential's LastUsedAt and Uses; Lookup and Get return the first three zero.",
		usageIgnored,
	},
}

func credentialExists(c *check) {
	s := c.on("credentials of another record")
	r := newRecord("acme", 2)
	mine := newRecord("acme", 1)
	s.commit(records(r, mine))
	for _, taken := range r.Credentials {
		for _, owner := range []string{"acme", "other"} {
			thief := newRecord(owner, 2)
			thief.Credentials[0].ID = taken.ID
			setCurrent(&thief)
			s.refused("a new record of owner "+owner, apikey.ErrExists, records(thief))
			s.gone(thief.Key.ID, thief.Key.CredentialID)
		}
		thief := at(1, mine)
		thief.Credentials = []apikey.Credential{mine.Credentials[0], newCredential(base, base.AddDate(1, 0, 0))}
		thief.Credentials[1].ID = taken.ID
		setCurrent(&thief)
		s.refused("a stored record", apikey.ErrExists, records(thief))
		if got, err := s.Lookup(background, taken.ID); err == nil && got.Key.ID != r.Key.ID {
			s.errorf("Lookup(%q): got key %q, want %q", taken.ID, got.Key.ID, r.Key.ID)
		}
	}
	s.sameIDs("credentials", credentialIDs(s.get(r.Key.ID)), credentialIDs(r))

	s = c.on("credentials of the record itself")
	s.commit(records(r))
	s.commit(records(at(1, r)))
}

func credentialsReplaced(c *check) {
	s := c.on("a rotation and a sweep")
	r := newRecord("acme", 3)
	s.commit(records(r, newRecord("acme", 2)))
	gone, stays, current := r.Credentials[0], r.Credentials[1], r.Credentials[2]
	s.addUsage(used(r, gone.ID, 3, base), used(r, stays.ID, 5, base.Add(time.Second)), used(r, current.ID, 7, base.Add(time.Minute)))
	revision := s.revision(r.Key.ID)
	fresh := newCredential(base.Add(9*time.Hour), base.AddDate(2, 0, 0))
	stays.ExpiresAt, stays.RetireBefore = base.AddDate(0, 0, 1), stays.ExpiresAt
	r.Credentials = []apikey.Credential{fresh, current, stays}
	r.Key.Name = "rotated"
	slices.Reverse(r.Credentials)
	setCurrent(&r)
	s.commit(records(at(revision, r)))

	got := s.get(r.Key.ID)
	s.sameIDs("credentials", credentialIDs(got), credentialIDs(r))
	s.gone("", gone.ID)
	if m := s.lookup(fresh.ID); m.Key.ID != r.Key.ID {
		s.errorf("Lookup of a new credential: got key %q, want %q", m.Key.ID, r.Key.ID)
	}
	if kept, _ := credential(got, stays.ID); !kept.ExpiresAt.Equal(stays.ExpiresAt) {
		s.errorf("a credential that stays ends at %v, want %v", kept.ExpiresAt, stays.ExpiresAt)
	}
	for _, want := range []struct {
		id   string
		uses int64
		last time.Time
	}{
		{stays.ID, 5, base.Add(time.Second)}, {current.ID, 7, base.Add(time.Minute)}, {fresh.ID, 0, time.Time{}},
	} {
		if kept, _ := credential(got, want.id); kept.Uses != want.uses || !kept.LastUsedAt.Equal(want.last) {
			s.errorf("usage of a credential that stays: got %d, last %v, want %d, %v", kept.Uses, kept.LastUsedAt, want.uses, want.last)
		}
	}

	// The same id again is another credential, never used.
	again := at(revision+1, r)
	again.Credentials = append([]apikey.Credential{gone}, r.Credentials...)
	s.commit(records(again))
	if kept, _ := credential(s.get(r.Key.ID), gone.ID); kept.Uses != 0 || !kept.LastUsedAt.IsZero() {
		s.errorf("usage of a credential that came again: got %d, last %v, want none", kept.Uses, kept.LastUsedAt)
	}

	s = c.on("all credentials replaced")
	r = newRecord("acme", 4)
	s.commit(records(r))
	next := newRecord("acme", 2)
	next.Key.ID = r.Key.ID
	s.commit(records(at(1, next)))
	s.sameIDs("credentials", credentialIDs(s.get(r.Key.ID)), credentialIDs(next))
	for _, id := range credentialIDs(r) {
		s.gone("", id)
	}

	s = c.on("as many credentials as a Manager keeps")
	r = newRecord("acme", 100)
	s.commit(records(r))
	r.Credentials = r.Credentials[50:]
	s.commit(records(at(1, r)))
	s.sameIDs("credentials", credentialIDs(s.get(r.Key.ID)), credentialIDs(r))
}

func usageIgnored(c *check) {
	claim := func(r apikey.Record) apikey.Record {
		r.Credentials = slices.Clone(r.Credentials)
		for i := range r.Credentials {
			r.Credentials[i].Uses, r.Credentials[i].LastUsedAt = 9, base.AddDate(5, 0, 0)
		}
		k := &r.Key
		k.RetiringUntil, k.LastUsedAt, k.Uses = base.AddDate(3, 0, 0), base.AddDate(5, 0, 0), 99
		return r
	}
	ignored := func(s *subject, r apikey.Record, uses int64, last time.Time) {
		s.t.Helper()
		s.equal("Lookup: Key", viewOf(s.lookup(r.Key.CredentialID).Key), apikey.Key{})
		got := s.get(r.Key.ID)
		s.equal("Get: Key", viewOf(got.Key), apikey.Key{})
		kept, _ := credential(got, r.Key.CredentialID)
		if kept.Uses != uses || !kept.LastUsedAt.Equal(last) {
			s.errorf("usage of a credential: got %d, last %v, want %d, %v", kept.Uses, kept.LastUsedAt, uses, last)
		}
		if k := s.list(apikey.Query{})[0].Key; k.Uses != uses || !k.LastUsedAt.Equal(last) {
			s.errorf("List: got %d uses, the last at %v, want %d, %v", k.Uses, k.LastUsedAt, uses, last)
		}
	}
	s := c.on("a new record")
	r := newRecord("acme", 2)
	s.commit(records(claim(r)))
	ignored(s, r, 0, time.Time{})

	s = c.on("a record as it was read")
	s.commit(records(r))
	s.addUsage(used(r, r.Key.CredentialID, 4, base))
	s.commit(records(at(s.revision(r.Key.ID), s.get(r.Key.ID))))
	ignored(s, r, 4, base)

	s = c.on("a stored record")
	s.commit(records(r))
	s.addUsage(used(r, r.Key.CredentialID, 4, base))
	s.commit(records(at(s.revision(r.Key.ID), claim(r))))
	ignored(s, r, 4, base)
}

// viewOf returns the fields of a Key that are no part of a Record.
func viewOf(k apikey.Key) apikey.Key {
	return apikey.Key{RetiringUntil: k.RetiringUntil, LastUsedAt: k.LastUsedAt, Uses: k.Uses}
}
