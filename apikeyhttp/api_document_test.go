package apikeyhttp_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyhttp"
)

type openAPI struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Schemas map[string]struct {
			Properties map[string]struct {
				Codes []string `json:"x-extensible-enum"`
			}
			AdditionalProperties any
		}
	}
}

type openAPIOperation struct {
	OperationID string
	Parameters  []struct {
		Ref string `json:"$ref"`
	}
	RequestBody *struct {
		Content map[string]struct {
			Schema struct {
				Ref string `json:"$ref"`
			}
		}
	}
	Responses map[string]any
}

// documented is what the document says of routes, as in apiCases: their
// statuses and bodies. Other tests hold each answer against it.
var documented = func() (d struct {
	answers    map[string]map[string]bool
	operations map[string]openAPIOperation
	bodies     map[string][]string
	codes      map[string]bool
}) {
	d.answers, d.codes = map[string]map[string]bool{}, map[string]bool{}
	d.operations, d.bodies = map[string]openAPIOperation{}, map[string][]string{}
	text, err := os.ReadFile("openapi.json")
	var document openAPI
	if err == nil {
		err = json.Unmarshal(text, &document)
	}
	if err != nil {
		panic(err)
	}
	for path, methods := range document.Paths {
		for method, raw := range methods {
			if method == "parameters" {
				continue
			}
			var o openAPIOperation
			if err := json.Unmarshal(raw, &o); err != nil {
				panic(err)
			}
			name := strings.ToUpper(method) + " " + path
			d.operations[name], d.answers[name] = o, map[string]bool{"405": true}
			for status := range o.Responses {
				d.answers[name][status] = true
			}
			if o.RequestBody != nil {
				schema := strings.TrimPrefix(o.RequestBody.Content["application/json"].Schema.Ref, "#/components/schemas/")
				d.bodies[name] = []string{}
				if document.Components.Schemas[schema].AdditionalProperties != false {
					panic(name + ": the body may hold other members")
				}
				for member := range document.Components.Schemas[schema].Properties {
					d.bodies[name] = append(d.bodies[name], member)
				}
				slices.Sort(d.bodies[name])
			}
		}
	}
	for _, code := range document.Components.Schemas["Problem"].Properties["code"].Codes {
		d.codes[code] = true
	}
	return d
}()

// TestAPIDocument holds the document against the table of routes.
func TestAPIDocument(t *testing.T) {
	is := is.New(t)
	routes := apikeyhttp.APIRoutes()
	is.Equal(len(documented.operations), len(routes))
	ids := map[string]bool{}
	for _, operation := range documented.operations {
		ids[operation.OperationID] = true
	}
	is.Equal(len(ids), len(routes))
	for _, route := range routes {
		name := route.Method + " " + route.Pattern
		operation, ok := documented.operations[name]
		if !ok {
			t.Errorf("%s is not documented", name)
			continue
		}
		conditional := false
		for _, p := range operation.Parameters {
			conditional = conditional || p.Ref == "#/components/parameters/IfMatch"
		}
		if conditional != route.Conditional || documented.answers[name]["412"] != route.Conditional {
			t.Errorf("%s: If-Match is documented: %v", name, conditional)
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(route.Body)), slices.Sorted(slices.Values(documented.bodies[name]))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for code := range apikeyhttp.APICodes() {
		if !documented.codes[code] {
			t.Errorf("%s is not documented", code)
		}
	}
}

func TestAPIServesDocument(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	got := s.ask(t, "GET", "/openapi.json", "", "Session", "")
	is.Equal(got.StatusCode, 200)
	is.Equal(got.Header.Get("Content-Type"), "application/vnd.oai.openapi+json;version=3.1")
	want, err := os.ReadFile("openapi.json")
	must(t, err)
	is.Equal(read(t, got), string(want))
	again := s.ask(t, "GET", "/openapi.json", "", "If-None-Match", got.Header.Get("ETag"))
	is.Equal(again.StatusCode, 304)
	is.Equal(s.ask(t, "GET", "/openapi.json", "", "If-None-Match", `"other"`).StatusCode, 200)
}
