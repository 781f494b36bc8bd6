package uitest

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// tabTo presses Tab until an element has the focus, which must be visible on
// every stop, and inside of the dialog while there is one.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	for range 80 {
		if eval[bool](b, `document.activeElement?.matches(%s)`, selector) {
			return
		}
		b.press(kb.Tab)
		if problem := eval[string](b, `(() => {
			const e = document.activeElement;
			if (e === document.body || e === null) return "";
			const dialog = document.querySelector("dialog[open]");
			if (dialog && !dialog.contains(e)) return "the focus left the dialog for " + e.outerHTML;
			if (e.type === "date") return ""; // shows itself which of its parts has the focus
			const style = getComputedStyle(e);
			if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) return "no focus to be seen on " + e.outerHTML;
			return "";
		})()`); problem != "" {
			b.t.Errorf("%s", problem)
		}
	}
	b.t.Fatalf("Tab does not lead to %s", selector)
}

// enter goes to a link or button by Tab, and presses Enter.
func (b *tab) enter(selector string) {
	b.t.Helper()
	b.tabTo(selector)
	b.press(kb.Enter)
}

const submitButton = `form:not([role=search]):not([data-test]) button[type=submit]`

// TestKeyboard carries a key through its life without a mouse.
func TestKeyboard(t *testing.T) {
	for _, l := range []look{{}, {noScript: true, dark: true}} {
		t.Run(l.String(), func(t *testing.T) {
			is := is.New(t)
			s := newSite(t)
			b := s.tab(t, l)

			// A new key: Enter in a field sends the form.
			b.open("")
			b.enter("#open-new")
			b.at(text("new.title"))
			if !l.noScript {
				b.focused("#f-name")
			}
			b.tabTo("#f-name")
			b.write("billing")
			b.tabTo(`input[value="orders:write"]`)
			b.press(" ")
			b.tabTo("#f-reason")
			b.press(kb.Enter)
			first := b.token()
			if !l.noScript {
				b.focused("#dialog-title")
				b.press(kb.Escape) // a slip does not lose the secret
				is.Equal(b.value("#s-token"), first)
				b.enter(`[data-copy="s-token"]`)
				b.wait("the copy", `document.querySelector('[data-copy="s-token"]').children[0].innerText === %s`, text("copy.done"))
				is.Equal(b.pasted(), first)
				b.enter(`form[data-test] button`)
				b.wait("the result", `document.querySelector("#result").innerText === %s`, text("test.good"))
			}
			is.Equal(s.key().Scopes.String(), "orders:write")
			b.enter("a[data-stored]")
			b.wait("the page of the key", `document.readyState === "complete" && document.querySelector("[data-secret]") === null`)

			// Off and on. The focus stays where it was, or goes to the notice.
			b.open("key/" + s.key().ID)
			b.enter("a.slider")
			b.at(text("disable.title"))
			b.enter(submitButton)
			b.notice("disabled")
			is.Equal(s.works(first), apikey.ErrDisabled)
			if !l.noScript {
				b.focused("a.slider") // now the one that activates
			}
			b.enter("a.slider")
			b.at(text("enable.title"))
			b.enter(submitButton)
			b.notice("enabled")

			// Regenerated, with the reason chosen by the arrow keys.
			b.enter(`a[href$="/regenerate"]`)
			b.at(text("regenerate.title"))
			b.tabTo(`input[name=choice]`)
			b.press(" ")
			b.press(kb.ArrowDown)
			b.enter(submitButton)
			second := b.token()
			is.NoErr(s.works(second))
			b.enter("a[data-stored]")
			b.wait("the page of the key", `document.readyState === "complete" && document.querySelector("[data-secret]") === null`)
			if !l.noScript {
				b.focused(`a[href$="/regenerate"]`)
			}
			b.has("Personnel change")

			// Rotated and finished.
			b.enter(`a[href$="/rotate"]`)
			b.at(text("rotate.title"))
			b.tabTo(`input[name=overlap]:checked`)
			b.press(kb.ArrowUp)
			b.enter(submitButton)
			third := b.token()
			b.enter("a[data-stored]")
			b.has(text("rotation.title"))
			is.Equal(s.key().RetiringUntil.Sub(s.keys.Now()), time.Hour)
			b.enter(`a[href$="/finish"]`)
			b.at(text("finish.title"))
			b.enter(submitButton)
			b.notice("finished")
			is.NoErr(s.works(third))

			// Backwards, and deleted.
			b.press(kb.Tab, chromedp.ModifierShift)
			b.enter(`a[href$="/delete"]`)
			b.at(text("delete.title"))
			b.tabTo("#f-typed")
			b.write("billin")
			b.press(kb.Enter)
			is.NoErr(s.works(third)) // not the name
			if l.noScript {
				b.wait("the mistake", `document.querySelector("#f-typed[aria-invalid]") !== null`)
				b.tabTo("#f-typed")
				b.press(kb.End)
			}
			b.write("g")
			b.enter(submitButton)
			b.notice("deleted")
			if !l.noScript {
				b.wait("the focus on what was done", `document.activeElement?.matches("#notice, #open-new")`)
			}
			is.Equal(len(s.state().Keys), 1)
			is.True(!s.state().Keys[0].DeletedAt.IsZero())
			b.enter("#open-new")
			b.at(text("new.title"))
		})
	}
}

// TestLocked: what the operator switched off says so, and has only Delete.
func TestLocked(t *testing.T) {
	for _, l := range looks() {
		t.Run(l.String(), func(t *testing.T) {
			is := is.New(t)
			s := newSite(t)
			key := s.issue("billing").Key
			_, err := s.keys.Disable(apikey.WithActor(t.Context(), "support"), key.ID, apikey.Reason("seen in public"))
			is.NoErr(err)
			b := s.tab(t, l)
			for _, address := range []string{"", "key/" + key.ID} {
				b.open(address)
				b.has("Disabled by support")
				b.has("seen in public")
				b.looksRight()
				for id, dialog := range b.links() {
					if dialog != "delete" && dialog != "new" {
						t.Errorf("%s: %s", id, dialog)
					}
				}
			}
			b.click(`a[href$="/delete"]`)
			b.at(text("delete.title"))
			b.fill("#f-typed", "billing")
			b.submit()
			b.notice("deleted")
			b.has(text("empty.title"))
			is.True(strings.HasSuffix(s.state().Keys[0].Name, "billing") && !s.state().Keys[0].DeletedAt.IsZero())
		})
	}
}
