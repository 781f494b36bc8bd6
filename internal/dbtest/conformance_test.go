package dbtest

import (
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/coretest"
	"github.com/keyturn/apikey/storetest"
)

// newStore returns an empty Store in a database of its own.
func (e Engine) newStore(t testing.TB) apikey.Store { return e.Database(t).Store(t) }

// newStores returns two Stores on one database, each with a pool of its own, as
// two programs have them.
func (e Engine) newStores(t testing.TB) []apikey.Store {
	d := e.Database(t)
	return []apikey.Store{d.Store(t), d.Store(t)}
}

func TestConformance(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) { storetest.Run(t, e.newStore) })
}

func TestCore(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) { coretest.RunShared(t, e.newStores) })
}

func BenchmarkStore(b *testing.B) {
	for _, e := range Engines(b) {
		b.Run(e.Name, func(b *testing.B) { storetest.Benchmark(b, e.newStore) })
	}
}
