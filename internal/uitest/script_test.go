package uitest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
)

// onKey returns a site with one key, its id, and a tab with the page of it.
func onKey(t testing.TB) (s *site, b *tab, id string) {
	t.Helper()
	s = newSite(t)
	id = s.issue("billing").Key.ID
	b = s.tab(t, look{})
	b.open("key/" + id)
	return s, b, id
}

// answered waits until the script has had an answer to its request for an
// address with such an end, and has done what it does with it.
func (b *tab) answered(end string) {
	b.t.Helper()
	b.wait("the answer of "+end, `performance.getEntriesByType("resource").some(
		e => e.initiatorType === "fetch" && new URL(e.name).pathname.endsWith(%s) && e.responseEnd > 0)`, end)
	eval[bool](b, `new Promise(done => setTimeout(() => done(true), 100))`)
}

// TestLateAnswer: a dialog that comes late does not take the place of one that
// was opened since, nor of a page.
func TestLateAnswer(t *testing.T) {
	is := is.New(t)
	s, b, _ := onKey(t)
	release := s.hold("GET", "/disable")
	b.click("a.slider")
	b.click(`a[href$="/edit"]`)
	b.at(text("edit.title"))
	b.fill("#f-name", "typed")
	release()
	b.answered("/disable")
	b.at(text("edit.title"))
	is.Equal(b.value("#f-name"), "typed")

	// Closed before it came: it stays closed.
	b.click("a[data-cancel]")
	b.wait("no dialog", `document.querySelector("dialog") === null`)
	release = s.hold("GET", "/rotate")
	b.click(`a[href$="/rotate"]`)
	b.click(`a[href$="/edit"]`)
	b.at(text("edit.title"))
	b.press(kb.Escape)
	b.wait("no dialog", `document.querySelector("dialog") === null`)
	release()
	b.answered("/rotate")
	is.True(!eval[bool](b, `document.querySelector("dialog") !== null`))
}

// TestSending: a dialog whose form was sent stays until it is answered, so that
// a new token is never lost to a slip, nor sent for twice.
func TestSending(t *testing.T) {
	is := is.New(t)
	s, b, _ := onKey(t)
	b.click(`a[href$="/rotate"]`)
	b.at(text("rotate.title"))
	release := s.hold("POST", "/rotate")
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
	s, b, _ := onKey(t)
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

// TestLateAnswerToSecret: nothing that was asked for before takes the place of
// a token.
func TestLateAnswerToSecret(t *testing.T) {
	t.Run("dialog", func(t *testing.T) {
		s, b, _ := onKey(t)
		b.click(`a[href$="/regenerate"]`)
		b.at(text("regenerate.title"))
		release := s.hold("GET", "/rotate")
		b.click(`#dialog a[href$="/rotate"]`)
		b.click(`input[name=choice][value="0"]`)
		b.submit()
		token := b.token()
		release()
		b.answered("/rotate")
		is.New(t).Equal(b.value("#s-token"), token)
	})
	t.Run("Back", func(t *testing.T) {
		is := is.New(t)
		s := newSite(t)
		id := s.issue("billing").Key.ID
		b := s.tab(t, look{})
		b.open("")
		b.fill("#q", "bill")
		b.click(`form.search button`)
		b.wait("the search", `location.search === "?q=bill"`)
		b.click("#open-regenerate-" + id)
		b.at(text("regenerate.title"))
		b.click(`input[name=choice][value="0"]`)
		release := s.holdAll([2]string{"POST", "/regenerate"}, [2]string{"GET", prefix})
		b.submit()
		b.wait("the form to be sent", front+`.querySelector("button[type=submit]").disabled`)
		eval[bool](b, `(history.back(), true)`)
		b.wait("the address of before", `location.search === ""`)
		release[0]()
		token := b.token()
		release[1]()
		eval[bool](b, `new Promise(done => setTimeout(() => done(true), 100))`)
		is.Equal(b.value("#s-token"), token)
		b.done()
		b.at("billing")
	})
}

// TestDialogDuringSearch: while a search is on its way no dialog opens that the
// answer would take away.
func TestDialogDuringSearch(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	s.issue("billing")
	b := s.tab(t, look{})
	b.open("")
	release := s.hold("POST", prefix)
	b.fill("#q", "bill")
	b.click(`form.search button`)
	b.click("#open-new")
	eval[bool](b, `new Promise(done => setTimeout(() => done(true), 100))`)
	is.True(!eval[bool](b, `document.querySelector("dialog") !== null`))
	release()
	b.wait("the search", `location.search === "?q=bill"`)
	b.click("#open-new")
	b.at(text("new.title"))
}

// TestLoginInPlace: a host that answers with its login, in place of the page,
// is shown as well.
func TestLoginInPlace(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusUnauthorized, http.StatusForbidden} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			s, b, id := onKey(t)
			b.click("a.slider")
			b.at(text("disable.title"))
			s.interfere(func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(status)
				w.Write([]byte("<!DOCTYPE html><title>host</title><h1>Log in</h1>"))
				return true
			})
			b.submit()
			b.at("Log in")
			s.interfere(nil)
			is.New(t).Equal(s.status(id), apikey.StatusActive)
		})
	}
}

