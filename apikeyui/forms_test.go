package apikeyui_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

// TestLineEnds: browsers send the lines of a field with both ends, and get
// them back as they were typed.
func TestLineEnds(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	ada := s.browser(t, "ada")
	form := ada.open("new").submit("new", "name", "", "networks", "192.0.2.0/24\r\n198.51.100.0/24")
	is.Equal(form.status, 400)
	values, to := form.form("new")
	is.Equal(values.Get("networks"), "192.0.2.0/24\n198.51.100.0/24")
	values.Set("name", "mine")
	values.Set("networks", strings.ReplaceAll(values.Get("networks"), "\n", "\r\n"))
	is.True(ada.load("POST", to, values).token() != "")
	keys, err := s.keys.List(t.Context(), apikey.Query{})
	is.NoErr(err)
	is.Equal(keys[0].Networks.String(), "192.0.2.0/24 198.51.100.0/24")
}

// TestKeptTyping: what was typed is in the form again wherever the same form
// may do it another time.
func TestKeptTyping(t *testing.T) {
	aborted := func(s *site) {
		s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Err: apikey.ErrAborted, Forever: true})
	}
	tests := []struct {
		name, dialog string
		options      func(*apikey.Options)
		fail         func(*site)
		values       []string
		status       int
		text         string
	}{
		{"store down, new", "new", nil, aborted, []string{"name", "typed", "reason", "why"}, 503, "probably not done"},
		{"store down, edit", "edit", nil, aborted, []string{"name", "typed", "reason", "why"}, 503, "probably not done"},
		{"store down, extend", "extend", nil, aborted, []string{"overlap", "2", "reason", "why"}, 503, "probably not done"},
		{"limit", "new", func(o *apikey.Options) { o.MaxKeysPerOwner = 1 }, nil, []string{"name", "typed", "scope", "orders:write"}, 409, "as many keys as you may have"},
		{"too soon", "regenerate", func(o *apikey.Options) { o.ReissueLimit = &apikey.ReissueLimit{N: 1, Window: time.Hour} }, nil,
			[]string{"choice", "2", "reason", "why"}, 429, "Possible again: 1 Jan 2026, 01:00 UTC"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			keys := apikeytest.New(t, func(o *apikey.Options) {
				if test.options != nil {
					test.options(o)
				}
			})
			s := newSiteOn(t, keys)
			id := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key.ID
			address := "key/" + id + "/" + test.dialog
			switch test.dialog {
			case "new":
				address = "new"
			case "extend":
				_, err := keys.Rotate(t.Context(), id, time.Hour)
				is.NoErr(err)
			}
			form := s.browser(t, "ada").open(address)
			if test.fail != nil {
				test.fail(s)
			}
			again := form.submit(test.dialog, test.values...)
			is.Equal(again.status, test.status)
			is.True(strings.Contains(again.root.byID("refusal").content(), test.text) || again.has(test.text))
			is.True(again.status == 409 || again.header.Get("Retry-After") != "")
			values, to := again.form(test.dialog)
			for i := 0; i < len(test.values); i += 2 {
				is.Equal(values.Get(test.values[i]), test.values[i+1])
			}
			// And the same form does it, once it can be done.
			s.keys.Store.Recover()
			s.keys.Advance(2 * time.Minute)
			if test.name == "too soon" {
				s.keys.Advance(time.Hour)
			}
			if test.name != "limit" {
				is.Equal(s.browser(t, "ada").load("POST", to, values).status, 200)
			}
		})
	}
}

// TestStaleMistake: a form for a state that is past is refused before anything
// in it is asked to be mended.
func TestStaleMistake(t *testing.T) {
	is := is.New(t)
	s, key, form := asked(t, "edit")
	_, err := s.keys.Update(t.Context(), key.ID, apikey.Changes{Name: new("other")})
	is.NoErr(err)
	p := form.submit("edit", "networks", "nonsense")
	is.Equal(p.status, 409)
	is.True(p.has("Nothing was changed"))
}

