package apikeyhttp_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// TestStripCredentialOfOneCarrier checks that StripCredential removes what each
// carrier reads if it is the only one, and what no carrier reads it leaves.
func TestStripCredentialOfOneCarrier(t *testing.T) {
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	for _, only := range carriers {
		t.Run(only.name, func(t *testing.T) {
			is := is.New(t)
			served := newHandler()
			guard := newGuard(keys, &apikeyhttp.Options{Carriers: only.carrier})
			handler := guard.Authenticate(guard.StripCredential(served))
			r := httptest.NewRequest(http.MethodGet, "/?api_key=kept", nil)
			r.Header.Set("Authorization", "Negotiate kept")
			r.Header.Set("X-API-Key", "kept")
			only.set(r, token)
			is.Equal(serve(handler, r).StatusCode, 200)
			left := map[string]bool{
				"authorization": served.request.Header.Get("Authorization") != "",
				"header":        served.request.Header.Get("X-API-Key") != "",
				"query":         served.request.URL.Query().Has("api_key"),
			}
			read := map[string]bool{
				"authorization": only.carrier&(apikeyhttp.Bearer|apikeyhttp.Basic) != 0,
				"header":        only.carrier == apikeyhttp.Header,
				"query":         only.carrier == apikeyhttp.Query,
			}
			for place := range left {
				if left[place] == read[place] {
					t.Errorf("%s: read %t, left %t", place, read[place], left[place])
				}
			}
		})
	}
}
