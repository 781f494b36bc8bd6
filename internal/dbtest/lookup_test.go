package dbtest

import (
	"testing"

	"github.com/keyturn/apikey/sqlstore"
)

// TestLookupMakesFewAllocations bounds those of a lookup on PostgreSQL, in pgx's
// own mode and in lib/pq's for poolers.
func TestLookupMakesFewAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector makes allocations of its own")
	}
	for _, e := range Modes(t) {
		if e.Name != "postgres-pgx-cache_statement" && e.Name != "postgres-pq-binary_parameters" {
			continue
		}
		t.Run(e.Name, func(t *testing.T) {
			store := sqlstore.New(e.Database(t).Pool(t), e.Dialect, nil)
			r := newRecord(t, "acme", 1)
			mustCommit(t, store, commitOf(r))
			got := testing.AllocsPerRun(100, func() {
				if _, err := store.Lookup(t.Context(), r.Key.CredentialID); err != nil {
					t.Fatal(err)
				}
			})
			if got > 80 {
				t.Errorf("%v allocations, at most 80 are allowed", got)
			}
		})
	}
}
