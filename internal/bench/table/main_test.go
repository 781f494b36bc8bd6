package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey/internal/bench"
)

// TestWrite: ratios and differences are those of each round. The machine is
// ten times as slow in the last one.
func TestWrite(t *testing.T) {
	of := func(name string, allocs float64, ns ...float64) result {
		return result{name: name, ns: ns, allocs: []float64{allocs, allocs, allocs}, bytes: []float64{1024, 1024, 1024}}
	}
	var out strings.Builder
	write(&out, []result{
		of(bench.Bare, 1, 5, 4, 40),
		of(bench.OneKey, 4, 1000, 800, 8000),
		of(bench.ManyKeys, 4, 1100, 900, 9000),
		of(bench.Required, 5, 1200, 1000, 10000),
		of("other", 50, 2500, 1600, 16000),
		of(bench.ValidateOneKey, 0, 700, 600, 6000),
		of(bench.ValidateManyKeys, 0, 750, 650, 6500),
	})
	const want = `| contender | ns per request | allocations | bytes | x bare | x ours |
|---|--:|--:|--:|--:|--:|
| bare handler | 5 | 1 | 1,024 | 1 | 0.005 |
| apikey, 1 key | 1,000 | 4 | 1,024 | 200 | 1 |
| apikey, 1,000 keys in turn | 1,100 | 4 | 1,024 | 225 | 1.12 |
| apikey, 1 key, Require | 1,200 | 5 | 1,024 | 250 | 1.25 |
| other | 2,500 | 50 | 1,024 | 400 | 2 |

- apikey, 1 key: Validate (700 ns) + 300 ns, 3 allocations above the bare handler (aim: + 450 ns, 2 allocations)
- apikey, 1,000 keys in turn: Validate (750 ns) + 350 ns, 3 allocations above the bare handler (aim: + 450 ns, 2 allocations)
- apikey, 1 key, Require: Validate (700 ns) + 500 ns, 4 allocations above the bare handler (aim: + 450 ns, 2 allocations)
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestNumber(t *testing.T) {
	for f, want := range map[float64]string{
		0.00456: "0.00456", 9.416: "9.42", 12.6: "13", -31.2: "-31", 999.7: "1,000", 73000270: "73,000,270", -1234: "-1,234",
	} {
		if got := number(f); got != want {
			t.Errorf("%v: got %s, want %s", f, got, want)
		}
	}
}
