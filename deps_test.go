package apikey_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/keyturn/apikey"

// TestDependencies is the policy: the packages that hosts import need the
// standard library and, of this module, the root package and only what is
// listed here.
func TestDependencies(t *testing.T) {
	for pkg, allowed := range map[string][]string{
		"":            {},
		"/memstore":   {"", "/internal/micros"},
		"/sqlstore":   {"", "/internal/micros"},
		"/apikeyhttp": {"", "/internal/crossorigin"},
		"/apikeyrest": {"", "/apikeyhttp", "/internal/crossorigin", "/internal/cursor", "/internal/eventpage"},
		"/apikeyui":   {"", "/apikeyhttp", "/internal/crossorigin", "/internal/cursor", "/internal/eventpage"},
		"/storetest":  {""},
		"/apikeytest": {"", "/memstore", "/internal/micros"},
	} {
		want := map[string]bool{
			module + pkg: true, module: true,
			module + "/internal/keycontext": true, module + "/internal/micros": true, module + "/internal/pepper": true,
			module + "/internal/text": true, module + "/internal/turns": true,
		}
		for _, a := range allowed {
			want[module+a] = true
		}
		for _, dep := range golist(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", module+pkg) {
			if !want[dep] {
				t.Errorf("%s depends on %s", module+pkg, dep)
			}
		}
	}
	for _, dep := range golist(t, "-deps", module) {
		if dep == "net/http" || dep == "database/sql" {
			t.Errorf("the root package depends on %s", dep)
		}
	}
	if slices.Contains(golist(t, "-f", "{{join .Imports \" \"}}", module), "unsafe") {
		t.Error("the root package imports unsafe")
	}
}

// TestRequirements: what a consumer's go.sum will mention.
func TestRequirements(t *testing.T) {
	out, err := exec.Command("go", "mod", "edit", "-print").Output()
	if err != nil {
		t.Fatal(err)
	}
	var required []string
	for line := range strings.Lines(string(out)) {
		for _, field := range strings.Fields(line) {
			if strings.Contains(field, "/") && field != module && !strings.HasPrefix(field, "//") {
				required = append(required, field)
			}
		}
	}
	want := []string{"github.com/benbjohnson/clock", "github.com/google/go-cmp", "github.com/matryer/is"}
	if diff := cmp.Diff(want, required); diff != "" {
		t.Error(diff)
	}
}

func golist(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}
