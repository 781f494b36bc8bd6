package dbtest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// BenchmarkRestore restores 100,000 keys of 1,000 owners, each used, with their
// log of as many events, into an empty database.
func BenchmarkRestore(b *testing.B) {
	const keys = 100_000
	file := exportOf(b, keys)
	for _, e := range Engines(b) {
		b.Run(e.Name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				d := e.EmptyDatabase(b)
				d.Migrate(b)
				m, err := apikey.New(d.Store(b), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := m.Restore(b.Context(), bytes.NewReader(file)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(keys*b.N)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}

// exportOf returns the export of a store with so many keys.
func exportOf(b *testing.B, keys int) []byte {
	b.Helper()
	store := memstore.New()
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		b.Fatal(err)
	}
	day := time.Now().UTC().Truncate(24 * time.Hour)
	for n := range keys {
		issued, err := m.Issue(b.Context(), apikey.IssueParams{
			Owner: fmt.Sprint("owner ", n%1000), Name: "benchmark", Scopes: []string{"orders:read", "orders:write"},
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := store.AddUsage(b.Context(), []apikey.Usage{{
			KeyID: issued.Key.ID, CredentialID: issued.Key.CredentialID, Day: day, Uses: 7, LastUsedAt: day,
		}}); err != nil {
			b.Fatal(err)
		}
	}
	var file bytes.Buffer
	if err := m.Export(b.Context(), &file); err != nil {
		b.Fatal(err)
	}
	return file.Bytes()
}