// TestBackFromDialog: after Back and Cancel the page is that of the address,
// and a dialog that tells of a change renews the page behind it.
func TestBackFromDialog(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.issue("billing").Key
	s.issue("other")
	b := s.tab(t, look{})
	b.open("")
	b.fill("#q", "bill")
	b.click(`form.search button`)
	b.wait("the search", `location.search === "?q=bill"`)
	b.click("#open-edit-" + key.ID)
	b.at(text("edit.title"))
	release := s.hold("GET", prefix)
	eval[bool](b, `(history.back(), true)`)
	b.wait("the address of before", `location.search === ""`)
	b.click("a[data-cancel]")
	release()
	b.wait("all keys", `document.querySelectorAll(".keys > li").length === 2 && document.querySelector("#q").value === ""`)

	// A dialog that is opened before the page of before is there stays, and the
	// page comes once it is closed.
	b.fill("#q", "bill")
	b.click(`form.search button`)
	b.wait("the search", `location.search === "?q=bill"`)
	release = s.hold("GET", prefix)
	eval[bool](b, `(history.back(), true)`)
	b.wait("the address of before", `location.search === ""`)
	b.click("#open-edit-" + key.ID)
	b.at(text("edit.title"))
	b.fill("#f-name", "typed")
	release()
	eval[bool](b, `new Promise(done => setTimeout(() => done(true), 200))`)
	is.Equal(b.value("#f-name"), "typed")
	b.press(kb.Escape)
	b.wait("all keys", `document.querySelectorAll(".keys > li").length === 2`)

	// A conflict: what the other one did shows once the dialog is closed.
	b.open("key/" + key.ID)
	b.click(`a[href$="/edit"]`)
	b.at(text("edit.title"))
	_, err := s.keys.Update(t.Context(), key.ID, apikey.Changes{Name: new("renamed")})
	is.NoErr(err)
	b.submit()
	b.at(text("problem.conflict.title"))
	b.press(kb.Escape)
	b.at("renamed")
}

// TestRefusalInDialog: what a full store refuses is said where the eye is, and
// the form stays as it was typed.
func TestRefusalInDialog(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	b := s.tab(t, look{})
	b.open("")
	b.click("#open-new")
	b.fill("#f-name", "billing")
	s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Err: apikey.ErrAborted, Forever: true})
	b.submit()
	b.focused("#refusal")
	is.Equal(b.value("#f-name"), "billing")
	s.keys.Store.Recover()
	b.submit()
	is.NoErr(s.works(b.token()))
}

// TestLeft: a page with a token that is left keeps none of it, for whoever
// comes back to it.
func TestLeft(t *testing.T) {
	s := newSite(t)
	b := s.tab(t, look{})
	b.open("new")
	b.fill("#f-name", "billing")
	b.submit()
	b.token()
	eval[bool](b, `dispatchEvent(new PageTransitionEvent("pagehide", {persisted: true}))`)
	b.noSecret()
}

// TestCopyTwice: the button says what it does again, however often it was used.
func TestCopyTwice(t *testing.T) {
	s := newSite(t)
	b := s.tab(t, look{})
	b.open("new")
	b.fill("#f-name", "billing")
	b.submit()
	b.token()
	shown := `document.querySelector("[data-copy=s-token]").children[0].innerText`
	for range 3 {
		b.click("[data-copy=s-token]")
		b.wait("Copied", shown+` === %s`, text("copy.done"))
	}
	b.wait("Copy", shown+` === %s`, text("copy.do"))
	eval[bool](b, `new Promise(done => setTimeout(() => done(true), 500))`)
	is.New(t).Equal(eval[string](b, shown), text("copy.do"))
}
