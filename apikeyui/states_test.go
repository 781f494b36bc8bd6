package apikeyui_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyui"
)

// TestStates: each state of a key is told in words, in the list and on its
// page, with the dialogs that can be had in it and no others; and a dialog that
// cannot be had refuses also to whoever knows its address.
func TestStates(t *testing.T) {
	const day = 24 * time.Hour
	type change func(context.Context, *site, string) error
	own := func(do func(context.Context, *apikey.OwnerManager, string) error) change {
		return func(ctx context.Context, s *site, id string) error { return do(ctx, s.keys.ForOwner("ada", nil), id) }
	}
	rotate := own(func(ctx context.Context, o *apikey.OwnerManager, id string) error {
		_, err := o.Rotate(ctx, id, 9*day)
		return err
	})
	disable := own(func(ctx context.Context, o *apikey.OwnerManager, id string) error {
		_, err := o.Disable(ctx, id, apikey.Reason("break"))
		return err
	})
	hold := change(func(ctx context.Context, s *site, id string) error {
		_, err := s.keys.Disable(apikey.WithActor(ctx, "support"), id, apikey.Reason("seen"))
		return err
	})
	remove := own(func(ctx context.Context, o *apikey.OwnerManager, id string) error {
		_, err := o.Delete(ctx, id)
		return err
	})
	off := change(func(ctx context.Context, s *site, _ string) error {
		_, err := s.keys.DisableOwner(ctx, "ada", apikey.Reason("unpaid"))
		return err
	})
	tests := []struct {
		name     string
		lifetime time.Duration
		changes  []change
		state    string // the badges, and the slider with what it does
		end      string // the label of the end
		dialogs  string
	}{
		{"active", 99 * day, nil, "Active: Disable mine", "Expires", "delete disable edit regenerate rotate"},
		{"soon", 20 * day, nil, "Expires soon Active: Disable mine", "Expires", "delete disable edit regenerate rotate"},
		{"expired", day, nil, "Expired", "Expired", "delete edit regenerate"},
		{"disabled", 99 * day, []change{disable}, "Disabled: Activate mine", "Expires", "delete edit enable regenerate"},
		{"disabled, soon", 20 * day, []change{disable}, "Disabled: Activate mine", "Expires", "delete edit enable regenerate"},
		{"disabled and past its end", day, []change{disable}, "Disabled", "Expired", "delete edit regenerate"},
		{"locked", 99 * day, []change{hold}, "Disabled Locked", "Expires", "delete"},
		{"deleted", 99 * day, []change{remove}, "Deleted", "Expires", ""},
		{"deleted, past its end", day, []change{remove}, "Deleted", "Expired", ""},
		{"disabled and deleted", 99 * day, []change{disable, remove}, "Deleted", "Expires", ""},
		{"locked and deleted", 99 * day, []change{hold, remove}, "Deleted Locked", "Expires", ""},
		{"rotating", 99 * day, []change{rotate}, "Rotating Active: Disable mine", "Expires", "delete disable edit extend finish regenerate"},
		{"rotating, disabled", 99 * day, []change{rotate, disable}, "Disabled: Activate mine", "Expires", "delete edit enable extend finish regenerate"},
		{"rotating, locked", 99 * day, []change{rotate, hold}, "Disabled Locked", "Expires", "delete"},
		{"owner off", 99 * day, []change{off}, "Switched off", "Expires", ""},
		{"owner off, soon", 20 * day, []change{off}, "Switched off", "Expires", ""},
		{"owner off, expired", day, []change{off}, "Expired", "Expired", ""},
		{"owner off, disabled", 99 * day, []change{disable, off}, "Disabled", "Expires", ""},
		{"owner off, rotating", 99 * day, []change{rotate, off}, "Switched off", "Expires", ""},
		{"owner off, deleted", 99 * day, []change{remove, off}, "Deleted", "Expires", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			s := newSite(t)
			id := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine", Lifetime: apikey.Period{Time: test.lifetime}}).Key.ID
			for _, c := range test.changes {
				is.NoErr(c(t.Context(), s, id))
			}
			s.keys.Advance(2 * day)
			ada := s.browser(t, "ada")
			list := ada.open("")
			if len(list.names()) == 0 {
				list = ada.open("?status=deleted")
			}
			for _, p := range []*page{ada.open("key/" + id), list} {
				var badges []string
				p.root.walk(func(n *node) {
					class, _, _ := strings.Cut(n.attr["class"], " ")
					if class == "status" || class == "slider" {
						badges = append(badges, strings.Join(strings.Fields(n.content()), " "))
					}
				})
				is.Equal(strings.Join(badges, " "), test.state)
				is.Equal(p.dialogs(id), strings.Fields(test.dialogs))
				is.True(p.has(test.end))
				is.True(test.end == "Expired" || !p.has("Expired ") || strings.Contains(test.state, "Expired"))
				is.Equal(p.has("Disabled by "), strings.Contains(test.state, "Disabled"))
			}
			// Those that are not offered refuse, but rotate during a rotation.
			for _, r := range apikeyui.Routes() {
				dialog, ok := strings.CutPrefix(r[1], "/key/{id}/")
				if !ok || r[0] != "GET" || dialog == "history" || dialog == "rotate" && strings.Contains(test.state, "Rotating") {
					continue
				}
				got := ada.open("key/" + id + "/" + dialog)
				is.Equal(got.status == 200, slices.Contains(strings.Fields(test.dialogs), dialog))
				is.True(got.status == 200 || got.follow("key/"+id).status == 200) // and lead back
			}
		})
	}
}

// dialogs are those about a key that a page leads to, each once.
func (p *page) dialogs(id string) []string {
	found := []string{}
	for _, a := range p.root.all("a") {
		if _, dialog, ok := strings.Cut(a.attr["href"], "key/"+id+"/"); ok && dialog != "history" {
			found = append(found, dialog)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// TestDialogsTell: a dialog says what else it does in the state that a key is
// in.
func TestDialogsTell(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	own, ada := s.keys.ForOwner("ada", nil), s.browser(t, "ada")
	id := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key.ID
	regenerate := func() *page { return ada.open("key/" + id + "/regenerate") }
	is.True(regenerate().has("To change without a break") && !regenerate().has("becomes active again"))
	is.True(!ada.open("key/" + id + "/rotate").has("A rotation is in progress."))
	_, err := own.Rotate(t.Context(), id, time.Hour)
	is.NoErr(err)
	is.True(ada.open("key/" + id + "/rotate").has("A rotation is in progress."))
	_, err = own.Disable(t.Context(), id)
	is.NoErr(err)
	is.True(!regenerate().has("To change without a break") && regenerate().has("becomes active again"))
}
