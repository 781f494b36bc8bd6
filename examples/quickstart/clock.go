package main

import (
	"sync/atomic"
	"time"
)

// clock tells the time to the Manager: the real one, until the walk sets it.
// Nobody wants to wait a year to see a key expire.
type clock struct {
	set atomic.Pointer[time.Time]
}

// Now is what Options.Now asks for.
func (c *clock) Now() time.Time {
	if t := c.set.Load(); t != nil {
		return *t
	}
	return time.Now()
}

// Set lets the clock stand still at t.
func (c *clock) Set(t time.Time) { c.set.Store(&t) }

// Reset gives the real time again.
func (c *clock) Reset() { c.set.Store(nil) }
