package apikey_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// daysStore answers DailyUsage, and keeps what it was asked.
type daysStore struct {
	apikey.Store
	uses  []apikey.Usage
	err   error
	asked []apikey.UsageQuery
}

func (s *daysStore) DailyUsage(_ context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
	s.asked = append(s.asked, q)
	return s.uses, s.err
}

func newDays(t *testing.T) (*apikey.Manager, *daysStore, string) {
	t.Helper()
	_, counting, mock := newManager(t, apikey.Options{})
	store := &daysStore{Store: counting}
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: mock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return m, store, issue(t, m, apikey.IssueParams{}).Key.ID
}

// TestDailyUsageInterval: the days are those that have a part in the interval,
// and the store is asked for them and no others.
func TestDailyUsageInterval(t *testing.T) {
	m, store, id := newDays(t)
	date := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, test := range []struct {
		name        string
		from, until string
		first       string
		days        int
		field       string // that is refused
	}{
		{"a day", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-01", 1, ""},
		{"over the end of a month", "2026-02-27T00:00:00Z", "2026-03-02T00:00:00Z", "2026-02-27", 3, ""},
		{"an instant", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000000001Z", "2026-03-01", 1, ""},
		{"the last instant of a day", "2026-03-01T23:59:59.999999999Z", "2026-03-02T00:00:00Z", "2026-03-01", 1, ""},
		{"the first instant of the next", "2026-03-01T23:59:59.999999999Z", "2026-03-02T00:00:00.000000001Z", "2026-03-01", 2, ""},
		{"parts of days", "2026-03-01T23:00:00Z", "2026-03-03T01:00:00Z", "2026-03-01", 3, ""},
		{"days of another zone", "2026-03-01T00:00:00+05:45", "2026-03-02T00:00:00+05:45", "2026-02-28", 2, ""},
		{"clocks move there", "2026-03-29T01:00:00+01:00", "2026-03-30T02:00:00+02:00", "2026-03-29", 1, ""},
		{"400 days", "2026-01-01T00:00:00Z", "2027-02-05T00:00:00Z", "2026-01-01", 400, ""},
		{"parts of 400 days", "2026-01-01T23:59:59Z", "2027-02-04T00:00:01Z", "2026-01-01", 400, ""},
		{"401 days", "2026-01-01T00:00:00Z", "2027-02-05T00:00:00.000000001Z", "", 0, "until"},
		{"parts of 401 days", "2026-01-01T23:59:59.999999999Z", "2027-02-05T00:00:00.000000001Z", "", 0, "until"},
		{"centuries", "1970-01-02T00:00:00Z", "9999-12-31T00:00:00Z", "", 0, "until"},
		{"nothing", "2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z", "", 0, "until"},
		{"backwards", "2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z", "", 0, "until"},
		{"the first instant", "1970-01-01T00:00:00.000001Z", "1970-01-02T00:00:00Z", "1970-01-01", 1, ""},
		{"the last day", "9999-12-31T23:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31", 1, ""},
		{"before the first", "1970-01-01T00:00:00Z", "1970-01-02T00:00:00Z", "", 0, "from"},
		{"no from", "0001-01-01T00:00:00Z", "2026-03-01T00:00:00Z", "", 0, "from"},
		{"no until", "2026-03-01T00:00:00Z", "0001-01-01T00:00:00Z", "", 0, "until"},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			store.asked = nil
			for _, call := range []func(context.Context, string, time.Time, time.Time) ([]apikey.DayUsage, error){
				m.DailyUsage, m.ForOwner("acme", nil).DailyUsage,
			} {
				days, err := call(t.Context(), id, date(test.from), date(test.until))
				if test.field != "" {
					var refused *apikey.FieldError
					is.True(errors.As(err, &refused))
					is.Equal(refused.Field, test.field)
					is.Equal(len(days), 0)
					is.Equal(len(store.asked), 0)
					continue
				}
				is.NoErr(err)
				is.Equal(len(days), test.days)
				first := date(test.first + "T00:00:00Z")
				for i, d := range days {
					is.Equal(d, apikey.DayUsage{Day: first.AddDate(0, 0, i)})
				}
				want := apikey.UsageQuery{KeyID: id, From: first, Until: first.AddDate(0, 0, test.days)}
				is.Equal(cmp.Diff(want, store.asked[len(store.asked)-1]), "")
			}
		})
	}
	far := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	_, err := m.DailyUsage(t.Context(), id, far.AddDate(0, 0, -1), far)
	var refused *apikey.FieldError
	if !errors.As(err, &refused) || refused.Field != "until" {
		t.Errorf("until the year 10000: %v", err)
	}
}

// TestDailyUsageSums: each day has its own uses, credential by credential.
func TestDailyUsageSums(t *testing.T) {
	is := is.New(t)
	m, store, id := newDays(t)
	first := time.Date(2026, 2, 27, 0, 0, 0, 0, time.UTC)
	use := func(credential string, days int, uses int64) apikey.Usage {
		at := first.AddDate(0, 0, days)
		return apikey.Usage{KeyID: id, CredentialID: credential, Day: at, Uses: uses, LastUsedAt: at.Add(time.Hour)}
	}
	store.uses = []apikey.Usage{use("a", 0, 1), use("a", 2, 2), use("b", 2, 4), use("b", 3, 8)}
	days, err := m.DailyUsage(t.Context(), id, first, first.AddDate(0, 0, 4))
	is.NoErr(err)
	is.Equal(cmp.Diff([]apikey.DayUsage{
		{Day: first, Uses: 1, Credentials: store.uses[:1]},
		{Day: first.AddDate(0, 0, 1)},
		{Day: first.AddDate(0, 0, 2), Uses: 6, Credentials: store.uses[1:3]},
		{Day: first.AddDate(0, 0, 3), Uses: 8, Credentials: store.uses[3:]},
	}, days), "")
	is.Equal(days[2].Of("a"), use("a", 2, 2))
	is.Equal(days[2].Of("b"), use("b", 2, 4))
	is.Equal(days[3].Of("a"), apikey.Usage{})
	is.Equal(days[1].Of("a"), apikey.Usage{})
}

// TestDailyUsageFails: an error of the store is told, and a day that was not
// asked for is one.
func TestDailyUsageFails(t *testing.T) {
	first := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	lost := errors.New("connection lost")
	for name, test := range map[string]struct {
		uses []apikey.Usage
		err  error
		want string
	}{
		"store fails":  {nil, lost, "connection lost"},
		"day before":   {[]apikey.Usage{{Day: first.Add(-1), Uses: 1}}, nil, "not asked for"},
		"day after":    {[]apikey.Usage{{Day: first.AddDate(0, 0, 2), Uses: 1}}, nil, "not asked for"},
		"unknown day":  {[]apikey.Usage{{Uses: 1}}, nil, "not asked for"},
		"long past it": {[]apikey.Usage{{Day: time.Unix(1<<60, 0), Uses: 1}}, nil, "not asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			m, store, id := newDays(t)
			store.uses, store.err = test.uses, test.err
			days, err := m.DailyUsage(t.Context(), id, first, first.AddDate(0, 0, 2))
			is.True(err != nil)
			is.True(strings.HasPrefix(err.Error(), "apikey: daily usage of "+id+": "))
			is.True(strings.Contains(err.Error(), test.want))
			is.True(test.err == nil || errors.Is(err, test.err))
			is.Equal(len(days), 0)
		})
	}
}
