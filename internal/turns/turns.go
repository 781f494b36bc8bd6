// Package turns lets changes of one thing within a process take turns, so that
// they do not lose to each other again and again.
package turns

import (
	"context"
	"sync"
	"time"
)

// maxWait bounds how long a change waits for one other that has the turn. After
// that it goes on without, which is correct and only slower.
const maxWait = 10 * time.Second

// Turns are the names for which changes within a process take turns. The zero
// value is ready. A nil *Turns gives every change its turn at once.
type Turns struct {
	mu     sync.Mutex
	queues map[string]*queue
}

type queue struct {
	free  chan struct{} // has one value while nobody has the turn
	len   int           // callers that have the turn or wait for it
	taken int           // how often it was taken
}

// inTurn marks the context of a change that has a turn. A change made
// with it waits for no turn, because the one that has the turn may wait for it.
type inTurn struct{}

// Take waits for the turn of a name. The context returned is for all that is
// done until done is called. The error is that of the context.
func (t *Turns) Take(ctx context.Context, name string) (inside context.Context, done func(), err error) {
	if t == nil || ctx.Value(inTurn{}) != nil {
		return ctx, func() {}, ctx.Err()
	}
	q := t.enter(name)
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	for taken := t.taken(q, 0); ; {
		select {
		case <-q.free:
			t.taken(q, 1)
			return context.WithValue(ctx, inTurn{}, true), func() {
				q.free <- struct{}{}
				t.leave(name, q)
			}, nil
		case <-timer.C:
			if now := t.taken(q, 0); now != taken {
				taken = now
				timer.Reset(maxWait)
				continue
			}
			t.leave(name, q)
			return ctx, func() {}, nil
		case <-ctx.Done():
			t.leave(name, q)
			return ctx, func() {}, ctx.Err()
		}
	}
}

// taken adds to how often a turn was taken, and returns it.
func (t *Turns) taken(q *queue, n int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	q.taken += n
	return q.taken
}

func (t *Turns) enter(name string) *queue {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queues[name]
	if q == nil {
		q = &queue{free: make(chan struct{}, 1)}
		q.free <- struct{}{}
		if t.queues == nil {
			t.queues = map[string]*queue{}
		}
		t.queues[name] = q
	}
	q.len++
	return q
}

func (t *Turns) leave(name string, q *queue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.len--; q.len == 0 {
		delete(t.queues, name)
	}
}
