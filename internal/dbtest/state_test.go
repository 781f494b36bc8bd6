package dbtest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/apikey"
)

// state is all that is stored of an owner, with what is random named in the
// order in which it appears.
type state struct {
	Owner   apikey.Owner
	Records []apikey.Record
	Events  []apikey.Event
}

// state reads that of a subject, through connections on which nothing fails.
// All events since the subject was made are its own, and none is missing.
func (s *sweep) state(of *subject) (is state) {
	s.Helper()
	var err error
	if is.Owner, err = s.clean.Owner(s.Context(), of.owner); err != nil {
		s.Fatal(err)
	}
	if is.Records, err = s.clean.List(s.Context(), apikey.Query{Owner: of.owner, IncludeDeleted: true, Limit: 1000}); err != nil {
		s.Fatal(err)
	}
	is.Events = checkLog(s, s.clean, of.after)
	if n := len(is.Events); n > 0 {
		s.seq = is.Events[n-1].Position.Seq
	}

	names := names{}
	is.Owner.ID = "owner"
	names.nonce(&is.Owner.Nonce)
	slices.SortStableFunc(is.Records, func(a, b apikey.Record) int {
		if c := a.Key.CreatedAt.Compare(b.Key.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.Key.Name, b.Key.Name)
	})
	for i := range is.Records {
		r := &is.Records[i]
		r.Key.Owner = "owner"
		names.text(&r.Key.ID)
		names.nonce(&r.Nonce)
		names.text(&r.IssueHash) // of the id, among others
		slices.SortStableFunc(r.Credentials, func(a, b apikey.Credential) int { return a.CreatedAt.Compare(b.CreatedAt) })
		names.text(&r.Key.CredentialID)
		names.text(&r.Key.RetiringID)
		for j := range r.Credentials {
			c := &r.Credentials[j]
			names.text(&c.ID)
			digest := string(c.Digest)
			names.text(&digest)
			c.Digest = apikey.Digest(digest)
		}
	}
	for i := range is.Events {
		e := &is.Events[i]
		if e.Owner != of.owner {
			s.Fatalf("an event of %q, where only %q was changed", e.Owner, of.owner)
		}
		e.Owner, e.Actor = "owner", ""
		e.Position.Seq -= of.after
		names.nonce(&e.Position.Nonce)
		names.text(&e.KeyID)
		names.text(&e.CredentialID)
		names.text(&e.OldCredentialID)
	}
	return is
}

// names are given to what is random.
type names map[string]string

func (n names) text(s *string) {
	if *s == "" {
		return
	}
	if n[*s] == "" {
		n[*s] = fmt.Sprint("name ", len(n)+1)
	}
	*s = n[*s]
}

func (n names) nonce(nonce *apikey.Nonce) {
	if *nonce == (apikey.Nonce{}) {
		return
	}
	text := string(nonce[:])
	n.text(&text)
	*nonce = apikey.Nonce{}
	copy(nonce[:], text)
}
