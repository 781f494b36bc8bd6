package storetest

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/keyturn/apikey"
)

// allOrNothing makes Commits that are good but for one part. Whether that part
// is refused, other rules say: here nothing of the rest may be seen if it is.
func allOrNothing(c *check) {
	kept, doomed := newRecord("acme", 2), newRecord("acme", 2)
	state := apikey.Owner{ID: "acme", DisabledAt: base, Nonce: nonce()}
	added, changed := newRecord("acme", 1), at(1, kept)
	changed.Key.Name = "changed"
	changed.Credentials = append(changed.Credentials[:1:1], newCredential(base, base.AddDate(1, 0, 0)))
	setCurrent(&changed)
	enabled := apikey.Owner{ID: "acme", Revision: 1, Nonce: nonce()}
	newOwner := apikey.Owner{ID: "Acme", DisabledAt: base, Nonce: nonce()}
	good := apikey.Commit{
		Records: []apikey.Record{added, changed}, Owners: []apikey.Owner{enabled, newOwner},
		Purge: []apikey.RecordRef{{ID: doomed.Key.ID, Revision: 1}},
		Once:  []apikey.OnceName{{Name: "of the commit"}},
	}
	for _, test := range []struct {
		name  string
		spoil func(s *subject, c *apikey.Commit)
	}{
		{"a record at another revision", func(s *subject, c *apikey.Commit) {
			other := newRecord("zeta", 1)
			s.commit(records(other))
			c.Records = append(c.Records, at(7, other))
		}},
		{"a record at another revision, listed first", func(s *subject, c *apikey.Commit) {
			other := newRecord("zeta", 1)
			s.commit(records(other))
			c.Records = append([]apikey.Record{at(7, other)}, c.Records...)
		}},
		{"a record that is not stored", func(_ *subject, c *apikey.Commit) {
			c.Records = append(c.Records, at(3, newRecord("zeta", 1)))
		}},
		{"a new record whose id is taken", func(s *subject, c *apikey.Commit) {
			other := newRecord("zeta", 1)
			s.commit(records(other))
			again := newRecord("zeta", 1)
			again.Key.ID = other.Key.ID
			c.Records = append(c.Records, again)
		}},
		{"a credential whose id is taken", func(s *subject, c *apikey.Commit) {
			other, thief := newRecord("zeta", 1), newRecord("zeta", 1)
			s.commit(records(other))
			thief.Credentials[0].ID = other.Credentials[0].ID
			setCurrent(&thief)
			c.Records = append(c.Records, thief)
		}},
		{"an owner at another revision", func(_ *subject, c *apikey.Commit) {
			c.Owners = append(c.Owners, apikey.Owner{ID: "zeta", Revision: 4, Nonce: nonce()})
		}},
		{"a purge at another revision", func(s *subject, c *apikey.Commit) {
			other := newRecord("zeta", 1)
			s.commit(records(other))
			c.Purge = append(c.Purge, apikey.RecordRef{ID: other.Key.ID, Revision: 5})
		}},
		{"a record required at another revision", func(s *subject, c *apikey.Commit) {
			other := newRecord("zeta", 1)
			s.commit(records(other))
			*c = requires(*c, other.Key.ID, 5)
		}},
		{"an owner required at another revision", func(_ *subject, c *apikey.Commit) { *c = requiresOwner(*c, "zeta", 4) }},
		{"an owner at the limit", func(s *subject, c *apikey.Commit) {
			s.commit(records(newRecord("zeta", 1), newRecord("zeta", 1), newRecord("zeta", 1)))
			c.Records = append(c.Records, newRecord("zeta", 1))
			c.Limit = 3
		}},
		{"a name that is taken", func(s *subject, c *apikey.Commit) {
			s.commit(apikey.Commit{Records: []apikey.Record{newRecord("zeta", 1)}, Once: []apikey.OnceName{{Name: "taken"}}})
			c.Once = append(c.Once[:1:1], apikey.OnceName{Name: "taken"})
		}},
	} {
		s := c.on(test.name)
		s.commit(apikey.Commit{Records: []apikey.Record{kept, doomed}, Owners: []apikey.Owner{state}})
		commit := good
		test.spoil(s, &commit)
		before := s.events(apikey.EventQuery{})
		if position, err := s.try(commit); err == nil {
			continue
		} else if position != (apikey.Position{}) {
			s.errorf("Commit returned position %d with error %v", position.Seq, err)
		}
		s.gone(added.Key.ID, added.Key.CredentialID)
		s.gone("", changed.Key.CredentialID)
		got := s.get(kept.Key.ID)
		if got.Key.Name != kept.Key.Name || got.Nonce != kept.Nonce || got.Key.CredentialID != kept.Key.CredentialID {
			s.errorf("a record was changed: %+v", got.Key)
		}
		s.sameIDs("credentials", credentialIDs(got), credentialIDs(kept))
		if _, err := s.Get(background, doomed.Key.ID, ""); err != nil {
			s.errorf("Get of a record to purge: %v", err)
		}
		if names := s.names(apikey.OnceQuery{Name: "of the commit"}); len(names) > 0 {
			s.errorf("a name was stored")
		}
		if got := s.owner("acme"); got.Nonce != state.Nonce || !got.Disabled() {
			s.errorf("an owner was changed: %+v", got)
		}
		if got := s.owner(newOwner.ID); got.Revision != 0 || got.Disabled() {
			s.errorf("an owner was made: %+v", got)
		}
		if after := s.events(apikey.EventQuery{}); len(after) != len(before) {
			s.errorf("the log has %d events, %d before", len(after), len(before))
		}
		s.commit(records(newRecord("acme", 1)))
		log := s.events(apikey.EventQuery{})
		if n := len(log); n == 0 || log[n-1].Position.Seq != int64(len(before))+1 {
			s.errorf("the next commit has positions %v, want %d", positions(log), len(before)+1)
		}
	}
	untorn(c)
}

