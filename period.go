package apikey

import "time"

// Period is a length of time by the calendar and the clock. Years, months and
// days are added in UTC as [time.Time.AddDate] does, then Time: one year after
// 29 February 2028 is 1 March 2029.
type Period struct {
	Years, Months, Days int
	Time                time.Duration
}

// AddTo returns the instant that lies the period after t.
func (p Period) AddTo(t time.Time) time.Time {
	return t.UTC().AddDate(p.Years, p.Months, p.Days).Add(p.Time)
}

// SubtractFrom returns the instant that lies the period before t, in the same
// order.
func (p Period) SubtractFrom(t time.Time) time.Time {
	return t.UTC().AddDate(-p.Years, -p.Months, -p.Days).Add(-p.Time)
}

// checkPeriod refuses periods that are not positive or leave the calendar.
func checkPeriod(field string, p Period) error {
	const years = 9999
	if p.Years < 0 || p.Months < 0 || p.Days < 0 || p.Time < 0 || p == (Period{}) {
		return &FieldError{Field: field, Code: "not_positive", Problem: "must be positive"}
	}
	if p.Years > years || p.Months > 12*years || p.Days > 366*years {
		return &FieldError{Field: field, Code: "out_of_range", Problem: "must be at most 9999 years"}
	}
	return nil
}
