package apitest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// validating is a transport that holds each request and each answer against
// the document that the server serves.
type validating struct {
	t         *testing.T
	document  *openapi3.T
	router    routers.Router
	transport http.RoundTripper
	seen      map[string]bool // "GET /keys/{id}"
	loose     bool            // requests may be wrong
	refused   int             // requests that the document forbids
}

// newValidating fetches the document, checks that it is OpenAPI, and resolves
// its server against the address that it came from.
func newValidating(t *testing.T, address string, transport http.RoundTripper) *validating {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	must(t, err)
	got, err := transport.RoundTrip(r)
	must(t, err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	must(t, err)
	checkSchemas(t, text)
	document, err := openapi3.NewLoader().LoadFromData(closed(t, text))
	must(t, err)
	must(t, document.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()))
	base, err := url.Parse(address)
	must(t, err)
	for _, server := range document.Servers {
		at, err := base.Parse(server.URL)
		must(t, err)
		server.URL = strings.TrimSuffix(at.String(), "/")
	}
	router, err := gorillamux.NewRouter(document)
	must(t, err)
	return &validating{t: t, document: document, router: router, transport: transport, seen: map[string]bool{}}
}

// closed returns a document in which no object has members that the document
// does not name, unless it says so.
func closed(t *testing.T, text []byte) []byte {
	t.Helper()
	var document any
	must(t, json.Unmarshal(text, &document))
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case []any:
			for _, member := range value {
				walk(member)
			}
		case map[string]any:
			_, open := value["additionalProperties"]
			if _, object := value["properties"].(map[string]any); object && !open {
				value["additionalProperties"] = false
			}
			for _, member := range value {
				walk(member)
			}
		}
	}
	walk(document)
	text, err := json.Marshal(document)
	must(t, err)
	return text
}

// operations are those of the document, and whether they were called.
func (v *validating) operations() map[string]bool {
	called := map[string]bool{}
	for path, item := range v.document.Paths.Map() {
		for method := range item.Operations() {
			called[method+" "+path] = v.seen[method+" "+path]
		}
	}
	return called
}

// checkSchemas compiles each schema of the document, which checks it against
// JSON Schema 2020-12: OpenAPI's own schema leaves that open.
func checkSchemas(t *testing.T, text []byte) {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	must(t, err)
	compiler := jsonschema.NewCompiler()
	must(t, compiler.AddResource("openapi.json", document))
	compiled := 0
	var walk func(pointer string, value any)
	walk = func(pointer string, value any) {
		object, _ := value.(map[string]any)
		for name, member := range object {
			escaped := strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
			at := pointer + "/" + url.PathEscape(escaped)
			if name == "schema" || pointer == "/components/schemas" {
				if _, err := compiler.Compile("openapi.json#" + at); err != nil {
					t.Errorf("%s: %v", at, err)
				}
				compiled++
				continue
			}
			walk(at, member)
			if list, ok := member.([]any); ok {
				for i := range list {
					walk(at+"/"+strconv.Itoa(i), list[i])
				}
			}
		}
	}
	walk("", document)
	if compiled < 20 {
		t.Errorf("%d schemas", compiled)
	}
}

func (v *validating) RoundTrip(r *http.Request) (*http.Response, error) {
	body := []byte(nil)
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	again := func() io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }
	name := r.Method + " " + r.URL.Path
	r.Body = again()
	input, err := v.request(r)
	if err != nil {
		v.refused++
		if !v.loose {
			v.t.Errorf("request %s: %v", name, err)
		}
	}
	r.Body = again()
	got, err := v.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(got.Body)
	got.Body.Close()
	if err != nil {
		return nil, err
	}
	got.Body = io.NopCloser(bytes.NewReader(text))
	if input != nil {
		if err := response(input, got, text); err != nil {
			v.t.Errorf("answer to %s: %s: %v", name, got.Status, err)
		}
	}
	return got, nil
}

// strict checks formats and statuses too.
var strict = &openapi3filter.Options{
	IncludeResponseStatus: true, MultiError: true,
	SchemaValidationOptions: []openapi3.SchemaValidationOption{openapi3.EnableFormatValidation()},
}

// request says what the document forbids in a request. A query parameter or a
// precondition that is not in the document is an error.
func (v *validating) request(r *http.Request) (*openapi3filter.RequestValidationInput, error) {
	route, parameters, err := v.router.FindRoute(r)
	if err != nil {
		return nil, err
	}
	v.seen[r.Method+" "+route.Path] = true
	input := &openapi3filter.RequestValidationInput{Request: r, PathParams: parameters, Route: route, Options: strict}
	errs := []error{openapi3filter.ValidateRequest(context.Background(), input)}
	known := func(in, name string) bool {
		return route.Operation.Parameters.GetByInAndName(in, name) != nil || route.PathItem.Parameters.GetByInAndName(in, name) != nil
	}
	for name := range r.URL.Query() {
		if !known("query", name) {
			errs = append(errs, fmt.Errorf("parameter %q is not in the document", name))
		}
	}
	for _, name := range []string{"If-Match", "If-None-Match", "Idempotency-Key"} {
		if r.Header[name] != nil && !known("header", name) {
			errs = append(errs, fmt.Errorf("header %q is not in the document", name))
		}
	}
	return input, errors.Join(errs...)
}

// everywhere are headers that a document need not name.
var everywhere = []string{"Accept-Ranges", "Cache-Control", "Content-Length", "Content-Type", "Date", "X-Content-Type-Options"}

// response says what the document forbids in an answer. A header that is not in
// the document is an error.
func response(input *openapi3filter.RequestValidationInput, got *http.Response, text []byte) error {
	answer := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: got.StatusCode, Header: got.Header, Options: strict}
	errs := []error{openapi3filter.ValidateResponse(context.Background(), answer.SetBodyBytes(text))}
	responses := input.Route.Operation.Responses
	described := responses.Status(got.StatusCode)
	if described == nil {
		described = responses.Default()
	}
	if described == nil {
		return errors.Join(append(errs, errors.New("the status is not in the document"))...)
	}
	for name := range got.Header {
		named := func(in string) bool { return strings.EqualFold(in, name) }
		inDocument := false
		for header := range described.Value.Headers {
			inDocument = inDocument || named(header)
		}
		if !inDocument && !slices.ContainsFunc(everywhere, named) {
			errs = append(errs, fmt.Errorf("header %q is not in the document", name))
		}
	}
	if len(text) > 0 && described.Value.Content.Get(got.Header.Get("Content-Type")) == nil {
		errs = append(errs, fmt.Errorf("a body of type %q is not in the document", got.Header.Get("Content-Type")))
	}
	return errors.Join(errs...)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
