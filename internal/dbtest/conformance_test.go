package dbtest

import (
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/coretest"
	"github.com/keyturn/apikey/sqlstore"
	"github.com/keyturn/apikey/storetest"
)

func newSQLite(t testing.TB) apikey.Store {
	return sqlstore.New(Open(t, ""), sqlstore.SQLite, nil)
}

func TestConformance(t *testing.T) { storetest.Run(t, newSQLite) }

func TestCore(t *testing.T) { coretest.Run(t, newSQLite) }

func BenchmarkStore(b *testing.B) { storetest.Benchmark(b, newSQLite) }
