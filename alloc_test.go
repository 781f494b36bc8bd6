//go:build !race

// Under the race detector sync.Pool forgets at random, and so allocates.

package apikey_test

import (
	"net/netip"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// TestAllocations: neither a hit nor a refusal allocates.
func TestAllocations(t *testing.T) {
	m, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	var tokens []string
	for range 1000 {
		tokens = append(tokens, issue(t, m, apikey.IssueParams{
			Scopes: []string{"a", "orders:*"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		}).Token.Reveal())
	}
	from, scope := apikey.From(netip.MustParseAddr("192.0.2.1")), apikey.Scope("orders:read")
	for _, token := range tokens {
		if _, err := m.Validate(ctx, token, from, scope); err != nil {
			t.Fatal(err)
		}
	}
	disabled := issue(t, m, apikey.IssueParams{})
	if _, err := m.Disable(ctx, disabled.Key.ID); err != nil {
		t.Fatal(err)
	}
	live := tokens[0]
	for name, text := range map[string]string{
		"malformed": "no token", "bad checksum": live[:len(live)-1] + flip(live[len(live)-1]),
		"wrong secret": withSecret(live, tokens[1]), "unknown": retoken("ak_0000000000000000_00000000000000000000000000000000"),
		"disabled": disabled.Token.Reveal(),
	} {
		if n := testing.AllocsPerRun(200, func() {
			want := apikey.ErrInvalid
			if name == "disabled" {
				want = apikey.ErrDisabled
			}
			if _, err := m.Validate(ctx, text, from, scope); err != want {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	i := 0
	if n := testing.AllocsPerRun(2000, func() {
		if _, err := m.Validate(ctx, tokens[i%1000], from, scope); err != nil {
			t.Fatal(err)
		}
		i++
	}); n != 0 {
		t.Errorf("a hit: %v allocations", n)
	}
}
