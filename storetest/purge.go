package storetest

import (
	"errors"
	"slices"

	"github.com/keyturn/apikey"
)

var purgeRules = []rule{
	{
		"purge",
		"A Purge removes the Record with its Credentials and their usage, but no event, if its Revision equals the stored Revision, else ErrConflict.",
		purges,
	},
}

func purges(c *check) {
	s := c.on("a record among others")
	r, stays := newRecord("acme", 3), newRecord("acme", 2)
	s.commit(records(r, stays))
	for i, id := range credentialIDs(r) {
		s.addUsage(used(r, id, int64(i+5), base))
	}
	revision := s.revision(r.Key.ID)
	for _, wrong := range []int64{revision + 1, revision - 1, revision + 7, -revision} {
		if _, err := s.try(purge(r.Key.ID, wrong)); !errors.Is(err, apikey.ErrConflict) {
			s.fatalf("a purge of revision %d, stored is %d: got error %v, want %v", wrong, revision, err, apikey.ErrConflict)
		}
	}
	if _, err := s.try(purge(keyID(), 1)); !errors.Is(err, apikey.ErrConflict) {
		s.errorf("a purge of what is not stored: got error %v, want %v", err, apikey.ErrConflict)
	}
	before := s.events(apikey.EventQuery{})
	s.commit(purge(r.Key.ID, revision))
	for _, id := range credentialIDs(r) {
		s.gone(r.Key.ID, id)
	}
	s.sameIDs("records", ids(s.list(apikey.Query{IncludeDeleted: true})), []string{stays.Key.ID})
	s.sameIDs("records of the owner", ids(s.list(apikey.Query{Owner: "acme", IncludeDeleted: true})), []string{stays.Key.ID})
	s.sameIDs("credentials of another record", credentialIDs(s.get(stays.Key.ID)), credentialIDs(stays))
	s.lookup(stays.Key.CredentialID)
	after := s.events(apikey.EventQuery{})
	if len(after) != len(before)+1 || !slices.Equal(nonces(after[:len(before)]), nonces(before)) {
		s.errorf("the log has events %v, want %v and one more", positions(after), positions(before))
	}
	if log := s.events(apikey.EventQuery{KeyID: r.Key.ID}); !slices.ContainsFunc(log, func(e apikey.Event) bool { return e.Position.Nonce == r.Nonce }) {
		s.errorf("the log lost the events of the key")
	}
	if _, err := s.try(purge(r.Key.ID, revision)); !errors.Is(err, apikey.ErrConflict) {
		s.errorf("a second purge: got error %v, want %v", err, apikey.ErrConflict)
	}

	// The same ids again are another key, never used.
	s.commit(records(at(0, r)))
	got := s.get(r.Key.ID)
	s.sameIDs("credentials", credentialIDs(got), credentialIDs(r))
	for _, kept := range got.Credentials {
		if kept.Uses != 0 || !kept.LastUsedAt.IsZero() {
			s.errorf("usage of a credential that came again: got %d, last %v, want none", kept.Uses, kept.LastUsedAt)
		}
	}

	s = c.on("beside other changes")
	first, second, third := newRecord("acme", 1), newRecord("other", 1), newRecord("acme", 1)
	s.commit(records(first, second))
	s.commit(apikey.Commit{
		Records: []apikey.Record{third},
		Owners:  []apikey.Owner{{ID: "acme", DisabledAt: base, Nonce: nonce()}},
		Purge:   []apikey.RecordRef{{ID: first.Key.ID, Revision: 1}, {ID: second.Key.ID, Revision: 1}},
	})
	s.sameIDs("records", ids(s.list(apikey.Query{})), []string{third.Key.ID})
	if !s.owner("acme").Disabled() {
		s.errorf("Owner: got an enabled one")
	}
}
