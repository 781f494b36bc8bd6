package storetest

import (
	"time"

	"github.com/keyturn/apikey"
)

var ownerRules = []rule{
	{
		"state of an owner",
		"Owner returns the state that was committed last, or Owner{ID: owner} for an owner never committed.",
		ownerState,
	},
}

func ownerState(c *check) {
	s := c.on("an owner never committed")
	s.equal("Owner", s.owner("acme"), apikey.Owner{ID: "acme"})
	s.commit(records(newRecord("acme", 1)))
	s.equal("Owner, once there is a key", s.owner("acme"), apikey.Owner{ID: "acme"})

	s = c.on("owners named alike")
	var states []apikey.Owner
	for _, id := range likeNames[:len(likeNames)/2] {
		o := filled[apikey.Owner](s)
		o.ID, o.Nonce = id, nonce()
		o.DisabledAt = base.Add(time.Duration(len(states)) * time.Microsecond)
		states = append(states, o)
	}
	for _, o := range states {
		o.Revision = 0
		s.commit(apikey.Commit{Owners: []apikey.Owner{o}})
	}
	for _, o := range states {
		s.cameBackOwner(s.owner(o.ID), o)
	}
	for _, id := range likeNames[len(likeNames)/2:] {
		s.equal("Owner", s.owner(id), apikey.Owner{ID: id})
	}

	for _, test := range []struct {
		name string
		last func(*apikey.Owner)
	}{
		{"longest texts", func(o *apikey.Owner) {
			o.ID, o.DisabledBy, o.DisabledReason = text(255), text(255), text(500)
		}},
		{"raw bytes", func(o *apikey.Owner) {
			o.Seal, o.Nonce = "\x00\xff\xc3\x28 \x00", apikey.Nonce{0, 0xff, 14: ' ', 15: 0}
		}},
		{"the first instant", func(o *apikey.Owner) { o.DisabledAt = time.UnixMicro(1).UTC() }},
		{"the year 9998", func(o *apikey.Owner) { o.DisabledAt = time.Date(9998, 12, 31, 23, 59, 59, 999999000, time.UTC) }},
		{"another zone", func(o *apikey.Owner) { o.DisabledAt = base.In(time.FixedZone("NPT", 5*3600+45*60)) }},
		{"the latest end of tokens", func(o *apikey.Owner) { o.TokensUntil = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC) }},
		{"a ceiling without scopes", func(o *apikey.Owner) { o.HasCeiling, o.Ceiling = true, apikey.Scopes{} }},
		{"the longest ceiling", func(o *apikey.Owner) { o.Ceiling = longestScopes() }},
		{"enabled again", func(o *apikey.Owner) { *o = apikey.Owner{ID: o.ID, Nonce: nonce()} }},
	} {
		s := c.on(test.name)
		first := filled[apikey.Owner](s)
		test.last(&first)
		first.Revision = 0
		s.commit(apikey.Commit{Owners: []apikey.Owner{first}})
		s.cameBackOwner(s.owner(first.ID), first)

		s = c.on(test.name + ", by a later change")
		before := filled[apikey.Owner](s)
		before.ID, before.Revision = first.ID, 0
		s.commit(apikey.Commit{Owners: []apikey.Owner{before}})
		first.Revision = 1
		s.commit(apikey.Commit{Owners: []apikey.Owner{first}})
		s.cameBackOwner(s.owner(first.ID), first)
	}
}

// cameBackOwner compares an Owner with what was committed, but for its
// Revision, which another rule is about.
func (s *subject) cameBackOwner(got, want apikey.Owner) {
	s.t.Helper()
	want.Revision = got.Revision
	want.DisabledAt, want.TokensUntil = want.DisabledAt.UTC(), want.TokensUntil.UTC()
	s.equal("Owner", got, want)
}
