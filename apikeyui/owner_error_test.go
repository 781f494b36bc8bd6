package apikeyui_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

// TestOwnerWithAnError checks that an error of Options.Owner counts also if it
// comes with an owner.
func TestOwnerWithAnError(t *testing.T) {
	refused := errors.New("the session has ended")
	s := newSite(t, func(o *apikeyui.Options) {
		o.Owner = func(*http.Request) (string, string, error) { return "ada", "ada", refused }
	})
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada"}).Key
	before := s.keys.Store.Calls(apikeytest.Any)
	for _, r := range apikeyui.Routes() {
		if strings.Contains(r[1], ".") {
			continue
		}
		address := strings.TrimSuffix(home, "/") + strings.Replace(r[1], "{id}", key.ID, 1)
		if w := s.browser(t, "ada").do(r[0], address, fill(key)); w.Code != 403 {
			t.Errorf("%s %s: %d", r[0], r[1], w.Code)
		}
	}
	if n := s.keys.Store.Calls(apikeytest.Any) - before; n != 0 {
		t.Errorf("%d calls of the store", n)
	}
}
