package uitest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// TestLateAnswer: a dialog that comes late does not take the place of one that
// was opened since, nor of a page.
func TestLateAnswer(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.issue("billing").Key
	b := s.tab(t, look{})
	b.open("key/" + key.ID)
	release := s.hold("GET", "/disable")
	defer release()
	b.click("a.slider")
	b.click(`a[href$="/edit"]`)
	b.at(text("edit.title"))
	b.fill("#f-name", "typed")
	release()
	b.wait("the late answer", `performance.getEntriesByType("resource").filter(e => e.name.endsWith("/disable") && e.responseEnd > 0).length === 1`)
	eval[bool](b, `new Promise(done => setTimeout(() => done(true), 100))`) // and whatever the script does with it
	b.at(text("edit.title"))
	is.Equal(b.value("#f-name"), "typed")

	// Closed before it came: it stays closed.
	b.click("a[data-cancel]")
	b.wait("no dialog", `document.querySelector("dialog") === null`)
	release = s.hold("GET", "/rotate")
	defer release()
	b.click(`a[href$="/rotate"]`)
	b.click(`a[href$="/edit"]`)
	b.at(text("edit.title"))
	b.press(kb.Escape)
	b.wait("no dialog", `document.querySelector("dialog") === null`)
	release()
	b.wait("the late answer", `performance.getEntriesByType("resource").filter(e => e.name.endsWith("/rotate") && e.responseEnd > 0).length === 1`)
	eval[bool](b, `new Promise(done => setTimeout(() => done(true), 100))`)
	is.True(!eval[bool](b, `document.querySelector("dialog") !== null`))
}

// TestSending: a dialog whose form was sent stays until it is answered, so that
// a new token is never lost to a slip, nor sent for twice.
func TestSending(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	id := s.issue("billing").Key.ID
	b := s.tab(t, look{})
	b.open("key/" + id)
	b.click(`a[href$="/rotate"]`)
	b.at(text("rotate.title"))
	release := s.hold("POST", "/rotate")
	defer release()
	b.submit()
	b.wait("the form to be sent", front+`.querySelector("button[type=submit]").disabled`)
	b.press(kb.Escape)
	b.click("a[data-cancel]")
	eval[bool](b, front+`.querySelector("form").requestSubmit() === undefined`)
	is.True(eval[bool](b, `document.querySelector("dialog[open]") !== null`))
	release()
	is.NoErr(s.works(b.token()))
	_, rotated := s.count(apikey.EventRotated)
	is.Equal(rotated, 1)
	is.Equal(s.statuses("POST"), map[int]int{200: 1})
}

// TestBrokenConnection: what did not get through is said, what was typed is
// kept, and the same button sends it again.
func TestBrokenConnection(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	b := s.tab(t, look{})
	b.open("")
	b.click("#open-new")
	b.fill("#f-name", "billing")
	s.cut("POST")
	b.submit()
	b.has(text("script.failed"))
	b.focused(".fault")
	is.Equal(b.value("#f-name"), "billing")
	is.Equal(len(s.state().Keys), 0)
	s.interfere(nil)
	b.submit()
	token := b.token()
	is.NoErr(s.works(token))

	// So does a test, and it does not look as if the token worked.
	b.click("form[data-test] button")
	b.wait("the result", front+`.querySelector("#result.good") !== null`)
	b.focused("form[data-test] button")
	s.cut("POST")
	b.click("form[data-test] button")
	b.wait("the failure", front+`.querySelector("#result.warning") !== null`)
	b.has(text("script.failed"))
	s.interfere(nil)
	b.click("form[data-test] button")
	b.wait("the result", front+`.querySelector("#result.good") !== null`)
	b.done()
	b.allow("net::ERR_EMPTY_RESPONSE")
}

// TestEndOfSession: a host that sends people to its login is obeyed, whether a
// dialog is asked for or sent.
func TestEndOfSession(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	id := s.issue("billing").Key.ID
	b := s.tab(t, look{})
	ended := func(method string) {
		s.interfere(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != method || !strings.HasSuffix(r.URL.Path, "/disable") {
				return false
			}
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return true
		})
	}
	for _, method := range []string{"GET", "POST"} {
		b.open("key/" + id)
		ended(method)
		b.click("a.slider")
		if method == "POST" {
			b.at(text("disable.title"))
			b.submit()
		}
		b.at("Log in")
		is.Equal(eval[string](b, "location.pathname"), "/login")
		s.interfere(nil)
	}
	is.Equal(s.status(id), apikey.StatusActive)
}

// TestFragment: to go to another part of the same page loads nothing.
func TestFragment(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	id := s.issue("billing").Key.ID
	b := s.tab(t, look{})
	b.open("key/" + id)
	b.click(`a[href$="/edit"]`)
	b.at(text("edit.title"))
	b.fill("#f-name", "typed")
	before := s.statuses("GET")
	eval[bool](b, `(location.hash = "#history-title", true)`)
	b.history(-1)
	b.history(+1)
	b.at(text("edit.title"))
	is.Equal(b.value("#f-name"), "typed")
	is.Equal(s.statuses("GET"), before)
}

// TestBackFromSecret: a token in a dialog outlives the Back button, until the
// person has stored it.
func TestBackFromSecret(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	b := s.tab(t, look{})
	b.open("")
	b.click("#open-new")
	b.fill("#f-name", "billing")
	b.submit()
	b.token()
	b.done()
	b.at("billing")
	b.click(`a[href$="/rotate"]`)
	b.at(text("rotate.title"))
	b.submit()
	token := b.token()
	b.history(-1)
	is.Equal(b.value("#s-token"), token)
	b.done()
	b.at("billing")
	b.has(text("rotation.title"))
}
