package storetest

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/keyturn/apikey"
)

var requireRules = []rule{
	{
		"requirement that is not met",
		"A Commit is ErrConflict unless each Record in RequireRecords is stored at its Revision and each Owner in RequireOwners is at its Revision, 0 for one never committed.",
		requirementMet,
	},
	{
		"requirement under concurrency",
		"What a Commit requires is still at its Revision when the Commit becomes visible, however many Commits run at once.",
		requirementExact,
	},
	{
		"requirement changes nothing",
		"A Commit never changes what it requires, and any number of Commits can require the same Revision.",
		requirementShared,
	},
}

// requires adds a required Record to a Commit, and requiresOwner an Owner.
func requires(c apikey.Commit, id string, revision int64) apikey.Commit {
	c.RequireRecords = append(c.RequireRecords, apikey.RecordRef{ID: id, Revision: revision})
	return c
}

func requiresOwner(c apikey.Commit, id string, revision int64) apikey.Commit {
	c.RequireOwners = append(c.RequireOwners, apikey.OwnerRef{ID: id, Revision: revision})
	return c
}

// event returns a Commit of an Event and nothing else.
func event() apikey.Commit { return once("") }

func requirementMet(c *check) {
	for stored := int64(1); stored <= 3; stored++ {
		s := c.on(fmt.Sprintf("a record at revision %d", stored))
		r := newRecord("acme", 2)
		for revision := range stored {
			r = at(revision, r)
			s.commit(records(r))
		}
		for _, wrong := range []int64{0, stored - 1, stored + 1, -1, -stored, math.MaxInt64} {
			s.refused(fmt.Sprintf("required at %d", wrong), apikey.ErrConflict, requires(event(), r.Key.ID, wrong))
			s.refused(fmt.Sprintf("required at %d, with a new record", wrong), apikey.ErrConflict, requires(records(newRecord("acme", 1)), r.Key.ID, wrong))
		}
		s.commit(requires(records(newRecord("acme", 1)), r.Key.ID, stored))
		s.commit(requires(event(), r.Key.ID, stored))
	}

	s := c.on("records that are not stored")
	r, gone := newRecord("acme", 1), newRecord("acme", 1)
	r.Key.ID = "a" + r.Key.ID[1:]
	s.commit(records(r, gone))
	s.commit(purge(gone.Key.ID, 1))
	for _, id := range []string{keyID(), gone.Key.ID, "A" + r.Key.ID[1:], r.Key.ID + " ", r.Key.CredentialID} {
		for revision := range int64(3) {
			s.refused(fmt.Sprintf("%q required at %d", id, revision), apikey.ErrConflict, requires(event(), id, revision))
		}
	}

	s = c.on("a record that is deleted")
	r = newRecord("acme", 1)
	r.Key.DeletedAt = base
	s.commit(records(r))
	s.refused("required at 2", apikey.ErrConflict, requires(event(), r.Key.ID, 2))
	s.commit(requires(event(), r.Key.ID, 1))

	s = c.on("owners never committed")
	s.commit(records(newRecord("with a key", 1)))
	for _, id := range []string{"with a key", "without a key"} {
		for _, wrong := range []int64{1, 2, -1, math.MaxInt64} {
			s.refused(fmt.Sprintf("owner %q required at %d", id, wrong), apikey.ErrConflict, requiresOwner(event(), id, wrong))
		}
		s.commit(requiresOwner(event(), id, 0))
	}

	s = c.on("an owner")
	for stored := int64(1); stored <= 3; stored++ {
		s.commit(owners("acme", stored-1))
		for _, wrong := range []int64{0, stored - 1, stored + 1, -stored, math.MaxInt64} {
			s.refused(fmt.Sprintf("required at %d, is at %d", wrong, stored), apikey.ErrConflict, requiresOwner(event(), "acme", wrong))
			s.refused(fmt.Sprintf("required at %d, is at %d, with its new record", wrong, stored), apikey.ErrConflict,
				requiresOwner(records(newRecord("acme", 1)), "acme", wrong))
		}
		s.commit(requiresOwner(event(), "acme", stored))
		with := requiresOwner(records(newRecord("acme", 1)), "acme", stored)
		with.Limit = 1000
		s.commit(with)
	}

	s = c.on("one of several")
	first, second, third := newRecord("acme", 1), newRecord("acme", 1), newRecord("acme", 1)
	s.commit(records(first, second, third))
	s.commit(owners("acme", 0))
	s.commit(owners("zeta", 0))
	for wrong := range 5 {
		revisions := [5]int64{1, 1, 1, 1, 1}
		revisions[wrong] = 2
		commit := event()
		for i, r := range []apikey.Record{third, first, second} {
			commit = requires(commit, r.Key.ID, revisions[i])
		}
		for i, id := range []string{"zeta", "acme"} {
			commit = requiresOwner(commit, id, revisions[3+i])
		}
		s.refused(fmt.Sprintf("requirement %d of 5 is not met", wrong+1), apikey.ErrConflict, commit)
	}

	for _, test := range []struct {
		name            string
		record, ofOwner int64
		want            error
	}{
		{"met", 1, 0, nil},
		{"a record that is not at 2", 2, 0, apikey.ErrConflict},
		{"an owner that is not at 1", 1, 1, apikey.ErrConflict},
	} {
		s := c.on("beside changes and a purge: " + test.name)
		first, second, third := newRecord("acme", 1), newRecord("acme", 1), newRecord("other", 1)
		s.commit(records(first, second, third))
		commit := apikey.Commit{
			Records: []apikey.Record{at(1, first), newRecord("acme", 1)}, Owners: []apikey.Owner{{ID: "acme", DisabledAt: base}},
			Purge: []apikey.RecordRef{{ID: second.Key.ID, Revision: 1}},
		}
		commit = requires(requiresOwner(commit, "other", test.ofOwner), third.Key.ID, test.record)
		if _, err := s.try(commit); !errors.Is(err, test.want) {
			s.errorf("Commit: got error %v, want %v", err, test.want)
		}
	}
}

