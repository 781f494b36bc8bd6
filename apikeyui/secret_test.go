package apikeyui_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

// issuing are the three forms that are answered with a token: how to come to
// the form, and how to fill it in.
var issuing = []struct {
	name   string
	dialog string
	values []string
}{
	{"new", "new", []string{"name", "made"}},
	{"regenerate", "regenerate", []string{"choice", "1"}},
	{"rotate", "rotate", []string{"overlap", "1"}},
}

// asked returns a site with one key, and the form of a dialog about it.
func asked(t testing.TB, dialog string) (*site, apikey.Key, *page) {
	t.Helper()
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	address := "key/" + key.ID + "/" + dialog
	if dialog == "new" {
		address = "new"
	}
	return s, key, s.browser(t, "ada").open(address)
}

// counted is how many tokens were ever issued.
func counted(t testing.TB, s *site) int {
	t.Helper()
	n := 0
	for _, kind := range apikeytest.Kinds(apikeytest.Events(t, s.keys.Manager)) {
		if kind == apikey.EventIssued || kind == apikey.EventRegenerated || kind == apikey.EventRotated {
			n++
		}
	}
	return n
}

// TestShownOnce: a token stands in the direct answer to its form and nowhere
// else, and the same form again makes no second one.
func TestShownOnce(t *testing.T) {
	for _, test := range issuing {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			s, key, form := asked(t, test.dialog)
			shown := form.submit(test.dialog, test.values...)
			token := shown.token()
			is.Equal(shown.status, 200)
			is.NoErr(s.validate(t, token))
			is.Equal(shown.visited, []string{shown.url.String()}) // no redirect
			is.Equal(shown.header.Get("Location"), "")

			// A reload and the second of two clicks both send the form again.
			issued := counted(t, s)
			var later []string
			for _, again := range []*page{form.submit(test.dialog, test.values...), form.submit(test.dialog, test.values...)} {
				is.Equal(again.status, 409)
				is.Equal(again.token(), "")
				later = append(later, again.body)
			}
			is.Equal(counted(t, s), issued)
			is.NoErr(s.validate(t, token)) // and the first one lives

			ada := s.browser(t, "ada")
			for _, address := range []string{"", "new", "key/" + key.ID, "key/" + key.ID + "/history", "?q=" + url.QueryEscape(token), "?q=mine"} {
				later = append(later, ada.open(address).body)
			}
			tested := shown.submit("test")
			is.True(tested.has("The token works."))
			later = append(later, tested.body, strings.Join(tested.visited, " "))
			for name, values := range form.header {
				later = append(later, name+strings.Join(values, " "))
			}
			for name, values := range shown.header {
				later = append(later, name+strings.Join(values, " "))
			}
			events, err := s.keys.Events(t.Context(), apikey.EventQuery{})
			is.NoErr(err)
			for _, e := range events {
				later = append(later, e.Reason+e.Data.Map()["name"])
			}
			apikeytest.AssertNoLeak(t, apikey.NewSecret(token), later...)
		})
	}
}

// TestPasted: a token that was typed where it does not belong is not kept.
func TestPasted(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	issued := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"})
	other := s.keys.MustIssue(t, apikey.IssueParams{Owner: "grace", Name: "theirs"})
	ada := s.browser(t, "ada")
	token := issued.Token.Reveal()
	for _, text := range []string{
		" " + token + " ", "Bearer " + token, "Authorization: Bearer " + token, "'" + token + "'", token + ";", "_" + token + "_", "a=" + token + "&b",
		"key" + token + "abc", token + "\u200b", "\ufeff" + token, "x-" + token + "0",
	} {
		found := ada.open("").submit("./", "q", text)
		is.True(found.has("mine"))
		for _, address := range found.visited {
			is.True(!strings.Contains(address, issued.AccessSecret().Reveal()))
		}
		apikeytest.AssertNoLeak(t, issued.Token, found.body, strings.Join(found.visited, " "))
		apikeytest.AssertNoLeak(t, issued.Token, ada.open("?q="+url.QueryEscape(text)).body)
	}
	for _, text := range []string{token, "the key" + token + "abc", "\u200b" + token + "\u200b"} {
		refused := ada.open("new").submit("new", "name", text, "reason", text, "networks", text, "expires", text)
		is.Equal(refused.status, 400)
		is.Equal(strings.Count(refused.body, "That held a secret token."), 4)
		apikeytest.AssertNoLeak(t, issued.Token, refused.body)
	}
	long := ada.open("").submit("./", "q", strings.Repeat("x", 256))
	is.True(long.has("No key matches."))
	is.True(len(strings.Join(long.visited, " ")) < 400)
	found := ada.open("").submit("./", "q", other.AccessKey())
	is.True(found.has("No key matches.")) // an access key of another's finds nothing
}

// TestTokenAsName: a key whose name the host made of a token can be renamed,
// otherwise edited, and deleted.
func TestTokenAsName(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	name := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Token.Reveal()
	ada := s.browser(t, "ada")
	for _, other := range []string{name, "renamed"} {
		key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: name}).Key
		is.Equal(ada.open("key/"+key.ID+"/edit").submit("edit", "name", other, "networks", "192.0.2.0/24").status, 200)
		changed, err := s.keys.Get(t.Context(), key.ID)
		is.NoErr(err)
		is.Equal(changed.Name+" "+changed.Networks.String(), other+" 192.0.2.0/24")
		is.True(ada.open("key/"+key.ID+"/delete").submit("delete", "typed", other).has("The key was deleted."))
	}
}