// TestDoneButNotShown: a page that cannot be shown after a change was made
// does not say that it was not made.
func TestDoneButNotShown(t *testing.T) {
	is := is.New(t)
	s, key, form := asked(t, "disable")
	s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.ReadEvents})
	p := form.submit("disable")
	is.Equal(p.status, 503)
	is.True(!p.has("not done") && p.has("cannot be reached"))
	disabled, err := s.keys.Get(t.Context(), key.ID)
	is.NoErr(err)
	is.True(!disabled.DisabledAt.IsZero())
}

// TestExtend: an extension never ends a rotation earlier, and the dialog says
// when it will end.
func TestExtend(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine", Lifetime: apikey.Period{Time: 20 * 24 * time.Hour}}).Key
	_, err := s.keys.Rotate(t.Context(), key.ID, 3*24*time.Hour)
	is.NoErr(err)
	ada := s.browser(t, "ada")
	form := ada.open("key/" + key.ID + "/extend")
	var offered []string
	for _, n := range form.root.all("label") {
		if text := strings.Join(strings.Fields(n.content()), " "); strings.Contains(text, "until") {
			offered = append(offered, text)
		}
	}
	is.Equal(offered, []string{"7 days until 8 Jan 2026, 00:00 UTC", "30 days until 21 Jan 2026, 00:00 UTC"}) // the second by its own end
	is.Equal(form.submit("extend", "overlap", "0").status, 400)                                               // 1 hour would be earlier
	is.True(form.submit("extend").has("8 Jan 2026, 00:00 UTC"))                                               // as proposed
	is.Equal(ada.open("key/"+key.ID+"/extend").submit("extend", "overlap", "3").status, 200)
	none := ada.open("key/" + key.ID + "/extend")
	is.True(none.has("None of the times"))
	is.Equal(none.root.all("button"), nil)
	is.Equal(none.submit("extend", "overlap", "3").status, 400)

	// Not past the key's own end, if that was moved meanwhile.
	id := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "ends"}).Key.ID
	_, err = s.keys.Rotate(t.Context(), id, time.Hour)
	is.NoErr(err)
	_, err = s.keys.Update(t.Context(), id, apikey.Changes{ExpiresAt: new(s.keys.Now().Add(36 * time.Hour))})
	is.NoErr(err)
	early := ada.open("key/" + id + "/extend")
	is.True(early.has("1 day until 2 Jan 2026, 00:00 UTC") && early.has("7 days until 2 Jan 2026, 12:00 UTC") && !early.has("30 days"))
	is.Equal(early.submit("extend", "overlap", "2").status, 200)
	is.True(ada.open("key/" + id + "/extend").has("None of the times"))
	is.Equal(ada.open("key/"+id+"/extend").submit("extend", "overlap", "3").status, 400)

	// A rotation is offered with its end as well; the second one is proposed.
	rotate := ada.open("key/" + key.ID + "/rotate")
	is.True(rotate.has("1 hour until 1 Jan 2026, 01:00 UTC") && !rotate.has("None"))
	values, _ := rotate.form("rotate")
	is.Equal(values.Get("overlap"), "1")
	is.True(ada.open("key/" + key.ID + "/rotate").has("7 days until 8 Jan 2026, 00:00 UTC"))
}

// TestNeitherWorks: the page of a key none of whose tokens works never says
// that two do.
func TestNeitherWorks(t *testing.T) {
	tests := []struct {
		name string
		stop func(context.Context, *site, string) error
		want string
	}{
		{"deleted", func(ctx context.Context, s *site, id string) error { _, err := s.keys.Delete(ctx, id); return err }, ""},
		{"locked", func(ctx context.Context, s *site, id string) error { _, err := s.keys.Disable(ctx, id); return err }, ""},
		{"owner", func(ctx context.Context, s *site, id string) error {
			_, err := s.keys.DisableOwner(ctx, "ada")
			return err
		}, ""},
		{"disabled", func(ctx context.Context, s *site, id string) error {
			_, err := s.keys.ForOwner("ada", nil).Disable(ctx, id)
			return err
		}, "Neither token works while the key is disabled."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			s := newSite(t)
			id := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key.ID
			_, err := s.keys.Rotate(t.Context(), id, time.Hour)
			is.NoErr(err)
			ada := s.browser(t, "ada")
			is.True(ada.open("key/" + id).has("both work"))
			is.NoErr(test.stop(t.Context(), s, id))
			p := ada.open("key/" + id)
			is.True(!p.has("both work") && !p.has("Rotating"))
			is.Equal(p.has("Rotation in progress"), test.want != "")
			is.True(p.has(test.want))
			is.True(!ada.open("?status=deleted").has("Rotating") && !ada.open("").has("Rotating"))
		})
	}
}

