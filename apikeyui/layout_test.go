package apikeyui_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

// layouts are what an application's Layout may do.
var layouts = []struct {
	name  string
	write func(w io.Writer, p apikeyui.Page) error
	own   bool // the handler's own frame is shown with a token
	cause string
}{
	{"right", func(w io.Writer, p apikeyui.Page) error {
		_, err := fmt.Fprintf(w, "<html><head><title>x</title>%s</head><body><nav>ours</nav>%s</body></html>", p.Head, p.Content)
		return err
	}, false, ""},
	{"panic", func(io.Writer, apikeyui.Page) error { panic("boom") }, true, "apikeyui: Layout panicked: boom"},
	{"panic with an error", func(io.Writer, apikeyui.Page) error { panic(io.ErrUnexpectedEOF) }, true, "apikeyui: Layout panicked: unexpected EOF"},
	{"abort", func(io.Writer, apikeyui.Page) error { panic(http.ErrAbortHandler) }, true, "apikeyui: Layout panicked: net/http: abort Handler"},
	{"nil panic", func(io.Writer, apikeyui.Page) error { panic(nil) }, true, "apikeyui: Layout panicked: panic called with nil argument"},
	{"nil dereference", func(w io.Writer, p apikeyui.Page) error { var s *site; return s.observed[0] }, true, "apikeyui: Layout panicked: runtime error"},
	{"part, then panic", func(w io.Writer, p apikeyui.Page) error {
		fmt.Fprintf(w, "<html><body>%s", p.Content)
		panic("boom")
	}, true, "apikeyui: Layout panicked: boom"},
	{"error", func(io.Writer, apikeyui.Page) error { return errors.New("failed") }, true, "failed"},
	{"part, then error", func(w io.Writer, p apikeyui.Page) error {
		fmt.Fprintf(w, "<html><body>%s", p.Content)
		return errors.New("failed")
	}, true, "failed"},
	{"nothing", func(io.Writer, apikeyui.Page) error { return nil }, true, "once"},
	{"no content", func(w io.Writer, p apikeyui.Page) error { io.WriteString(w, "<html></html>"); return nil }, true, "once"},
	{"content twice", func(w io.Writer, p apikeyui.Page) error {
		fmt.Fprintf(w, "<html><body>%s%[1]s</body></html>", p.Content)
		return nil
	}, true, "once"},
	{"content as a text", func(w io.Writer, p apikeyui.Page) error {
		fmt.Fprintf(w, "<html><body>%s</body></html>", strings.ReplaceAll(string(p.Content), "<", "&lt;"))
		return nil
	}, true, "once"},
	{"content cut", func(w io.Writer, p apikeyui.Page) error {
		fmt.Fprintf(w, "<html><body>%s</body></html>", p.Content[:len(p.Content)/2])
		return nil
	}, true, "once"},
}

// TestLayoutLosesNoToken checks that a token that was created is shown, whatever
// the application's Layout and Observe do, and that Observe gets the cause.
func TestLayoutLosesNoToken(t *testing.T) {
	for _, layout := range layouts {
		for _, test := range issuing {
			t.Run(layout.name+"/"+test.name, func(t *testing.T) {
				is := is.New(t)
				keys := apikeytest.New(t)
				key := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
				form := url.Values{"revision": {"1"}, "once": {apikeyui.Once("ada")}}
				for i := 0; i < len(test.values); i += 2 {
					form.Set(test.values[i], test.values[i+1])
				}
				var observed []error
				contents := ""
				s := newSiteOn(t, keys, func(o *apikeyui.Options) {
					o.Layout = func(w io.Writer, _ *http.Request, p apikeyui.Page) error {
						contents += string(p.Content)
						return layout.write(w, p)
					}
					o.Observe = func(_ *http.Request, seen apikey.Observation) {
						observed = append(observed, seen.Err)
						panic("and Observe, too")
					}
				})
				address := home + "key/" + key.ID + "/" + test.dialog
				if test.dialog == "new" {
					address = home + "new"
				}
				w := s.browser(t, "ada").do("POST", address, form)
				is.Equal(w.Code, 200)
				root := parse(t, w.Body.String())
				is.NoErr(s.validate(t, root.byID("s-token").content()))
				is.True(!strings.Contains(contents, root.byID("s-secret").content())) // Layout gets no token
				is.Equal(strings.Contains(w.Body.String(), "ours"), !layout.own)
				is.True(root.byID("apikeyui") != nil && len(root.all("script")) == 1)
				if !layout.own {
					is.Equal(len(observed), 0)
					return
				}
				is.Equal(len(observed), 1)
				is.True(strings.Contains(observed[0].Error(), layout.cause))
				var panicked *apikeyui.LayoutPanic
				is.Equal(errors.As(observed[0], &panicked), strings.Contains(layout.cause, "panicked"))
				if panicked != nil {
					is.True(strings.Contains(string(panicked.Stack), "layout_test.go"))
				}
				is.Equal(errors.Is(observed[0], http.ErrAbortHandler), layout.name == "abort")
			})
		}
	}
}

