package uitest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
)

// count returns how many keys and events of one kind there are.
func (s *site) count(kind apikey.EventKind) (keys, events int) {
	for _, k := range apikeytest.Kinds(apikeytest.Events(s.t, s.keys)) {
		if k == kind {
			events++
		}
	}
	return len(s.state().Keys), events
}

// TestReload: to load the answer with a token once more, or to go back and
// forth, makes no second key and shows no secret.
func TestReload(t *testing.T) {
	for _, l := range []look{{}, {noScript: true}} {
		t.Run(l.String(), func(t *testing.T) {
			is := is.New(t)
			s := newSite(t)
			b := s.tab(t, l)

			// Without script the browser sends the form again; the script's
			// answer is gone.
			again := func(withoutScript, withScript string) {
				b.reload()
				if l.noScript {
					b.at(text(withoutScript))
				} else {
					b.at(text(withScript))
				}
			}

			// A new key, with the form as a page of its own.
			b.open("")
			b.open("new")
			b.fill("#f-name", "billing")
			b.submit()
			first := b.token()
			again("problem.exists.title", "new.title")
			b.noSecret()
			b.history(-1)
			b.noSecret()
			b.history(+1)
			b.noSecret()
			b.reload()
			b.noSecret()
			keys, issued := s.count(apikey.EventIssued)
			is.Equal(keys, 1)
			is.Equal(issued, 1)
			is.NoErr(s.works(first))

			// Regenerated: the same.
			id := s.key().ID
			b.open("key/" + id + "/regenerate")
			b.click(`input[name=choice][value="0"]`)
			b.submit()
			second := b.token()
			again("problem.conflict.title", "regenerate.title")
			b.noSecret()
			b.history(-1)
			b.history(+1)
			b.noSecret()
			_, regenerated := s.count(apikey.EventRegenerated)
			is.Equal(regenerated, 1)
			is.NoErr(s.works(second))

			// Back from the page that showed a token, and forth again.
			b.open("key/" + id + "/rotate")
			b.submit()
			b.token()
			b.done()
			b.history(-1)
			b.noSecret()
			b.reload()
			b.noSecret()
			_, rotated := s.count(apikey.EventRotated)
			is.Equal(rotated, 1)
		})
	}
}

// TestDialogReload: a dialog that shows a token is gone after a reload.
func TestDialogReload(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	b := s.tab(t, look{})
	b.open("")
	b.click("#open-new")
	b.fill("#f-name", "billing")
	b.submit()
	token := b.token()
	b.reload()
	b.at(text("list.title"))
	b.has("billing")
	b.noSecret()
	is.NoErr(s.works(token))
	keys, issued := s.count(apikey.EventIssued)
	is.Equal(keys, 1)
	is.Equal(issued, 1)

	// Back and forth between what dialogs left behind: a step leaves nothing in
	// the history, and is confirmed once.
	b.click(".keys h2 a")
	b.at("billing")
	b.click("a.slider")
	b.at(text("disable.title"))
	b.submit()
	b.notice("disabled")
	before := s.state().String()
	b.history(-1)
	b.at(text("list.title"))
	b.history(+1)
	b.at("billing")
	is.True(!b.shows("#notice"))
	b.reload()
	b.at("billing")
	is.True(!b.shows("#notice"))
	is.Equal(eval[string](b, "location.search"), "")
	is.Equal(s.state().String(), before)
}

// TestListStays: a step that began in a list ends there, on the same page and
// search, with the focus where it was.
func TestListStays(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	for range 30 {
		s.issue("other")
	}
	id := s.issue("billing one").Key.ID
	s.issue("billing two")
	b := s.tab(t, look{})
	b.open("?q=billing&status=active")
	b.has("Keys found on this page: 2")
	b.click("#open-slider-" + id)
	b.at(text("disable.title"))
	b.submit()
	b.notice("disabled")
	b.has("billing one: " + text("done.disabled"))
	is.Equal(eval[string](b, "location.search"), "?q=billing&status=active")
	b.has("Keys found on this page: 1")
	is.Equal(s.status(id), apikey.StatusDisabled)
	b.open("?q=billing")
	b.click("#open-delete-" + id)
	b.fill("#f-typed", "billing one")
	b.submit()
	b.notice("deleted")
	is.Equal(eval[string](b, "location.search"), "?q=billing")
	b.has("billing two")
	b.open("?q=billing")
	b.click(`a.slider`)
	b.at(text("disable.title"))
	b.submit()
	b.notice("disabled")
	b.wait("the focus on the slider", `document.activeElement?.matches("a.slider:not(.on)")`)

	// What was made is shown on its own page, and said.
	b.click("#open-new")
	b.fill("#f-name", "made")
	b.submit()
	b.token()
	b.click("a[data-stored]")
	b.at("made")
	b.notice("issued")
	is.Equal(eval[string](b, "location.search"), "")
	b.history(-1)
	b.at(text("list.title"))
	is.Equal(eval[string](b, "location.search"), "?q=billing")
}

