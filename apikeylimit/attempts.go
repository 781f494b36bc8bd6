package apikeylimit

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

// ErrBusy means that an attempt has waited Options.MaxWait for other attempts
// from the same network to end.
var ErrBusy = errors.New("apikeylimit: too many attempts from this network are running")

// attempts limits the bad keys of networks. Of each network at most as many
// attempts run as it has bad keys left, so that it never exceeds its limit.
//
// An attempt reserves a bad key in each network that its client is in, from the
// smallest to the largest, and waits where there is none left to reserve. What
// it has reserved until then belongs to its own network, so that clients who
// wait never hold up those of another network.
type attempts struct {
	mu      sync.Mutex
	maxWait time.Duration
	rates   [sizes]apikey.Rate

	buckets *table[network]      // bad keys
	repeats *table[network]      // attempts with tokens in memory
	memory  *memory              // wrong tokens
	running map[network]*running // those that are not empty
	spare   []*running           // empty ones, to be used again
	changed []network            // for pump
}

// running has the attempts of a network.
type running struct {
	reserved    int // by attempts that run, or that wait for a larger network
	first, last *waiter
}

// waiter is an attempt that waits for networks[level] of its path.
type waiter struct {
	path  path
	level int // all smaller networks are reserved

	earlier, later *waiter
	waiting        bool
	quota          apikeyhttp.Quota // the decision, when it no longer waits
	decided        chan struct{}    // closed then
}

func newAttempts(o Options, invalid apikey.Rate) *attempts {
	c := newClock(o.Now)
	a := &attempts{
		maxWait: o.MaxWait,
		buckets: newTable[network](o.MaxEntries, c), repeats: newTable[network](o.MaxEntries, c),
		memory:  newMemory(o.MaxEntries, bounded(invalid).Period, c),
		running: make(map[network]*running),
	}
	for size, n := range times {
		a.rates[size] = multiply(invalid, n)
	}
	return a
}

// start implements Limiter.StartAttempt.
func (a *attempts) start(ctx context.Context, try apikeyhttp.Attempt) (apikeyhttp.Quota, error) {
	if err := ctx.Err(); err != nil {
		return apikeyhttp.Quota{}, fmt.Errorf("apikeylimit: start an attempt: %w", err)
	}
	q, w := a.begin(try)
	if w == nil {
		return q, nil
	}
	timer := time.NewTimer(a.maxWait)
	defer timer.Stop()
	select {
	case <-w.decided:
		return w.quota, nil
	case <-ctx.Done():
		a.leave(w)
		return apikeyhttp.Quota{}, fmt.Errorf("apikeylimit: wait for other attempts: %w", ctx.Err())
	case <-timer.C:
		a.leave(w)
		return apikeyhttp.Quota{}, ErrBusy
	}
}

// begin decides about an attempt, or returns a waiter.
func (a *attempts) begin(try apikeyhttp.Attempt) (apikeyhttp.Quota, *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, free := pathOf(try.Client), true
	var quota apikeyhttp.Quota
	for i, n := range p.all() {
		q := a.left(n)
		if i == 0 || !q.Allowed && (quota.Allowed || q.RetryAfter > quota.RetryAfter) {
			quota = q
		}
		r := a.running[n]
		free = free && (r == nil || r.first == nil && r.reserved < q.Remaining)
	}
	if !quota.Allowed {
		return quota, nil
	}
	if home := p.networks[0]; a.memory.has(mark{home, try.Token}) {
		if q := a.repeats.take(home, multiply(a.rates[home.size], repeats)); !q.Allowed {
			q.Policy = "repeated"
			return q, nil
		}
	}
	if free {
		for _, n := range p.all() {
			a.of(n).reserved++
		}
		return quota, nil
	}
	w := &waiter{path: p, decided: make(chan struct{})}
	a.join(w)
	a.pump()
	if !w.waiting {
		return w.quota, nil
	}
	return apikeyhttp.Quota{}, w
}