// TestLayoutPanics checks that a panic on a page without a token is the
// server's to handle, as in any handler, and that nothing was written.
func TestLayoutPanics(t *testing.T) {
	s := newSite(t, func(o *apikeyui.Options) {
		o.Layout = func(io.Writer, *http.Request, apikeyui.Page) error { panic("boom") }
	})
	defer func() {
		if recover() != "boom" {
			t.Error("no panic")
		}
	}()
	s.browser(t, "ada").do("GET", home, nil)
}

// TestLayoutComesFirst checks that Layout has returned before anything changes:
// as long as it blocks, there is no token to lose.
func TestLayoutComesFirst(t *testing.T) {
	for _, test := range issuing {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			keys := apikeytest.New(t)
			key := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
			calls := 0
			s := newSiteOn(t, keys, func(o *apikeyui.Options) {
				o.Layout = func(w io.Writer, r *http.Request, p apikeyui.Page) error {
					if r.Method == http.MethodPost {
						calls++
						is.Equal(keys.Store.Calls(apikeytest.Commit), 1) // the one of MustIssue
					}
					_, err := fmt.Fprintf(w, "<html><body>%s</body></html>", p.Content)
					return err
				}
			})
			address := "key/" + key.ID + "/" + test.dialog
			if test.dialog == "new" {
				address = "new"
			}
			form := s.browser(t, "ada").open(address)
			is.True(form.submit(test.dialog, test.values...).token() != "")
			is.Equal(calls, 1)
			is.Equal(keys.Store.Calls(apikeytest.Commit), 2)
		})
	}
}

// TestTokenOverHTTP checks the same with a real server and a client: the whole
// page arrives although Layout, and then Observe, panic.
func TestTokenOverHTTP(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	s := newSiteOn(t, keys, func(o *apikeyui.Options) {
		o.Layout = func(io.Writer, *http.Request, apikeyui.Page) error { panic("boom") }
		o.Observe = func(*http.Request, apikey.Observation) { panic(http.ErrAbortHandler) }
	})
	server := httptest.NewServer(s.handler)
	defer server.Close()
	form := url.Values{"once": {apikeyui.Once("ada")}, "name": {"billing"}}
	r, err := http.NewRequest("POST", server.URL+home+"new", strings.NewReader(form.Encode()))
	is.NoErr(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Test-Owner", "ada")
	response, err := http.DefaultClient.Do(r)
	is.NoErr(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	is.NoErr(err)
	is.NoErr(s.validate(t, parse(t, string(body)).byID("s-token").content()))
}

// TestObserveAfterLostResponse checks that a panic of Observe does not lose a
// token whose change may have been made.
func TestObserveAfterLostResponse(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	s := newSiteOn(t, keys, func(o *apikeyui.Options) { o.Observe = func(*http.Request, apikey.Observation) { panic("boom") } })
	form := s.browser(t, "ada").open("new")
	keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Done: true})
	keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Nth: 2})
	keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Get})
	shown := form.submit("new", "name", "billing")
	is.Equal(shown.status, 503)
	keys.Store.Recover()
	is.NoErr(s.validate(t, shown.token()))
}
