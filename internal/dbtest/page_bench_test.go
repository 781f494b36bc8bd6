package dbtest

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyui"
	"github.com/keyturn/apikey/memstore"
)

// BenchmarkPage asks the self-service page for the keys of an owner with 10,000
// of them, beside one with 10. The list shows 25 at most, and reads one more.
func BenchmarkPage(b *testing.B) {
	b.Run("memory", func(b *testing.B) { comparePages(b, memstore.New()) })
	for _, e := range Engines(b) {
		b.Run(e.Name, func(b *testing.B) { comparePages(b, e.Database(b).Store(b)) })
	}
}

func comparePages(b *testing.B, store apikey.Store) {
	number := 0
	fill := func(owner string, keys int) {
		for keys > 0 {
			var records []apikey.Record
			for range min(keys, 500) {
				number++
				records = append(records, newRecord(b, owner, number))
			}
			mustCommit(b, store, commitOf(records...))
			keys -= len(records)
		}
	}
	fill("few", 10)
	fill("many", 10_000)
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: func() time.Time { return start }})
	if err != nil {
		b.Fatal(err)
	}
	pages, err := apikeyui.New(m, &apikeyui.Options{
		Owner: func(r *http.Request) (owner, actor string, err error) { return r.Header.Get("Owner"), "", nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	get := func(owner string) func(int) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Owner", owner)
		return func(int) {
			w := httptest.NewRecorder()
			pages.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				b.Fatal(w.Code)
			}
		}
	}
	compareAs(b, "10,000-keys", get("many"), "10-keys", get("few"))
}
