package apikeyui_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyui"
)

// hostile are names that were made to do harm, or to look like what they are
// not. Some of them no key can have; all can be typed.
var hostile = []string{
	`<img src=x onerror=alert(1)>`, `"><script>alert(1)</script>`, `'><svg onload=alert(1)>`, `</title><script>alert(1)</script>`,
	`</textarea><script>alert(1)</script>`, `--><script>alert(1)</script>`, `]]><script>alert(1)</script>`, `<!--`, `<![CDATA[`,
	`{{7*7}}`, `{{.Owner}}`, `${7*7}`, `<%= 7*7 %>`, `#{7*7}`, `javascript:alert(1)`, `data:text/html,<script>alert(1)</script>`,
	`" onmouseover="alert(1)`, `' onfocus='alert(1)' autofocus='`, `" style="background:url(//evil.example)`, "` onclick=alert(1) `",
	`&lt;b&gt;`, `&#60;script&#62;`, `&`, `&amp`, `%3Cscript%3E`, `\u003cscript\u003e`, `\x3cscript\x3e`, `\`, `"`, `'`, `<`, `>`,
	"a\u202egnp.exe", "a" + strings.Repeat("\u0301", 150), "\u200b", "\ufeff", "a\x00b", "a\r\nSet-Cookie: x=y", "\xff\xfe", "\ufffe",
	`=HYPERLINK("http://evil.example","x")`, `+1+1`, `@SUM(1)`, `-2+3`, `|calc`, `../../etc/passwd`, `https://evil.example/`, `//evil.example`,
	`<math><mi xlink:href="javascript:alert(1)">`, `<base href="//evil.example">`, `<meta http-equiv=refresh content=0>`, `<form action=//evil.example>`,
	"ab ﷽", "𝕏" + strings.Repeat("👨‍👩‍👧‍👦", 3), "שלום", strings.Repeat("W", 200)[:199], "𓀐", "ﬁ", "İ", "null", "undefined", "constructor", "__proto__",
}

// TestHostileNames: with each name every view has the same elements and
// attributes as with a plain one, and shows the name as it is.
func TestHostileNames(t *testing.T) {
	plain := views(t, newSite(t), "plain name")
	kept := 0
	for i, name := range hostile {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			s := newSite(t)
			_, err := s.keys.ForOwner("ada", nil).Issue(t.Context(), apikey.IssueParams{Name: name})
			if err != nil {
				typed(t, s, name)
				return
			}
			kept++
			s = newSite(t)
			for view, p := range views(t, s, name) {
				want := plain[view]
				if want == nil || p.status != want.status {
					t.Errorf("%s: status %d", view, p.status)
					continue
				}
				if diff := cmp.Diff(want.root.structure(), p.root.structure()); diff != "" {
					t.Errorf("%q in %s: other elements: %s", name, view, diff)
				}
				if strings.Count(p.body, name) > strings.Count(want.body, name) && strings.ContainsAny(name, `<>"'`) {
					t.Errorf("%q in %s: not escaped", name, view)
				}
			}
			if shown := s.browser(t, "ada").open(""); !strings.Contains(shown.root.content(), name) {
				t.Errorf("%q is not shown as it is", name)
			}
		})
	}
	if kept < 40 {
		t.Errorf("only %d names of keys", kept)
	}
}

// typed is the part of the test for names that no key can have: they are
// refused, and stand in the field.
func typed(t *testing.T, s *site, name string) {
	form := s.browser(t, "ada").open("new")
	want := form.submit("new", "name", " ", "networks", "?", "expires", "?", "reason", "x\x01").root.structure()

	values, to := form.form("new")
	for _, field := range []string{"name", "networks", "expires", "reason"} {
		values[field] = []string{name}
	}
	p := s.browser(t, "ada").load("POST", to, values)
	if p.status != 400 {
		t.Errorf("%q: status %d", name, p.status)
	}
	if diff := cmp.Diff(want, p.root.structure()); diff != "" {
		t.Errorf("%q: other elements: %s", name, diff)
	}
	if p.header.Get("Set-Cookie") != "" {
		t.Errorf("%q: a header of its own", name)
	}
	s.browser(t, "ada").open("?q=" + url.QueryEscape(name)) // well-formed
}

// TestHostileHost: what comes from the log and from others is escaped as well.
func TestHostileHost(t *testing.T) {
	structure := func(actor, reason, scope string) string {
		s := newSite(t, func(o *apikeyui.Options) {
			o.Scopes = []apikeyui.Scope{{Name: scope, Description: reason}}
			o.Reasons = []string{reason}
		})
		key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine", Scopes: []string{scope}}).Key
		if _, err := s.keys.Disable(apikey.WithActor(t.Context(), actor), key.ID, apikey.Reason(reason)); err != nil {
			t.Fatal(err)
		}
		open := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine", Scopes: []string{scope}}).Key
		var all string
		for _, address := range []string{"key/" + key.ID, "new", "key/" + open.ID + "/edit", "key/" + open.ID + "/regenerate"} {
			all += s.browser(t, "ada").open(address).root.structure()
		}
		return all
	}
	want := structure("support", "why", "orders")
	for _, text := range []string{`<script>alert(1)</script>`, `'><img/onerror=alert(1)>`, `{{.}}`, `&lt;`} {
		if diff := cmp.Diff(want, structure(text, text, strings.NewReplacer(" ", "", `"`, "").Replace(text))); diff != "" {
			t.Errorf("%q: other elements: %s", text, diff)
		}
	}
}
