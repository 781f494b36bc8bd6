package apikeyui_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
)

// TestChangeBetweenReadAndWrite checks that a dialog changes nothing if the key
// changes after the page has read it and before the page changes it.
func TestChangeBetweenReadAndWrite(t *testing.T) {
	for dialog, fields := range map[string][]string{
		"edit": {"name", "other"}, "disable": nil, "enable": nil, "regenerate": {"choice", "0"}, "rotate": {"overlap", "0"},
		"finish": nil, "extend": {"overlap", "2"}, "delete": {"typed", "mine"},
	} {
		t.Run(dialog, func(t *testing.T) {
			is := is.New(t)
			var change func(ctx context.Context, id string) // runs after the next read
			keys := apikeytest.New(t, func(o *apikey.Options) {
				o.Authorize = func(ctx context.Context, a apikey.Action, k apikey.Key) error {
					if now := change; now != nil && a == apikey.ActionGet {
						change = nil
						now(ctx, k.ID)
					}
					return nil
				}
			})
			s := newSiteOn(t, keys)
			id := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key.ID
			var err error
			switch dialog {
			case "enable":
				_, err = keys.ForOwner("ada", nil).Disable(t.Context(), id)
			case "finish", "extend":
				_, err = keys.Rotate(t.Context(), id, time.Hour)
			}
			is.NoErr(err)
			form := s.browser(t, "ada").open("key/" + id + "/" + dialog)
			var before any
			change = func(ctx context.Context, id string) {
				_, err := keys.Update(ctx, id, apikey.Changes{Metadata: &map[string]string{"team": "b"}})
				is.NoErr(err)
				before = stored(t, keys, id)
			}
			p := form.submit(dialog, fields...)
			is.True(change == nil) // the key was read
			is.Equal(p.status, 409)
			is.Equal(p.token(), "")
			if diff := cmp.Diff(fmt.Sprint(before), fmt.Sprint(stored(t, keys, id))); diff != "" {
				t.Errorf("something was changed:\n%s", diff)
			}
		})
	}
}
