package uitest

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyui"
)

// TestLayout: in a page of the host's own the content has the scheme of that
// page, whatever the person's, and all of it works.
func TestLayout(t *testing.T) {
	for scheme, wantDark := range map[string]bool{
		"": false, `<meta name="color-scheme" content="light">`: false, `<meta name="color-scheme" content="light dark">`: true,
	} {
		t.Run(scheme, func(t *testing.T) {
			is := is.New(t)
			s := newSite(t, func(o *apikeyui.Options) {
				o.Layout = func(w io.Writer, _ *http.Request, p apikeyui.Page) error {
					_, err := fmt.Fprintf(w, "<!DOCTYPE html><html lang=en><head>%s<title>%s</title>%s</head><body class=apikeyui-page><main><p>host</p>%s</main></body></html>",
						scheme, p.Title, p.Head, p.Content)
					return err
				}
			})
			key := s.issue("billing").Key
			b := s.tab(t, look{dark: true})
			b.open("key/" + key.ID)
			b.has("host")
			is.Equal(eval[bool](b, `(c => c[0] + c[1] + c[2] < 384)(getComputedStyle(document.querySelector(".card")).backgroundColor.match(/\d+/g).map(Number))`), wantDark)
			is.Equal(eval[bool](b, `(c => c[0] + c[1] + c[2] > 384)(getComputedStyle(document.querySelector("h1")).color.match(/\d+/g).map(Number))`), wantDark)
			b.click("a.slider")
			b.at(text("disable.title"))
			b.submit()
			b.notice("disabled")
			b.has("host")
			b.accessible("layout " + scheme)
		})
	}
}
