package apitest_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/matryer/is"
)

const generator = "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2"

// TestClient generates a client from the document into a scratch directory, and
// runs the tests that use it, those with the build tag client. It compiles the
// generator, so that it is one of the long tests.
func TestClient(t *testing.T) {
	if os.Getenv("APIKEY_LONG") != "1" {
		t.Skip("set APIKEY_LONG=1")
	}
	is := is.New(t)
	here, err := filepath.Abs(".")
	is.NoErr(err)
	scratch := t.TempDir()
	client, overlay := filepath.Join(scratch, "client.go"), filepath.Join(scratch, "overlay.json")
	replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "client.go"): client}})
	is.NoErr(err)
	is.NoErr(os.WriteFile(overlay, replaced, 0o600))
	for _, arguments := range [][]string{
		{"run", generator, "-config", "oapi-codegen.yaml", "-o", client, "../../apikeyrest/openapi.json"},
		{"test", "-count=1", "-tags=client", "-overlay", overlay, "-run", "^Test(Life|Limits|Refusals)$", "-v", "."},
	} {
		printed, err := exec.CommandContext(t.Context(), "go", arguments...).CombinedOutput()
		if err != nil {
			t.Fatalf("go %v: %v\n%s", arguments, err, printed)
		}
		t.Logf("%s", printed)
	}
}