// repeats is how many times the limit for bad keys tokens may come again. Each
// repetition costs a lookup.
const repeats = 100

// end implements Limiter.EndAttempt.
func (a *attempts) end(client netip.Addr, token uint64, o apikeyhttp.Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := pathOf(client)
	switch m := (mark{p.networks[0], token}); o {
	case apikeyhttp.OutcomeUnknown:
	case apikeyhttp.OutcomeValid:
		a.memory.forget(m)
	case apikeyhttp.OutcomeRejected:
		a.memory.remember(m)
	default:
		if !a.memory.remember(m) {
			for _, n := range p.all() {
				a.buckets.take(n, a.rates[n.size])
			}
		}
	}
	a.release(p.all())
	a.pump()
}

// leave ends the wait of an attempt. One that has just been allowed ends too.
func (a *attempts) leave(w *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case w.waiting:
		a.remove(w)
	case !w.quota.Allowed:
		return // it has nothing
	}
	a.release(w.path.all()[:w.level])
	a.pump()
}

// left returns how many bad keys a network has left.
func (a *attempts) left(n network) apikeyhttp.Quota {
	q := a.buckets.look(n, a.rates[n.size])
	q.Policy = "invalid"
	return q
}

// pump decides about the waiters of all networks that have changed.
func (a *attempts) pump() {
	for len(a.changed) > 0 {
		n := a.changed[len(a.changed)-1]
		a.changed = a.changed[:len(a.changed)-1]
		for a.running[n] != nil && a.running[n].first != nil {
			r, q := a.running[n], a.left(n)
			if q.Allowed && r.reserved >= q.Remaining {
				break
			}
			w := r.first
			a.remove(w)
			if !q.Allowed {
				w.decide(q)
				a.release(w.path.all()[:w.level])
				continue
			}
			a.of(n).reserved++
			if w.level++; w.level < w.path.length {
				a.join(w)
			} else {
				w.decide(q)
			}
		}
	}
}

// of returns the attempts of a network.
func (a *attempts) of(n network) *running {
	r := a.running[n]
	if r == nil {
		if last := len(a.spare) - 1; last >= 0 {
			r, a.spare = a.spare[last], a.spare[:last]
		} else {
			r = new(running)
		}
		a.running[n] = r
	}
	return r
}

// release gives back what an attempt has reserved.
func (a *attempts) release(networks []network) {
	for _, n := range networks {
		r := a.running[n]
		if r == nil || r.reserved == 0 {
			continue // an attempt that was never started
		}
		r.reserved--
		if r.first != nil {
			a.changed = append(a.changed, n)
		}
		a.drop(n, r)
	}
}

// drop drops the attempts of a network if there are none.
func (a *attempts) drop(n network, r *running) {
	if r.reserved == 0 && r.first == nil {
		delete(a.running, n)
		if len(a.spare) < 1000 {
			a.spare = append(a.spare, r)
		}
	}
}

// join makes an attempt wait behind the others of its next network.
func (a *attempts) join(w *waiter) {
	n := w.path.networks[w.level]
	r := a.of(n)
	w.waiting, w.earlier, w.later = true, r.last, nil
	if r.last != nil {
		r.last.later = w
	} else {
		r.first = w
	}
	r.last = w
	a.changed = append(a.changed, n)
}

// remove ends the wait of an attempt for its next network.
func (a *attempts) remove(w *waiter) {
	n := w.path.networks[w.level]
	r := a.running[n]
	if w.earlier != nil {
		w.earlier.later = w.later
	} else {
		r.first = w.later
	}
	if w.later != nil {
		w.later.earlier = w.earlier
	} else {
		r.last = w.earlier
	}
	w.waiting, w.earlier, w.later = false, nil, nil
	a.drop(n, r)
}

func (w *waiter) decide(q apikeyhttp.Quota) {
	w.quota = q
	close(w.decided)
}
