package storetest

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/keyturn/apikey"
)

var commitRules = []rule{
	{
		"all or nothing",
		"Commit is all or nothing: no call sees a part of it, and after an error nothing of it is seen, no position is used and no event is kept.",
		allOrNothing,
	},
	{
		"writes are seen at once",
		"What a Commit wrote is seen by every call that begins after it has returned.",
		seenAtOnce,
	},
	{
		"compare and swap",
		"A Record or Owner replaces the stored one only if its Revision equals the stored Revision, else ErrConflict, and is stored with the Revision after it.",
		compareAndSwap,
	},
	{
		"new record whose id is taken",
		"A Record with Revision 0 is new, and ErrExists if its id is taken.",
		newRecordExists,
	},
	{
		"replaced record that is not stored",
		"A Record with another Revision whose id is not stored is ErrConflict.",
		replacedRecordMissing,
	},
	{
		"concurrent replacements",
		"Of concurrent Commits that replace the same Revision exactly one succeeds.",
		concurrentReplacements,
	},
	{
		"given values are copied",
		"What Commit was given stays the caller's: changing it afterwards changes nothing in the Store.",
		givenCopies,
	},
	{
		"commit after the context ended",
		"A Commit whose context has already ended writes nothing, and its error is an ErrAborted.",
		commitContext,
	},
}

func compareAndSwap(c *check) {
	for stored := int64(1); stored <= 4; stored++ {
		s := c.on(fmt.Sprintf("a record at revision %d", stored))
		r := newRecord("acme", 1)
		for revision := range stored {
			r = at(revision, r)
			s.commit(records(r))
		}
		for _, wrong := range []int64{stored - 1, stored + 1, stored + 2, -1, -stored, math.MaxInt64 - 1} {
			if wrong != 0 { // that is a new one
				s.refused(fmt.Sprintf("a change of revision %d", wrong), apikey.ErrConflict, records(at(wrong, r)))
			}
		}
		got := s.get(r.Key.ID)
		if got.Nonce != r.Nonce {
			s.errorf("Get: got nonce %x, want %x", got.Nonce, r.Nonce)
		}
		if got.Key.Revision != stored {
			s.errorf("Get: got revision %d", got.Key.Revision)
		}
		if got := s.lookup(r.Key.CredentialID).Key.Revision; got != stored {
			s.errorf("Lookup: got revision %d", got)
		}
		if got := s.revision(r.Key.ID); got != stored {
			s.errorf("List: got revision %d", got)
		}
	}

	s := c.on("an owner")
	for _, wrong := range []int64{1, 2, -1} {
		s.refused(fmt.Sprintf("a change of revision %d of an owner never committed", wrong), apikey.ErrConflict, owners("acme", wrong))
	}
	s.commit(records(newRecord("acme", 1)))
	s.refused("a change of revision 1 of an owner never committed", apikey.ErrConflict, owners("acme", 1))
	for stored := range int64(3) {
		s.commit(owners("acme", stored))
		if got := s.owner("acme").Revision; got != stored+1 {
			s.errorf("Owner: got revision %d, want %d", got, stored+1)
		}
		for _, wrong := range []int64{stored, stored + 2, math.MaxInt64 - 1, -1} {
			s.refused(fmt.Sprintf("a change of revision %d of an owner at %d", wrong, stored+1), apikey.ErrConflict, owners("acme", wrong))
		}
	}
}

// owners returns a Commit that disables an owner at a Revision.
func owners(id string, revision int64) apikey.Commit {
	return apikey.Commit{Owners: []apikey.Owner{{ID: id, DisabledAt: base, Revision: revision, Nonce: nonce()}}}
}

