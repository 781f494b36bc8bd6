package storetest

import (
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// TestOtherStores: of a Store that is no UsageStore all else is tested, and the
// rules about days are left out; a UsageStore behind it is found.
func TestOtherStores(t *testing.T) {
	for _, test := range []struct {
		name  string
		store func() apikey.Store
		has   bool
	}{
		{"no UsageStore", func() apikey.Store { return plain{memstore.New()} }, false},
		{"a UsageStore behind", func() apikey.Store { return front{plain{memstore.New()}, memstore.New()} }, true},
	} {
		if _, has := apikey.StoreAs[apikey.UsageStore](test.store()); has != test.has {
			t.Errorf("%s: found: %v", test.name, has)
		}
		for _, r := range rules() {
			if found, _ := failures(r, test.store); len(found) > 0 && !r.ofUsageStores() && !test.has {
				t.Errorf("%s: rule %q failed: %s", test.name, r.name, found[0])
			} else if r.ofUsageStores() && !test.has && len(found) == 0 {
				t.Errorf("%s: rule %q found days", test.name, r.name)
			}
		}
	}
	t.Run("Run", func(t *testing.T) {
		Run(t, func(testing.TB) apikey.Store { return plain{memstore.New()} })
	})
}

// plain has only the methods of a Store.
type plain struct{ apikey.Store }

// front is a Store in front of another.
type front struct {
	apikey.Store
	behind apikey.Store
}

func (f front) Unwrap() apikey.Store { return f.behind }
