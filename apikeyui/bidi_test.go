package apikeyui_test

import (
	"strings"
	"testing"

	"github.com/keyturn/apikey"
)

// TestNamesAreIsolated checks that every name, reason and actor on a page is in
// a bdi element. Otherwise a name in Hebrew turns around what follows it.
func TestNamesAreIsolated(t *testing.T) {
	const name = "שלום 123"
	s := newSite(t)
	pages := views(t, s, name)
	for _, dialog := range issuing {
		id := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: name}).Key.ID
		address := "key/" + id + "/" + dialog.dialog
		values := dialog.values
		if dialog.dialog == "new" {
			address, values = "new", []string{"name", name}
		}
		shown := s.browser(t, "ada").open(address).submit(dialog.dialog, values...)
		pages[dialog.name+", shown"] = shown
		pages[dialog.name+", tested"] = shown.submit("test")
	}
	id := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: name}).Key.ID
	pages["notice"] = s.browser(t, "ada").open("key/"+id+"/delete").submit("delete", "typed", name)
	if pages["notice"].root.byID("notice") == nil {
		t.Error("no notice of the deleted key")
	}
	places := 0
	for view, p := range pages {
		var walk func(n *node, isolated bool, path string)
		walk = func(n *node, isolated bool, path string) {
			path += "/" + n.name
			switch n.name {
			case "bdi", "title", "textarea": // the last two hold nothing else
				isolated = true
			}
			if strings.Contains(n.text, name) {
				places++
				if !isolated {
					t.Errorf("%s: %q in %s is not isolated", view, n.text, path)
				}
			}
			for _, c := range n.children {
				walk(c, isolated, path)
			}
		}
		walk(p.root, false, "")
	}
	if places < 100 {
		t.Errorf("only %d names were found", places)
	}
}
