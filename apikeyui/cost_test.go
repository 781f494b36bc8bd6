package apikeyui_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

// TestContentTypeCost checks that the parameters of a long Content-Type are not
// collected. Allocations are counted because times vary.
func TestContentTypeCost(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	pages := newPages(keys.Manager, &apikeyui.Options{
		Owner: func(*http.Request) (owner, actor string, err error) { return "ada", "", nil },
	})
	var long strings.Builder
	long.WriteString("application/x-www-form-urlencoded")
	for i := range 60_000 {
		fmt.Fprintf(&long, ";a%d*0=x", i)
	}
	allocs := testing.AllocsPerRun(1, func() {
		r := httptest.NewRequest("POST", "/new", strings.NewReader("name=x"))
		r.Header.Set("Content-Type", long.String())
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, r)
		is.Equal(w.Code, http.StatusBadRequest)
	})
	is.True(allocs < 1000)
}
