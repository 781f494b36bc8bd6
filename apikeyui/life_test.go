package apikeyui_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

// validate reports what the Manager says of a token.
func (s *site) validate(t testing.TB, token string) error {
	t.Helper()
	_, err := s.keys.Validate(t.Context(), token)
	return err
}

// TestLife carries a key through its life, as a person without script would.
func TestLife(t *testing.T) {
	is := is.New(t)
	s := newSite(t, func(o *apikeyui.Options) { o.MaxLifetime = apikey.Period{Years: 1} })
	ada := s.browser(t, "ada")

	list := ada.open("")
	is.True(list.has("No API keys") && !list.has("Show deleted keys"))
	is.Equal(len(list.root.all("form")), 0) // nothing to search

	// Created, with all that can be chosen.
	made := list.follow("new").submit("new", "name", "billing", "scope", "orders:read,orders:write",
		"networks", "192.0.2.0/24\n2001:db8::1", "expires", "2026-07-01", "reason", "new shop")
	is.Equal(made.status, 200)
	first := made.token()
	is.True(made.has("curl -H 'Authorization: Bearer " + first + "' 'https://api.example.com/v1/orders'"))
	is.True(made.has(first[:19]) && made.has(first[20:])) // the halves
	keys, err := s.keys.List(t.Context(), apikey.Query{Owner: "ada"})
	is.NoErr(err)
	is.Equal(len(keys), 1)
	key := keys[0]
	is.Equal(key.Name, "billing")
	is.Equal(key.Scopes.String(), "orders:read orders:write")
	is.Equal(key.Networks.String(), "192.0.2.0/24 2001:db8::1/128")
	is.Equal(key.ExpiresAt, time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	_, err = s.keys.Validate(t.Context(), first, apikey.From(netip.MustParseAddr("192.0.2.7")))
	is.NoErr(err)
	is.True(made.submit("test").has("It works only from the networks of the key"))

	// Edited: what is left alone stays.
	stored := made.follow("?done=issued&revision=1")
	is.True(stored.has("billing: The key was made."))
	edited := stored.follow("edit").submit("edit", "networks", "", "name", "billing 2", "scope", "orders:read")
	is.True(edited.has("billing 2: Saved."))
	key, err = s.keys.Get(t.Context(), key.ID)
	is.NoErr(err)
	is.Equal(key.Name+" "+key.Scopes.String()+key.Networks.String(), "billing 2 orders:read")
	is.Equal(key.ExpiresAt, time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
	is.NoErr(s.validate(t, first))
	is.True(made.submit("test").has("The token works."))

	// The slider. Cancel leads back and changes nothing.
	ask := ada.open("").follow("disable")
	is.True(ask.has("Disable this key?"))
	is.True(ask.follow("key/" + key.ID).has("Active"))
	is.NoErr(s.validate(t, first))
	is.True(ask.submit("disable", "reason", "holiday").has("The key was disabled."))
	is.Equal(s.validate(t, first), apikey.ErrDisabled)
	is.True(made.submit("test").has("the key is disabled"))
	list = ada.open("")
	is.True(list.has("Disabled by ada@example.com") && list.has("Reason: holiday"))
	is.True(list.follow("enable").submit("enable").has("The key was activated."))
	is.NoErr(s.validate(t, first))

	// Regenerated, with a reason: the old token is dead at once.
	ask = ada.open("").follow("regenerate")
	is.Equal(ask.submit("regenerate").status, 400) // no reason
	is.NoErr(s.validate(t, first))
	got := ask.submit("regenerate", "choice", "0", "reason", "laptop lost")
	second := got.token()
	is.NoErr(s.validate(t, second))
	is.True(got.has("Expires 1 Jan 2027") && got.follow("&revision=5").has("billing 2: The key was regenerated."))
	is.Equal(s.validate(t, first), apikey.ErrReplaced)
	is.True(made.submit("test").has("replaced by a newer one"))
	is.True(got.submit("test").has("The token works."))

	// Rotated: both work. The page says whether the old one is in use.
	got = ada.open("").follow("rotate").submit("rotate", "overlap", "0")
	third := got.token()
	is.True(got.follow("&revision=6").has("billing 2: The key was rotated."))
	is.NoErr(s.validate(t, second))
	is.NoErr(s.validate(t, third))
	is.NoErr(s.keys.Flush(t.Context()))
	show := ada.open("key/" + key.ID)
	is.True(show.has("1 Jan 2026, 01:00 UTC"))
	is.True(show.has("has not been used since")) // nothing after the very instant
	s.keys.Advance(time.Minute)
	is.NoErr(s.validate(t, second))
	is.NoErr(s.keys.Flush(t.Context()))
	is.True(ada.open("key/" + key.ID).has("The old access key has been used since the rotation"))
	is.True(show.follow("extend").submit("extend", "overlap", "2").has("8 Jan 2026, 00:01 UTC"))
	s.keys.Advance(6 * 24 * time.Hour)
	is.NoErr(s.validate(t, second))
	is.True(show.follow("finish").submit("finish").has("The rotation was finished."))
	is.Equal(s.validate(t, second), apikey.ErrReplaced)
	is.NoErr(s.validate(t, third))

	// All of it is in the history.
	history := ada.open("key/" + key.ID + "/history")
	for _, text := range []string{"new shop", "billing 2", "holiday", "Compromised: laptop lost", "Rotated", "By ada@example.com"} {
		is.True(history.has(text)) // in the history
	}

	// Expired, and back.
	s.keys.Advance(366 * 24 * time.Hour)
	is.True(ada.open("").has("Expired"))
	is.True(ada.open("").follow("regenerate").submit("regenerate", "reason", "still needed").token() != "")

	// Deleted, with its name.
	ask = ada.open("").follow("delete")
	refused := ask.submit("delete", "typed", "billing")
	is.Equal(refused.status, 400)
	is.True(refused.has("That is not the name of the key."))
	is.Equal(refused.root.byID("f-typed").attr["value"], "billing")
	gone := refused.submit("delete", "typed", "billing 2")
	is.True(gone.has("billing 2: The key was deleted."))
	is.True(gone.has("No API keys"))
	is.True(gone.has("Generate New Key"))
	is.True(gone.follow("?status=deleted").has("billing 2"))
	is.Equal(ada.open("key/"+key.ID+"/regenerate").status, 409)
}

func TestLockedKey(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	issued := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "billing"})
	stale := map[string]*page{}
	ada := s.browser(t, "ada")
	for _, dialog := range []string{"disable", "regenerate", "rotate", "edit"} {
		stale[dialog] = ada.open("key/" + issued.Key.ID + "/" + dialog)
	}
	_, err := s.keys.Disable(apikey.WithActor(t.Context(), "support"), issued.Key.ID, apikey.Reason("seen in public"))
	is.NoErr(err)

	for _, p := range []*page{ada.open(""), ada.open("key/" + issued.Key.ID)} {
		is.True(p.has("switched off by the operator and can only be deleted here. Disabled by support"))
		is.True(p.has("Reason: seen in public"))
		var links []string
		for _, a := range p.root.all("a") {
			if _, dialog, ok := strings.Cut(a.attr["href"], issued.Key.ID+"/"); ok {
				links = append(links, dialog)
			}
		}
		is.Equal(links, []string{"delete"})
	}
	for _, dialog := range []string{"enable", "edit", "regenerate", "rotate", "finish", "extend"} {
		p := ada.open("key/" + issued.Key.ID + "/" + dialog)
		is.Equal(p.status, 403)
		is.True(p.has("Switched off by the operator"))
	}
	// A form that was shown before, made good with the present revision.
	key, err := s.keys.Get(t.Context(), issued.Key.ID)
	is.NoErr(err)
	for dialog, p := range stale {
		if dialog == "disable" {
			continue // allowed, and changes nothing
		}
		is.Equal(p.submit(dialog, "revision", "2", "name", "other", "choice", "0", "overlap", "0").status, 403)
	}
	after, err := s.keys.Get(t.Context(), issued.Key.ID)
	is.NoErr(err)
	is.Equal(after.Revision, key.Revision)
	is.True(ada.open("").follow("delete").submit("delete", "typed", "billing").has("was deleted"))
}

