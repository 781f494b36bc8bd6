package apikey

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DayUsage is what a key was used on one day.
type DayUsage struct {
	Day  time.Time // 00:00 UTC
	Uses int64     // of all credentials together; 0 if there was none

	// Credentials are the uses of each credential that was used on the day, in
	// ascending order of id.
	Credentials []Usage
}

// Of returns the uses of one credential on the day; Uses is 0 if there was
// none. Whether the old token is still used after a rotation is told by
// Of(Key.RetiringID) of the days since.
func (d DayUsage) Of(credentialID string) Usage {
	for _, u := range d.Credentials {
		if u.CredentialID == credentialID {
			return u
		}
	}
	return Usage{}
}

const (
	day          = 24 * time.Hour // in UTC, where every day is as long
	maxUsageDays = 400
)

// DailyUsage returns what a key was used on each day in UTC that has a part in
// from <= t < until, ascending, also on those without any use. There are at
// most 400. The last 90 days, with the one that is not over yet:
//
//	today := m.Now().Truncate(24 * time.Hour)
//	days, err := m.DailyUsage(ctx, id, today.AddDate(0, 0, -89), today.AddDate(0, 0, 1))
//
// What was counted in memory and not flushed yet is not included (see Flush),
// nor are uses of which the day is not known (see Usage), nor those of
// credentials that are not kept any more: together they can be fewer than
// Key.Uses.
//
// Its errors: those of Get; a *FieldError for "from" or "until", if one is not
// of the years 1970 to 9999, from is not before until, or the days are more
// than 400.
func (h *handle) DailyUsage(ctx context.Context, id string, from, until time.Time) (_ []DayUsage, err error) {
	defer wrap(&err, "daily usage of", id)
	if err := h.ready(ctx); err != nil {
		return nil, err
	}
	days, err := emptyDays(from, until)
	if err != nil {
		return nil, err
	}
	if _, err := h.load(ctx, ActionGet, id); err != nil {
		return nil, err
	}
	first := days[0].Day
	uses, err := h.store.DailyUsage(ctx, UsageQuery{KeyID: id, From: first, Until: first.Add(time.Duration(len(days)) * day)})
	if err != nil {
		return nil, err
	}
	for _, u := range uses {
		i := int(u.Day.Sub(first) / day)
		if u.Day.Before(first) || i >= len(days) {
			return nil, errors.New("the store returned a day that was not asked for")
		}
		days[i].Uses += u.Uses
		days[i].Credentials = append(days[i].Credentials, u)
	}
	return days, nil
}

// emptyDays returns the days of an interval, without uses.
func emptyDays(from, until time.Time) ([]DayUsage, error) {
	for _, bound := range []struct {
		field string
		time  time.Time
	}{{"from", from}, {"until", until}} {
		if !storable(bound.time) {
			return nil, &FieldError{Field: bound.field, Code: "out_of_range", Problem: "must be in the years 1970 to 9999"}
		}
	}
	if !from.Before(until) {
		return nil, &FieldError{Field: "until", Code: "inconsistent", Problem: "must be after from"}
	}
	first, last := dayOf(from), dayOf(until.Add(-1))
	if last.Sub(first) >= maxUsageDays*day {
		return nil, &FieldError{Field: "until", Code: "out_of_range", Problem: fmt.Sprintf("must make at most %d days with from", maxUsageDays)}
	}
	days := make([]DayUsage, last.Sub(first)/day+1)
	for i := range days {
		days[i].Day = first.Add(time.Duration(i) * day)
	}
	return days, nil
}

// dayOf returns the first instant of a time's day in UTC.
func dayOf(t time.Time) time.Time { return t.UTC().Truncate(day) }
