package apikeylimit_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeylimit"
	"github.com/keyturn/apikey/apikeytest"
)

// crowd has attempts that start in goroutines of their own. It is used inside
// of a synctest bubble.
type crowd struct {
	t       *testing.T
	limiter *apikeylimit.Limiter
	clock   *apikeytest.Clock
	results chan started
	running map[string]apikeyhttp.Attempt
	denied  map[string]apikeyhttp.Quota
	failed  map[string]error
	order   []string // of the results
}

type started struct {
	name    string
	attempt apikeyhttp.Attempt
	quota   apikeyhttp.Quota
	err     error
}

func newCrowd(t *testing.T, o apikeylimit.Options) *crowd {
	c := &crowd{
		t: t, results: make(chan started, 100_000), running: map[string]apikeyhttp.Attempt{},
		denied: map[string]apikeyhttp.Quota{}, failed: map[string]error{},
	}
	c.limiter, c.clock = newLimiter(t, o)
	return c
}

// start starts an attempt and returns when it runs, waits, or has failed.
func (c *crowd) start(ctx context.Context, name, client string) {
	a := apikeyhttp.Attempt{Client: addr(client), Token: fresh.Add(1)}
	go func() {
		q, err := c.limiter.StartAttempt(ctx, a)
		c.results <- started{name, a, q, err}
	}()
	c.settle()
}

// end ends an attempt that runs.
func (c *crowd) end(name string, o apikeyhttp.Outcome) {
	c.t.Helper()
	a, ok := c.running[name]
	if !ok {
		c.t.Errorf("%s does not run", name)
		return
	}
	delete(c.running, name)
	must(c.t, c.limiter.EndAttempt(ctx, a, o))
	c.settle()
}

// settle waits until all attempts run, wait, or have failed.
func (c *crowd) settle() {
	synctest.Wait()
	for len(c.results) > 0 {
		r := <-c.results
		c.order = append(c.order, r.name)
		switch {
		case r.err != nil:
			c.failed[r.name] = r.err
		case r.quota.Allowed:
			c.running[r.name] = r.attempt
		default:
			c.denied[r.name] = r.quota
		}
	}
}

// runs reports whether exactly these attempts run.
func (c *crowd) runs(names ...string) bool {
	for _, name := range names {
		if _, ok := c.running[name]; !ok {
			return false
		}
	}
	return len(c.running) == len(names)
}

// TestWaitersGoInOrder checks that attempts that wait start in the order in which
// they came, each as soon as another one has ended.
func TestWaitersGoInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		c := newCrowd(t, apikeylimit.Options{Invalid: new(per(2, time.Hour)), MaxWait: time.Hour})
		for n := range 6 {
			c.start(ctx, fmt.Sprint(n), home)
		}
		is.True(c.runs("0", "1"))
		c.start(ctx, "other", other)
		is.True(c.runs("0", "1", "other"))
		c.end("1", apikeyhttp.OutcomeValid)
		is.True(c.runs("0", "2", "other"))
		c.end("0", apikeyhttp.OutcomeUnknown)
		is.True(c.runs("2", "3", "other"))
		c.end("3", apikeyhttp.OutcomeInvalid) // one is left, which 2 has reserved
		is.True(c.runs("2", "other"))
		is.Equal(len(c.denied), 0)
		c.end("2", apikeyhttp.OutcomeRejected)
		is.True(c.runs("4", "other"))
		c.end("4", apikeyhttp.OutcomeInvalid)
		is.True(c.runs("other"))
		is.Equal(len(c.denied), 1) // none is left
		is.Equal(c.denied["5"].Policy, "invalid")
		is.Equal(c.denied["5"].RetryAfter, 30*time.Minute)
		is.Equal(len(c.failed), 0)
	})
}

// TestRefilledWhileWaiting checks that a bad key which has come in since counts
// for those that wait first.
func TestRefilledWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		c := newCrowd(t, apikeylimit.Options{Invalid: new(per(2, time.Hour))})
		guess(t, c.limiter, home, 1)
		c.start(ctx, "first", home)
		c.start(ctx, "second", home)
		is.True(c.runs("first"))
		c.clock.Advance(30 * time.Minute)
		c.start(ctx, "third", home)
		is.True(c.runs("first", "second"))
		c.end("second", apikeyhttp.OutcomeValid)
		is.True(c.runs("first", "third"))
		c.end("first", apikeyhttp.OutcomeValid)
		c.end("third", apikeyhttp.OutcomeValid)
	})
}

