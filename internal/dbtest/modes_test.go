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

// pooled returns the engines behind PgBouncer that run whole suites: one mode of
// each driver, and all in the long form.
func pooled(t *testing.T) []Engine {
	all := Poolers(t)
	if long || len(all) == 0 {
		return all
	}
	return []Engine{all[0], all[len(all)-1]}
}

// TestConformancePooled runs storetest through PgBouncer in transaction mode.
func TestConformancePooled(t *testing.T) {
	for _, e := range pooled(t) {
		t.Run(e.Name, func(t *testing.T) { storetest.Run(t, e.newStore) })
	}
}

// TestCorePooled lets two programs share one database through PgBouncer.
func TestCorePooled(t *testing.T) {
	for _, e := range pooled(t) {
		t.Run(e.Name, func(t *testing.T) { coretest.RunShared(t, e.newStores) })
	}
}
