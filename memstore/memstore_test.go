package memstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
	"github.com/keyturn/apikey/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(testing.TB) apikey.Store { return memstore.New() })
}

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, func(testing.TB) apikey.Store { return memstore.New() })
}

// TestZeroValue uses each method first on a Store that was only declared.
func TestZeroValue(t *testing.T) {
	ctx := context.Background()
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	record := apikey.Record{
		Key:         apikey.Key{ID: "key", Owner: "acme", CredentialID: "credential", Revision: 0},
		Credentials: []apikey.Credential{{ID: "credential", CreatedAt: at, PepperID: "pepper"}},
	}
	event := apikey.Event{Kind: apikey.EventIssued, KeyID: "key", At: at}
	for _, test := range []struct {
		name string
		call func(is *is.I, s *memstore.Store)
	}{
		{"Lookup", func(is *is.I, s *memstore.Store) {
			_, err := s.Lookup(ctx, "credential")
			is.True(errors.Is(err, apikey.ErrNotFound))
		}},
		{"Get", func(is *is.I, s *memstore.Store) {
			_, err := s.Get(ctx, "key", "")
			is.True(errors.Is(err, apikey.ErrNotFound))
		}},
		{"List", func(is *is.I, s *memstore.Store) {
			list, err := s.List(ctx, apikey.Query{Limit: 10})
			is.NoErr(err)
			is.Equal(len(list), 0)
			list, err = s.List(ctx, apikey.Query{Owner: "acme", Limit: 10})
			is.NoErr(err)
			is.Equal(len(list), 0)
		}},
		{"Owner", func(is *is.I, s *memstore.Store) {
			owner, err := s.Owner(ctx, "acme")
			is.NoErr(err)
			is.Equal(owner, apikey.Owner{ID: "acme"})
		}},
		{"Events", func(is *is.I, s *memstore.Store) {
			events, err := s.Events(ctx, apikey.EventQuery{Limit: 10})
			is.NoErr(err)
			is.Equal(len(events), 0)
			events, err = s.Events(ctx, apikey.EventQuery{KeyID: "key", Limit: 10})
			is.NoErr(err)
			is.Equal(len(events), 0)
		}},
		{"AddUsage", func(is *is.I, s *memstore.Store) {
			is.NoErr(s.AddUsage(ctx, []apikey.Usage{{KeyID: "key", CredentialID: "credential", Uses: 1, LastUsedAt: at}}))
		}},
		{"PepperIDs", func(is *is.I, s *memstore.Store) {
			ids, err := s.PepperIDs(ctx)
			is.NoErr(err)
			is.Equal(len(ids), 0)
		}},
		{"DailyUsage", func(is *is.I, s *memstore.Store) {
			uses, err := s.DailyUsage(ctx, apikey.UsageQuery{KeyID: "key", Until: at})
			is.NoErr(err)
			is.Equal(len(uses), 0)
		}},
		{"Commit", func(is *is.I, s *memstore.Store) {
			position, err := s.Commit(ctx, apikey.Commit{Records: []apikey.Record{record}, Events: []apikey.Event{event}})
			is.NoErr(err)
			is.Equal(position.Seq, int64(1))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			var s memstore.Store
			test.call(is, &s)
		})
	}
}

func TestPepperIDs(t *testing.T) {
	is := is.New(t)
	ctx := context.Background()
	var s memstore.Store
	for i, pepper := range []string{"one", "two", "one", "three"} {
		id := string(rune('a' + i))
		_, err := s.Commit(ctx, apikey.Commit{
			Records: []apikey.Record{{
				Key:         apikey.Key{ID: id, Owner: "acme", CredentialID: id},
				Credentials: []apikey.Credential{{ID: id, PepperID: pepper}},
			}},
			Events: []apikey.Event{{Kind: apikey.EventIssued, KeyID: id}},
		})
		is.NoErr(err)
	}
	_, err := s.Commit(ctx, apikey.Commit{Purge: []apikey.RecordRef{{ID: "d", Revision: 1}}, Events: []apikey.Event{{Kind: apikey.EventPurged, KeyID: "d"}}})
	is.NoErr(err)
	ids, err := s.PepperIDs(ctx)
	is.NoErr(err)
	got := map[string]int{}
	for _, id := range ids {
		got[id]++
	}
	if diff := cmp.Diff(map[string]int{"one": 1, "two": 1}, got); diff != "" {
		t.Errorf("pepper ids, each once (-want +got):\n%s", diff)
	}

	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err = s.PepperIDs(ended)
	is.True(errors.Is(err, context.Canceled))
}
