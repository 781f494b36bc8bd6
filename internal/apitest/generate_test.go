package apitest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matryer/is"
)

// TestGenerated: the client is what the generator makes of the document. It
// compiles the generator, so that it is one of the long tests.
func TestGenerated(t *testing.T) {
	if os.Getenv("APIKEY_LONG") != "1" {
		t.Skip("set APIKEY_LONG=1")
	}
	is := is.New(t)
	source, err := os.ReadFile("apitest.go")
	must(t, err)
	_, line, found := strings.Cut(string(source), "//go:generate ")
	is.True(found)
	line, _, _ = strings.Cut(line, "\n")
	output := filepath.Join(t.TempDir(), "client.go")
	arguments := strings.Fields(strings.Replace(line, "client_gen.go", output, 1))[1:]
	command := exec.CommandContext(t.Context(), "go", arguments...)
	if printed, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, printed)
	}
	fresh, err := os.ReadFile(output)
	must(t, err)
	stored, err := os.ReadFile("client_gen.go")
	must(t, err)
	if !bytes.Equal(fresh, stored) {
		t.Error("client_gen.go is not what the generator makes: run go generate")
	}
}
