package uitest

import (
	"testing"

	"github.com/matryer/is"
)

// TestStatedOnce checks that the response to a form states what no address may:
// that a search contained a secret, and that an edit changed nothing.
func TestStatedOnce(t *testing.T) {
	for _, l := range []look{{}, {noScript: true}} {
		t.Run(l.String(), func(t *testing.T) {
			is := is.New(t)
			s := newSite(t)
			issued := s.issue("billing")
			b := s.tab(t, l)
			b.open("")
			b.fill("#q", issued.AccessSecret().Reveal())
			b.click("[role=search] button")
			b.has(text("list.dropped"))
			is.Equal(eval[string](b, "location.search"), "")
			b.noSecret()
			b.open("?dropped=yes")
			b.has("billing")
			is.True(!b.shows("#dropped"))

			b.open("key/" + issued.Key.ID)
			b.click(`a[href$="/edit"]`)
			b.at(text("edit.title"))
			b.submit()
			b.has(text("done.unchanged"))
			b.at(text("edit.title"))
			b.fill("#f-name", "renamed")
			b.submit()
			b.notice("updated")
			b.has("renamed")
			b.open("key/" + issued.Key.ID + "?done=unchanged&revision=2")
			b.has("renamed")
			is.True(!b.shows("#notice"))
		})
	}
}

// TestLinkFromElsewhere checks that an address that is typed, as from a mail,
// confirms no step, even if the log has it.
func TestLinkFromElsewhere(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	issued := s.issue("billing")
	b := s.tab(t, look{noScript: true})
	b.open("key/" + issued.Key.ID + "/disable")
	b.submit()
	b.notice("disabled")
	b.open("key/" + issued.Key.ID + "?done=disabled&revision=2")
	b.at("billing")
	is.True(!b.shows("#notice"))
}
