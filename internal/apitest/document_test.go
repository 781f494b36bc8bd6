package apitest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

// TestDocument calls every operation once, and compares requests and responses
// with the document.
func TestDocument(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	api, err := apikeyrest.New(keys.Manager, &apikeyrest.Options{
		Owner: func(*http.Request) (string, string, error) { return "ada", "", nil },
		OwnerOptions: func(*http.Request, string) (*apikey.OwnerOptions, error) {
			return &apikey.OwnerOptions{Scopes: []string{"orders:*"}}, nil
		},
	})
	is.NoErr(err)
	server := httptest.NewServer(http.StripPrefix("/v1/account", api))
	t.Cleanup(server.Close)
	transport := newValidating(t, server.URL+"/v1/account/openapi.json", server.Client().Transport)
	call := func(operation, body string, header ...string) (status int, text string) {
		method, path, _ := strings.Cut(operation, " ")
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/v1/account"+path, strings.NewReader(body))
		is.NoErr(err)
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		got, err := transport.RoundTrip(r)
		is.NoErr(err)
		read, err := io.ReadAll(got.Body)
		is.NoErr(err)
		return got.StatusCode, string(read)
	}

	status, text := call("POST /keys", `{"name":"billing","scopes":["orders:read"],"networks":["127.0.0.0/8"]}`, "Idempotency-Key", `"a"`)
	is.Equal(status, 201)
	var issued struct{ Key struct{ ID string } }
	is.NoErr(json.Unmarshal([]byte(text), &issued))
	for _, step := range []struct {
		operation, body string
		status          int
	}{
		{"GET /openapi.json", "", 200},
		{"GET /keys?limit=1", "", 200},
		{"GET /keys/{id}", "", 200},
		{"PATCH /keys/{id}", `{"networks":null}`, 200},
		{"POST /keys/{id}/disable", `{"reason":"holidays"}`, 200},
		{"POST /keys/{id}/enable", `{}`, 200},
		{"POST /keys/{id}/rotate", `{"overlap_seconds":60}`, 200},
		{"POST /keys/{id}/extend", `{"overlap_seconds":120}`, 200},
		{"GET /keys/{id}/credentials", "", 200},
		{"POST /keys/{id}/finish", `{}`, 200},
		{"POST /keys/{id}/finish", `{}`, 409},
		{"POST /keys/{id}/regenerate", `{"reason":"laptop lost"}`, 200},
		{"DELETE /keys/{id}?reason=old", "", 200},
		{"POST /keys/{id}/enable", `{}`, 409},
		{"GET /keys/{id}/events?limit=2", "", 200},
		{"GET /keys/00000000000000000000", "", 404},
	} {
		status, text := call(strings.Replace(step.operation, "{id}", issued.Key.ID, 1), step.body)
		if status != step.status {
			t.Errorf("%s: status %d: %s", step.operation, status, text)
		}
	}
	keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Forever: true})
	status, _ = call("POST /keys", `{"name":"lost"}`)
	is.Equal(status, 503)
	keys.Store.Recover()

	for name := range transport.operations() {
		if path, ok := strings.CutPrefix(name, "OPTIONS "); ok {
			status, _ := call("OPTIONS "+strings.Replace(path, "{id}", issued.Key.ID, 1), "")
			is.Equal(status, 204)
		}
	}
	for name, seen := range transport.operations() {
		if !seen {
			t.Errorf("%s was not called", name)
		}
	}
}