// TestTestNow: only a token of this very key is told what it is.
func TestTestNow(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	mine := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"})
	second := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "second"})
	theirs := s.keys.MustIssue(t, apikey.IssueParams{Owner: "grace", Name: "theirs"})
	ada := s.browser(t, "ada")
	try := func(token string) *page {
		u := &url.URL{Path: home + "key/" + mine.Key.ID + "/test"}
		return ada.load(http.MethodPost, u, url.Values{"token": {token}})
	}
	is.True(try(mine.Token.Reveal()).has("The token works."))
	wrong := mine.Token.Reveal()[:len(mine.Token.Reveal())-38] + second.AccessSecret().Reveal()
	for _, token := range []string{"", "x", second.Token.Reveal(), theirs.Token.Reveal(), mine.AccessKey(), wrong} {
		p := try(token)
		is.Equal(p.status, 200)
		is.True(p.has("This is no token of this key."))
		if len(token) > 20 {
			apikeytest.AssertNoLeak(t, apikey.NewSecret(token), p.body)
		}
	}
	for name, uses := range map[string]int64{mine.Key.ID: 1, second.Key.ID: 0, theirs.Key.ID: 0} {
		is.NoErr(s.keys.Flush(t.Context()))
		key, err := s.keys.Get(t.Context(), name)
		is.NoErr(err)
		is.Equal(key.Uses, uses)
	}
	s.keys.Advance(366 * 24 * 3600e9)
	is.True(try(mine.Token.Reveal()).has("the key has expired"))
	s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Lookup})
	is.Equal(try(mine.Token.Reveal()).status, 503) // the store failed Validate: no verdict
	s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.List})
	is.Equal(try(mine.Token.Reveal()).status, 503)
	is.Equal(len(s.observed), 2)
}

// TestRevisions: of two tabs with one form each the second changes nothing, in
// every dialog, and says so.
func TestRevisions(t *testing.T) {
	values := map[string][]string{
		"edit": {"name", "other"}, "disable": nil, "enable": nil, "regenerate": {"choice", "0"}, "rotate": {"overlap", "0"},
		"finish": nil, "extend": {"overlap", "2"}, "delete": {"typed", "mine"},
	}
	for _, r := range apikeyui.Routes() {
		dialog, ok := strings.CutPrefix(r[1], "/key/{id}/")
		if !ok || r[0] != "POST" || dialog == "test" {
			continue
		}
		t.Run(dialog, func(t *testing.T) {
			is := is.New(t)
			fields, known := values[dialog]
			is.True(known) // how to fill in the form
			s := newSite(t)
			key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
			own := s.keys.ForOwner("ada", nil)
			var err error
			switch dialog {
			case "enable":
				_, err = own.Disable(t.Context(), key.ID)
			case "finish", "extend":
				_, err = own.Rotate(t.Context(), key.ID, 3600e9)
			}
			is.NoErr(err)
			ada := s.browser(t, "ada")
			left, right := ada.open("key/"+key.ID+"/"+dialog), ada.open("key/"+key.ID+"/"+dialog)
			is.Equal(left.submit(dialog, fields...).status, 200)
			before := stored(t, s.keys, key.ID)
			if dialog == "edit" {
				fields = []string{"name", "a third name"}
			}
			again := right.submit(dialog, fields...)
			is.Equal(again.status, 409)
			is.True(again.has("Nothing was changed"))
			is.Equal(again.token(), "")
			is.Equal(stored(t, s.keys, key.ID), before)
			for _, revision := range []string{"", "0", "-1", "x", "99999999999999999999"} {
				is.Equal(left.submit(dialog, append([]string{"revision", revision}, fields...)...).status, 400)
			}
			is.Equal(stored(t, s.keys, key.ID), before)
		})
	}
}

// TestOnce: a form for a new key without its random text is refused.
func TestOnce(t *testing.T) {
	is := is.New(t)
	s, _, form := asked(t, "new")
	for _, once := range []string{"", "short", strings.Repeat("x", 200), strings.Repeat("\x01", 42)} {
		is.Equal(form.submit("new", "name", "x", "once", once).status, 400)
	}
	is.Equal(counted(t, s), 1)
	a, _ := form.form("new")
	b, _ := s.browser(t, "ada").open("new").form("new")
	is.True(a.Get("once") != b.Get("once"))
	is.True(a.Get("once")[26:] != b.Get("once")[26:]) // nor does its end tell the owner

	// Who logs in while the form of another is open makes no key with it.
	values, to := form.form("new")
	values.Set("name", "x")
	p := s.browser(t, "grace").load(http.MethodPost, to, values)
	is.Equal(p.status, 409)
	is.True(p.has("another account has logged in"))
	is.Equal(counted(t, s), 1)
	is.True(s.browser(t, "ada").load(http.MethodPost, to, values).token() != "")
	is.Equal(counted(t, s), 2)
}
