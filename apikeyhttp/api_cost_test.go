package apikeyhttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// TestAPIContentTypeCost checks that the parameters of a long Content-Type are
// not collected. Allocations are counted because times vary.
func TestAPIContentTypeCost(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	api := apikeyhttp.API(keys.Manager, &apikeyhttp.APIOptions{
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