// TestFields: what is wrong is told at the field, with what was typed.
func TestFields(t *testing.T) {
	issued := func(s *site) apikey.Issued {
		return s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "billing"})
	}
	token := issued(newSite(t)).Token.Reveal()
	tests := []struct {
		name   string
		dialog string
		values []string
		field  string
		text   string
		kept   string
	}{
		{"no name", "new", []string{"name", ""}, "name", "Must not be empty.", ""},
		{"name too long", "new", []string{"name", strings.Repeat("é", 101)}, "name", "Is too long: at most 200 bytes.", strings.Repeat("é", 101)},
		{"name with a control", "new", []string{"name", "a\tb"}, "name", "Must hold printable characters only.", "a\tb"},
		{"name with an override", "edit", []string{"name", "a\u202eb"}, "name", "Must hold printable characters only.", "a\u202eb"},
		{"marks", "new", []string{"name", "a" + strings.Repeat("\u0301", 9)}, "name", "Holds too many combining marks in a row.", "a" + strings.Repeat("\u0301", 9)},
		{"token as name", "new", []string{"name", "my " + token}, "name", "That held a secret token.", ""},
		{"token as reason", "disable", []string{"reason", "was " + token + "."}, "reason", "That held a secret token.", ""},
		{"network", "new", []string{"name", "x", "networks", "192.0.2.0/99"}, "networks", "Write networks as in 192.0.2.0/24, or addresses.", "192.0.2.0/99"},
		{"network in edit", "edit", []string{"networks", "nowhere"}, "networks", "Write networks as in 192.0.2.0/24, or addresses.", "nowhere"},
		{"no date", "new", []string{"name", "x", "expires", "soon"}, "expires", "Write a date", "soon"},
		{"past", "new", []string{"name", "x", "expires", "2025-12-31"}, "expires", "Must lie in the future.", "2025-12-31"},
		{"too late", "edit", []string{"expires", "2027-01-02"}, "expires", "Is later than a key may last.", "2027-01-02"},
		{"scope not offered", "new", []string{"name", "x", "scope", "admin:all"}, "scopes", "Choose among those that are offered.", ""},
		{"scope not offered, in edit", "edit", []string{"scope", "admin:all"}, "scopes", "Choose among those that are offered.", ""},
		{"reason too long", "disable", []string{"reason", strings.Repeat("x", 501)}, "reason", "Is too long: at most 500 bytes.", strings.Repeat("x", 501)},
		{"no reason", "regenerate", nil, "choice", "Choose a reason, or write one.", ""},
		{"no such reason", "regenerate", []string{"choice", "4"}, "choice", "Choose one of these.", ""},
		{"no overlap", "rotate", []string{"overlap", ""}, "overlap", "Choose one of these.", ""},
		{"no such overlap", "rotate", []string{"overlap", "-1"}, "overlap", "Choose one of these.", ""},
		{"name not typed", "delete", nil, "typed", "That is not the name of the key.", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			s := newSite(t)
			key := issued(s).Key
			address := "key/" + key.ID + "/" + test.dialog
			if test.dialog == "new" {
				address = "new"
			}
			shown := s.browser(t, "ada").open(address)
			refused := shown.submit(test.dialog, test.values...)
			is.Equal(refused.status, 400)
			fault := refused.root.byID("e-" + test.field)
			is.True(fault != nil)
			is.True(strings.Contains(fault.content(), test.text))
			is.Equal(strings.Count(refused.body, `class="fault"`), 1)
			values, _ := refused.form(test.dialog)
			before, _ := shown.form(test.dialog)
			is.Equal(values.Get("once"), before.Get("once"))
			is.Equal(values.Get("revision"), before.Get("revision"))
			if test.dialog != "delete" && test.field != "scopes" && test.field != "overlap" && test.field != "choice" {
				is.Equal(values.Get(test.field), test.kept)
			}
			if field := refused.root.byID("f-" + test.field); field != nil {
				is.Equal(field.attr["aria-invalid"], "true")
				is.True(slices.Contains(strings.Fields(field.attr["aria-describedby"]), "e-"+test.field))
			}
			apikeytest.AssertNoLeak(t, apikey.NewSecret(token), refused.body)
			after, err := s.keys.Get(t.Context(), key.ID)
			is.NoErr(err)
			is.Equal(cmp.Diff(key, after), "")
		})
	}
}

