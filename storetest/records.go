package storetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyturn/apikey"
)

// base is the instant around which the tests play. Its microseconds are odd,
// so that a Store which cuts them shows.
var base = time.Date(2026, 3, 4, 5, 6, 7, 654321000, time.UTC)

// all is a Limit that holds everything.
const all = math.MaxInt32

var background = context.Background()

var serial atomic.Int64

// keyID and credentialID return ids that were not there before, of the length
// and the characters of a Manager's.
func keyID() string        { return fmt.Sprintf("Key%017d", serial.Add(1)) }
func credentialID() string { return fmt.Sprintf("Cred%012d", serial.Add(1)) }

func nonce() (n apikey.Nonce) {
	binary.BigEndian.PutUint64(n[8:], uint64(serial.Add(1)))
	n[0] = 0xff
	return n
}

// newRecord returns a Record of an owner, valid from base for a year, with so
// many Credentials: the last one is current, the one before it retiring.
func newRecord(owner string, credentials int) apikey.Record {
	r := apikey.Record{
		Key:   apikey.Key{ID: keyID(), Owner: owner, Name: "deploy", CreatedAt: base},
		Nonce: nonce(),
	}
	for i := range credentials {
		made := base.Add(time.Duration(i) * time.Hour)
		r.Credentials = append(r.Credentials, newCredential(made, made.AddDate(1, 0, 0)))
	}
	setCurrent(&r)
	return r
}

func newCredential(made, ends time.Time) apikey.Credential {
	id := credentialID()
	return apikey.Credential{
		ID: id, Prefix: "ak", CreatedAt: made, ExpiresAt: ends,
		PepperID: "pepperid", Digest: apikey.Digest("digest of " + id),
	}
}

// setCurrent makes the Key name its last Credentials.
func setCurrent(r *apikey.Record) {
	k, n := &r.Key, len(r.Credentials)
	last := r.Credentials[n-1]
	k.Prefix, k.CredentialID, k.IssuedAt, k.ExpiresAt = last.Prefix, last.ID, last.CreatedAt, last.ExpiresAt
	k.RetiringID = ""
	if n > 1 {
		k.RetiringID = r.Credentials[n-2].ID
	}
}

// at returns the Record as it is at a Revision, under a Nonce of its own.
func at(revision int64, r apikey.Record) apikey.Record {
	r.Key.Revision = revision
	r.Nonce = nonce()
	return r
}

// change completes a Commit: one Event for each thing in it, unless it has
// Events already.
func change(c apikey.Commit) apikey.Commit {
	if len(c.Events) > 0 {
		return c
	}
	for _, r := range c.Records {
		c.Events = append(c.Events, apikey.Event{
			Position: apikey.Position{Nonce: r.Nonce}, At: base, Kind: apikey.EventUpdated,
			KeyID: r.Key.ID, Owner: r.Key.Owner, CredentialID: r.Key.CredentialID, Revision: r.Key.Revision + 1,
		})
	}
	for _, o := range c.Owners {
		c.Events = append(c.Events, apikey.Event{
			Position: apikey.Position{Nonce: o.Nonce}, At: base, Kind: apikey.EventOwnerDisabled,
			Owner: o.ID, Revision: o.Revision + 1,
		})
	}
	for _, ref := range c.Purge {
		c.Events = append(c.Events, apikey.Event{
			Position: apikey.Position{Nonce: nonce()}, At: base, Kind: apikey.EventPurged,
			KeyID: ref.ID, Revision: ref.Revision + 1,
		})
	}
	return c
}

// records returns a Commit of Records.
func records(list ...apikey.Record) apikey.Commit { return apikey.Commit{Records: list} }

// purge returns a Commit that removes a Record.
func purge(id string, revision int64) apikey.Commit {
	return apikey.Commit{Purge: []apikey.RecordRef{{ID: id, Revision: revision}}}
}

// attempts bounds how often a Commit or AddUsage is made again that a Store gave
// up with ErrAborted, as it may under load.
const attempts = 100

// try makes a Commit and returns what came of it.
func (s *subject) try(c apikey.Commit) (position apikey.Position, err error) {
	c = change(c)
	for range attempts {
		if position, err = s.Commit(background, c); !errors.Is(err, apikey.ErrAborted) {
			break
		}
	}
	return position, err
}

// commit makes a Commit that must succeed.
func (s *subject) commit(c apikey.Commit) apikey.Position {
	s.t.Helper()
	position, err := s.try(c)
	if err != nil {
		s.fatalf("Commit: %v", err)
	}
	return position
}

