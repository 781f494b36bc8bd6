package apikeyrest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

// TestObservePanics checks that a new token arrives although Observe panics,
// with a real server and a client.
func TestObservePanics(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	key := keys.MustIssue(t, apikey.IssueParams{Owner: "ada"}).Key
	server := httptest.NewServer(newAPI(keys.Manager, &apikeyrest.Options{
		Owner:   func(*http.Request) (string, string, error) { return "ada", "", nil },
		Observe: func(*http.Request, apikey.Observation) { panic(http.ErrAbortHandler) },
	}))
	defer server.Close()
	for path, body := range map[string]string{
		"/keys": `{"name": "billing"}`, "/keys/" + key.ID + "/regenerate": `{}`,
	} {
		response, err := http.Post(server.URL+path, "application/json", strings.NewReader(body))
		is.NoErr(err)
		defer response.Body.Close()
		var issued struct{ Token string }
		is.NoErr(json.NewDecoder(response.Body).Decode(&issued))
		_, err = keys.Validate(t.Context(), issued.Token)
		is.NoErr(err)
	}
	// Without a token the panic is the server's to handle, as in any handler.
	response, err := http.Get(server.URL + "/keys/" + key.ID)
	if err == nil {
		response.Body.Close()
	}
	is.True(err != nil)
}

// TestObserveHangUp checks that the API reports a client that has gone, too.
func TestObserveHangUp(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	var got []bool
	api := newAPI(keys.Manager, &apikeyrest.Options{
		Owner:   func(*http.Request) (owner, actor string, err error) { return "ada", "", nil },
		Observe: func(_ *http.Request, o apikey.Observation) { got = append(got, o.Canceled) },
	})
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithTimeout(t.Context(), -1)
	defer cancel()
	for _, ctx := range []context.Context{t.Context(), canceled, late} {
		serve(api, httptest.NewRequestWithContext(ctx, "GET", "/keys", nil))
	}
	is.Equal(got, []bool{false, true, false})
}