// TestDoubleClick: two clicks on a button do it once.
func TestDoubleClick(t *testing.T) {
	for _, l := range []look{{}, {noScript: true}} {
		t.Run(l.String(), func(t *testing.T) {
			is := is.New(t)
			s := newSite(t)
			b := s.tab(t, l)
			settled := func() {
				b.wait("the end of it", `document.readyState === "complete" && (h => h === %s || h === %s || h === %s)(`+
					front+`.querySelector("h1").innerText)`,
					text("issued.title"), text("problem.exists.title"), text("problem.conflict.title"))
			}
			b.open("")
			b.click("#open-new")
			b.at(text("new.title"))
			b.fill("#f-name", "billing")
			b.doubleClick(submitButton)
			settled()
			keys, issued := s.count(apikey.EventIssued)
			is.Equal(keys, 1)
			is.Equal(issued, 1)

			b.open("key/" + s.key().ID)
			b.click(`a[href$="/rotate"]`)
			b.at(text("rotate.title"))
			b.doubleClick(submitButton)
			settled()
			_, rotated := s.count(apikey.EventRotated)
			is.Equal(rotated, 1)
			is.True(s.statuses("POST")[200] == 2)
		})
	}
}

// TestTwoTabs: of two forms for the same state of a key, only the first does
// anything, whatever the two are.
func TestTwoTabs(t *testing.T) {
	for _, l := range []look{{}, {noScript: true}} {
		t.Run(l.String(), func(t *testing.T) {
			is := is.New(t)
			s := newSite(t)
			id := s.issue("billing").Key.ID
			one, two := s.tab(t, l), s.tab(t, l)
			ask := func(b *tab, dialog string) {
				b.open("key/" + id)
				b.click(`a[href$="/` + dialog + `"]`)
				b.at(text(dialog + ".title"))
			}

			ask(one, "regenerate")
			ask(two, "regenerate")
			for _, b := range []*tab{one, two} {
				b.click(`input[name=choice][value="0"]`)
			}
			one.submit()
			token := one.token()
			two.submit()
			two.at(text("problem.conflict.title"))
			two.noSecret()
			is.NoErr(s.works(token))
			_, regenerated := s.count(apikey.EventRegenerated)
			is.Equal(regenerated, 1)

			// A stale form: what was changed meanwhile stays.
			ask(one, "edit")
			ask(two, "disable")
			two.submit()
			two.notice("disabled")
			one.fill("#f-name", "stale")
			one.submit()
			one.at(text("problem.conflict.title"))
			is.Equal(s.key().Name, "billing")
			is.True(!s.key().DisabledAt.IsZero())
			one.click("#dialog a.button.primary")
			one.at("billing")
			one.has(text("status.disabled"))

			// Deleted in one, still there in the other.
			ask(one, "enable")
			ask(two, "delete")
			two.fill("#f-typed", "billing")
			two.submit()
			two.notice("deleted")
			one.submit()
			one.at(text("problem.conflict.title"))
			is.True(!s.state().Keys[0].DeletedAt.IsZero())
		})
	}
}

// TestOtherSites: a page of another site, of another origin on the same site
// and of none at all can neither send a form for ada nor frame her pages.
func TestOtherSites(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.issue("billing").Key
	before := s.state().String()
	form := fmt.Sprintf(`<form method="post" action="%skey/%s/disable"><input type="hidden" name="revision" value="%d"><button type="submit" style="width:100%%;height:150px">win</button></form>`,
		s.home, key.ID, key.Revision)
	pages := map[string]string{
		"/form":  form,
		"/null":  form, // sandboxed: its origin is "null"
		"/frame": `<iframe width="600" height="400" src="` + s.home + `key/` + key.ID + `/disable"></iframe>`,
	}
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/null" {
			w.Header().Set("Content-Security-Policy", "sandbox allow-forms")
		}
		fmt.Fprint(w, "<!DOCTYPE html><title>evil</title>"+pages[r.URL.Path])
	}))
	defer evil.Close()
	for name, host := range map[string]string{
		"same site": evil.URL, "other site": strings.Replace(evil.URL, "127.0.0.1", "localhost", 1),
	} {
		t.Run(name, func(t *testing.T) {
			b := s.hostileTab(t)
			for _, path := range []string{"/form", "/null"} {
				b.navigate(host + path)
				b.click("button")
				b.at(text("problem.cross_origin.title"))
			}
			b.navigate(host + "/frame")
			framed := eval[bool](b, `document.querySelector("iframe").contentDocument !== null`)
			is.True(!framed)
			is.Equal(s.state().String(), before)
		})
	}
	is.Equal(s.statuses("POST"), map[int]int{403: 4})
	is.Equal(s.state().String(), before)
}

// hostileTab is a tab in which other sites are opened on purpose.
func (s *site) hostileTab(t testing.TB) *tab {
	t.Helper()
	b := s.tab(t, look{})
	b.elsewhere = true
	return b
}
