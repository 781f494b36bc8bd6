// Command table measures all contenders in turn, several rounds, and prints a
// Markdown table of the medians, for docs/performance.md.
//
//	go run ./table -rounds 9
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey/internal/bench"
)

func main() {
	flags := flag.NewFlagSet("table", flag.ExitOnError)
	rounds := flags.Int("rounds", 9, "how often each contender is measured, in turn with the others; at least 1")
	each := flags.Duration("time", 100*time.Millisecond, "how long each is measured in a round")
	_ = flags.Parse(os.Args[1:]) // it ends the program on an error
	if err := run(os.Stdout, *rounds, *each); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, rounds int, each time.Duration) error {
	if rounds < 1 || each <= 0 {
		return fmt.Errorf("-rounds and -time must be above 0")
	}
	contenders, err := bench.New(context.Background())
	if err != nil {
		return err
	}
	testing.Init()
	if err := flag.Set("test.benchtime", each.String()); err != nil {
		return err
	}
	results, err := measure(contenders, rounds)
	if err != nil {
		return err
	}
	write(w, results)
	fmt.Fprintf(w, "\nMedians of %d rounds of %v, all contenders in turn. %s\n", rounds, each, machine())
	return nil
}

// result is what was measured of a contender.
type result struct {
	name          string
	ns            []float64 // per request, one a round
	allocs, bytes []float64
}

// measure goes through all contenders in each round, because a machine's speed
// drifts: what is compared is then taken at about the same time.
func measure(contenders []bench.Contender, rounds int) ([]result, error) {
	results := make([]result, len(contenders))
	for range rounds {
		for i, c := range contenders {
			r := testing.Benchmark(c.Benchmark)
			if r.N == 0 {
				return nil, fmt.Errorf("%s: the benchmark failed", c.Name)
			}
			n := float64(r.N)
			results[i].name = c.Name
			results[i].ns = append(results[i].ns, float64(r.T.Nanoseconds())/n)
			results[i].allocs = append(results[i].allocs, float64(r.AllocsPerOp()))
			results[i].bytes = append(results[i].bytes, float64(r.AllocedBytesPerOp()))
		}
	}
	return results, nil
}

// write prints the table and below it what the middleware costs above
// Validate. Ratios and differences are taken in each round, and then their
// median.
func write(w io.Writer, results []result) {
	named := make(map[string]result, len(results))
	for _, r := range results {
		named[r.name] = r
	}
	bare, ours := named[bench.Bare], named[bench.OneKey]
	fmt.Fprintln(w, "| contender | ns per request | allocations | bytes | x bare | x ours |")
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|")
	for _, r := range results {
		if r.name == bench.ValidateOneKey || r.name == bench.ValidateManyKeys {
			continue // not a middleware
		}
		fmt.Fprintf(w, "| %s | %s | %.0f | %s | %s | %s |\n", r.name, number(median(r.ns)), median(r.allocs), number(median(r.bytes)),
			number(median(pairs(r.ns, bare.ns, ratio))), number(median(pairs(r.ns, ours.ns, ratio))))
	}
	fmt.Fprintln(w)
	for _, p := range []struct{ middleware, validate string }{
		{bench.OneKey, bench.ValidateOneKey},
		{bench.ManyKeys, bench.ValidateManyKeys},
		{bench.Required, bench.ValidateOneKey},
	} {
		m, v := named[p.middleware], named[p.validate]
		fmt.Fprintf(w, "- %s: Validate (%s ns) + %s ns, %.0f allocations above the bare handler (aim: + 450 ns, 2 allocations)\n",
			p.middleware, number(median(v.ns)), number(median(pairs(m.ns, v.ns, difference))), median(m.allocs)-median(bare.allocs))
	}
}

func ratio(a, b float64) float64      { return a / b }
func difference(a, b float64) float64 { return a - b }

func pairs(a, b []float64, of func(a, b float64) float64) []float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = of(a[i], b[i])
	}
	return all
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	middle := len(s) / 2
	if len(s)%2 == 0 {
		return (s[middle-1] + s[middle]) / 2
	}
	return s[middle]
}

// number writes three digits below 10, no fraction from 10 on, and
// groups thousands.
func number(f float64) string {
	if f > -10 && f < 10 {
		return fmt.Sprintf("%.3g", f)
	}
	digits := fmt.Sprintf("%.0f", f)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

// machine says what was measured on, and which versions.
func machine() string {
	cpu := "unknown CPU"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	text := fmt.Sprintf("%s, %d CPUs, %s, %s/%s", cpu, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return text + "."
	}
	slices.SortFunc(info.Deps, func(a, b *debug.Module) int { return cmp.Compare(a.Path, b.Path) })
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/auth0/go-jwt-middleware/v2", "github.com/golang-jwt/jwt/v5", "github.com/ory/fosite", "golang.org/x/crypto":
			text += ", " + m.Path + " " + m.Version
		}
	}
	return text + "."
}
