package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyturn/apikey"
)

func seenAtOnce(c *check) {
	s := c.on("reads before and after a commit")
	// Every call is made before as well, so that what it may have kept shows.
	r := newRecord("acme", 1)
	id := r.Key.ID
	read := func() (apikey.Record, match, []apikey.Record, apikey.Owner, []apikey.Event) {
		got, _ := s.Get(background, id, "")
		m, _ := s.Lookup(background, r.Key.CredentialID)
		return got, m, s.list(apikey.Query{}), s.owner("acme"), s.events(apikey.EventQuery{})
	}
	read()
	seen := func(what, name, list string, disabled bool, events int) {
		s.t.Helper()
		got, m, page, owner, log := read()
		if got.Key.Name != name {
			s.errorf("Get after %s: got %q, want %q", what, got.Key.Name, name)
		}
		if m.Key.Name != name {
			s.errorf("Lookup after %s: got %q, want %q", what, m.Key.Name, name)
		}
		if name != "" && m.Owner.Disabled() != disabled {
			s.errorf("Lookup after %s: got owner disabled %v", what, m.Owner.Disabled())
		}
		if owner.Disabled() != disabled {
			s.errorf("Owner after %s: got disabled %v", what, owner.Disabled())
		}
		names := ""
		for _, r := range page {
			names += r.Key.Name
		}
		if names != list {
			s.errorf("List after %s: got %q, want %q", what, names, list)
		}
		if events > 0 && len(log) != events {
			s.errorf("Events after %s: got %d, want %d", what, len(log), events)
		}
	}
	r.Key.Name = "first"
	s.commit(records(r))
	seen("Issue", "first", "first", false, 1)
	r = at(1, r)
	r.Key.Name = "second"
	s.commit(records(r))
	seen("a change", "second", "second", false, 2)
	s.commit(apikey.Commit{Owners: []apikey.Owner{{ID: "acme", DisabledAt: base, Nonce: nonce()}}})
	seen("a change of the owner", "second", "second", true, 3)
	r = at(2, r)
	r.Key.Name, r.Key.DeletedAt = "third", base
	s.commit(records(r))
	seen("Delete", "third", "", true, 4)
	s.commit(purge(id, 3))
	seen("Purge", "", "", true, 0) // what becomes of the log, the rule of Purge says

	s = c.on("reads of many callers after a commit")
	r = newRecord("acme", 1)
	s.commit(records(r))
	for n := range int64(c.rounds) {
		if c.failed.Load() {
			return
		}
		next := at(n+1, r)
		next.Key.Name = fmt.Sprint(n)
		s.commit(apikey.Commit{Records: []apikey.Record{next}, Owners: []apikey.Owner{{ID: "acme", DisabledBy: next.Key.Name, Revision: n}}})
		s.together(4, func(i int) {
			var got string
			var err error
			switch i {
			case 0:
				var stored apikey.Record
				stored, err = s.Get(background, r.Key.ID, "")
				got = stored.Key.Name
			case 1:
				var m match
				m, err = s.Lookup(background, r.Key.CredentialID)
				got = m.Key.Name
			case 2:
				var list []apikey.Record
				if list, err = s.List(background, apikey.Query{Limit: 2}); len(list) > 0 {
					got = list[0].Key.Name
				}
			case 3:
				var o apikey.Owner
				o, err = s.Owner(background, "acme")
				got = o.DisabledBy
			}
			if got != next.Key.Name || err != nil {
				s.errorf("%s: got the state of change %q and error %v, want %q", []string{"Get", "Lookup", "List", "Owner"}[i], got, err, next.Key.Name)
			}
		})
	}
}

func givenCopies(c *check) {
	s := c.on("a record, an owner and events")
	r := newRecord("acme", 2)
	given := change(apikey.Commit{
		Records: []apikey.Record{r, newRecord("acme", 1)},
		Owners:  []apikey.Owner{{ID: "acme", DisabledAt: base, DisabledBy: "support", Nonce: nonce()}},
	})
	s.commit(given)
	uses := []apikey.Usage{used(r, r.Key.CredentialID, 3, base)}
	s.addUsage(uses...)
	for i := range r.Credentials {
		r.Credentials[i].PepperID = "spoiled"
	}
	for i := range given.Records {
		given.Records[i].Key.Name = "spoiled"
	}
	given.Owners[0].DisabledBy = "spoiled"
	for i := range given.Events {
		given.Events[i].Actor = "spoiled"
	}
	uses[0].Uses = 1000
	for _, got := range append(s.list(apikey.Query{}), s.get(r.Key.ID)) {
		if got.Key.Name == "spoiled" {
			s.errorf("a record changed in the store")
		}
		for _, kept := range got.Credentials {
			if kept.PepperID == "spoiled" || kept.Uses > 3 {
				s.errorf("a credential changed in the store")
			}
		}
	}
	if s.lookup(r.Key.CredentialID).Credential.PepperID == "spoiled" {
		s.errorf("a credential changed in the store")
	}
	if s.owner("acme").DisabledBy == "spoiled" {
		s.errorf("an owner changed in the store")
	}
	for _, e := range s.events(apikey.EventQuery{}) {
		if e.Actor == "spoiled" {
			s.errorf("event %d changed in the store", e.Position.Seq)
		}
	}
}

func commitContext(c *check) {
	for _, ended := range endedContexts() {
		s := c.on(ended.name)
		r := newRecord("acme", 1)
		s.commit(records(r))
		changed, added := at(1, r), newRecord("acme", 1)
		changed.Key.Name = "changed"
		commit := change(apikey.Commit{
			Records: []apikey.Record{changed, added},
			Owners:  []apikey.Owner{{ID: "acme", DisabledAt: base, Nonce: nonce()}},
		})
		if _, err := s.Commit(ended.ctx, commit); !errors.Is(err, apikey.ErrAborted) {
			s.errorf("Commit: got error %v, which is no ErrAborted", err)
		}
		if got := s.get(r.Key.ID); got.Key.Name == "changed" {
			s.errorf("a record was changed")
		}
		s.gone(added.Key.ID, added.Key.CredentialID)
		if s.owner("acme").Disabled() {
			s.errorf("an owner was changed")
		}
		if n := len(s.events(apikey.EventQuery{})); n != 1 {
			s.errorf("the log has %d events, want 1", n)
		}
		if _, err := s.Commit(ended.ctx, change(purge(r.Key.ID, 1))); err == nil {
			s.errorf("Commit of a purge: got no error")
		}
		s.get(r.Key.ID)
	}
}

type endedContext struct {
	name string
	ctx  context.Context
	err  error
}

func endedContexts() []endedContext {
	canceled, cancel := context.WithCancel(background)
	cancel()
	expired, cancel := context.WithDeadline(background, time.Unix(1, 0))
	cancel()
	return []endedContext{
		{"a canceled context", canceled, context.Canceled},
		{"a context past its deadline", expired, context.DeadlineExceeded},
	}
}