// untorn reads a Record while it is replaced: nobody sees a part of a Commit.
// Every text of version n says n.
func untorn(c *check) {
	s := c.on("reads while a record is replaced")
	first := newRecord("acme", 1)
	lasting := first.Key.CredentialID // looked up, so it is in every version
	version := func(n int) apikey.Record {
		r := at(int64(n), first)
		r.Key.Name = fmt.Sprint(n)
		r.Credentials = first.Credentials[:1:1]
		for range 1 + n%3 {
			made := base.Add(time.Duration(n) * time.Second)
			r.Credentials = append(r.Credentials, newCredential(made, made.AddDate(1, 0, 0)))
		}
		r.Credentials = slices.Clone(r.Credentials)
		for i := range r.Credentials {
			r.Credentials[i].PepperID = fmt.Sprint(n)
		}
		setCurrent(&r)
		return r
	}
	whole := func(call string, got apikey.Record) {
		for _, kept := range got.Credentials {
			if kept.PepperID != got.Key.Name {
				s.errorf("%s: got the key of change %s with a credential of change %s", call, got.Key.Name, kept.PepperID)
				return
			}
		}
		if _, ok := credential(got, got.Key.CredentialID); !ok {
			s.errorf("%s: got the key of change %s without its current credential", call, got.Key.Name)
		}
	}
	s.commit(records(version(0)))
	var done atomic.Bool
	s.together(4, func(i int) {
		for n := 1; i == 0 && n <= max(c.rounds, 20); n++ {
			if _, err := s.try(records(version(n))); err != nil {
				s.errorf("Commit: %v", err)
				break
			}
		}
		if i == 0 {
			done.Store(true)
		}
		for !done.Load() {
			var err error
			switch i {
			case 1:
				var got apikey.Record
				if got, err = s.Get(background, first.Key.ID, ""); err == nil {
					whole("Get", got)
				}
			case 2:
				var got []apikey.Record
				got, err = s.List(background, apikey.Query{Limit: 10})
				for _, r := range got {
					n, _ := strconv.Atoi(r.Key.Name)
					if made := base.Add(time.Duration(n) * time.Second); n > 0 && !r.Key.IssuedAt.Equal(made) {
						s.errorf("List: got the key of change %d, issued at %v, want %v", n, r.Key.IssuedAt, made)
					}
				}
			case 3:
				var got match
				if got, err = s.Lookup(background, lasting); err == nil && got.Credential.PepperID != got.Key.Name {
					s.errorf("Lookup: got the key of change %s with the credential of change %s", got.Key.Name, got.Credential.PepperID)
				}
			}
			if err != nil && !errors.Is(err, apikey.ErrNotFound) {
				s.errorf("a read: %v", err)
				return
			}
			runtime.Gosched()
		}
	})
}
