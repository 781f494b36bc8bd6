package uitest

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
)

// everyDialog are the dialogs that there are. A dialog that is missing here, or
// that no page leads to, fails the test.
var everyDialog = []string{"delete", "disable", "edit", "enable", "extend", "finish", "new", "regenerate", "rotate"}

// links returns the links to dialogs on the page: their ids and where they lead.
func (b *tab) links() map[string]string {
	b.t.Helper()
	return eval[map[string]string](b, `Object.fromEntries([...document.querySelectorAll("a[data-dialog]")].map(
		a => [a.id, a.getAttribute("href").split("/").pop()]))`)
}

// states makes a key in each state that has dialogs, and returns the ids.
func (s *site) states() map[string]string {
	s.t.Helper()
	ctx := apikey.WithActor(s.t.Context(), ada)
	mine := s.keys.ForOwner(ada, &apikey.OwnerOptions{Scopes: []string{"orders:*"}})
	active, disabled, rotating := s.issue("active"), s.issue("disabled"), s.issue("rotating")
	if _, err := mine.Disable(ctx, disabled.Key.ID, apikey.Reason("holiday")); err != nil {
		s.t.Fatal(err)
	}
	if _, err := mine.Rotate(ctx, rotating.Key.ID, time.Hour); err != nil {
		s.t.Fatal(err)
	}
	return map[string]string{"active": active.Key.ID, "disabled": disabled.Key.ID, "rotating": rotating.Key.ID}
}

// TestCancel opens every dialog from every page that leads to it, types into
// it, and leaves it by Cancel and by Escape: what is stored stays as it is, and
// the focus returns to where it was.
func TestCancel(t *testing.T) {
	for _, l := range []look{{}, {phone: true}, {noScript: true}} {
		t.Run(l.String(), func(t *testing.T) {
			s := newSite(t)
			ids := s.states()
			before := s.state().String()
			b := s.tab(t, l)
			seen := map[string]bool{}
			for _, address := range []string{"", "key/" + ids["active"], "key/" + ids["disabled"], "key/" + ids["rotating"]} {
				b.open(address)
				links := b.links()
				for _, id := range slices.Sorted(maps.Keys(links)) {
					dialog := links[id]
					if seen[dialog] && (l != look{} || strings.Contains(id, dialog) && address == "") {
						continue // once is enough here
					}
					b.cancel(address, "#"+id, dialog, false)
					if !l.noScript && !seen[dialog] {
						b.cancel(address, "#"+id, dialog, true)
					}
					seen[dialog] = true
				}
			}
			if diff := cmp.Diff(everyDialog, slices.Sorted(maps.Keys(seen))); diff != "" {
				t.Errorf("dialogs: %s", diff)
			}
			if diff := cmp.Diff(before, s.state().String()); diff != "" {
				t.Errorf("something was changed: %s", diff)
			}
			if posts := s.statuses("POST"); len(posts) > 0 {
				t.Errorf("forms were sent: %v", posts)
			}
		})
	}
}

// cancel opens a dialog, types and ticks what there is, and leaves it.
func (b *tab) cancel(address, link, dialog string, escape bool) {
	b.t.Helper()
	b.open(address)
	b.click(link)
	b.at(text(dialog + ".title"))
	if b.look.noScript == eval[bool](b, `document.querySelector("dialog[open]") !== null`) {
		b.t.Errorf("%s: a dialog in a page without script, or none with it", dialog)
	}
	if b.shows("#f-reason") {
		b.fill("#f-reason", "a slip")
	}
	want := prefix // where Cancel leads to without script
	if dialog != "new" {
		want, _, _ = strings.Cut(eval[string](b, "location.pathname"), "/"+dialog)
	}
	if escape {
		b.press(kb.Escape)
	} else {
		b.click("a[data-cancel]")
	}
	if b.look.noScript {
		b.wait("the page before", `document.readyState === "complete" && document.querySelector("#dialog") === null`)
		if got := eval[string](b, "location.pathname"); got != want {
			b.t.Errorf("%s: back at %s", dialog, got)
		}
		return
	}
	b.wait("no dialog", `document.querySelector("dialog") === null`)
	b.focused(link)
	if got := eval[string](b, "location.pathname"); got != prefix+address {
		b.t.Errorf("%s: the address is %s", dialog, got)
	}
}

// focused waits until an element has the focus.
func (b *tab) focused(selector string) {
	b.t.Helper()
	b.wait("the focus on "+selector, `document.activeElement?.matches(%s)`, selector)
}
