package apikeyui_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyui"
)

// TestFieldTexts compares the texts of both languages with the codes that the
// documentation of apikey.FieldError lists.
func TestFieldTexts(t *testing.T) {
	source, err := os.ReadFile("../errors.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, match := range regexp.MustCompile(`(?m)^//   - ([a-z0-9_]+): `).FindAllStringSubmatch(string(source), -1) {
		codes = append(codes, match[1])
	}
	slices.Sort(codes)
	pages := []string{"choose", "later", "reason", "typed", "date", "secret"} // what the pages find themselves
	for language, texts := range map[string]apikeyui.Texts{"English": apikeyui.English(), "German": apikeyui.German()} {
		t.Run(language, func(t *testing.T) {
			is := is.New(t)
			var keyed []string
			for name, text := range texts {
				code, ok := strings.CutPrefix(name, "field.")
				if !ok || strings.HasPrefix(code, "label.") || strings.HasPrefix(code, "hint.") || slices.Contains(pages, code) {
					continue
				}
				is.True(text != "")
				if code, _, own := strings.Cut(code, "."); own { // of a single field
					is.True(slices.Contains(codes, code))
					continue
				}
				keyed = append(keyed, code)
			}
			slices.Sort(keyed)
			if diff := cmp.Diff(codes, keyed); diff != "" {
				t.Errorf("texts (-codes +texts):\n%s", diff)
			}
		})
	}
}
