// Package micros converts times to what stores keep: Unix microseconds, with 0
// for unset.
package micros

import "time"

// Of returns a time as Unix microseconds, 0 for the zero Time.
func Of(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time is the inverse of Of, in UTC.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
