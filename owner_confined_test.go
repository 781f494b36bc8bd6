package apikey_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
)

// ownerless is a Store that ignores the owner that Get is given.
type ownerless struct{ apikey.Store }

func (s ownerless) Get(ctx context.Context, id, _ string) (apikey.Record, error) {
	return s.Store.Get(ctx, id, "")
}

// TestConfinedOnABadStore checks that an OwnerManager returns and changes no key
// of another owner although the Store returns it.
func TestConfinedOnABadStore(t *testing.T) {
	_, store, _ := newManager(t, apikey.Options{})
	m := newOn(t, ownerless{store.Store})
	id := issue(t, m, apikey.IssueParams{Owner: "other"}).Key.ID
	before := dump(t, store)
	o := m.ForOwner("acme", nil)
	errs := map[string]error{
		"get":         second(o.Get(t.Context(), id)),
		"credentials": second(o.Credentials(t.Context(), id)),
		"events":      second(o.Events(t.Context(), apikey.EventQuery{KeyID: id})),
		"extend":      second(o.ExtendRotation(t.Context(), id, time.Hour)),
		"update":      second(o.Update(t.Context(), id, apikey.Changes{Name: new("x")})),
		"disable":     second(o.Disable(t.Context(), id)),
		"regenerate":  second(o.Regenerate(t.Context(), id)),
		"rotate":      second(o.Rotate(t.Context(), id, time.Hour)),
		"delete":      second(o.Delete(t.Context(), id)),
	}
	for call, err := range errs {
		if !errors.Is(err, apikey.ErrNotFound) || strings.Contains(err.Error(), "other") {
			t.Errorf("%s: %v", call, err)
		}
	}
	if diff := cmp.Diff(before, dump(t, store)); diff != "" {
		t.Errorf("something was changed:\n%s", diff)
	}
}
