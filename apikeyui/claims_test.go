package apikeyui_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyui"
)

// claimed are values by which a link may try to make a page state something.
var claimed = []string{
	"yes", "1", "", "<b>", "unchanged", "updated", "disabled", "enabled", "finished", "extended", "deleted", "issued", "regenerated",
	"rotated", "unavailable", "problem.exists.text", "Your key was stolen. Call 555-0100.",
}

// unread are parameters that pages of other programs show, or that this one
// did: none of them may change anything.
var unread = []string{
	"dropped", "q2", "error", "err", "message", "msg", "notice", "flash", "info", "success", "status_text", "highlight", "from", "next",
	"step", "title", "search", "text", "reason", "name", "token", "once", "typed", "choice", "overlap", "expires", "networks", "scope",
	"owner", "actor", "lang", "format", "v", "result", "refusal", "confirm", "page", "limit", "before",
}

// everyState returns a site with a key of ada's in every state, by state.
func everyState(t *testing.T) (*site, map[string]apikey.Key) {
	t.Helper()
	s := newSite(t)
	ctx, own := t.Context(), s.keys.ForOwner("ada", nil)
	keys := map[string]apikey.Key{}
	for state, change := range map[string]func(id string) (apikey.Key, error){
		"new": func(id string) (apikey.Key, error) { return own.Get(ctx, id) },
		"updated": func(id string) (apikey.Key, error) {
			return own.Update(ctx, id, apikey.Changes{Name: new("renamed")})
		},
		"disabled": func(id string) (apikey.Key, error) { return own.Disable(ctx, id, apikey.Reason("break")) },
		"locked":   func(id string) (apikey.Key, error) { return s.keys.Disable(ctx, id, apikey.Reason("seen")) },
		"deleted":  func(id string) (apikey.Key, error) { return own.Delete(ctx, id) },
		"rotating": func(id string) (apikey.Key, error) { i, err := own.Rotate(ctx, id, time.Hour); return i.Key, err },
		"replaced": func(id string) (apikey.Key, error) { i, err := own.Regenerate(ctx, id); return i.Key, err },
	} {
		key, err := change(s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: state}).Key.ID)
		if err != nil {
			t.Fatal(err)
		}
		keys[state] = key
	}
	return s, keys
}

// once is what each form for a new key has of its own.
var once = regexp.MustCompile(`name="once" value="[0-9A-Za-z]*"`)

// linked returns the address of every page that a link can lead to, with the
// key that it is about, or else any.
func linked(keys map[string]apikey.Key) map[string]apikey.Key {
	deleted := keys["deleted"]
	found := map[string]apikey.Key{"a/b/c/d": deleted, "nothing": deleted, "key/00000000000000000000": deleted}
	for _, r := range apikeyui.Routes() {
		path := strings.TrimPrefix(r[1], "/")
		switch {
		case r[0] != "GET" || strings.Contains(path, "."):
		case !strings.Contains(path, "{id}"):
			found[path] = deleted
		default:
			for _, key := range keys {
				found[strings.Replace(path, "{id}", key.ID, 1)] = key
			}
		}
	}
	return found
}

// TestLinksClaimNothing opens every page with every parameter, each with many
// values, as a link on another site, in a mail or of an old browser does. The
// page must be the one without the parameter.
func TestLinksClaimNothing(t *testing.T) {
	s, keys := everyState(t)
	ada := s.browser(t, "ada")
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site", "Referer", "https://evil.example/?done=disabled"}, {"Sec-Fetch-Site", "none"},
		{"Cookie", "done=disabled; dropped=yes; notice=x; flash=x", "Accept-Language", "de"},
	} {
		for address, key := range linked(keys) {
			want := ada.do("GET", home+address, nil)
			shown := once.ReplaceAllString(want.Body.String(), "")
			open := func(query url.Values) {
				got := ada.do("GET", home+address+"?"+query.Encode(), nil, header...)
				if got.Code != want.Code || once.ReplaceAllString(got.Body.String(), "") != shown {
					t.Errorf("%v: %s?%s: status %d", header, address, query.Encode(), got.Code)
				}
			}
			for _, value := range claimed {
				query := url.Values{"done": {value}, "revision": {value}, "key": {value}}
				for _, name := range unread {
					query.Set(name, value)
				}
				open(query)
				// A step that was just taken is confirmed to a browser that does
				// not state where it comes from; see TestNotices.
				if header[0] == "Sec-Fetch-Site" || value == "unchanged" {
					open(url.Values{"done": {value}, "revision": {fmt.Sprint(key.Revision)}, "key": {key.ID}})
				}
			}
		}
	}
}