// refused makes a Commit that must fail with an error.
func (s *subject) refused(what string, want error, c apikey.Commit) {
	s.t.Helper()
	if _, err := s.try(c); !errors.Is(err, want) {
		s.errorf("%s: got error %v, want %v", what, err, want)
	}
}

func (s *subject) get(id string) apikey.Record {
	s.t.Helper()
	r, err := s.Get(background, id, "")
	if err != nil {
		s.fatalf("Get(%q): %v", id, err)
	}
	return r
}

func (s *subject) lookup(credentialID string) match {
	s.t.Helper()
	m, err := s.Lookup(background, credentialID)
	if err != nil {
		s.fatalf("Lookup(%q): %v", credentialID, err)
	}
	return m
}

func (s *subject) list(q apikey.Query) []apikey.Record {
	s.t.Helper()
	if q.Limit == 0 {
		q.Limit = all
	}
	list, err := s.List(background, q)
	if err != nil {
		s.fatalf("List(%+v): %v", q, err)
	}
	return list
}

func (s *subject) owner(id string) apikey.Owner {
	s.t.Helper()
	o, err := s.Owner(background, id)
	if err != nil {
		s.fatalf("Owner(%q): %v", id, err)
	}
	return o
}

func (s *subject) events(q apikey.EventQuery) []apikey.Event {
	s.t.Helper()
	if q.Limit == 0 {
		q.Limit = all
	}
	events, err := s.Events(background, q)
	if err != nil {
		s.fatalf("Events(%+v): %v", q, err)
	}
	return events
}

func (s *subject) names(q apikey.OnceQuery) []apikey.OnceName {
	s.t.Helper()
	if q.Limit == 0 {
		q.Limit = all
	}
	names, err := s.OnceNames(background, q)
	if err != nil {
		s.fatalf("OnceNames(%+v): %v", q, err)
	}
	return names
}

func (s *subject) addUsage(uses ...apikey.Usage) {
	s.t.Helper()
	if err := s.tryTouch(uses...); err != nil {
		s.fatalf("AddUsage: %v", err)
	}
}

func (s *subject) tryTouch(uses ...apikey.Usage) (err error) {
	for range attempts {
		if err = s.AddUsage(background, uses); !errors.Is(err, apikey.ErrAborted) {
			break
		}
	}
	return err
}

// revision returns the Revision of a Record, read by List: what Get or Lookup
// may have kept of it shows in other rules.
func (s *subject) revision(id string) int64 {
	s.t.Helper()
	for _, r := range s.list(apikey.Query{IncludeDeleted: true}) {
		if r.Key.ID == id {
			return r.Key.Revision
		}
	}
	s.fatalf("List: key %q is missing", id)
	return 0
}

// gone reports a Record or Credential that can still be read.
func (s *subject) gone(id, credentialID string) {
	s.t.Helper()
	if _, err := s.Get(background, id, ""); id != "" && !errors.Is(err, apikey.ErrNotFound) {
		s.errorf("Get(%q): got error %v, want %v", id, err, apikey.ErrNotFound)
	}
	if _, err := s.Lookup(background, credentialID); credentialID != "" && !errors.Is(err, apikey.ErrNotFound) {
		s.errorf("Lookup(%q): got error %v, want %v", credentialID, err, apikey.ErrNotFound)
	}
}

// used returns the usage of a Credential of a Record.
func used(r apikey.Record, credentialID string, uses int64, last time.Time) apikey.Usage {
	return apikey.Usage{
		KeyID: r.Key.ID, CredentialID: credentialID,
		Day: last.Truncate(24 * time.Hour), Uses: uses, LastUsedAt: last,
	}
}

// credential returns the Credential of a Record with an id.
func credential(r apikey.Record, id string) (apikey.Credential, bool) {
	for _, c := range r.Credentials {
		if c.ID == id {
			return c, true
		}
	}
	return apikey.Credential{}, false
}

func credentialIDs(r apikey.Record) []string {
	ids := []string{}
	for _, c := range r.Credentials {
		ids = append(ids, c.ID)
	}
	return ids
}

func ids(list []apikey.Record) []string {
	out := []string{}
	for _, r := range list {
		out = append(out, r.Key.ID)
	}
	return out
}

// together runs n goroutines that begin at once, and waits for them.
func (s *subject) together(n int, run func(i int)) {
	s.raced = true
	var group sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-begin
			run(i)
		})
	}
	close(begin)
	group.Wait()
}
