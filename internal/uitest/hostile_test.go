package uitest

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
)

// hostile are names that were made to run a script, to break out of where they
// stand, or to look like something else.
var hostile = []string{
	`<img src=x onerror=alert(1)>`, `"><script>alert(1)</script>`, `'><svg onload=alert(1)>`, `</title><script>alert(1)</script>`,
	`</textarea><script>alert(1)</script>`, `--><script>alert(1)</script>`, `]]><script>alert(1)</script>`, `<!--`, `<![CDATA[`,
	`{{7*7}}`, `{{.Owner}}`, `${7*7}`, `<%= 7*7 %>`, `#{7*7}`, `javascript:alert(1)`, `data:text/html,<script>alert(1)</script>`,
	`" onmouseover="alert(1)`, `' onfocus='alert(1)' autofocus='`, `" style="background:url(//evil.example)`, "` onclick=alert(1) `",
	`&lt;b&gt;`, `&#60;script&#62;`, `&`, `%3Cscript%3E`, `\u003cscript\u003e`, `\`, `"`, `'`, `<`,
	`=HYPERLINK("http://evil.example","x")`, `+1+1`, `@SUM(1)`, `../../etc/passwd`, `https://evil.example/`, `//evil.example`,
	`<math><mi xlink:href="javascript:alert(1)">`, `<base href="//evil.example">`, `<meta http-equiv=refresh content=0>`,
	`<form action=//evil.example>`, `<iframe srcdoc="<script>alert(1)</script>">`, `<style>*{display:none}</style>`, `</section></dialog>`,
	`<noscript><p title="</noscript><img src=x onerror=alert(1)>">`, strings.Repeat("W", 199), "שלום", "constructor", "__proto__",
}

// refused are names that no key can have, but that can be typed.
var refused = []string{"👨‍👩‍👧‍👦", "a\u202egnp.exe", "a" + strings.Repeat("\u0301", 99), "\u200b", "\ufeff", "a\x01b"}

// nodes counts the nodes of each kind in the document that a person sees,
// dialog included.
const nodes = `(() => {
	const count = {};
	for (const e of document.querySelectorAll("*")) {
		const kind = [e.localName, ...e.getAttributeNames()].join(" ");
		count[kind] = (count[kind] ?? 0) + 1;
	}
	return count;
})()`

// walk opens the views of a key with a name, and returns the nodes of each.
func (b *tab) walk(owner, name string, views []string) map[string]map[string]int {
	b.t.Helper()
	s := b.site
	ctx := apikey.WithActor(b.t.Context(), name)
	mine := s.keys.ForOwner(owner, nil)
	key := s.keys.MustIssue(b.t, apikey.IssueParams{Owner: owner, Name: name}).Key
	other := s.keys.MustIssue(b.t, apikey.IssueParams{Owner: owner, Name: name}).Key
	_, err := mine.Disable(ctx, key.ID, apikey.Reason(name))
	if err == nil {
		_, err = mine.Enable(ctx, key.ID, apikey.Reason(name))
	}
	if err == nil {
		_, err = mine.Rotate(ctx, key.ID, time.Hour, apikey.Reason(name))
	}
	if err == nil {
		_, err = mine.Disable(ctx, other.ID, apikey.Reason(name))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	found := map[string]map[string]int{}
	note := func(view string) {
		b.t.Helper()
		found[view] = eval[map[string]int](b, nodes)
		if shown := eval[string](b, front+`.textContent`); !strings.Contains(shown, name) && view != "nothing" {
			b.t.Errorf("%q is not shown as it is in %s", name, view)
		}
	}
	for _, view := range views {
		switch kind, rest, _ := strings.Cut(view, " "); kind {
		case "list":
			b.open("")
			note(view)
		case "search":
			b.open("?q=" + url.QueryEscape(name))
			note(view)
		case "nothing":
			b.open("?q=" + url.QueryEscape("zzz"+name))
			note(view)
		case "key":
			b.open("key/" + key.ID + rest)
			note(view)
		case "off":
			b.open("key/" + other.ID + rest)
			note(view)
		case "dialog": // by the script, in the page
			b.open("key/" + key.ID)
			b.click(`a[href$="/` + rest + `"]`)
			b.at(text(rest + ".title"))
			note(view)
		case "mistake":
			b.open("key/" + key.ID + "/delete")
			eval[bool](b, `(document.querySelector("#f-typed").value = %s, true)`, name+"?")
			eval[bool](b, `(document.querySelector("form[data-name]").submit(), true)`)
			b.wait("the mistake", `document.readyState === "complete" && document.querySelector("#f-typed[aria-invalid]") !== null`)
			note(view)
		case "deleted":
			if _, err := mine.Delete(ctx, key.ID, apikey.Reason(name)); err != nil {
				b.t.Fatal(err)
			}
			b.open("?done=deleted&key=" + key.ID)
			note(view)
		default:
			b.t.Fatalf("no view %q", view)
		}
	}
	return found
}

// TestHostileNames: with each name every view has the same nodes as with a
// plain one, and no script runs (which the tab watches). The normal form shows
// each name in the list, on the page of the key and in two other views, all of
// them in turn; the long form in all.
func TestHostileNames(t *testing.T) {
	all := []string{
		"list", "key", "search", "nothing", "key /history", "off", "off /enable", "key /edit", "key /disable", "key /regenerate", "key /rotate",
		"key /finish", "key /extend", "key /delete", "dialog delete", "dialog edit", "dialog regenerate", "mistake", "deleted",
	}
	plain := newSite(t).tab(t, look{}).walk(ada, "plain name", all)
	b := newSite(t).tab(t, look{})
	for i, name := range hostile {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			b.t = t
			owner := fmt.Sprint("owner", i)
			b.site.login(owner)
			views := all
			if os.Getenv("APIKEY_LONG") == "" {
				one, two := 2+2*i%17, 2+(2*i+1)%17
				views = []string{all[0], all[1], all[min(one, two)], all[max(one, two)]}
			}
			for view, got := range b.walk(owner, name, views) {
				if diff := cmp.Diff(plain[view], got); diff != "" {
					t.Errorf("%q in %s: other nodes: %s", name, view, diff)
				}
			}
		})
	}
	b.t = t
}

// TestHostileTyping: what is refused stands in the field again, and nowhere
// else.
func TestHostileTyping(t *testing.T) {
	s := newSite(t)
	b := s.tab(t, look{})
	typed := func(name string) map[string]int {
		b.open("new")
		b.fill("#f-name", "name")
		b.fill("#f-networks", "?")
		b.fill("#f-reason", "x")
		eval[bool](b, `(document.querySelector("#f-name").value = document.querySelector("#f-networks").value =
			document.querySelector("#f-reason").value = %s, true)`, name)
		b.submit()
		b.wait("the mistake", `document.readyState === "complete" && document.querySelector("#f-networks[aria-invalid]") !== null`)
		return eval[map[string]int](b, nodes)
	}
	plain := typed("plain")
	for _, name := range append(append([]string(nil), hostile...)[:8], refused...) {
		if diff := cmp.Diff(plain, typed(name)); diff != "" {
			t.Errorf("%q: other nodes: %s", name, diff)
		}
	}
	if keys := len(s.state().Keys); keys != 0 {
		t.Errorf("%d keys", keys)
	}
}
