package uitest

import (
	_ "embed"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
)

//go:embed testdata/axe.min.js
var axe string

// accessible has axe-core look at what is in the tab. In the other scheme only
// the colours are different.
func (b *tab) accessible(view string) {
	b.t.Helper()
	// Evaluated as by the developer tools, which the policy of the page allows.
	b.wait("axe-core", strings.ReplaceAll("(() => {"+axe+"; return typeof window.axe === 'object'})()", "%", "%%")+"|| %s", false)
	for _, scheme := range []struct {
		dark bool
		run  string
	}{
		{false, `{}`}, {true, `{runOnly: {type: "rule", values: ["color-contrast"]}}`},
	} {
		b.dark(scheme.dark)
		found := eval[[]string](b, `axe.run(document, `+scheme.run+`).then(r => {
			if (r.passes.length === 0) return ["axe-core looked at nothing"];
			return r.violations.flatMap(
				v => v.nodes.map(n => v.id + ": " + n.html + " " + (n.failureSummary ?? "").replace(/\s+/g, " ")));
		})`)
		for _, violation := range found {
			b.t.Errorf("%s, dark %v: %s", view, scheme.dark, violation)
		}
	}
	b.views = append(b.views, view)
}

// TestAccessible: axe-core finds no violation on any view, whether it is a page
// or a dialog in one.
func TestAccessible(t *testing.T) {
	for _, l := range []look{{}, {phone: true}} {
		t.Run(l.String(), func(t *testing.T) { accessible(t, l) })
	}
}

func accessible(t *testing.T, l look) {
	s := newSite(t)
	b := s.tab(t, l)
	look := func(address, view string) {
		t.Helper()
		b.open(address)
		b.accessible(view)
	}
	look("", "empty list")

	// A used key, so that there is a plot; one that ends soon, a locked one.
	ids := s.states()
	used := s.issue("used")
	ctx := t.Context()
	if err := s.works(used.Token.Reveal()); err != nil {
		t.Fatal(err)
	}
	s.keys.Advance(time.Minute)
	rotated, err := s.keys.Rotate(ctx, used.Key.ID, 7*24*time.Hour, apikey.Reason("planned"))
	for _, token := range []string{used.Token.Reveal(), rotated.Token.Reveal()} {
		if err == nil {
			s.keys.Advance(time.Minute)
			err = s.works(token)
		}
	}
	if err == nil {
		err = s.keys.Flush(ctx)
	}
	locked, soon := s.issue("locked").Key, s.issue("soon").Key
	if err == nil {
		_, err = s.keys.Disable(apikey.WithActor(ctx, "support"), locked.ID, apikey.Reason("seen in public"))
	}
	if err == nil {
		_, err = s.keys.Update(ctx, soon.ID, apikey.Changes{ExpiresAt: new(s.keys.Now().AddDate(0, 0, 3))})
	}
	if err != nil {
		t.Fatal(err)
	}
	look("", "list")
	look("?q=nothing", "nothing found")
	look("?q=so", "some found")
	look("key/"+ids["active"], "key")
	look("key/"+ids["disabled"], "disabled key")
	look("key/"+locked.ID, "locked key")
	b.open("key/" + used.Key.ID)
	b.click("summary")
	b.accessible("rotating key with a plot")
	if _, err := s.keys.ForOwner(ada, nil).Disable(ctx, used.Key.ID); err != nil {
		t.Fatal(err)
	}
	look("key/"+used.Key.ID, "rotating key that is disabled")
	ended := s.keys.MustIssue(t, apikey.IssueParams{Owner: ada, Name: "ended", Lifetime: apikey.Period{Time: time.Second}}).Key
	s.keys.Advance(time.Minute)
	look("key/"+ended.ID, "expired key")
	long := s.issue("long").Key
	if _, err := s.keys.Rotate(ctx, long.ID, 365*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	look("key/"+long.ID+"/extend", "nothing to extend to")
	look("key/"+used.Key.ID+"/history", "history")
	look("nowhere", "not found")
	look("key/"+locked.ID+"/edit", "refused")

	// Each dialog as a page, and in one.
	for dialog, state := range map[string]string{
		"new": "", "edit": "active", "disable": "active", "enable": "disabled", "regenerate": "active", "rotate": "active",
		"finish": "rotating", "extend": "rotating", "delete": "active",
	} {
		if state == "" {
			look("new", "page new")
			b.open("")
			b.click("#open-new")
		} else {
			look("key/"+ids[state]+"/"+dialog, "page "+dialog)
			b.open("key/" + ids[state])
			b.click(`a[href$="/` + dialog + `"]`)
		}
		b.at(text(dialog + ".title"))
		b.accessible("dialog " + dialog)
	}

	// With mistakes.
	b.open("new")
	b.fill("#f-name", "x")
	b.fill("#f-networks", "nonsense")
	b.submit()
	b.wait("the mistake", `document.querySelector("[aria-invalid]") !== null`)
	b.accessible("new, with a mistake")
	b.open("key/" + ids["active"])
	b.click(`a[href$="/regenerate"]`)
	b.at(text("regenerate.title"))
	b.submit()
	b.wait("the mistake", `document.querySelector("#e-choice .fault") !== null`)
	b.accessible("regenerate, with a mistake")

	s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Err: apikey.ErrAborted, Forever: true})
	b.click(`input[name=choice][value="0"]`)
	b.submit()
	b.wait("the refusal", `document.querySelector("dialog #refusal") !== null`)
	b.accessible("regenerate, with the store down")
	s.keys.Store.Recover()

	// What is shown afterwards.
	b.click(`input[name=choice][value="0"]`)
	b.submit()
	b.token()
	b.click("form[data-test] button")
	b.wait("the result", `document.querySelector("#result").innerText !== ""`)
	b.accessible("dialog with a token")
	b.open("key/" + ids["active"] + "/rotate")
	b.submit()
	b.token()
	b.accessible("page with a token")
	b.open("key/" + ids["rotating"] + "/edit")
	if _, err := s.keys.Update(ctx, ids["rotating"], apikey.Changes{Name: new("renamed")}); err != nil {
		t.Fatal(err)
	}
	b.submit()
	b.at(text("problem.conflict.title"))
	b.accessible("conflict")
	b.open("key/" + ids["active"])
	b.click("a.slider")
	b.at(text("disable.title"))
	b.submit()
	b.notice("disabled")
	b.accessible("done")

	if _, err := s.keys.DisableOwner(ctx, ada, apikey.Reason("unpaid")); err != nil {
		t.Fatal(err)
	}
	look("", "owner disabled, list")
	look("key/"+ids["active"], "owner disabled, key")
	s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.List})
	look("", "store down")
	t.Logf("%d views: %s", len(b.views), strings.Join(b.views, "; "))
}
