package apitest_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/errors"
	"github.com/pb33f/libopenapi-validator/paths"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// validating is a transport that holds each request and each answer against
// the document that the server serves.
type validating struct {
	t         *testing.T
	validator validator.Validator
	transport http.RoundTripper
	model     *v3.Document
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
	document, err := libopenapi.NewDocument(text)
	must(t, err)
	whole, errs := validator.NewValidator(document)
	for _, err := range errs {
		t.Fatal(err)
	}
	if ok, errs := whole.ValidateDocument(); !ok {
		report(t, "the document", errs)
		t.FailNow()
	}
	checkSchemas(t, text)
	model, err := document.BuildV3Model()
	must(t, err)
	base, err := url.Parse(address)
	must(t, err)
	for _, server := range model.Model.Servers {
		at, err := base.Parse(server.URL)
		must(t, err)
		server.URL = strings.TrimSuffix(at.String(), "/")
	}
	// Strict: a member or a header that is not in the document is an error.
	v := validator.NewValidatorFromV3Model(&model.Model, config.WithFormatAssertions(), config.WithContentAssertions(),
		config.WithStrictMode(), config.WithStrictIgnoredHeadersExtra("Session", "X-Content-Type-Options", "Accept-Ranges"),
		config.WithStrictIgnorePaths("$.body.events[*].data.*", "$.body.openapi", "$.body.security", "$.body.info", "$.body.servers", "$.body.paths", "$.body.components"))
	return &validating{t: t, validator: v, transport: transport, model: &model.Model, seen: map[string]bool{}}
}

// operations are those of the document, and whether they were called.
func (v *validating) operations() map[string]bool {
	called := map[string]bool{}
	for path, item := range v.model.Paths.PathItems.FromOldest() {
		for method := range item.GetOperations().FromOldest() {
			name := strings.ToUpper(method) + " " + path
			called[name] = v.seen[name]
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
	if ok, errs := v.validator.ValidateHttpRequestSync(r); !ok {
		v.refused++
		if !v.loose {
			report(v.t, "request "+name, errs)
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
	if ok, errs := v.validator.ValidateHttpResponse(r, got); !ok {
		report(v.t, "answer to "+name+": "+got.Status, errs)
	}
	got.Body = io.NopCloser(bytes.NewReader(text))
	if _, _, path := paths.FindPath(r, v.model, nil); path != "" {
		v.seen[r.Method+" "+path] = true
	}
	return got, nil
}

func report(t *testing.T, what string, errs []*errors.ValidationError) {
	t.Helper()
	for _, err := range errs {
		t.Errorf("%s: %s: %s", what, err.Message, err.Reason)
		for _, cause := range err.SchemaValidationErrors {
			t.Errorf("\t%s: %s", cause.KeywordLocation, cause.Reason)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
