package apikeyui_test

import (
	"context"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
)

// TestRetryAfter checks that Retry-After is at least 1 and never too early.
func TestRetryAfter(t *testing.T) {
	for _, test := range []struct {
		left time.Duration
		want string
	}{
		{-time.Hour, "1"}, {0, "1"}, {1, "1"}, {time.Second, "1"}, {time.Second + 1, "2"}, {1500 * time.Millisecond, "2"}, {time.Hour, "3600"},
	} {
		t.Run(test.left.String(), func(t *testing.T) {
			is := is.New(t)
			var keys *apikeytest.Manager
			keys = apikeytest.New(t, func(o *apikey.Options) {
				o.Authorize = func(_ context.Context, a apikey.Action, _ apikey.Key) error {
					if a == apikey.ActionRegenerate {
						return &apikey.TooSoonError{At: keys.Now().Add(test.left)}
					}
					return nil
				}
			})
			id := keys.MustIssue(t, apikey.IssueParams{Owner: "ada"}).Key.ID
			form := newSiteOn(t, keys).browser(t, "ada").open("key/" + id + "/regenerate")
			p := form.submit("regenerate", "choice", "0")
			is.Equal(p.status, 429)
			is.Equal(p.header.Get("Retry-After"), test.want)
		})
	}
}
