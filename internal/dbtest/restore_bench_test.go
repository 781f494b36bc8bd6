package dbtest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/backup"
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
				store := d.Store(b)
				b.StartTimer()
				if err := backup.Restore(b.Context(), store, bytes.NewReader(file), withoutPepper); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(keys*b.N)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}

var withoutPepper = &backup.Options{Peppers: []apikey.Secret{apikey.NoPepper()}}

// exportOf returns the backup of a store with so many keys.
func exportOf(b *testing.B, keys int) []byte {
	b.Helper()
	store := memstore.New()
	m, err := apikey.New(store, &apikey.Options{Peppers: withoutPepper.Peppers})
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
	if err := backup.Export(b.Context(), store, &file, withoutPepper); err != nil {
		b.Fatal(err)
	}
	return file.Bytes()
}
