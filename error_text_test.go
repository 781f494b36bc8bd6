package apikey_test

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
)

// TestErrorsShowNoInput gives every call a token in each place for a string. No
// error contains the token.
func TestErrorsShowNoInput(t *testing.T) {
	m, store, _ := newManager(t, apikey.Options{})
	ctx := t.Context()
	issued := issue(t, m, apikey.IssueParams{})
	id, token := issued.Key.ID, issued.Token.Reveal()
	o := m.ForOwner("acme", nil)
	errs := map[string]error{}
	for call, err := range changes(m, ctx, token) {
		errs["id of "+call] = err
	}
	errs["id of get"] = second(m.Get(ctx, token))
	errs["id of credentials"] = second(m.Credentials(ctx, token))
	errs["id of events"] = second(m.Events(ctx, apikey.EventQuery{KeyID: token}))
	errs["id of daily usage"] = second(m.DailyUsage(ctx, token, start, start.Add(time.Hour)))
	errs["id of owner get"] = second(o.Get(ctx, token))
	errs["id of owner credentials"] = second(o.Credentials(ctx, token))
	errs["id of owner events"] = second(o.Events(ctx, apikey.EventQuery{KeyID: token}))
	errs["id of owner daily usage"] = second(o.DailyUsage(ctx, token, start, start.Add(time.Hour)))
	errs["find"] = second(m.Find(ctx, token))
	errs["owner find"] = second(o.Find(ctx, token))
	errs["list after"] = second(m.List(ctx, apikey.Query{After: token}))
	errs["list credential"] = second(m.List(ctx, apikey.Query{CredentialID: token}))

	bad := token + "\n"
	errs["scopes"] = second(apikey.NewScopes(token + " "))
	errs["catalogue"] = second(apikey.New(store, &apikey.Options{Scopes: []string{bad}}))
	errs["list owner"] = second(m.List(ctx, apikey.Query{Owner: bad}))
	errs["owner"] = second(m.Owner(ctx, bad))
	errs["disable owner"] = second(m.DisableOwner(ctx, bad))
	errs["for owner"] = m.ForOwner(bad, nil).Check()
	errs["granted scopes"] = m.ForOwner("acme", &apikey.OwnerOptions{Scopes: []string{bad}}).Check()
	errs["actor"] = second(m.Disable(apikey.WithActor(ctx, bad), id))
	errs["reason"] = second(m.Disable(ctx, id, apikey.Reason(bad)))
	errs["name"] = second(m.Update(ctx, id, apikey.Changes{Name: &bad}))
	errs["update scopes"] = second(m.Update(ctx, id, apikey.Changes{Scopes: &[]string{bad}}))
	errs["ceiling"] = second(m.SetOwnerScopes(ctx, "acme", []string{bad}))
	errs["prefix"] = second(apikey.New(store, &apikey.Options{Prefix: token}))
	for field, p := range map[string]apikey.IssueParams{
		"owner":           {Owner: bad, Name: "n"},
		"name":            {Owner: "acme", Name: bad},
		"scope":           {Owner: "acme", Name: "n", Scopes: []string{bad}},
		"metadata key":    {Owner: "acme", Name: "n", Metadata: map[string]string{bad: ""}},
		"metadata value":  {Owner: "acme", Name: "n", Metadata: map[string]string{"k": bad}},
		"idempotency key": {Owner: "acme", Name: "n", IdempotencyKey: bad},
	} {
		errs["issue with "+field] = second(m.Issue(ctx, p))
	}
	errs["validate"] = second(m.Validate(ctx, bad))
	errs["required scope"] = second(m.Validate(ctx, token, apikey.Scope(bad)))
	secret := issued.AccessSecret().Reveal()
	for call, err := range errs {
		switch {
		case err == nil:
			t.Errorf("%s: accepted", call)
		case strings.Contains(err.Error(), secret[:8]):
			t.Errorf("%s: %v", call, err)
		}
	}
}
