package dbtest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

func nonceOf(n int) (nonce apikey.Nonce) {
	copy(nonce[:], fmt.Sprintf("nonce %10d", n))
	return nonce
}

// newRecord returns a Record, number n, to be committed as a new one.
func newRecord(t testing.TB, owner string, n int) apikey.Record {
	t.Helper()
	scopes, err := apikey.NewScopes("orders:read", "orders:write")
	if err != nil {
		t.Fatal(err)
	}
	networks, err := apikey.ParseNetworks("192.0.2.0/24 2001:db8::/32")
	if err != nil {
		t.Fatal(err)
	}
	r := apikey.Record{
		Key: apikey.Key{
			ID: fmt.Sprintf("key%017d", n), Owner: owner, Name: "Récord <&> \u2028",
			Scopes: scopes, Networks: networks, Rate: apikey.Rate{Requests: 10, Period: time.Minute},
			Metadata:  apikey.NewMetadata(map[string]string{"b": "<2>", "a": "\"1\""}),
			CreatedAt: start, Prefix: "ak", CredentialID: fmt.Sprintf("cred%012d", n),
			IssuedAt: start, ExpiresAt: start.AddDate(1, 0, n),
		},
		Nonce: nonceOf(n), Seal: "seal\x00",
	}
	r.Credentials = []apikey.Credential{{
		ID: r.Key.CredentialID, Prefix: "ak", CreatedAt: start, ExpiresAt: r.Key.ExpiresAt,
		PepperID: "pepper 1", Digest: apikey.Digest(strings.Repeat("\x00\xff", 16)),
	}}
	return r
}

// event returns an event for a Record that is to be committed.
func event(r apikey.Record) apikey.Event {
	return apikey.Event{
		Position: apikey.Position{Nonce: r.Nonce}, At: start, Kind: apikey.EventIssued,
		KeyID: r.Key.ID, Owner: r.Key.Owner, CredentialID: r.Key.CredentialID, Revision: r.Key.Revision + 1,
		Actor: "test", Data: apikey.NewMetadata(map[string]string{"name": r.Key.Name}),
	}
}

// commitOf returns a Commit of Records with an event for each.
func commitOf(records ...apikey.Record) apikey.Commit {
	c := apikey.Commit{Records: records}
	for _, r := range records {
		c.Events = append(c.Events, event(r))
	}
	return c
}

func mustCommit(t testing.TB, s apikey.Store, c apikey.Commit) apikey.Position {
	t.Helper()
	p, err := s.Commit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// checkLog reports what is wrong with the positions of the log after a
// sequence number, and returns the events.
func checkLog(t testing.TB, s apikey.Store, after int64) []apikey.Event {
	t.Helper()
	var all []apikey.Event
	q := apikey.EventQuery{After: apikey.Position{Seq: after}, Limit: 1000}
	for {
		page, err := s.Events(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			if after++; e.Position.Seq != after {
				t.Fatalf("position %d follows %d", e.Position.Seq, after-1)
			}
		}
		all = append(all, page...)
		if len(page) < q.Limit {
			return all
		}
		q.After = page[len(page)-1].Position
	}
}
