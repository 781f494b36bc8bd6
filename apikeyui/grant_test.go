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
