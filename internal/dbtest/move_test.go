package dbtest

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/backup"
	"github.com/keyturn/apikey/sqlstore"
)

// TestMove takes keys in every state from each engine to the next, and back to
// the first: the tokens are answered as before, on each.
func TestMove(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	clock := &apikeytest.Clock{}
	peppers := []apikey.Secret{apikey.NewSecret("pepper-0123456789-abcdefghij-ABCDEFGHIJ")}
	options := &backup.Options{Now: clock.Now, Peppers: peppers}
	on := func(e Engine) (*sqlstore.Store, *apikey.Manager) {
		store := e.Database(t).Store(t)
		m, err := apikey.New(store, &apikey.Options{Now: clock.Now, Peppers: peppers})
		is.NoErr(err)
		return store, m
	}
	engines := Engines(t)
	store, m := on(engines[0])

	var tokens []apikey.Secret
	issue := func(name string) apikey.Issued {
		issued, err := m.Issue(ctx, apikey.IssueParams{
			Owner: "Größe 𝄞", Name: name, Scopes: []string{"a:*"}, Metadata: map[string]string{"a": "'; --"},
		})
		is.NoErr(err)
		tokens = append(tokens, issued.Token)
		return issued
	}
	again := func(issued apikey.Issued, err error) {
		is.NoErr(err)
		tokens = append(tokens, issued.Token)
	}
	issue("active")
	_, err := m.Disable(ctx, issue("disabled").Key.ID, apikey.Reason("why"))
	is.NoErr(err)
	_, err = m.Delete(ctx, issue("deleted").Key.ID)
	is.NoErr(err)
	again(m.Regenerate(ctx, issue("regenerated").Key.ID))
	again(m.Rotate(ctx, issue("rotating").Key.ID, 48*time.Hour))
	closed, err := m.Issue(ctx, apikey.IssueParams{Owner: "closed", Name: "n"})
	is.NoErr(err)
	tokens = append(tokens, closed.Token)
	_, err = m.DisableOwner(ctx, "closed", apikey.Reason("left"))
	is.NoErr(err)

	answers := func(m *apikey.Manager) (all []error) {
		for _, token := range tokens {
			_, err := m.Validate(ctx, token.Reveal(), apikey.Scope("a:b"))
			all = append(all, err)
		}
		return all
	}
	want := answers(m)
	is.Equal(want, []error{
		nil, apikey.ErrDisabled, apikey.ErrDeleted, apikey.ErrReplaced, nil, nil, nil, apikey.ErrOwnerDisabled,
	})
	is.NoErr(m.Flush(ctx))
	keys, err := m.List(ctx, apikey.Query{IncludeDeleted: true})
	is.NoErr(err)

	today := clock.Now().Truncate(24 * time.Hour)
	days := map[string][]apikey.DayUsage{}
	for _, key := range keys {
		days[key.ID], err = m.DailyUsage(ctx, key.ID, today, today.AddDate(0, 0, 1))
		is.NoErr(err)
		is.Equal(days[key.ID][0].Uses, key.Uses)
	}

	for _, e := range append(engines[1:], engines[0]) {
		t.Run(e.Name, func(t *testing.T) {
			is := is.New(t)
			var file bytes.Buffer
			is.NoErr(backup.Export(ctx, store, &file, options))
			nextStore, next := on(e)
			is.NoErr(backup.Restore(ctx, nextStore, bytes.NewReader(file.Bytes()), options))
			got, err := next.List(ctx, apikey.Query{IncludeDeleted: true})
			is.NoErr(err)
			is.Equal(cmp.Diff(keys, got, cmpopts.EquateComparable(), cmpopts.IgnoreFields(apikey.Key{}, "Revision")), "")
			is.Equal(cmp.Diff(answers(next), want, cmpopts.EquateErrors()), "")
			for _, key := range keys {
				got, err := next.DailyUsage(ctx, key.ID, today, today.AddDate(0, 0, 1))
				is.NoErr(err)
				is.Equal(cmp.Diff(days[key.ID], got), "")
			}
			is.NoErr(backup.Restore(ctx, nextStore, bytes.NewReader(file.Bytes()), options)) // nothing is left to do
			store, m = nextStore, next
		})
	}
}
