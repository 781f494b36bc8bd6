package bench

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
)

func BenchmarkMiddleware(b *testing.B) {
	for _, c := range contenders(b) {
		b.Run(c.Name, c.Benchmark)
	}
}

// TestContenders: no benchmark measures a refusal by accident, and none is fast
// because it lets everyone in.
func TestContenders(t *testing.T) {
	for _, c := range contenders(t) {
		t.Run(c.Name, func(t *testing.T) {
			var got served
			handler := c.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got.calls++
				if c.Principal != nil {
					got.principal = c.Principal(r.Context())
				}
			}))
			serve := func(r *http.Request) served {
				got = served{}
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				got.status = w.Code
				return got
			}

			// Twice, as a benchmark begins again after the last one.
			for range 2 {
				for i, r := range c.requests() {
					want := served{status: c.Status}
					if c.Status == http.StatusOK {
						want.calls = 1
						if c.Principal != nil {
							want.principal = c.Principals[i]
						}
					}
					if diff := cmp.Diff(want, serve(r), cmp.AllowUnexported(served{})); diff != "" {
						t.Fatalf("token %d: %s", i, diff)
					}
				}
			}
			if c.Principal == nil {
				return // no middleware
			}
			none := request("")
			none.Header.Del("Authorization")
			other := request("")
			other.Header.Set("Authorization", "Digest "+c.Tokens[0])
			for name, r := range map[string]*http.Request{
				"forged": request(c.Forged), "no credential": none, "another scheme": other,
			} {
				if diff := cmp.Diff(served{status: http.StatusUnauthorized}, serve(r), cmp.AllowUnexported(served{})); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
		})
	}
}

type served struct {
	status, calls int
	principal     string
}

// TestRefused: a forged token passes the checksum, so that its refusal takes a
// look-up and a digest; a mistyped one does not.
func TestRefused(t *testing.T) {
	for _, c := range contenders(t) {
		tokens := map[string]int{c.Forged: 1} // with how many are found
		switch c.Name {
		case OneKey, ManyKeys, Required:
		case wrongSecret:
			tokens[c.Tokens[0]] = 1
		case mistypedToken:
			tokens[c.Tokens[0]] = 0
		default:
			continue
		}
		for token, want := range tokens {
			got := 0
			for range apikey.Scan([]byte(token), "ak") {
				got++
			}
			if got != want {
				t.Errorf("%s: %d tokens with a right checksum, want %d", c.Name, got, want)
			}
		}
	}
}

// TestNames: the contenders that others are compared with are there, once.
func TestNames(t *testing.T) {
	var names []string
	for _, c := range contenders(t) {
		if slices.Contains(names, c.Name) {
			t.Errorf("two contenders are named %q", c.Name)
		}
		names = append(names, c.Name)
	}
	for _, name := range []string{Bare, OneKey, ManyKeys, Required, ValidateOneKey, ValidateManyKeys, wrongSecret, mistypedToken} {
		if !slices.Contains(names, name) {
			t.Errorf("no contender is named %q", name)
		}
	}
}

// TestAllocations holds the library to two allocations above the bare handler,
// which the middleware makes and Validate does not, and a refusal to three.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector empties pools at random")
	}
	max := map[string]float64{
		Bare: 0, OneKey: 2, ManyKeys: 2, Required: 2, ValidateOneKey: 0, ValidateManyKeys: 0, wrongSecret: 3, mistypedToken: 3,
	}
	for _, c := range contenders(t) {
		max, ok := max[c.Name]
		if !ok {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			handler := c.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			w, requests := nowhere{http.Header{}}, c.requests()
			all := func() {
				for _, r := range requests {
					handler.ServeHTTP(w, r)
				}
			}
			// AllocsPerRun calls it once before it counts: the first use of a
			// key makes its counter.
			if got := testing.AllocsPerRun(20, all) / float64(len(requests)); got > max {
				t.Errorf("%v allocations, at most %v are allowed", got, max)
			}
		})
	}
}

func contenders(t testing.TB) []Contender {
	t.Helper()
	all, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}
