//go:build !race

// Under the race detector sync.Pool forgets at random.

package apikey_test

import (
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// TestUnknownTokenIsHashed counts the HMACs that a token costs that is refused
// with ErrInvalid. A Manager allocates its first HMAC when it needs one, so that
// its first call allocates more than a later one if it computes one. Without
// the HMAC of an unknown access key the time of the response would show which
// access keys exist.
func TestUnknownTokenIsHashed(t *testing.T) {
	is := is.New(t)
	m, store, _ := newManager(t, apikey.Options{})
	known, other := issue(t, m, apikey.IssueParams{}).Token.Reveal(), issue(t, m, apikey.IssueParams{}).Token.Reveal()
	elsewhere, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	is.NoErr(err)
	unknown := issue(t, elsewhere, apikey.IssueParams{}).Token.Reveal()

	const runs = 20
	allocations := func(token string) (first, later float64) {
		var fresh []*apikey.Manager
		for range runs + 1 { // one more to warm up
			fresh = append(fresh, newOn(t, store.Store))
		}
		validate := func(m *apikey.Manager) {
			if _, err := m.Validate(t.Context(), token); err != apikey.ErrInvalid {
				t.Fatal(err)
			}
		}
		next := 0
		first = testing.AllocsPerRun(runs, func() { validate(fresh[next]); next++ })
		later = testing.AllocsPerRun(runs, func() { validate(fresh[0]) })
		return first, later
	}
	first, later := allocations(withSecret(known, other))
	hmac := first - later
	is.True(hmac >= 2) // else this test counts nothing
	first, later = allocations(unknown)
	is.Equal(first-later, hmac)
	first, later = allocations("no token")
	is.Equal(first-later, 0.0)
}