// TestHostsOwn: an owner keeps what only the host can give, and gets no more.
func TestHostsOwn(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	s.keys.Advance(90 * time.Minute) // so that the key ends at no midnight
	issued := s.keys.MustIssue(t, apikey.IssueParams{
		Owner: "ada", Name: "billing", Scopes: []string{"admin:all", "orders:read"}, Rate: apikey.Rate{Requests: 5, Period: time.Second},
		Metadata: map[string]string{"plan": "gold"},
	})
	edit := s.browser(t, "ada").open("key/" + issued.Key.ID + "/edit")
	is.Equal(edit.submit("edit", "name", "other").status, 200)
	key, err := s.keys.Get(t.Context(), issued.Key.ID)
	is.NoErr(err)
	is.Equal(key.Scopes.String(), "admin:all orders:read")
	is.Equal(key.Rate, issued.Key.Rate)
	is.Equal(key.ExpiresAt, issued.Key.ExpiresAt)
	is.True(key.Metadata.Equal(issued.Key.Metadata))
	edit = s.browser(t, "ada").open("key/" + issued.Key.ID + "/edit")
	is.Equal(edit.submit("edit", "scope", "orders:read").status, 200) // given up
	edit = s.browser(t, "ada").open("key/" + issued.Key.ID + "/edit")
	is.Equal(edit.submit("edit", "scope", "admin:all").status, 400) // and not to be had again
}

func TestOwnerDisabled(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	issued := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "billing"})
	ada := s.browser(t, "ada")
	before := ada.open("key/" + issued.Key.ID + "/delete")
	_, err := s.keys.DisableOwner(t.Context(), "ada", apikey.Reason("bill not paid"))
	is.NoErr(err)
	for _, p := range []*page{ada.open(""), ada.open("key/" + issued.Key.ID)} {
		is.True(p.has("All your keys are switched off:"))
		is.True(p.has("Reason: bill not paid"))
		is.True(p.has("Switched off") && !p.has("Active Access key"))
		is.True(!strings.Contains(p.body, "/delete") && !strings.Contains(p.body, `"./new"`))
	}
	is.Equal(ada.open("new").status, 403)
	is.Equal(ada.open("key/"+issued.Key.ID+"/delete").status, 403)
	is.Equal(before.submit("delete", "typed", "billing").status, 403)
	key, err := s.keys.Get(t.Context(), issued.Key.ID)
	is.NoErr(err)
	is.True(key.DeletedAt.IsZero())
}
