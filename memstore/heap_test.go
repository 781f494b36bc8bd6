package memstore

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/keyturn/apikey"
)

// TestHeap bounds what a key takes of the heap, as a Manager issues it: with a
// name and two scopes, 100 keys an owner, without the log.
func TestHeap(t *testing.T) {
	const limit = 700
	keys, perOwner := 100_000, 100
	if os.Getenv("APIKEY_LONG") != "" {
		keys = 1_000_000
	}
	ctx := context.Background()
	s := New()
	m, err := apikey.New(s, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		t.Fatal(err)
	}
	issue := func(n int) {
		_, err := m.Issue(ctx, apikey.IssueParams{
			Owner: fmt.Sprintf("customer-%07d", n/perOwner), Name: fmt.Sprintf("deploy key %d", n),
			Scopes: []string{"orders:read", "orders:write"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	issue(-perOwner) // what is made once
	before := heap()
	for n := range keys {
		issue(n)
		if n%1000 == 0 {
			s.log, s.logOf = nil, map[string][]int{}
		}
	}
	s.log, s.logOf = nil, nil
	perKey := float64(heap()-before) / float64(keys)
	t.Logf("%.0f bytes a key, %d keys", perKey, keys)
	if perKey > limit {
		t.Errorf("got %.0f bytes of heap a key, want at most %d", perKey, limit)
	}
	// A lookup whose rest nobody asks for, as with a wrong secret, keeps nothing.
	lookUp := func(rest bool) float64 {
		before := heap()
		for id := range s.credentials {
			result, err := s.Lookup(ctx, id)
			if err == nil && rest {
				_, _, err = result.Rest()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return (float64(heap()) - float64(before)) / float64(keys)
	}
	if wrong := lookUp(false); wrong > 10 {
		t.Errorf("a lookup with a wrong secret keeps %.0f bytes", wrong)
	}
	used := lookUp(true)
	t.Logf("%.0f bytes more a key in use", used)
	if used > 1000 {
		t.Errorf("got %.0f bytes of heap more a key in use, want at most 1000", used)
	}
	if len(s.keys) != keys+1 {
		t.Errorf("got %d keys, want %d", len(s.keys), keys+1)
	}
	runtime.KeepAlive(m)
}

// heap returns the bytes in use, garbage collected. Twice, so that what sync
// pools hold for one more collection is gone too.
func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
