package uitest

import (
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// looks are those of the normal form: each two of script, width and scheme
// stand together in one of them. The long form has all eight.
func looks() []look {
	some := []look{{}, {phone: true, dark: true}, {noScript: true, dark: true}, {noScript: true, phone: true}}
	if os.Getenv("APIKEY_LONG") != "" {
		some = append(some, look{dark: true}, look{phone: true}, look{noScript: true}, look{noScript: true, phone: true, dark: true})
	}
	return some
}

// TestLife clicks a key through its whole life.
func TestLife(t *testing.T) {
	for _, l := range looks() {
		t.Run(l.String(), func(t *testing.T) { life(t, l) })
	}
}

func life(t *testing.T, l look) {
	is := is.New(t)
	s := newSite(t)
	b := s.tab(t, l)

	// Nothing yet.
	b.open("")
	b.at(text("list.title"))
	b.has(text("empty.title"))
	b.looksRight()

	// A mistake first: what was typed stays, the problem stands at its field.
	b.click("#open-new")
	b.at(text("new.title"))
	b.looksRight()
	b.fill("#f-name", "billing")
	b.click(`input[value="orders:read"]`)
	b.fill("#f-expires", "2026-07-01")
	b.fill("#f-networks", "nonsense")
	b.fill("#f-reason", "new shop")
	b.submit()
	b.wait("the mistake", front+`.querySelector("#f-networks[aria-invalid]") !== null && `+front+`.querySelector("#e-networks .fault") !== null`)
	is.Equal(b.value("#f-name"), "billing")
	is.Equal(b.value("#f-networks"), "nonsense")
	is.Equal(b.value("#f-expires"), "2026-07-01")
	is.Equal(b.value("#f-reason"), "new shop")
	is.Equal(eval[int](b, front+`.querySelectorAll("[name=scope]:checked").length`), 1)
	is.Equal(len(s.state().Keys), 0)
	b.looksRight()
	b.fill("#f-networks", "192.0.2.0/24 ::1 127.0.0.0/8")
	b.submit()

	// The token, once.
	first := b.token()
	is.NoErr(s.works(first, apikey.From(netip.MustParseAddr("192.0.2.7"))))
	key := s.key()
	is.Equal(key.Name+" "+key.Scopes.String(), "billing orders:read")
	is.Equal(key.ExpiresAt, time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	is.Equal(first, b.value("#s-access-key")+"_"+b.value("#s-secret"))
	b.looksRight()
	b.curl()
	b.copies()
	b.done()
	b.notice("issued")

	// Edited.
	b.open("")
	b.has("billing")
	b.has(key.AccessKey())
	b.has(text("status.active"))
	b.looksRight()
	b.click(`a[href$="/edit"]`)
	b.at(text("edit.title"))
	b.fill("#f-name", "billing 2")
	b.fill("#f-networks", "")
	b.submit()
	b.notice("updated")
	is.Equal(s.key().Name, "billing 2")

	// The slider.
	b.open("")
	b.click(`a.slider.on`)
	b.at(text("disable.title"))
	b.looksRight()
	b.fill("#f-reason", "holiday")
	b.submit()
	b.notice("disabled")
	is.Equal(s.works(first), apikey.ErrDisabled)
	b.has("holiday")
	b.looksRight()
	b.click(`a.slider:not(.on)`)
	b.at(text("enable.title"))
	b.submit()
	b.notice("enabled")
	is.NoErr(s.works(first))

	// Regenerated, but not without a reason.
	b.open("")
	b.click(`a[href$="/regenerate"]`)
	b.at(text("regenerate.title"))
	b.submit()
	b.wait("the mistake", front+`.querySelector("#e-choice .fault") !== null`)
	is.NoErr(s.works(first))
	b.looksRight()
	b.click(`input[name=choice][value="0"]`)
	b.fill("#f-reason", "laptop lost")
	b.submit()
	second := b.token()
	is.Equal(s.works(first), apikey.ErrReplaced)
	b.test()
	is.NoErr(s.works(second))
	b.done()
	b.notice("regenerated")

	// Rotated: the page tells whether the old access key is in use.
	b.open("")
	b.click(`a[href$="/rotate"]`)
	b.at(text("rotate.title"))
	b.looksRight()
	b.click(`input[name=overlap][value="0"]`)
	b.submit()
	third := b.token()
	is.NoErr(s.works(second))
	is.NoErr(s.works(third))
	b.done()
	b.notice("rotated")
	is.NoErr(s.keys.Flush(t.Context()))
	b.open("key/" + key.ID)
	b.has(text("rotation.title"))
	b.has(text("rotation.idle"))
	s.keys.Advance(time.Minute)
	is.NoErr(s.works(second))
	is.NoErr(s.keys.Flush(t.Context()))
	b.open("key/" + key.ID)
	b.has(text("rotation.in_use"))
	is.True(b.shows(".plot svg[role=img]"))
	b.looksRight()
	b.click(`a[href$="/extend"]`)
	b.at(text("extend.title"))
	b.click(`input[name=overlap][value="2"]`)
	b.submit()
	b.notice("extended")
	s.keys.Advance(6 * 24 * time.Hour)
	is.NoErr(s.works(second))
	b.click(`a[href$="/finish"]`)
	b.at(text("finish.title"))
	b.submit()
	b.notice("finished")
	is.Equal(s.works(second), apikey.ErrReplaced)
	is.NoErr(s.works(third))

	// Its history.
	b.open("key/" + key.ID + "/history")
	b.at(text("history.title"))
	for _, what := range []string{"new shop", "billing 2", "holiday", "Compromised: laptop lost", "By ada@example.com"} {
		b.has(what)
	}
	b.looksRight()

	// Searched for.
	b.open("")
	b.fill("#q", "nothing like it")
	b.click(`form[role=search] button`)
	b.has(text("list.nothing"))
	b.fill("#q", third) // a token: never in an address
	b.click(`form[role=search] button`)
	b.wait("the key", `location.search.startsWith("?q=") && document.querySelector(".keys .card") !== null`)
	b.looksRight()
	b.open("?status=disabled")
	b.has(text("list.nothing"))

	// Deleted, once its name is typed.
	b.open("")
	b.click(`a[href$="/delete"]`)
	b.at(text("delete.title"))
	b.looksRight()
	if l.noScript {
		b.fill("#f-typed", "billing")
		b.submit()
		b.wait("the mistake", `document.querySelector("#f-typed[aria-invalid]") !== null`)
		is.Equal(b.value("#f-typed"), "billing")
	} else {
		button := front + `.querySelector("form[data-name] button[type=submit]").disabled`
		is.True(eval[bool](b, button))
		b.fill("#f-typed", "billing")
		is.True(eval[bool](b, button))
	}
	is.NoErr(s.works(third))
	b.fill("#f-typed", "billing 2")
	b.submit()
	b.notice("deleted")
	if !l.noScript {
		is.Equal(eval[string](b, "location.search"), "") // confirmed once
	}
	b.has(text("empty.title"))
	is.True(b.shows("#open-new"))
	is.Equal(s.works(third) != nil, true)
	b.looksRight()

	// Nothing is kept in the browser, and no secret is in the history.
	is.Equal(eval[int](b, `localStorage.length + sessionStorage.length + document.cookie.length`), 0)
	b.noSecret()
}

// looksRight checks what can be measured: nothing sticks out of the page, and
// the scheme is the one that was asked for.
func (b *tab) looksRight() {
	b.t.Helper()
	if wide := eval[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); wide > 0 {
		b.t.Errorf("%s is %d pixels too wide", eval[string](b, "location.pathname"), wide)
	}
	dark := eval[bool](b, `(c => c[0] + c[1] + c[2] < 384)(getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number))`)
	if dark != b.look.dark {
		b.t.Errorf("%s: dark is %v", eval[string](b, "location.pathname"), dark)
	}
}

// done closes what shows a token. Afterwards the page does not have it any more.
func (b *tab) done() {
	b.t.Helper()
	b.click(`a[data-stored]`)
	b.wait("the page of the key", `document.readyState === "complete" && document.querySelector("[data-secret]") === null`)
	b.noSecret()
}

func (b *tab) noSecret() {
	b.t.Helper()
	page := eval[string](b, `document.documentElement.outerHTML + document.documentElement.innerText + location.href + document.title`)
	b.mu.Lock()
	page += strings.Join(b.addresses, " ")
	b.mu.Unlock()
	for _, token := range b.site.tokens {
		if strings.Contains(page, token[strings.LastIndexByte(token, '_')+1:]) {
			b.t.Errorf("%s still has a secret", eval[string](b, "location.href"))
		}
	}
}

// curl sends the request that the page proposes.
func (b *tab) curl() {
	b.t.Helper()
	line := regexp.MustCompile(`^curl -H '([^:]+): ([^']+)' '([^']+)'$`).FindStringSubmatch(b.value("#s-curl"))
	if line == nil {
		b.t.Fatalf("not the line that was expected: %q", b.value("#s-curl"))
	}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, line[3], nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set(line[1], line[2])
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		b.t.Errorf("the line of curl is answered %s", answer.Status)
	}
}

// copies clicks each copy button, and looks what was copied. Without script
// there are none.
func (b *tab) copies() {
	b.t.Helper()
	for _, id := range []string{"s-token", "s-access-key", "s-secret", "s-curl"} {
		button := `[data-copy="` + id + `"]`
		if b.look.noScript {
			if eval[bool](b, `document.querySelector(%s).checkVisibility()`, button) {
				b.t.Error("a copy button that does nothing")
			}
			continue
		}
		label := eval[string](b, `document.querySelector(%s).children[1].textContent`, button)
		b.click(button)
		b.wait("the copy of "+id, `document.querySelector(%s).children[0].innerText === %s`, button, text("copy.done"))
		if said := b.value("#copied"); said != label+": "+text("copy.done") {
			b.t.Errorf("%s: said %q", id, said)
		}
		if got := b.pasted(); got != b.value("#"+id) {
			b.t.Errorf("%s: copied %q", id, got)
		}
	}
}

// pasted returns what is in the clipboard.
func (b *tab) pasted() string {
	b.t.Helper()
	b.grantClipboard()
	return eval[string](b, `navigator.clipboard.readText()`)
}

// test has the new token tested: in place, or in a tab of its own.
func (b *tab) test() {
	b.t.Helper()
	if !b.look.noScript {
		b.click(`form[data-test] button`)
		b.wait("the result", front+`.querySelector("#result").innerText === %s`, text("test.good"))
		return
	}
	opened := chromedp.WaitNewTarget(b.ctx, func(i *target.Info) bool { return strings.HasSuffix(i.URL, "/test") })
	b.click(`form[data-test] button`)
	select {
	case id := <-opened:
		other := &tab{t: b.t, site: b.site, look: b.look}
		ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithTargetID(id), chromedp.WithListener(other.listen))
		defer cancel()
		other.start(ctx)
		other.at(text("test.title"))
		other.has(text("test.good"))
		other.noSecret()
		other.verdict()
	case <-time.After(patience):
		b.t.Fatal("no tab with the result")
	}
}
