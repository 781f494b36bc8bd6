package apikey_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// TestSweepOfCredentials checks that Sweep removes only credentials that ended
// longer than Options.Retain ago, and never the current one.
func TestSweepOfCredentials(t *testing.T) {
	is := is.New(t)
	m, _, mock := newManager(t, apikey.Options{Lifetime: apikey.Period{Days: 10}, Retain: apikey.Period{Days: 90}})
	ctx := t.Context()
	first := issue(t, m, apikey.IssueParams{})
	id := first.Key.ID
	reissue := func() apikey.Issued {
		mock.Add(time.Hour)
		issued, err := m.Regenerate(ctx, id)
		is.NoErr(err)
		return issued
	}
	second := reissue()
	current := reissue() // it expires on the 10th day
	sweep := func(now time.Time, removed int, left ...apikey.Issued) {
		t.Helper()
		mock.Set(now)
		swept, err := m.Sweep(ctx)
		is.NoErr(err)
		is.Equal(swept, apikey.Swept{Credentials: removed})
		credentials, err := m.Credentials(ctx, id)
		is.NoErr(err)
		var got, want []string
		for _, c := range credentials {
			got = append(got, c.ID)
		}
		for _, issued := range left {
			want = append(want, issued.Key.CredentialID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("at %s:\n%s", now, diff)
		}
	}
	const day = 24 * time.Hour
	sweep(start.Add(time.Hour+90*day), 0, first, second, current) // exactly Retain ago
	sweep(start.Add(2*time.Hour+90*day), 1, second, current)
	sweep(start.Add(200*day), 1, current)
	sweep(start.Add(400*day), 0, current)
}