// requirementExact lets Commits race of which each requires what the other one
// changes: one after the other, the second would find it changed.
func requirementExact(c *check) {
	type thing struct {
		name     string
		change   func(apikey.Commit) apikey.Commit
		requires func(apikey.Commit) apikey.Commit
	}
	record := func(s *subject) thing {
		r := newRecord("acme", 1)
		s.commit(records(r))
		return thing{
			"record",
			func(c apikey.Commit) apikey.Commit { c.Records = append(c.Records, at(1, r)); return c },
			func(c apikey.Commit) apikey.Commit { return requires(c, r.Key.ID, 1) },
		}
	}
	owner := func(s *subject) thing {
		id := "owner " + keyID()
		s.commit(owners(id, 0))
		return thing{
			"owner",
			func(c apikey.Commit) apikey.Commit {
				c.Owners = append(c.Owners, apikey.Owner{ID: id, Revision: 1, Nonce: nonce()})
				return c
			},
			func(c apikey.Commit) apikey.Commit { return requiresOwner(c, id, 1) },
		}
	}
	for _, test := range []struct {
		name          string
		first, second func(*subject) thing
	}{
		{"two records", record, record},
		{"two owners", owner, owner},
		{"a record and an owner", record, owner},
	} {
		s := c.on(test.name + ", each required by the change of the other")
		for range c.rounds {
			things := []thing{test.first(s), test.second(s)}
			var winners atomic.Int64
			s.together(2, func(i int) {
				commit := things[1-i].requires(things[i].change(apikey.Commit{}))
				switch _, err := s.try(commit); {
				case err == nil:
					winners.Add(1)
				case !errors.Is(err, apikey.ErrConflict):
					s.errorf("Commit: got error %v, want %v", err, apikey.ErrConflict)
				}
			})
			if winners.Load() != 1 {
				s.fatalf("%d of 2 succeeded, want 1", winners.Load())
			}
		}
	}

	for _, make := range []func(*subject) thing{record, owner} {
		const callers = 6
		s := c.on("several that require what another one changes")
		for range c.rounds {
			x := make(s)
			var positions [callers]int64
			s.together(callers, func(i int) {
				commit := x.change(apikey.Commit{})
				if i > 0 {
					commit = x.requires(records(newRecord("acme", 1)))
				}
				position, err := s.try(commit)
				if err != nil && (i == 0 || !errors.Is(err, apikey.ErrConflict)) {
					s.errorf("Commit: got error %v", err)
				}
				positions[i] = position.Seq
			})
			for _, position := range positions[1:] {
				if position > positions[0] {
					s.fatalf("the %s was changed at position %d and required at position %d", x.name, positions[0], position)
				}
			}
		}
	}
}

func requirementShared(c *check) {
	s := c.on("a record, and an owner")
	r := fullRecord(s)
	r.Key.Revision = 0
	s.commit(records(r))
	s.addUsage(used(r, r.Key.CredentialID, 3, base))
	state := filled[apikey.Owner](s)
	state.Revision = 0
	s.commit(apikey.Commit{Owners: []apikey.Owner{state}})
	read := func() []any {
		return []any{
			s.get(r.Key.ID), s.list(apikey.Query{IncludeDeleted: true}), s.owner(state.ID), s.owner("never committed"),
			s.days(r.Key.ID, base, 1),
		}
	}
	before := read()
	commit := requiresOwner(requiresOwner(requires(event(), r.Key.ID, s.revision(r.Key.ID)), state.ID, 1), "never committed", 0)
	s.commit(commit)
	for i, after := range read() {
		s.equal([]string{"Get", "List", "Owner", "Owner never committed", "DailyUsage"}[i], after, before[i])
	}

	s = c.on("8 at once that require the same")
	for range c.rounds {
		r := newRecord("acme", 1)
		s.commit(records(r))
		id := "owner " + r.Key.ID
		s.together(8, func(int) {
			commit := requiresOwner(requires(records(newRecord(id, 1)), r.Key.ID, 1), id, 0)
			if _, err := s.try(commit); err != nil {
				s.errorf("Commit: %v", err)
			}
		})
		s.commit(records(at(1, r)))
		s.commit(owners(id, 0))
	}
}
