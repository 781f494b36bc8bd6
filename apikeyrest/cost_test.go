package apikeyrest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

// TestContentTypeCost checks that the parameters of a long Content-Type are
// not collected. Allocations are counted because times vary.
func TestContentTypeCost(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	api := newAPI(keys.Manager, &apikeyrest.Options{
		Owner: func(*http.Request) (owner, actor string, err error) { return "ada", "", nil },
	})
	var long strings.Builder
	long.WriteString("application/json")
	for i := range 60_000 {
		fmt.Fprintf(&long, ";a%d*0=x", i)
	}
	allocs := testing.AllocsPerRun(1, func() {
		r := httptest.NewRequest("POST", "/keys", strings.NewReader(`{"name":"x"}`))
		r.Header.Set("Content-Type", long.String())
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		is.Equal(w.Code, http.StatusUnsupportedMediaType)
	})
	is.True(allocs < 1000)
}
