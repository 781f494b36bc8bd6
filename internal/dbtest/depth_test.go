package dbtest

import (
	"context"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// TestEventsAtDepth checks that the newest events before a position cost the
// same at every depth of the log of a key.
func TestEventsAtDepth(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	const events = 5000
	run := func(t *testing.T, store apikey.Store) {
		record := newRecord(t, "acme", 1)
		mustCommit(t, store, commitOf(record))
		for range events / 500 {
			var c apikey.Commit
			for range 500 {
				c.Events = append(c.Events, apikey.Event{At: start, Kind: "key.noted", KeyID: record.Key.ID, Owner: "acme"})
			}
			mustCommit(t, store, c)
		}
		at := func(before int64) float64 {
			q := apikey.EventQuery{KeyID: record.Key.ID, Newest: true, Limit: 2, Before: apikey.Position{Seq: before}}
			return allocations(func() {
				list, err := store.Events(context.Background(), q)
				if err != nil || len(list) != 2 || list[1].Position.Seq != before-1 {
					t.Fatalf("before %d: got %d events and error %v", before, len(list), err)
				}
			})
		}
		near, deep := at(events), at(5)
		t.Logf("%.0f allocations at the end of the log, %.0f at its beginning", near, deep)
		if deep > near+3 {
			t.Errorf("a page makes %.0f allocations at the end of the log, %.0f at its beginning", near, deep)
		}
	}
	t.Run("memstore", func(t *testing.T) { run(t, memstore.New()) })
	Each(t, func(t *testing.T, e Engine) { run(t, e.Database(t).Store(t)) })
}

// TestListReadsSums checks that a list costs the same whether its keys have one
// credential or many.
func TestListReadsSums(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	Each(t, func(t *testing.T, e Engine) {
		store := e.Database(t).Store(t)
		m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
		if err != nil {
			t.Fatal(err)
		}
		of := func(owner string) float64 {
			return allocations(func() {
				list, err := store.List(context.Background(), apikey.Query{Owner: owner, Limit: 10})
				if err != nil || len(list) != 1 {
					t.Fatalf("got %d records and error %v", len(list), err)
				}
			})
		}
		p := apikey.IssueParams{Owner: "few", Name: "n"}
		if _, err := m.Issue(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		p.Owner = "many"
		issued, err := m.Issue(t.Context(), p)
		for range 60 {
			if err == nil {
				issued, err = m.Regenerate(t.Context(), issued.Key.ID)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		few, many := of("few"), of("many")
		t.Logf("%.0f allocations for a key with one credential, %.0f with 61", few, many)
		if many > few+3 {
			t.Errorf("a list makes %.0f allocations for a key with one credential, %.0f with 61", few, many)
		}
	})
}
