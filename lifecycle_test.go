package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// life is one key, its Manager and its owner's.
type life struct {
	*apikey.Manager
	clock *clock.Mock
	own   *apikey.OwnerManager
	id    string
}

// changer is what Manager and OwnerManager share.
type changer interface {
	Update(context.Context, string, apikey.Changes, ...apikey.ChangeOption) (apikey.Key, error)
	Disable(context.Context, string, ...apikey.ChangeOption) (apikey.Key, error)
	Enable(context.Context, string, ...apikey.ChangeOption) (apikey.Key, error)
	Regenerate(context.Context, string, ...apikey.ChangeOption) (apikey.Issued, error)
	Rotate(context.Context, string, time.Duration, ...apikey.ChangeOption) (apikey.Issued, error)
	FinishRotation(context.Context, string, ...apikey.ChangeOption) (apikey.Key, error)
	ExtendRotation(context.Context, string, time.Duration, ...apikey.ChangeOption) (apikey.Key, error)
	Delete(context.Context, string, ...apikey.ChangeOption) (apikey.Key, error)
}

// operations are the changes of a key, by the name of the call.
var operations = []struct {
	name   string
	action apikey.Action
	run    func(ctx context.Context, m changer, id string) error
}{
	{"Disable", apikey.ActionDisable, func(ctx context.Context, m changer, id string) error { return second(m.Disable(ctx, id)) }},
	{"Enable", apikey.ActionEnable, func(ctx context.Context, m changer, id string) error { return second(m.Enable(ctx, id)) }},
	{"Regenerate", apikey.ActionRegenerate, func(ctx context.Context, m changer, id string) error { return second(m.Regenerate(ctx, id)) }},
	{"Rotate", apikey.ActionRotate, func(ctx context.Context, m changer, id string) error { return second(m.Rotate(ctx, id, time.Hour)) }},
	{"Update", apikey.ActionUpdate, func(ctx context.Context, m changer, id string) error {
		return second(m.Update(ctx, id, apikey.Changes{Name: new("other")}))
	}},
	{"Delete", apikey.ActionDelete, func(ctx context.Context, m changer, id string) error { return second(m.Delete(ctx, id)) }},
	{"FinishRotation", apikey.ActionFinishRotation, func(ctx context.Context, m changer, id string) error { return second(m.FinishRotation(ctx, id)) }},
	{"ExtendRotation", apikey.ActionExtendRotation, func(ctx context.Context, m changer, id string) error {
		return second(m.ExtendRotation(ctx, id, time.Hour))
	}},
}

// states bring a key to each state in which calls differ.
var states = map[string][]func(ctx context.Context, l *life) error{
	"Active":                          {},
	"Disabled by its owner":           {ownerDisable},
	"Locked":                          {lock},
	"Expired":                         {expire},
	"Deleted":                         {deleteKey},
	"rotating":                        {rotate},
	"not rotating":                    {},
	"rotating, disabled by its owner": {rotate, ownerDisable},
	"rotating, locked":                {rotate, lock},
	"locked, not rotating":            {lock},
	"overlap over":                    {rotate, overlapOver},
	"rotating when it expired":        {rotate, expire},
	"disabled and expired":            {ownerDisable, expire},
	"locked and expired":              {lock, expire},
	"locked and deleted":              {lock, deleteKey},
	"owner disabled":                  {disableOwner},
	"rotating, owner disabled":        {rotate, disableOwner},
}

func ownerDisable(ctx context.Context, l *life) error { return second(l.own.Disable(ctx, l.id)) }
func lock(ctx context.Context, l *life) error         { return second(l.Disable(ctx, l.id)) }
func deleteKey(ctx context.Context, l *life) error    { return second(l.Delete(ctx, l.id)) }
func disableOwner(ctx context.Context, l *life) error { return second(l.DisableOwner(ctx, "acme")) }
func expire(_ context.Context, l *life) error         { l.clock.Add(400 * 24 * time.Hour); return nil }
func overlapOver(_ context.Context, l *life) error    { l.clock.Add(3 * time.Hour); return nil }
func rotate(ctx context.Context, l *life) error       { return second(l.Rotate(ctx, l.id, 2*time.Hour)) }

