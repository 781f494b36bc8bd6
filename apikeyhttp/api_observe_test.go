package apikeyhttp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// TestAPIObservePanics checks that a new token arrives although Observe panics,
// with a real server and a client.
func TestAPIObservePanics(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	key := keys.MustIssue(t, apikey.IssueParams{Owner: "ada"}).Key
	server := httptest.NewServer(apikeyhttp.API(keys.Manager, &apikeyhttp.APIOptions{
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
