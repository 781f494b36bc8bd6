package apikeyrest_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyrest"
)

type openAPI struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Schemas    map[string]openAPISchema
		Parameters map[string]openAPIParameter
		Responses  map[string]openAPIResponse
	}
}

type openAPISchema struct {
	Required   []string
	Properties map[string]struct {
		Type  any
		Codes []string `json:"x-extensible-enum"`
	}
	AdditionalProperties any
}

type openAPIParameter struct {
	Ref      string `json:"$ref"`
	Name, In string
}

type openAPIResponse struct {
	Ref     string `json:"$ref"`
	Headers map[string]any
	Content map[string]any
}

type openAPIOperation struct {
	OperationID string
	Parameters  []openAPIParameter
	RequestBody *struct {
		Required bool
		Content  map[string]struct {
			Schema struct {
				Ref string `json:"$ref"`
			}
		}
	}
	Responses map[string]openAPIResponse
}

// documented is what the document says of routes, as in apiCases. Other tests
// compare each response with it.
var documented = func() (d struct {
	answers    map[string]map[string]bool
	operations map[string]openAPIOperation
	parameters map[string][]string      // "query limit"
	bodies     map[string]openAPISchema // of requests
	codes      map[string]bool
}) {
	d.answers, d.codes, d.parameters = map[string]map[string]bool{}, map[string]bool{}, map[string][]string{}
	d.operations, d.bodies = map[string]openAPIOperation{}, map[string]openAPISchema{}
	text, err := os.ReadFile("openapi.json")
	var document openAPI
	if err == nil {
		err = json.Unmarshal(text, &document)
	}
	if err != nil {
		panic(err)
	}
	component := func(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }
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
			for _, p := range o.Parameters {
				if p.Ref != "" {
					p = document.Components.Parameters[component(p.Ref)]
				}
				d.parameters[name] = append(d.parameters[name], p.In+" "+p.Name)
			}
			slices.Sort(d.parameters[name])
			d.answers[name] = map[string]bool{"405": true}
			for status, r := range o.Responses {
				d.answers[name][status] = true
				if r.Ref != "" {
					o.Responses[status] = document.Components.Responses[component(r.Ref)]
				}
			}
			if o.RequestBody != nil {
				d.bodies[name] = document.Components.Schemas[component(o.RequestBody.Content["application/json"].Schema.Ref)]
			}
			d.operations[name] = o
		}
	}
	for _, code := range document.Components.Schemas["Problem"].Properties["code"].Codes {
		d.codes[code] = true
	}
	return d
}()

// TestDocument compares the document with the table of routes: methods,
// parameters, headers, members of bodies and where they may be null.
func TestDocument(t *testing.T) {
	is := is.New(t)
	routes := apikeyrest.Routes()
	paths, ids := map[string][]string{}, map[string]bool{}
	for _, route := range routes {
		paths[route.Pattern] = append(paths[route.Pattern], route.Method)
	}
	is.Equal(len(documented.operations), len(routes)+len(paths))
	for _, operation := range documented.operations {
		ids[operation.OperationID] = true
	}
	is.Equal(len(ids), len(documented.operations))
	for _, route := range routes {
		name := route.Method + " " + route.Pattern
		operation, ok := documented.operations[name]
		if !ok {
			t.Errorf("%s is not documented", name)
			continue
		}
		want := []string{"header If-Match", "header If-None-Match"}
		if route.Idempotent {
			want = append(want, "header Idempotency-Key")
		}
		for _, parameter := range route.Query {
			want = append(want, "query "+parameter)
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, documented.parameters[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		schema := documented.bodies[name]
		if diff := cmp.Diff(slices.Sorted(slices.Values(route.Body)), slices.Sorted(maps.Keys(schema.Properties))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if route.Body != nil {
			is.Equal(schema.AdditionalProperties, false)
			is.Equal(operation.RequestBody.Required, len(schema.Required) > 0 || route.Method == "PATCH")
		}
		for member, property := range schema.Properties {
			types, _ := property.Type.([]any)
			if nullable := slices.Contains(types, any("null")); nullable != mayBeNull(route, member, schema) {
				t.Errorf("%s: null for %s is documented: %v", name, member, nullable)
			}
		}
		for status, response := range operation.Responses {
			if status >= "400" && (len(response.Content) != 1 || response.Content["application/problem+json"] == nil) {
				t.Errorf("%s: %s has %v", name, status, response.Content)
			}
		}
	}
	for path := range paths {
		is.True(documented.operations["OPTIONS "+path].Responses["204"].Headers["Allow"] != nil)
	}
	for _, code := range apikeyrest.Codes() {
		if !documented.codes[code] {
			t.Errorf("%s is not documented", code)
		}
	}
}

// mayBeNull is the rule for null: in a POST it stands for a member that is left
// out, in a PATCH it clears what can be empty.
func mayBeNull(route apikeyrest.Route, member string, schema openAPISchema) bool {
	if route.Method == "PATCH" {
		return member == "scopes" || member == "networks" || member == "reason"
	}
	return !slices.Contains(schema.Required, member)
}

// TestNull sends null for each member.
func TestNull(t *testing.T) {
	for _, route := range apikeyrest.Routes() {
		name := route.Method + " " + route.Pattern
		for _, member := range route.Body {
			t.Run(name+" "+member, func(t *testing.T) {
				s := newShop(t)
				key := s.rotating(t, "ada")
				members := map[string]any{}
				must(t, json.Unmarshal([]byte(apiCases[name].body), &members))
				members[member] = nil
				body, err := json.Marshal(members)
				must(t, err)
				if route.Method == "PATCH" && member != "name" {
					members["name"] = "changed"
					body, err = json.Marshal(members)
					must(t, err)
				}
				got := s.ask(t, route.Method, strings.Replace(route.Pattern, "{id}", key.ID, 1), string(body))
				if mayBeNull(route, member, documented.bodies[name]) {
					is.New(t).Equal(got.StatusCode, apiCases[name].status)
				} else {
					is.New(t).Equal(refused(t, got, 400, "invalid_field").Field, member)
				}
			})
		}
	}
}

func TestServesDocument(t *testing.T) {
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