func newRecordExists(c *check) {
	for _, test := range []struct {
		name  string
		state func(*apikey.Record)
	}{
		{"active", func(*apikey.Record) {}},
		{"disabled", func(r *apikey.Record) { r.Key.DisabledAt = base }},
		{"deleted", func(r *apikey.Record) { r.Key.DeletedAt = base }},
	} {
		s := c.on("a record that is " + test.name)
		r := newRecord("acme", 1)
		test.state(&r)
		s.commit(records(r))
		for _, owner := range []string{"acme", "other"} {
			again := newRecord(owner, 1)
			again.Key.ID = r.Key.ID
			s.refused("a new record of that id, of owner "+owner, apikey.ErrExists, records(again))
		}
		s.refused("the same record", apikey.ErrExists, records(at(0, r)))
		if got := s.get(r.Key.ID); got.Nonce != r.Nonce || got.Key.Owner != "acme" {
			s.errorf("Get: got owner %q and nonce %x, want acme, %x", got.Key.Owner, got.Nonce, r.Nonce)
		}
	}

	s := c.on("new records of one id at once")
	for range c.rounds {
		id := keyID()
		winners := atomic.Int64{}
		s.together(8, func(int) {
			r := newRecord("acme", 1)
			r.Key.ID = id
			switch _, err := s.try(records(r)); {
			case err == nil:
				winners.Add(1)
			case !errors.Is(err, apikey.ErrExists):
				s.errorf("Commit: got error %v, want %v", err, apikey.ErrExists)
			}
		})
		if winners.Load() != 1 {
			s.fatalf("%d of 8 succeeded, want 1", winners.Load())
		}
	}
}

func replacedRecordMissing(c *check) {
	s := c.on("an id never stored")
	s.commit(records(newRecord("acme", 1)))
	for _, revision := range []int64{1, 2, -1, math.MaxInt64 - 1} {
		r := at(revision, newRecord("acme", 1))
		s.refused(fmt.Sprintf("revision %d", revision), apikey.ErrConflict, records(r))
		s.gone(r.Key.ID, r.Key.CredentialID)
	}

	s = c.on("a record that was purged")
	r := newRecord("acme", 1)
	s.commit(records(r))
	s.commit(purge(r.Key.ID, 1))
	for _, revision := range []int64{1, 2} {
		s.refused(fmt.Sprintf("revision %d", revision), apikey.ErrConflict, records(at(revision, r)))
	}
}

func concurrentReplacements(c *check) {
	const callers = 8
	for _, test := range []struct {
		name string
		race func(s *subject) (commit func(i int) apikey.Commit, stored func() apikey.Nonce)
	}{
		{"replacements of a record", func(s *subject) (func(int) apikey.Commit, func() apikey.Nonce) {
			r := newRecord("acme", 1)
			s.commit(records(r))
			return func(int) apikey.Commit { return records(at(1, r)) },
				func() apikey.Nonce { return s.get(r.Key.ID).Nonce }
		}},
		{"first changes of an owner", func(s *subject) (func(int) apikey.Commit, func() apikey.Nonce) {
			id := keyID()
			return func(int) apikey.Commit { return owners(id, 0) },
				func() apikey.Nonce { return s.owner(id).Nonce }
		}},
		{"later changes of an owner", func(s *subject) (func(int) apikey.Commit, func() apikey.Nonce) {
			id := keyID()
			s.commit(owners(id, 0))
			return func(int) apikey.Commit { return owners(id, 1) },
				func() apikey.Nonce { return s.owner(id).Nonce }
		}},
		{"replacements and purges of a record", func(s *subject) (func(int) apikey.Commit, func() apikey.Nonce) {
			r := newRecord("acme", 1)
			s.commit(records(r))
			return func(i int) apikey.Commit {
				if i%2 == 0 {
					return purge(r.Key.ID, 1)
				}
				return records(at(1, r))
			}, nil
		}},
	} {
		s := c.on(test.name)
		for range c.rounds {
			commit, stored := test.race(s)
			var winners atomic.Int64
			var winner atomic.Value
			s.together(callers, func(i int) {
				made := change(commit(i))
				switch _, err := s.try(made); {
				case err == nil:
					winners.Add(1)
					winner.Store(made.Events[0].Position.Nonce)
				case !errors.Is(err, apikey.ErrConflict):
					s.errorf("Commit: got error %v, want %v", err, apikey.ErrConflict)
				}
			})
			if winners.Load() != 1 {
				s.fatalf("%d of %d succeeded, want 1", winners.Load(), callers)
			}
			if stored != nil && stored() != winner.Load() {
				s.fatalf("stored is nonce %x, the one that succeeded is %x", stored(), winner.Load())
			}
		}
	}
}
