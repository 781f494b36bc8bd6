package apikeyui_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

// TestOwnerOptions checks that an owner can choose what both the page and the
// application offer, and that its keys get the application's rate and metadata.
func TestOwnerOptions(t *testing.T) {
	is := is.New(t)
	plans := map[string]*apikey.OwnerOptions{
		"ada": {Scopes: []string{"orders:*", "users:read"}, Rate: apikey.Rate{Requests: 5, Period: time.Second}, Metadata: map[string]string{"plan": "gold"}},
		"bob": {Scopes: []string{"orders:read", "admin:all"}},
		"eve": {Rate: apikey.Rate{Requests: 1, Period: time.Hour}},
	}
	s := newSite(t, func(o *apikeyui.Options) {
		o.Scopes = append(o.Scopes, apikeyui.Scope{Name: "stock:*"}, apikeyui.Scope{Name: "orders:*"})
		o.OwnerOptions = func(_ *http.Request, owner string) (*apikey.OwnerOptions, error) { return plans[owner], nil }
	})
	for owner, want := range map[string]string{
		"ada": "orders:read orders:write orders:*", "bob": "orders:read", "eve": "", "unknown": "",
	} {
		b := s.browser(t, owner)
		form := b.open("new")
		var offered []string
		for _, input := range form.root.all("input") {
			if input.attr["name"] == "scope" {
				offered = append(offered, input.attr["value"])
			}
		}
		is.Equal(strings.Join(offered, " "), want)
		// What is not offered can be sent, but is not given.
		for _, scope := range []string{"stock:*", "admin:all", "users:read", "orders:write", "orders:*"} {
			p := form.submit("new", "name", "forged", "scope", scope)
			if slices.Contains(offered, scope) {
				is.Equal(p.status, 200)
				form = b.open("new")
			} else {
				is.Equal(p.status, 400)
				is.True(p.has("Choose among those that are offered."))
			}
		}
		is.True(form.submit("new", "name", "mine", "scope", want).status == 200 || strings.Contains(want, " "))
	}
	keys, err := s.keys.List(t.Context(), apikey.Query{})
	is.NoErr(err)
	is.True(len(keys) > 4)
	for _, key := range keys {
		plan := plans[key.Owner]
		if plan == nil {
			plan = &apikey.OwnerOptions{}
		}
		is.Equal(key.Rate, plan.Rate)
		is.True(key.Metadata.Equal(apikey.NewMetadata(plan.Metadata)))
	}
	is.Equal(plans["ada"].Scopes, []string{"orders:*", "users:read"}) // as before
	is.Equal(len(s.observed), 0)
}

// TestOwnerErrors checks the answers to errors of Owner and OwnerOptions: an
// outage is not a missing login, and no text of an error is shown.
func TestOwnerErrors(t *testing.T) {
	tests := []struct {
		name    string
		options *apikey.OwnerOptions
		err     error
		status  int
		text    string
	}{
		{"no plan", nil, errors.New("no plan: 4f1c"), 403, "Log in, and come back."},
		{"outage", nil, fmt.Errorf("plans 4f1c: %w", apikey.ErrUnavailable), 503, "Not available right now"},
		{"canceled", nil, fmt.Errorf("plans 4f1c: %w", context.Canceled), 503, "Not available right now"},
		{"deadline", nil, fmt.Errorf("plans 4f1c: %w", context.DeadlineExceeded), 503, "Not available right now"},
		{"bad scope", &apikey.OwnerOptions{Scopes: []string{"4f1c scope"}}, nil, 500, "Please tell the operator."},
		{"bad rate", &apikey.OwnerOptions{Rate: apikey.Rate{Requests: 1}}, nil, 500, "Please tell the operator."},
		{"bad metadata", &apikey.OwnerOptions{Metadata: map[string]string{"": "4f1c"}}, nil, 500, "Please tell the operator."},
	}
	for _, test := range tests {
		for _, hook := range []string{"Owner", "OwnerOptions"} {
			if hook == "Owner" && test.err == nil {
				continue
			}
			t.Run(test.name+"/"+hook, func(t *testing.T) {
				is := is.New(t)
				s := newSite(t, func(o *apikeyui.Options) {
					if hook == "Owner" {
						o.Owner = func(*http.Request) (string, string, error) { return "", "", test.err }
					}
					o.OwnerOptions = func(*http.Request, string) (*apikey.OwnerOptions, error) { return test.options, test.err }
				})
				key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada"}).Key
				for _, address := range []string{"", "key/" + key.ID, "key/" + key.ID + "/edit"} {
					s.observed = nil
					w := s.browser(t, "ada").do("GET", home+address, nil)
					is.Equal(w.Code, test.status)
					is.True(strings.Contains(w.Body.String(), test.text))
					is.True(!strings.Contains(w.Body.String(), "4f1c"))
					is.Equal(len(s.observed), 1)
				}
				s.observed = nil
				w := s.browser(t, "ada").do("POST", home+"key/"+key.ID+"/edit", fill(key))
				is.Equal(w.Code, test.status)
				is.Equal(len(s.observed), 1)
			})
		}
	}
}

// TestOwnerTokenLimit checks that the limit over all keys of an owner is
// reported in the form for a new key, which stays as it was typed.
func TestOwnerTokenLimit(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t, func(o *apikey.Options) {
		o.OwnerTokenLimit = &apikey.ReissueLimit{N: 1, Window: time.Hour}
	})
	s := newSiteOn(t, keys)
	ada := s.browser(t, "ada")
	is.True(ada.open("new").submit("new", "name", "first").token() != "")
	p := ada.open("new").submit("new", "name", "second")
	is.Equal(p.status, 429)
	is.Equal(p.header.Get("Retry-After"), "3600")
	is.True(p.has("Possible again: 1 Jan 2026, 01:00 UTC"))
	is.Equal(p.root.byID("f-name").attr["value"], "second")
	keys.Advance(time.Hour)
	is.True(p.submit("new").token() != "")
}

// TestCeiling checks that the forms offer only what the owner's ceiling allows,
// and that a key keeps the scopes that it has.
func TestCeiling(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	ada := s.browser(t, "ada")
	offered := func(p *page) string {
		var names []string
		for _, input := range p.root.all("input") {
			if input.attr["name"] == "scope" {
				names = append(names, input.attr["value"])
			}
		}
		return strings.Join(names, " ")
	}
	made := ada.open("new").submit("new", "name", "wide", "scope", "orders:write")
	is.Equal(made.status, 200)
	before := ada.open("new")
	is.Equal(offered(before), "orders:read orders:write")
	_, err := s.keys.SetOwnerScopes(t.Context(), "ada", []string{"orders:read"}, apikey.Reason("plan changed"))
	is.NoErr(err)
	is.Equal(offered(ada.open("new")), "orders:read")
	p := before.submit("new", "name", "second", "scope", "orders:write")
	is.Equal(p.status, 400)
	is.True(p.has("Choose among those that are offered."))
	is.Equal(offered(p), "orders:read")

	edit := made.follow("?done=issued&revision=1").follow("edit")
	is.Equal(offered(edit), "orders:read orders:write") // the key's own
	is.True(edit.submit("edit", "name", "renamed").has("Saved."))
	_, err = s.keys.SetOwnerScopes(t.Context(), "ada", nil)
	is.NoErr(err)
	is.Equal(offered(ada.open("new")), "")
}