// TestLinksSelect checks the parameters that choose keys and events: no address
// makes a page state that there is nothing where there is something.
func TestLinksSelect(t *testing.T) {
	s, keys := everyState(t)
	ada := s.browser(t, "ada")
	known := map[string]bool{"q": true, "status": true, "after": true, "done": true, "key": true, "revision": true}
	for _, name := range apikeyui.Parameters() {
		if !known[name] {
			t.Errorf("the parameter %s is not tested here", name)
		}
	}
	token := s.keys.MustIssue(t, apikey.IssueParams{Owner: "grace"})
	secret := token.AccessSecret().Reveal()
	for _, status := range []string{"", "active", "disabled", "deleted", "expired", "expiring", "?", "<b>"} {
		for _, q := range []string{"", "e", "rotating", "zzz", "<b>", secret, token.Token.Reveal()[:40], token.AccessKey()} {
			for _, after := range []string{"", "00000000000000000000", "zzzzzzzzzzzzzzzzzzzz", "ZZZZZZZZZZZZZZZZZZZZ", keys["new"].ID} {
				p := ada.open("?" + url.Values{"q": {q}, "status": {status}, "after": {after}, "dropped": {"yes"}}.Encode())
				if p.status != 200 {
					t.Fatalf("%s: %d", p.url, p.status)
				}
				all := ada.open("?" + url.Values{"q": {q}, "status": {status}}.Encode())
				for _, statement := range []string{"No key matches.", "No API keys", "held a secret"} {
					if p.has(statement) && !all.has(statement) {
						t.Errorf("%s states %q", p.url, statement)
					}
				}
				if all.has("held a secret") || all.has("No API keys") {
					t.Errorf("%s: %s", all.url, all.text())
				}
				if q == secret && status == "" && after == "" && p.body != ada.open("").body {
					t.Error("a secret in the address changes the page")
				}
			}
		}
	}
	for _, after := range []string{"1", "999999", keys["new"].ID, "AAAAAAAAAAAAAAAAAAAAAA", "<b>"} {
		p := ada.open("key/" + keys["new"].ID + "/history?" + url.Values{"after": {after}}.Encode())
		if p.status != 400 || p.has("Nothing yet.") {
			t.Errorf("after=%s: status %d, %s", after, p.status, p.text())
		}
	}
}

// TestOldStepsAreNotConfirmed checks that a link cannot make a step of long ago
// look like one that was just taken.
func TestOldStepsAreNotConfirmed(t *testing.T) {
	is := is.New(t)
	s, keys := everyState(t)
	ada := s.browser(t, "ada")
	disabled := "key/" + keys["disabled"].ID + "?done=disabled&revision=2"
	deleted := "?done=deleted&key=" + keys["deleted"].ID
	said := func(address string, header ...string) bool {
		return parse(t, ada.do("GET", home+address, nil, header...).Body.String()).byID("notice") != nil
	}
	for _, address := range []string{disabled, deleted} {
		is.True(said(address))
		is.True(said(address, "Sec-Fetch-Site", "same-origin"))
		for _, site := range []string{"cross-site", "same-site", "none", "x"} {
			is.True(!said(address, "Sec-Fetch-Site", site))
		}
	}
	s.keys.Advance(apikeyui.ConfirmFor)
	for _, address := range []string{disabled, deleted} {
		is.True(!said(address, "Sec-Fetch-Site", "same-origin"))
	}
}

// TestSearchForSecret checks that the response to the form itself states that a
// secret was not searched for, at an address that states nothing.
func TestSearchForSecret(t *testing.T) {
	is := is.New(t)
	s, _ := everyState(t)
	secret := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).AccessSecret().Reveal()
	ada := s.browser(t, "ada")
	p := ada.open("").submit("./", "q", secret, "status", "disabled")
	is.Equal(p.status, 200)
	is.Equal(p.url.String(), home)
	is.True(p.root.byID("dropped") != nil)
	is.True(!strings.Contains(p.body, secret))
	is.True(p.has("locked") && !p.has("rotating"))                   // the filter is kept
	is.True(ada.load("GET", p.url, nil).root.byID("dropped") == nil) // the same address, as a link
}

// TestReadersOfRequests checks that handlers read what a request states through
// visit.param, which looks into the table of routes, or from a POST form.
func TestReadersOfRequests(t *testing.T) {
	allowed := map[string]int{
		"routes.go Query": 1, "handler.go Header": 1, "history.go Header": 1, "dialog.go PostForm": 1, "list.go PostForm": 2, "reissue.go PostForm": 1,
	}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			switch s.Sel.Name {
			case "RawQuery", "Fragment", "FormValue", "PostFormValue", "PostForm", "Form", "Cookie", "Cookies", "Referer", "UserAgent", "PathValue":
				found[file.Name()+" "+s.Sel.Name]++
			case "Query":
				if x, ok := s.X.(*ast.SelectorExpr); ok && x.Sel.Name == "URL" {
					found[file.Name()+" Query"]++
				}
			case "Header":
				if x, ok := s.X.(*ast.SelectorExpr); ok && x.Sel.Name == "r" {
					found[file.Name()+" Header"]++
				}
			}
			return true
		})
	}
	for place, n := range found {
		if n != allowed[place] {
			t.Errorf("%s: %d times", place, n)
		}
	}
	if len(found) != len(allowed) {
		t.Errorf("found %v", found)
	}
}
