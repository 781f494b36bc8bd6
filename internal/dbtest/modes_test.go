package dbtest

import (
	"testing"

	"github.com/keyturn/apikey/internal/coretest"
	"github.com/keyturn/apikey/storetest"
)

// TestModes runs the life of a key in each mode in which the drivers send
// statements, and in the long form the whole of storetest.
func TestModes(t *testing.T) {
	for _, e := range append(Modes(t), Poolers(t)...) {
		t.Run(e.Name, func(t *testing.T) {
			for _, text := range append(hostile, "plain") {
				lifeOf(t, e, text)
			}
			if long {
				storetest.Run(t, e.newStore)
			}
		})
	}
}

// TestConformancePooled runs storetest through PgBouncer in transaction mode,
// in the short form with pgx only.
func TestConformancePooled(t *testing.T) {
	all := Poolers(t)
	if !long {
		all = all[:min(1, len(all))]
	}
	for _, e := range all {
		t.Run(e.Name, func(t *testing.T) { storetest.Run(t, e.newStore) })
	}
}

// TestCorePooled lets two programs share one database through PgBouncer, in the
// short form with lib/pq only.
func TestCorePooled(t *testing.T) {
	all := Poolers(t)
	if !long {
		all = all[max(0, len(all)-1):]
	}
	for _, e := range all {
		t.Run(e.Name, func(t *testing.T) { coretest.RunShared(t, e.newStores) })
	}
}
