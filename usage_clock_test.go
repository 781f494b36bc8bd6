package apikey_test

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// newTouch returns a Manager whose store records usage, and moves its clock.
func newTouch(t *testing.T) (*apikey.Manager, *touchStore, func(time.Time)) {
	t.Helper()
	_, counting, mock := newManager(t, apikey.Options{})
	store := &touchStore{Store: counting.Store}
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: mock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return m, store, mock.Set
}

// TestUsageOfAClockThatGoesBack checks that each use counts on the day that the
// clock showed, in every order of days and after a flush that failed.
func TestUsageOfAClockThatGoesBack(t *testing.T) {
	midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		hours []int // of the uses, counted from midnight
		flush int   // after as many uses a flush fails
	}{
		"forward":                       {[]int{-2, -1, 1, 2}, 0},
		"back":                          {[]int{1, -1}, 0},
		"back and forth":                {[]int{-1, 1, -2, 2, -1, 1}, 0},
		"failed flush before midnight":  {[]int{-2, -1, 1}, 2},
		"failed flush after midnight":   {[]int{-1, 1, 2}, 2},
		"back after a failed flush":     {[]int{-2, 1, -1, -1}, 2},
		"further days":                  {[]int{25, -1, 1, -25, 24}, 3},
		"failed flush on the first day": {[]int{0, 24, -24, 0}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			m, store, set := newTouch(t)
			a := issue(t, m, apikey.IssueParams{})
			want := map[time.Time]apikey.Usage{}
			for i, hour := range test.hours {
				now := midnight.Add(time.Duration(hour) * time.Hour)
				set(now)
				_, err := m.Validate(t.Context(), a.Token.Reveal())
				is.NoErr(err)
				day := now.Truncate(24 * time.Hour)
				use := want[day]
				if use.LastUsedAt.Before(now) {
					use.LastUsedAt = now
				}
				use.KeyID, use.CredentialID, use.Day, use.Uses = a.Key.ID, a.Key.CredentialID, day, use.Uses+1
				want[day] = use
				if i+1 == test.flush {
					store.failWith(func(int) error { return apikey.ErrAborted })
					is.True(errors.Is(m.Flush(t.Context()), apikey.ErrAborted))
					store.failWith(nil)
				}
			}
			is.NoErr(m.Flush(t.Context()))
			var uses []apikey.Usage
			for _, use := range want {
				uses = append(uses, use)
			}
			slices.SortFunc(uses, func(a, b apikey.Usage) int { return a.Day.Compare(b.Day) })
			if diff := gocmp.Diff([][]apikey.Usage{uses}, store.got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFlushIsSorted checks that usage reaches the store in ascending order of
// credential ids and days, so that the flushes of two nodes cannot deadlock.
func TestFlushIsSorted(t *testing.T) {
	is := is.New(t)
	m, store, set := newTouch(t)
	var tokens []string
	for range 600 {
		tokens = append(tokens, issue(t, m, apikey.IssueParams{}).Token.Reveal())
	}
	for day := range 2 {
		set(start.AddDate(0, 0, day))
		for _, token := range tokens {
			_, err := m.Validate(t.Context(), token)
			is.NoErr(err)
		}
	}
	is.NoErr(m.Flush(t.Context()))
	uses := slices.Concat(store.got...)
	is.Equal(len(uses), 1200)
	is.True(slices.IsSortedFunc(uses, func(a, b apikey.Usage) int {
		return cmp.Or(cmp.Compare(a.CredentialID, b.CredentialID), a.Day.Compare(b.Day))
	}))
}

// TestRejectedUsesDoNotCount checks that a request that is rejected is no use of
// the key.
func TestRejectedUsesDoNotCount(t *testing.T) {
	is := is.New(t)
	m, store, set := newTouch(t)
	ctx := t.Context()
	reject := func(token string, want error, needs ...apikey.Requirement) {
		t.Helper()
		_, err := m.Validate(ctx, token, needs...)
		is.Equal(err, want)
	}
	a := issue(t, m, apikey.IssueParams{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Lifetime: apikey.Period{Time: time.Hour}})
	b := issue(t, m, apikey.IssueParams{})
	token := a.Token.Reveal()
	reject(withSecret(token, b.Token.Reveal()), apikey.ErrInvalid)
	reject(token, apikey.ErrAddress)
	reject(token, apikey.ErrScope, apikey.From(netip.MustParseAddr("192.0.2.1")), apikey.Scope("x"))
	set(start.Add(time.Hour))
	reject(token, apikey.ErrExpired)
	_, err := m.Disable(ctx, a.Key.ID)
	is.NoErr(err)
	reject(token, apikey.ErrDisabled)
	_, err = m.DisableOwner(ctx, "acme")
	is.NoErr(err)
	reject(token, apikey.ErrOwnerDisabled)
	_, err = m.Regenerate(ctx, a.Key.ID)
	is.NoErr(err)
	reject(token, apikey.ErrReplaced)
	_, err = m.Delete(ctx, a.Key.ID)
	is.NoErr(err)
	reject(token, apikey.ErrDeleted)
	is.NoErr(m.Flush(ctx))
	is.Equal(len(store.got), 0)
}