// TestTypedName: a name is confirmed as it is shown, whatever its spaces.
func TestTypedName(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "Billing production"}).Key
	form := s.browser(t, "ada").open("key/" + key.ID + "/delete")
	is.Equal(form.submit("delete", "typed", "Billingproduction").status, 400)
	is.Equal(form.submit("delete", "typed", "").status, 400)
	is.True(form.submit("delete", "typed", " Billing  production ").has("The key was deleted."))

	// Keyboards add an invisible character to emoji, which no name has.
	heart := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "My \u2764\ufe0f"}).Key
	list := s.browser(t, "ada").open("").submit("./", "q", "\u2764\ufe0f")
	is.True(list.has("My \u2764"))
	form = s.browser(t, "ada").open("key/" + heart.ID + "/delete")
	is.True(form.submit("delete", "typed", "My \u2764\ufe0f").has("The key was deleted."))
}

// TestHalves: an access secret by itself, or a piece of a token, is neither
// kept nor shown, and gets into no address.
func TestHalves(t *testing.T) {
	s := newSite(t)
	issued := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"})
	ada := s.browser(t, "ada")
	token, secret := issued.Token.Reveal(), issued.AccessSecret().Reveal()
	for name, text := range map[string]string{
		"secret": secret, "secret in a text": "secret=" + secret + ";", "cut": token[:40], "mistyped": token[:len(token)-1] + "-",
		"among underscores": "_" + secret + "_", "a quarter": token[:28],
		"cut by a field": strings.Repeat("x", 254-len(token)+1) + " " + token[:len(token)-1], "long": strings.Repeat("x", 300) + " " + token[:50],
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			found := ada.open("").submit("./", "q", text)
			shown := found.body + strings.Join(found.visited, " ") + ada.open("?q="+url.QueryEscape(text)).body
			p := ada.open("key/"+issued.Key.ID+"/disable").submit("disable", "reason", text)
			is.Equal(p.status, 400)
			is.True(p.has("That held a secret token."))
			for _, text := range []string{shown, p.body} {
				is.True(!strings.Contains(text, secret[:8]))
			}
		})
	}
	dropped := ada.open("").submit("./", "q", "x "+secret)
	if !dropped.has("held a secret, and was not searched for") || !dropped.has("mine") {
		t.Errorf("dropped without a word: %s", dropped.text())
	}
	for range apikeyui.PageSize {
		s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "other"})
	}
	dropped = ada.open("").submit("./", "q", "x "+secret)
	if next := dropped.next(); !dropped.has("not searched for") || next == "" || dropped.follow(next).has("not searched for") {
		t.Errorf("said again on the next page: %s", next)
	}
	if p := ada.open("key/"+issued.Key.ID+"/delete").submit("delete", "typed", token); p.status != 400 || strings.Contains(p.body, secret) {
		t.Errorf("a token typed for the name: %d", p.status)
	}
	found := ada.open("").submit("./", "q", "mine", "status", token)
	if strings.Contains(strings.Join(found.visited, " "), secret) {
		t.Error("a token in the address, as a status")
	}
	// What only looks alike may be written.
	is := is.New(t)
	for _, text := range []string{
		strings.Repeat("a", 37), strings.Repeat("0", 39), "da39a3ee5e6b4b0d3255bfef95601890afd80709", "see 123e4567-e89b-12d3-a456-426614174000",
		issued.AccessKey(), "lost " + issued.AccessKey() + "_", token[:27], "my_productionserver_settings", strings.Repeat("z", 38),
	} {
		is.True(ada.open("key/"+issued.Key.ID+"/disable").submit("disable", "reason", text).status == 200)
		_, err := s.keys.Enable(t.Context(), issued.Key.ID)
		is.NoErr(err)
		s.keys.Advance(time.Second)
	}
}

