package storetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

var getRules = []rule{
	{
		"get finds the record",
		"Get returns the Record with exactly that id, with all its Credentials and their usage.",
		getFinds,
	},
	{
		"get of another id",
		"Get returns ErrNotFound for any other id.",
		getNotFound,
	},
	{
		"get with an owner",
		"With an owner, Get returns ErrNotFound for a Record of any other owner.",
		getOwned,
	},
	{
		"returned values are copies",
		"What Get, List and Events return is the caller's own: changing it changes nothing in the Store.",
		returnedCopies,
	},
	{
		"fields come back",
		"Every field of a Record comes back as it was committed, times in UTC to the microsecond, texts byte for byte.",
		fieldsComeBack,
	},
	{
		"order of credentials",
		"Credentials are returned in the order of their CreatedAt, and of their ids where that is the same.",
		credentialOrder,
	},
}

func getFinds(c *check) {
	s := c.on("records of one to five credentials, each used")
	var list []apikey.Record
	for n := range 5 {
		list = append(list, newRecord("acme", n+1))
	}
	s.commit(records(list...))
	var uses []apikey.Usage
	for _, r := range list {
		for i, id := range credentialIDs(r) {
			uses = append(uses, used(r, id, int64(i+1), base.Add(time.Duration(i)*time.Minute)))
		}
	}
	s.addUsage(uses...)
	for _, r := range list {
		got := s.get(r.Key.ID)
		if got.Key.ID != r.Key.ID {
			s.errorf("Get(%q): got key %q", r.Key.ID, got.Key.ID)
		}
		s.sameIDs("credentials", credentialIDs(got), credentialIDs(r))
		for i, id := range credentialIDs(r) {
			kept, _ := credential(got, id)
			if last := base.Add(time.Duration(i) * time.Minute); kept.Uses != int64(i+1) || !kept.LastUsedAt.Equal(last) {
				s.errorf("credential %d of %d: got %d uses, the last at %v, want %d, %v", i+1, len(r.Credentials), kept.Uses, kept.LastUsedAt, i+1, last)
			}
		}
	}

	s = c.on("ids that differ by case")
	lower, upper := newRecord("acme", 1), newRecord("acme", 1)
	lower.Key.ID = strings.ToLower(lower.Key.ID)
	upper.Key.ID = strings.ToUpper(lower.Key.ID)
	s.commit(records(lower))
	s.commit(records(upper))
	for _, r := range []apikey.Record{lower, upper} {
		if got := s.get(r.Key.ID); got.Key.ID != r.Key.ID || !slices.Equal(credentialIDs(got), credentialIDs(r)) {
			s.errorf("Get(%q): got key %q with credentials %q", r.Key.ID, got.Key.ID, credentialIDs(got))
		}
	}
}

func getNotFound(c *check) {
	absent := func(s *subject, id string) {
		if r, err := s.Get(background, id, ""); !errors.Is(err, apikey.ErrNotFound) {
			s.errorf("Get(%q): got error %v and key %q, want %v", id, err, r.Key.ID, apikey.ErrNotFound)
		}
	}
	s := c.on("an empty store")
	absent(s, keyID())

	s = c.on("another id")
	r := newRecord("acme", 2)
	s.commit(records(r))
	absent(s, keyID())
	absent(s, r.Key.CredentialID)
	for _, other := range like(r.Key.ID) {
		absent(s, other)
	}
}

func getOwned(c *check) {
	s := c.on("owners named alike")
	list := map[string]apikey.Record{}
	for _, name := range append(likeNames, "acme") {
		list[name] = newRecord(name, 2)
		s.commit(records(list[name]))
	}
	for name, r := range list {
		got, err := s.Get(background, r.Key.ID, name)
		if err != nil || got.Key.ID != r.Key.ID || got.Key.Owner != name {
			s.errorf("Get(%q, %q): got key %q and error %v", r.Key.ID, name, got.Key.ID, err)
		}
		for other := range list {
			if other == name {
				continue
			}
			if got, err := s.Get(background, r.Key.ID, other); !errors.Is(err, apikey.ErrNotFound) {
				s.errorf("Get(%q, %q): got key %q of %q and error %v, want %v", r.Key.ID, other, got.Key.ID, got.Key.Owner, err, apikey.ErrNotFound)
			}
		}
	}
	if got, err := s.Get(background, keyID(), "acme"); !errors.Is(err, apikey.ErrNotFound) {
		s.errorf("Get of an unknown id with an owner: got key %q and error %v, want %v", got.Key.ID, err, apikey.ErrNotFound)
	}
}

