package storetest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/keyturn/apikey"
)

// Benchmark measures a Store that holds 1,000 keys of 10 owners: the calls of
// the request path, of management and of a follower of the log. newStore is as
// for Run.
func Benchmark(b *testing.B, newStore func(b testing.TB) apikey.Store) {
	for _, benchmark := range []struct {
		name string
		run  func(*testing.B, apikey.Store, []apikey.Record)
	}{
		{"Lookup", func(b *testing.B, s apikey.Store, keys []apikey.Record) {
			for b.Loop() {
				_, err := s.Lookup(background, pick(keys).Key.CredentialID)
				stopOn(b, err)
			}
		}},
		{"Get", func(b *testing.B, s apikey.Store, keys []apikey.Record) {
			for b.Loop() {
				_, err := s.Get(background, pick(keys).Key.ID, "")
				stopOn(b, err)
			}
		}},
		{"ListOwner", func(b *testing.B, s apikey.Store, keys []apikey.Record) {
			for b.Loop() {
				_, err := s.List(background, apikey.Query{Owner: pick(keys).Key.Owner, Limit: 100})
				stopOn(b, err)
			}
		}},
		{"Commit", func(b *testing.B, s apikey.Store, _ []apikey.Record) {
			for b.Loop() {
				_, err := s.Commit(background, change(issue()))
				stopOn(b, err)
			}
		}},
		{"CommitParallel", func(b *testing.B, s apikey.Store, _ []apikey.Record) {
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := s.Commit(background, change(issue())); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}},
		{"Touch1000", func(b *testing.B, s apikey.Store, keys []apikey.Record) {
			var uses []apikey.Usage
			for _, r := range keys {
				uses = append(uses, used(r, r.Key.CredentialID, 1, base))
			}
			for b.Loop() {
				stopOn(b, s.AddUsage(background, uses))
			}
		}},
		{"Events", func(b *testing.B, s apikey.Store, keys []apikey.Record) {
			for b.Loop() {
				after := apikey.Position{Seq: rand.Int64N(int64(len(keys)) - 100)}
				_, err := s.Events(background, apikey.EventQuery{After: after, Limit: 100})
				stopOn(b, err)
			}
		}},
	} {
		b.Run(benchmark.name, func(b *testing.B) {
			s := newStore(b)
			keys := load(b, s)
			b.ReportAllocs()
			b.ResetTimer()
			benchmark.run(b, s, keys)
		})
	}
}

// load stores 1,000 keys, 100 in a Commit.
func load(b *testing.B, s apikey.Store) []apikey.Record {
	b.Helper()
	var keys []apikey.Record
	for n := range 10 {
		var batch []apikey.Record
		for range 100 {
			batch = append(batch, newRecord(fmt.Sprintf("owner %d", n), 1))
		}
		_, err := s.Commit(background, change(records(batch...)))
		stopOn(b, err)
		keys = append(keys, batch...)
	}
	return keys
}

// issue returns a Commit like that of Manager.Issue, each of an owner of its
// own.
func issue() apikey.Commit {
	r := newRecord("", 1)
	r.Key.Owner = r.Key.ID
	return apikey.Commit{Records: []apikey.Record{r}, Limit: 10}
}

func pick(keys []apikey.Record) *apikey.Record { return &keys[rand.IntN(len(keys))] }

func stopOn(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}
