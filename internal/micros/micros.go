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

// First is the first instant that differs from "unset".
var First = time.UnixMicro(1).UTC()

var end = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)

// Storable reports whether a time differs from "unset" and can be written with
// a year of four digits.
func Storable(t time.Time) bool { return !t.Before(First) && t.Before(end) }