// TestEndAfterMaximum: a key that ends later than keys may now can still be
// edited in a browser, which sends no date after max.
func TestEndAfterMaximum(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t, func(o *apikey.Options) { o.Lifetime, o.MaxLifetime = apikey.Period{Years: 2}, apikey.Period{Years: 2} })
	s := newSiteOn(t, keys, func(o *apikeyui.Options) { o.MaxLifetime = apikey.Period{Years: 1} })
	key := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	edit := s.browser(t, "ada").open("key/" + key.ID + "/edit")
	is.Equal(edit.root.byID("f-expires").attr["max"], "2028-01-01")
	unknown := newSiteOn(t, keys).browser(t, "ada").open("key/" + key.ID + "/edit") // the host did not say
	is.Equal(unknown.root.byID("f-expires").attr["max"], "")
	is.True(edit.has("At the latest 1 Jan 2027"))
	is.Equal(edit.submit("edit", "name", "other").status, 200)
	made := s.browser(t, "ada").open("new").root.byID("f-expires").attr
	is.Equal(made["min"]+" "+made["max"], "2026-01-02 2027-01-01")
}

// TestOtherReason: without words another reason is none, and says so where
// they belong.
func TestOtherReason(t *testing.T) {
	is := is.New(t)
	_, _, form := asked(t, "regenerate")
	p := form.submit("regenerate", "choice", "other")
	is.Equal(p.status, 400)
	is.True(strings.Contains(p.root.byID("e-reason").content(), "Must not be empty."))
	values, _ := p.form("regenerate")
	is.Equal(values.Get("choice"), "other")
	is.True(p.submit("regenerate", "reason", "  moved  ").token() != "")
	s, key, form := asked(t, "regenerate")
	for _, choice := range []string{"-1", "4", "x", "99999999999999999999"} {
		is.Equal(form.submit("regenerate", "choice", choice).status, 400)
	}
	is.Equal(form.submit("regenerate", "choice", "0", "reason", " ").status, 200)
	events, err := s.keys.Events(t.Context(), apikey.EventQuery{KeyID: key.ID, Newest: true, Limit: 1})
	is.NoErr(err)
	is.Equal(events[0].Reason, "Compromised")
	for _, overlap := range []string{"-1", "4", "", "x"} {
		_, _, form := asked(t, "rotate")
		is.Equal(form.submit("rotate", "overlap", overlap).status, 400)
	}
}

// TestConflictInCommit: what another changed between the reading and the
// writing of one request is a conflict too, and no form is offered again.
func TestConflictInCommit(t *testing.T) {
	for _, dialog := range []string{"edit", "regenerate"} {
		t.Run(dialog, func(t *testing.T) {
			is := is.New(t)
			s, _, form := asked(t, dialog)
			s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Err: apikey.ErrConflict, Forever: true})
			p := form.submit(dialog, "name", "other", "choice", "0")
			is.Equal(p.status, 409)
			is.True(p.has("Nothing was changed"))
			is.Equal(len(p.root.all("form")), 0)
		})
	}
}

// TestExistsLeadsToKey: who sends the form for a new key again finds the key.
func TestExistsLeadsToKey(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	form := s.browser(t, "ada").open("new")
	is.True(form.submit("new", "name", "made").token() != "")
	is.True(form.submit("new", "name", "made").follow("key/" + keyID(t, s)).has("made"))
}

// TestClock: a clock that has left the calendar is the host's trouble, and not
// what was typed.
func TestClock(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	keys.Clock.Set(time.Date(1970, 2, 1, 0, 0, 0, 0, time.UTC))
	s := newSiteOn(t, keys)
	key := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	is.Equal(s.browser(t, "ada").open("key/"+key.ID).status, 500)
	is.Equal(len(s.observed), 1)
	var field *apikey.FieldError
	is.True(errors.As(s.observed[0], &field))
}