// in returns a new key in a state.
func in(t *testing.T, state string, options apikey.Options) *life {
	t.Helper()
	bring, ok := states[state]
	if !ok {
		t.Fatalf("no state %q", state)
	}
	keys, _, mock := newManager(t, options)
	l := &life{keys, mock, keys.ForOwner("acme", nil), issue(t, keys, apikey.IssueParams{}).Key.ID}
	for _, step := range bring {
		if err := step(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// outcome makes a change and returns what the page on the life cycle says of
// it, and whether it was made.
func (l *life) outcome(t *testing.T, m changer, run func(context.Context, changer, string) error) (text string, made bool) {
	t.Helper()
	before, err := l.Get(t.Context(), l.id)
	is.New(t).NoErr(err)
	err = run(t.Context(), m, l.id)
	for name, sentinel := range map[string]error{
		"ErrDeleted": apikey.ErrDeleted, "ErrLocked": apikey.ErrLocked, "ErrDisabled": apikey.ErrDisabled,
		"ErrExpired": apikey.ErrExpired, "ErrNotRotating": apikey.ErrNotRotating, "ErrOwnerDisabled": apikey.ErrOwnerDisabled,
	} {
		if errors.Is(err, sentinel) {
			return "`" + name + "`", false
		}
	}
	is.New(t).NoErr(err)
	after, err := l.Get(t.Context(), l.id)
	is.New(t).NoErr(err)
	if after.Revision == before.Revision {
		return "no event", false
	}
	text = map[apikey.Status]string{
		apikey.StatusActive: "Active", apikey.StatusDisabled: "Disabled", apikey.StatusExpired: "Expired", apikey.StatusDeleted: "Deleted",
	}[after.Status]
	if after.Locked && after.Status == apikey.StatusDisabled {
		text += ", locked"
	}
	if after.Rotating && after.Status != apikey.StatusDeleted {
		text += ", rotating"
	}
	return text, true
}

// TestAllowedIsWhatCallsDo checks every action in every state.
func TestAllowedIsWhatCallsDo(t *testing.T) {
	for state := range states {
		t.Run(state, func(t *testing.T) {
			l := in(t, state, apikey.Options{})
			key, err := l.own.Get(t.Context(), l.id)
			if err != nil {
				t.Fatal(err)
			}
			before, _ := l.Events(t.Context(), apikey.EventQuery{})
			allowed, err := l.own.Allowed(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			after, _ := l.Events(t.Context(), apikey.EventQuery{})
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("Allowed changed something:\n%s", diff)
			}
			want := []apikey.Action{apikey.ActionGet, apikey.ActionEvents}
			for _, action := range []apikey.Action{
				apikey.ActionUpdate, apikey.ActionDisable, apikey.ActionEnable, apikey.ActionRegenerate, apikey.ActionRotate,
				apikey.ActionFinishRotation, apikey.ActionExtendRotation, apikey.ActionDelete,
			} {
				l := in(t, state, apikey.Options{})
				for _, op := range operations {
					if op.action != action {
						continue
					}
					if _, made := l.outcome(t, l.own, op.run); made {
						want = append(want, action)
					}
				}
			}
			if diff := cmp.Diff(want, allowed); diff != "" {
				t.Errorf("Allowed (+) is not what the calls do (-):\n%s", diff)
			}
			for _, action := range allowed {
				one, err := l.own.Allowed(t.Context(), key, action)
				if err != nil || !slices.Equal(one, []apikey.Action{action}) {
					t.Errorf("asked for %s alone: %v, %v", action, one, err)
				}
			}
		})
	}
}

// TestAllowedAsksAuthorize checks that Authorize is asked last, once for each
// action that is left, and that what it rejects is left out.
func TestAllowedAsksAuthorize(t *testing.T) {
	is := is.New(t)
	var asked []apikey.Action
	l := in(t, "Active", apikey.Options{Authorize: func(_ context.Context, action apikey.Action, key apikey.Key) error {
		asked = append(asked, action)
		if action == apikey.ActionDelete || key.Status != apikey.StatusActive {
			return errors.New("no")
		}
		return nil
	}})
	key, err := l.Get(t.Context(), l.id)
	is.NoErr(err)
	allowed, err := l.own.Allowed(t.Context(), key)
	is.NoErr(err)
	want := []apikey.Action{
		apikey.ActionGet, apikey.ActionEvents, apikey.ActionUpdate, apikey.ActionDisable, apikey.ActionRegenerate, apikey.ActionRotate,
	}
	is.Equal(cmp.Diff(want, allowed), "")
	is.Equal(cmp.Diff(append(want, apikey.ActionDelete), asked), "")

	asked = nil
	allowed, err = l.own.Allowed(t.Context(), key, apikey.ActionEnable, apikey.ActionDisable)
	is.NoErr(err)
	is.Equal(cmp.Diff([]apikey.Action{apikey.ActionDisable}, allowed), "")
	is.Equal(cmp.Diff([]apikey.Action{apikey.ActionDisable}, asked), "")

	_, err = l.ForOwner("another", nil).Allowed(t.Context(), key)
	is.True(errors.Is(err, apikey.ErrNotFound))
}

// TestAllowedWithKeyOfRequest checks that Allowed knows what a key may do to
// itself and to a wider one.
func TestAllowedWithKeyOfRequest(t *testing.T) {
	is := is.New(t)
	keys, _, _ := newManager(t, apikey.Options{})
	self := issue(t, keys, apikey.IssueParams{Scopes: []string{"a"}})
	wider := issue(t, keys, apikey.IssueParams{Scopes: []string{"a", "b"}})
	key, err := keys.Validate(t.Context(), self.Token.Reveal())
	is.NoErr(err)
	ctx := apikey.NewContext(t.Context(), key)
	read := []apikey.Action{apikey.ActionGet, apikey.ActionEvents}
	allowed := func(selfRotation time.Duration, key apikey.Key) []apikey.Action {
		t.Helper()
		all, err := keys.ForOwner("acme", &apikey.OwnerOptions{SelfRotation: selfRotation}).Allowed(ctx, key)
		is.NoErr(err)
		return all
	}
	itself := append(slices.Clone(read), apikey.ActionUpdate, apikey.ActionDisable)
	is.Equal(cmp.Diff(append(slices.Clone(itself), apikey.ActionDelete), allowed(0, self.Key)), "")
	is.Equal(cmp.Diff(append(itself, apikey.ActionRotate, apikey.ActionDelete), allowed(time.Hour, self.Key)), "")
	is.Equal(cmp.Diff(read, allowed(time.Hour, wider.Key)), "")
	_, err = keys.Disable(t.Context(), self.Key.ID)
	is.NoErr(err)
	is.Equal(cmp.Diff(read, allowed(time.Hour, wider.Key)), "")
}

// TestLifecyclePage compares the tables of docs/lifecycle.md with what the
// calls do.
func TestLifecyclePage(t *testing.T) {
	page, err := os.ReadFile("docs/lifecycle.md")
	if err != nil {
		t.Fatal(err)
	}
	var header []string
	checked := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[0] == "operation" && slices.Contains(cells, "Deleted") {
			header = cells
			continue
		}
		manager, owner := true, true
		name := strings.Trim(cells[0], "`")
		if only, ok := strings.CutPrefix(name, "Manager."); ok {
			name, owner = only, false
		} else if only, ok := strings.CutPrefix(name, "OwnerManager."); ok {
			name, manager = only, false
		}
		i := slices.IndexFunc(operations, func(op struct {
			name   string
			action apikey.Action
			run    func(ctx context.Context, m changer, id string) error
		}) bool {
			return op.name == name
		})
		if i < 0 || len(cells) != len(header) {
			continue
		}
		checked[name] = true
		for column := 1; column < len(cells)-1; column++ {
			state := header[column]
			var byManager, byOwner string
			if manager {
				l := in(t, state, apikey.Options{})
				byManager, _ = l.outcome(t, l.Manager, operations[i].run)
			}
			if owner {
				l := in(t, state, apikey.Options{})
				byOwner, _ = l.outcome(t, l.own, operations[i].run)
			}
			got := byManager + byOwner
			if manager && owner {
				got = byManager
				if byOwner != byManager {
					got = fmt.Sprintf("%s; owner: %s", byManager, byOwner)
				}
			}
			if got != cells[column] {
				t.Errorf("%s, %s: the page says %q, the calls %q", cells[0], state, cells[column], got)
			}
		}
	}
	if len(checked) != len(operations) {
		t.Errorf("the page has tables of %d operations only", len(checked))
	}
}
