package apikeytest

import (
	"sync"
	"time"
)

// start is what a Clock shows before it is moved.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Clock is a clock for Options.Now that stands still until it is moved. The
// zero value shows 2026-01-01T00:00:00Z. It is safe for concurrent use and
// must not be copied after its first use.
type Clock struct {
	mu    sync.Mutex
	moved bool
	now   time.Time
}

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

// Set moves the clock to a time, also back.
func (c *Clock) Set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved, c.now = true, now
}

// Advance moves the clock by d, back if d is negative, and returns the time
// that it shows then.
func (c *Clock) Advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved, c.now = true, c.read().Add(d)
	return c.now
}

// read is called with mu held.
func (c *Clock) read() time.Time {
	if !c.moved {
		return start
	}
	return c.now
}
