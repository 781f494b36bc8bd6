package coretest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
)

// ownerAsAWhole: disabling an owner refuses all its keys and leaves them as
// they are.
func ownerAsAWhole(t *testing.T, newStore NewStore) {
	f := newFixture(t, newStore, apikey.Options{})
	o := f.m.ForOwner(owner, nil)
	tokens := map[string]map[rune]apikey.Secret{}
	ids := map[string]string{}
	for _, state := range []string{"active", "disabled", "locked", "rotating", "deleted"} {
		ids[state], tokens[state] = f.bring(o, state)
		f.clock.Set(start)
	}
	f.clock.Set(start.Add(49 * time.Hour)) // all were brought to their state by then
	other := f.issue(apikey.IssueParams{Owner: owner + " "})
	keys := map[string]apikey.Key{}
	for state, id := range ids {
		keys[state] = f.get(id)
	}

	ctx := apikey.WithActor(f.ctx, "billing")
	was, err := f.m.Owner(ctx, owner)
	f.no(err)
	state, err := f.m.DisableOwner(ctx, owner, apikey.Reason("left"))
	f.no(err)
	again, err := f.m.DisableOwner(ctx, owner, apikey.Reason("left again"))
	f.no(err)
	if diff := cmp.Diff(state, again); diff != "" {
		t.Errorf("disabling twice changed the owner:\n%s", diff)
	}
	if !state.Disabled() || state.DisabledBy != "billing" || state.DisabledReason != "left" || !state.DisabledAt.Equal(f.now()) {
		t.Errorf("owner %+v", state)
	}
	for state, list := range tokens {
		for name, token := range list {
			err := f.validate(token)
			want := apikey.ErrOwnerDisabled
			if state == "deleted" {
				want = apikey.ErrDeleted
			}
			if err != want {
				t.Errorf("token %c of the %s key: %v, want %v", name, state, err, want)
			}
		}
	}
	f.no(f.validate(other.Token))

	// The owner can look, but change nothing; nobody can issue.
	if _, err := o.Get(f.ctx, ids["active"]); err != nil {
		t.Error(err)
	}
	for op := range lifeCycleTable() {
		if strings.HasPrefix(op, "owner ") {
			if _, err := f.operate(op, o, ids["active"]); !errors.Is(err, apikey.ErrOwnerDisabled) {
				t.Errorf("%s: %v", op, err)
			}
		}
	}
	for name, issue := range map[string]func() error{
		"manager": func() error {
			_, err := f.m.Issue(f.ctx, apikey.IssueParams{Owner: owner, Name: "x"})
			return err
		},
		"owner": func() error { _, err := o.Issue(f.ctx, apikey.IssueParams{Name: "x"}); return err },
	} {
		if err := issue(); !errors.Is(err, apikey.ErrOwnerDisabled) {
			t.Errorf("issue by the %s: %v", name, err)
		}
	}

	_, err = f.m.EnableOwner(ctx, owner, apikey.Reason("is back"))
	f.no(err)
	if state, err = f.m.EnableOwner(ctx, owner, apikey.Reason("again")); err != nil || state.Disabled() || state.Revision != was.Revision+2 {
		t.Errorf("enabled twice: %+v, %v", state, err)
	}
	for state, id := range ids {
		if diff := cmp.Diff(keys[state], f.get(id)); diff != "" {
			t.Errorf("the %s key is not what it was:\n%s", state, diff)
		}
		f.accepts(tokens[state], unchanged[state].valid)
	}
	var kinds []apikey.EventKind
	for _, e := range f.events("") {
		if e.KeyID == "" {
			kinds = append(kinds, e.Kind)
			if e.Owner != owner || e.Actor != "billing" || e.Revision != was.Revision+int64(len(kinds)) {
				t.Errorf("event %+v", e)
			}
		}
	}
	if diff := cmp.Diff([]apikey.EventKind{apikey.EventOwnerDisabled, apikey.EventOwnerEnabled}, kinds); diff != "" {
		t.Error(diff)
	}
}
