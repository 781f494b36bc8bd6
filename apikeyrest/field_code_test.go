package apikeyrest_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"
)

// TestFieldCodesOfTheDocument compares the codes in the OpenAPI document with
// those that the documentation of apikey.FieldError lists.
func TestFieldCodesOfTheDocument(t *testing.T) {
	source, err := os.ReadFile("../errors.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, match := range regexp.MustCompile(`(?m)^//   - ([a-z0-9_]+): `).FindAllStringSubmatch(string(source), -1) {
		codes = append(codes, match[1])
	}
	raw, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Values []string `json:"x-extensible-enum"`
				}
			}
		}
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	for _, schema := range []string{"Problem", "OutcomeUnknown"} {
		if diff := cmp.Diff(codes, document.Components.Schemas[schema].Properties["field_code"].Values); diff != "" {
			t.Errorf("%s (-FieldError +document):\n%s", schema, diff)
		}
	}
}

// TestAPIFieldCodes checks that a problem has the code of what is wrong with the
// field.
func TestAPIFieldCodes(t *testing.T) {
	many := `"192.0.2.1"` + strings.Repeat(`,"192.0.2.1"`, 100)
	for _, test := range []struct {
		name, route, body, field, code string
	}{
		{"left out", "POST /keys", `{}`, "name", "required"},
		{"empty", "POST /keys", `{"name":""}`, "name", "required"},
		{"a number", "POST /keys", `{"name":7}`, "name", "malformed"},
		{"twice", "POST /keys", `{"name":"a","name":"a"}`, "name", "duplicate"},
		{"too long", "POST /keys", `{"name":"` + strings.Repeat("a", 201) + `"}`, "name", "too_long"},
		{"a control character", "POST /keys", `{"name":"a\u0001"}`, "name", "not_printable"},
		{"a space at the end", "POST /keys", `{"name":"a "}`, "name", "outer_space"},
		{"a bad network", "POST /keys", `{"name":"a","networks":["x"]}`, "networks", "malformed"},
		{"too many networks", "POST /keys", `{"name":"a","networks":[` + many + `]}`, "networks", "too_many"},
		{"the past", "POST /keys", `{"name":"a","expires_at":"2001-01-01T00:00:00Z"}`, "expires_at", "in_past"},
		{"too late", "POST /keys", `{"name":"a","expires_at":"2999-01-01T00:00:00Z"}`, "expires_at", "past_maximum"},
		{"no change", "PATCH /keys/{id}", `{}`, "body", "required"},
		{"a bad cursor", "GET /keys?after=x", ``, "after", "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			s := newShop(t)
			method, target, _ := strings.Cut(test.route, " ")
			got := s.ask(t, method, strings.Replace(target, "{id}", s.rotating(t, "ada").ID, 1), test.body)
			p := refused(t, got, 400, "invalid_field")
			is.Equal(p.Field, test.field)
			is.Equal(p.FieldCode, test.code)
		})
	}
}