func returnedCopies(c *check) {
	r := newRecord("acme", 2)
	spoil := func(list []apikey.Credential) {
		for i := range list {
			list[i].Digest, list[i].PepperID = "spoiled", "spoiled"
		}
		_ = append(list[:1], apikey.Credential{ID: "spoiled"})
	}
	intact := func(s *subject, how string) {
		for i, kept := range s.get(r.Key.ID).Credentials {
			if kept.PepperID == "spoiled" || kept.ID == "spoiled" {
				s.errorf("%s: credential %d changed in the store", how, i+1)
			}
		}
	}
	s := c.on("a record")
	s.commit(records(r))
	first := s.get(r.Key.ID)
	spoil(first.Credentials)
	intact(s, "after a change of what Get returned")
	page := s.list(apikey.Query{})
	page[0].Key.Name = "spoiled"
	_ = append(page[:0], apikey.Record{Key: apikey.Key{ID: "spoiled", Name: "spoiled"}})
	if got := s.list(apikey.Query{})[0].Key.Name; got == "spoiled" {
		s.errorf("after a change of a page of List: its key changed in the store")
	}

	s.commit(eventsOf(3))
	log := s.events(apikey.EventQuery{})
	log[0].Reason = "spoiled"
	_ = append(log[:1], apikey.Event{Reason: "spoiled"})
	for _, q := range []apikey.EventQuery{{}, {KeyID: log[2].KeyID}} {
		for _, e := range s.events(q) {
			if e.Reason == "spoiled" {
				s.errorf("after a change of what Events returned: event %d changed in the store", e.Position.Seq)
			}
		}
	}
}

func fieldsComeBack(c *check) {
	full := fullRecord(c.on("a record with every field set"))
	plain := newRecord("acme", 1)
	cleared := newRecord(full.Key.Owner, 1)
	cleared.Key.ID = full.Key.ID

	for _, test := range []struct {
		name   string
		before *apikey.Record // replaced by record, if set
		record apikey.Record
	}{
		{"every field set", nil, full},
		{"no field set that may be unset", nil, plain},
		{"every field cleared", &full, cleared},
		{"every field set by a later change", &cleared, full},
		{"longest texts", nil, longestRecord()},
		{"times of the year 1970", nil, recordAt(time.UnixMicro(1).UTC())},
		{"times before 2000", nil, recordAt(time.Date(1999, 12, 31, 23, 59, 59, 999999000, time.UTC))},
		{"times of the year 9998", nil, recordAt(time.Date(9998, 12, 31, 23, 59, 59, 999999000, time.UTC))},
		{"times at the end of 9999", nil, recordAt(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))},
		{"times of another zone", nil, recordAt(base.In(time.FixedZone("NPT", 5*3600+45*60)))},
		{"raw bytes", nil, rawRecord()},
		{"extreme numbers", nil, extremeRecord()},
	} {
		s := c.on(test.name)
		committed := test.record
		if test.before != nil {
			s.commit(records(*test.before))
			committed = at(1, committed)
		}
		s.commit(records(committed))
		s.cameBack("Get", s.get(committed.Key.ID), committed)
		list := s.list(apikey.Query{IncludeDeleted: true})
		if len(list) != 1 {
			s.fatalf("List: got %d records, want 1", len(list))
		}
		committed.Credentials = nil // a rule of List
		list[0].Credentials = nil
		s.cameBack("List", list[0], committed)
	}

	s := c.on("texts that are alike")
	for i, name := range likeNames {
		r := newRecord(name, 1)
		r.Key.Name, r.Key.DisabledBy, r.Key.DisabledReason = name, name, name
		r.Key.Metadata = apikey.NewMetadata(map[string]string{name: name, likeNames[(i+1)%len(likeNames)]: "other"})
		s.commit(records(r))
		s.cameBack("Get", s.get(r.Key.ID), r)
	}
}

// cameBack compares a Record with what was committed, but for its Revision and
// usage, which other rules are about.
func (s *subject) cameBack(call string, got, want apikey.Record) {
	s.t.Helper()
	want.Key = utcKey(unseen(want.Key))
	want.Key.Revision = got.Key.Revision
	got.Key = unseen(got.Key)
	wanted := []apikey.Credential{}
	for _, c := range want.Credentials {
		wanted = append(wanted, utcCredential(unused(c)))
	}
	returned := []apikey.Credential{}
	for _, c := range wanted { // whatever the order
		if kept, ok := credential(got, c.ID); ok {
			returned = append(returned, unused(kept))
		}
	}
	got.Credentials, want.Credentials = returned, wanted
	s.equal(call, got, want)
}

func utcKey(k apikey.Key) apikey.Key {
	for _, t := range []*time.Time{&k.CreatedAt, &k.DisabledAt, &k.DeletedAt, &k.IssuedAt, &k.ExpiresAt} {
		*t = t.UTC()
	}
	return k
}

func utcCredential(c apikey.Credential) apikey.Credential {
	for _, t := range []*time.Time{&c.CreatedAt, &c.ExpiresAt, &c.RetireBefore} {
		*t = t.UTC()
	}
	return c
}

