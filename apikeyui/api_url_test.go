package apikeyui_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

// TestAPIURLInAShell checks each character that could end the single quotes
// around APIURL in the curl line, or that no URL contains.
func TestAPIURLInAShell(t *testing.T) {
	m := apikeytest.New(t).Manager
	for _, text := range []string{"'", `"`, "`", `\`, "<", ">", " ", "\t", "\n", "\x00", "\x7f", "é", "\u2019"} {
		for _, url := range []string{
			"https://api.example/" + text, "https://api.example/v1?a=" + text + "b", "https://api.example/#" + text + "x",
		} {
			_, err := apikeyui.New(m, &apikeyui.Options{
				Owner:  func(*http.Request) (string, string, error) { return "ada", "", nil },
				APIURL: url,
			})
			var field *apikey.FieldError
			if !errors.As(err, &field) || field.Field != "api_url" {
				t.Errorf("%q: %v", url, err)
			}
		}
	}
}