// TestWaitersThatLeave checks that an attempt that stops waiting holds up nobody.
func TestWaitersThatLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		c := newCrowd(t, apikeylimit.Options{Invalid: new(per(1, time.Hour)), MaxWait: 3 * time.Second})
		c.start(ctx, "runs", home)
		gone, cancel := context.WithCancel(ctx)
		c.start(gone, "first", home)
		c.start(ctx, "second", home)
		c.start(gone, "third", home)
		<-time.After(time.Second)
		c.start(ctx, "fourth", home)
		cancel()
		c.settle()
		is.True(errors.Is(c.failed["first"], context.Canceled))
		is.True(errors.Is(c.failed["third"], context.Canceled))
		<-time.After(2 * time.Second)
		c.settle()
		is.True(errors.Is(c.failed["second"], apikeylimit.ErrBusy))
		is.True(c.runs("runs"))
		c.end("runs", apikeyhttp.OutcomeValid)
		is.True(c.runs("fourth"))
		c.end("fourth", apikeyhttp.OutcomeInvalid)
		is.Equal(len(c.denied), 0)
	})
}

// TestCrowdOfOneNetwork checks that a /64 with ten thousand attempts takes no
// more than its own part of a /56 and a /48.
func TestCrowdOfOneNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		c := newCrowd(t, apikeylimit.Options{MaxWait: time.Hour})
		gone, cancel := context.WithCancel(ctx)
		for n := range 10_000 {
			go func() {
				a := apikeyhttp.Attempt{Client: addr("2001:db8::1"), Token: uint64(n)}
				q, err := c.limiter.StartAttempt(gone, a)
				c.results <- started{fmt.Sprint(n), a, q, err}
			}()
		}
		c.settle()
		is.Equal(len(c.running), 60)
		c.start(ctx, "same /56", "2001:db8:0:1::1")
		c.start(ctx, "same /48", "2001:db8:0:ffff::1")
		is.Equal(len(c.running), 62)
		is.Equal(guess(t, c.limiter, "2001:db8:0:2::1", 100), 60)
		is.Equal(guess(t, c.limiter, "2001:db8:0:3::1", 100), 60)
		is.Equal(guess(t, c.limiter, "2001:db8:0:4::1", 59), 59) // 240 with those in flight
		c.start(gone, "waits", "2001:db8:0:5::1")
		is.Equal(len(c.running), 62)
		is.Equal(len(c.denied), 0)
		cancel()
		c.settle()
		is.Equal(len(c.failed), 9_941)
	})
}

// TestCrowdOfASite checks that all /64 of a /48 together have at most 960
// attempts in flight, and that those that wait for it are served in turn.
func TestCrowdOfASite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		is := is.New(t)
		c := newCrowd(t, apikeylimit.Options{MaxWait: time.Hour})
		for n := range 5000 {
			go func() {
				a := apikeyhttp.Attempt{Client: addr(fmt.Sprintf("2001:db8:0:%x::1", n*13)), Token: uint64(n)}
				q, err := c.limiter.StartAttempt(ctx, a)
				c.results <- started{fmt.Sprint(n), a, q, err}
			}()
		}
		c.settle()
		is.Equal(len(c.running), 960)
		good := 0
		for len(c.running) > 0 && good < 2000 {
			for name := range c.running {
				c.end(name, apikeyhttp.OutcomeValid)
				good++
				break
			}
			if len(c.running) != 960 {
				t.Fatalf("%d attempts in flight after %d have ended", len(c.running), good)
			}
		}
		bad := 0
		for len(c.running) > 0 {
			for name := range c.running {
				c.end(name, apikeyhttp.OutcomeInvalid)
				bad++
				break
			}
		}
		is.Equal(bad, 960)
		is.Equal(len(c.denied), 5000-2000-960)
		is.Equal(len(c.failed), 0)
	})
}