// fullRecord returns a Record of which every field is set, also those that a
// Store must not keep.
func fullRecord(s *subject) apikey.Record {
	r := filled[apikey.Record](s)
	for i := range r.Credentials {
		r.Credentials[i].ID, r.Credentials[i].Prefix = credentialID(), fmt.Sprintf("ak_%d", i)
		r.Credentials[i].PepperID = fmt.Sprintf("pepper %d", i)
	}
	r.Key.ID = keyID()
	setCurrent(&r)
	s.complete(r)
	r.Key.Revision = 0
	return r
}

func recordAt(t time.Time) apikey.Record {
	r := newRecord("acme", 2)
	for i := range r.Credentials {
		c := &r.Credentials[i]
		c.CreatedAt, c.ExpiresAt, c.RetireBefore = t, t, t
	}
	r.Key.CreatedAt, r.Key.DisabledAt, r.Key.DeletedAt = t, t, t
	setCurrent(&r)
	return r
}

// rawRecord holds what is no text in the fields that are opaque bytes, with
// bytes at the ends that a padded column would lose.
func rawRecord() apikey.Record {
	r := newRecord("acme", 3)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	r.IssueHash = string(every[:32])
	r.Seal, r.Nonce = string(every[:255]), apikey.Nonce{0, 0xff, '\'', '"', '\\', 0x80, 14: ' ', 15: 0}
	r.Credentials[0].Digest = apikey.Digest(every[:255])
	r.Credentials[1].Digest = apikey.Digest(every[1:])
	r.Credentials[2].Digest = "\x00\xff trailing \x00 "
	for i := range r.Credentials {
		r.Credentials[i].PepperID = []string{"\x00\xff'\"\\\x80\n\x00", "      \x00 ", "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"}[i]
		r.Credentials[i].Seal = []string{"\x00", " ", "\xff\x00\xc3\x28"}[i]
	}
	return r
}

func extremeRecord() apikey.Record {
	r := newRecord("acme", 1)
	r.Credentials[0].Scheme = 255
	r.Key.Rate = apikey.Rate{Requests: math.MaxInt, Period: time.Duration(math.MaxInt64).Truncate(time.Microsecond)}
	return r
}

// longestScopes returns as many scopes as there can be, as long as they can be.
func longestScopes() apikey.Scopes {
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf("%03d%s", i, strings.Repeat("~", 97)))
	}
	return scopes(list...)
}

// longestRecord holds the longest texts that a Manager lets through.
func longestRecord() apikey.Record {
	r := newRecord(text(255), 1)
	r.Credentials[0].Prefix = "a" + strings.Repeat("_9", 9) + "z"
	setCurrent(&r)
	k := &r.Key
	k.Name, k.DisabledBy, k.DisabledReason, k.DisabledAt = text(200), text(255), text(500), base
	var cidrs []string
	entries := map[string]string{}
	for i := range 100 {
		cidrs = append(cidrs, fmt.Sprintf("2001:db8:1111:2222:3333:4444:5555:%x/128", 0x1000+i))
	}
	for i := range 50 {
		entries[fmt.Sprintf("%02d", i)+text(62)] = text(500)
	}
	k.Scopes, k.Networks, k.Metadata = longestScopes(), networks(cidrs...), apikey.NewMetadata(entries)
	return r
}

// text returns n bytes of text, at least 5, of characters of 1, 2 and 4 bytes.
func text(n int) string {
	s := "é'\"\\" + strings.Repeat("\U0001f511", (n-5)/4)
	return s + strings.Repeat("x", n-len(s))
}

func credentialOrder(c *check) {
	s := c.on("credentials given in another order")
	r := newRecord("acme", 8)
	made := r.Credentials
	for i := range made {
		made[i].CreatedAt = base.Add(time.Duration(7-i) / 2 * time.Microsecond) // the newest first, in pairs
		made[i].ExpiresAt = base.AddDate(1, 0, 0)
	}
	want := slices.Clone(made)
	slices.SortFunc(want, func(a, b apikey.Credential) int {
		if n := a.CreatedAt.Compare(b.CreatedAt); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	setCurrent(&r)
	s.commit(records(r))
	place := func(id string) int {
		return slices.IndexFunc(want, func(c apikey.Credential) bool { return c.ID == id })
	}
	inOrder := func(call string, got apikey.Record) {
		list := credentialIDs(got)
		if !slices.IsSortedFunc(list, func(a, b string) int { return place(a) - place(b) }) {
			s.errorf("%s: got credentials %q, want %q", call, list, credentialIDs(apikey.Record{Credentials: want}))
		}
	}
	inOrder("Get", s.get(r.Key.ID))
}

// sameIDs compares two lists of ids whatever their order.
func (s *subject) sameIDs(what string, got, want []string) {
	s.t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		s.errorf("%s: got %q, want %q", what, got, want)
	}
}
