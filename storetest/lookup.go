package storetest

import (
	"errors"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

var lookupRules = []rule{
	{
		"lookup finds the credential",
		"Lookup returns the Credential with exactly that id, retired ones too, with its Key and the state of the Key's owner.",
		lookupFinds,
	},
	{
		"lookup returns no more than needed",
		"Lookup returns what a validation needs: DisabledBy and DisabledReason of the Key are zero, and of the Owner all but ID, DisabledAt, HasCeiling and Ceiling.",
		lookupNeeds,
	},
	{
		"lookup of another id",
		"Lookup returns ErrNotFound for any other id.",
		lookupNotFound,
	},
}

func lookupFinds(c *check) {
	// The Credential is compared with what was committed and with what Get
	// returns: a field that Commit or Get loses breaks another rule.
	agrees := func(s *subject, m match, r apikey.Record, o apikey.Owner) {
		s.t.Helper()
		stored, kept := s.get(r.Key.ID), s.owner(o.ID)
		s.among("Key", needed(m.Key), needed(unseen(r.Key)), needed(unseen(stored.Key)))
		want, _ := credential(r, m.Credential.ID)
		got, _ := credential(stored, m.Credential.ID)
		s.among("Credential", unused(m.Credential), unused(want), unused(got))
		s.among("Owner", neededOwner(m.Owner), neededOwner(o), neededOwner(kept))
	}

	s := c.on("current, retiring and retired credentials")
	r := newRecord("acme", 4)
	other := newRecord("acme", 3)
	s.commit(records(r, other))
	r.Key.Revision, other.Key.Revision = 1, 1
	for _, r := range []apikey.Record{r, other} {
		for _, want := range r.Credentials {
			m, err := s.Lookup(background, want.ID)
			if err != nil || m.Credential.ID != want.ID || m.Key.ID != r.Key.ID || m.Key.CredentialID != r.Key.CredentialID {
				s.errorf("Lookup(%q): got credential %q, key %q and error %v, want key %q", want.ID, m.Credential.ID, m.Key.ID, err, r.Key.ID)
				continue
			}
			agrees(s, m, r, apikey.Owner{ID: "acme"})
		}
	}

	s = c.on("a record with every field set")
	full := fullRecord(s)
	s.commit(records(full))
	full.Key.Revision = 1
	for _, id := range credentialIDs(full) {
		agrees(s, s.lookup(id), full, apikey.Owner{ID: full.Key.Owner})
	}

	s = c.on("keys that are disabled, deleted or expired")
	disabled, deleted, expired := newRecord("acme", 1), newRecord("acme", 1), newRecord("acme", 1)
	disabled.Key.DisabledAt = base
	deleted.Key.DeletedAt = base
	expired.Credentials[0].ExpiresAt = base.AddDate(-20, 0, 0)
	setCurrent(&expired)
	s.commit(records(disabled, deleted, expired))
	for _, r := range []apikey.Record{disabled, deleted, expired} {
		r.Key.Revision = 1
		agrees(s, s.lookup(r.Key.CredentialID), r, apikey.Owner{ID: "acme"})
	}

	s = c.on("ids that differ by case")
	lower, upper := newRecord("acme", 1), newRecord("acme", 1)
	lower.Credentials[0].ID = strings.ToLower(lower.Credentials[0].ID)
	upper.Credentials[0].ID = strings.ToUpper(lower.Credentials[0].ID)
	setCurrent(&lower)
	setCurrent(&upper)
	s.commit(records(lower))
	s.commit(records(upper))
	for _, r := range []apikey.Record{lower, upper} {
		if m := s.lookup(r.Key.CredentialID); m.Credential.ID != r.Key.CredentialID || m.Key.ID != r.Key.ID {
			s.errorf("Lookup(%q): got credential %q of key %q, want key %q", r.Key.CredentialID, m.Credential.ID, m.Key.ID, r.Key.ID)
		}
	}

	s = c.on("owners that are disabled, enabled again, or named alike")
	var states []apikey.Owner
	var keys []apikey.Record
	for _, id := range append(likeNames, "never disabled") {
		o := filled[apikey.Owner](s)
		o.ID, o.Revision, o.Nonce = id, 0, nonce()
		keys = append(keys, newRecord(id, 1))
		if id == "never disabled" {
			o = apikey.Owner{ID: id}
			s.commit(records(keys[len(keys)-1]))
		} else {
			s.commit(apikey.Commit{Records: keys[len(keys)-1:], Owners: []apikey.Owner{o}})
			o.Revision = 1
		}
		states = append(states, o)
	}
	enabled := apikey.Owner{ID: likeNames[0], Revision: 1, Nonce: nonce()}
	s.commit(apikey.Commit{Owners: []apikey.Owner{enabled}})
	enabled.Revision = 2
	states[0] = enabled
	for i, r := range keys {
		r.Key.Revision = 1
		agrees(s, s.lookup(r.Key.CredentialID), r, states[i])
	}
}

// needed and neededOwner return what Lookup returns of a Key and an Owner.
func needed(k apikey.Key) apikey.Key {
	k.DisabledBy, k.DisabledReason = "", ""
	return k
}

func neededOwner(o apikey.Owner) apikey.Owner {
	return apikey.Owner{ID: o.ID, DisabledAt: o.DisabledAt, HasCeiling: o.HasCeiling, Ceiling: o.Ceiling}
}

func lookupNeeds(c *check) {
	s := c.on("a key and an owner with every field set")
	r, state := fullRecord(s), filled[apikey.Owner](s)
	state.ID, state.Revision = r.Key.Owner, 0
	s.commit(apikey.Commit{Records: []apikey.Record{r}, Owners: []apikey.Owner{state}})
	m := s.lookup(r.Key.CredentialID)
	s.equal("Lookup: Key", m.Key, needed(m.Key))
	s.equal("Lookup: Owner", m.Owner, neededOwner(m.Owner))
}

func lookupNotFound(c *check) {
	s := c.on("an empty store")
	s.absent(credentialID())

	s = c.on("another id")
	r := newRecord("acme", 2)
	s.commit(records(r))
	s.absent(credentialID())
	s.absent(r.Key.ID)
	for _, id := range credentialIDs(r) {
		for _, other := range like(id) {
			s.absent(other)
		}
	}
}

func (s *subject) absent(credentialID string) {
	s.t.Helper()
	m, err := s.Lookup(background, credentialID)
	if !errors.Is(err, apikey.ErrNotFound) {
		s.errorf("Lookup(%q): got error %v and credential %q, want %v", credentialID, err, m.Credential.ID, apikey.ErrNotFound)
	}
}

// among reports the fields in which got is neither what was committed nor what
// another call returns.
func (s *subject) among(what string, got, committed, stored any) {
	s.t.Helper()
	if len(difference(got, stored)) > 0 {
		s.equal("Lookup: "+what, got, committed)
	}
}

// unseen returns a Key without the fields that are no part of a Record.
func unseen(k apikey.Key) apikey.Key {
	k.Status, k.Rotating, k.RetiringUntil, k.LastUsedAt, k.Uses = "", false, time.Time{}, time.Time{}, 0
	return k
}

// unused returns a Credential without its usage.
func unused(c apikey.Credential) apikey.Credential {
	c.LastUsedAt, c.Uses = time.Time{}, 0
	return c
}

// likeNames are different names that a database may take for the same: they
// differ by case, spaces, composition or characters outside of the first plane.
var likeNames = []string{
	"Café", "café", "CAFÉ", "cafe", "café ", " café", "cafe\u0301", "café  ",
	"caf\u00e9\U0001f511", "caf\u00e9\U0001f512", "ﬁ", "fi", "straße", "strasse", "STRASSE", "ı", "i", "I", "%", "_", "'", "\\", "1", "01", "1.0",
}

// like returns ids that differ from one a little.
func like(id string) []string {
	return []string{
		strings.ToLower(id), strings.ToUpper(id), id + " ", " " + id, id + "0", id[:len(id)-1], "%", id[:len(id)-1] + "_",
		id[:len(id)-1] + "%", strings.Replace(id, "e", "é", 1), strings.Replace(id, "e", "e\u0301", 1), "*", "'", "",
	}
}
