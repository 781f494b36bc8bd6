package apikey

import (
	"time"

	"github.com/keyturn/apikey/internal/micros"
)

// Now returns the time by Options.Now, in UTC and whole microseconds, as keys
// keep it. A zero Manager or OwnerManager has no clock and returns the zero
// Time.
func (h *handle) Now() time.Time {
	if h.core == nil {
		return time.Time{}
	}
	return microseconds(h.options.Now())
}

// now reads the clock, once for each call.
func (m *core) now() (time.Time, error) {
	t := m.options.Now()
	if !storable(t) {
		return time.Time{}, ErrClock
	}
	return microseconds(t), nil
}

// lastExpiry is the latest instant at which a key can end.
var lastExpiry = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// microseconds cuts a time to what stores keep: microseconds, in UTC, without
// a monotonic reading.
func microseconds(t time.Time) time.Time {
	return time.UnixMicro(t.UnixMicro()).UTC()
}

func storable(t time.Time) bool { return micros.Storable(t) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999Z07:00") }
