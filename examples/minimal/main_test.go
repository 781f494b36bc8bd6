package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestMinimal checks that the program is short, that the curl line that it
// prints works, also in a second run on the same files, and that it ends.
func TestMinimal(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(source), "\n"); lines > 50 {
		t.Errorf("main.go has %d lines", lines)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "minimal")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for range 2 {
		run(t, program, dir)
	}
}

func run(t *testing.T, program, dir string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program)
	command.Dir = dir
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer command.Process.Kill()
	printed := make([]byte, 1000)
	n, err := out.Read(printed)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`X-API-Key: (\S+)' (http://\S+)`).FindStringSubmatch(string(printed[:n]))
	if line == nil {
		t.Fatalf("printed %q", printed[:n])
	}
	for token, want := range map[string]string{line[1]: "200 orders of ada", "": "401 "} {
		if got := get(t, token, line[2]); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	command.Process.Signal(os.Interrupt)
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
}

// get retries until the server listens.
func get(t *testing.T, token, url string) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("X-API-Key", token)
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			continue
		}
		defer got.Body.Close()
		body, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(got.Status[:3] + " " + string(body))
	}
}
