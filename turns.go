package apikey

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A change that was lost to another one runs again, on what the other one
// left. Many at once would lose to each other again and again, so within a
// process they take turns from their second attempt on: of n changes of one
// key at most n lose. The first attempt waits for nobody, so that a change
// that hangs delays no Disable. Other processes do not take part. Against
// them, and inside a transaction of your application, each further attempt
// comes after a random pause.

// keyTurn and ownerTurn name what changes of a key, or of an owner's row,
// take turns for.
func keyTurn(id string) string      { return "key " + id }
func ownerTurn(owner string) string { return "owner " + owner }

// maxAttempts bounds the attempts of one change.
const maxAttempts = 100

const (
	maxPause = 50 * time.Millisecond

	// maxWait bounds how long a change waits for one other that has the turn.
	// After that it goes on without, which is correct and only slower.
	maxWait = 10 * time.Second
)

// turns are what changes within a process wait for, by the name of a key or an
// owner. A nil *turns gives every change its turn at once.
type turns struct {
	mu     sync.Mutex
	queues map[string]*queue
}

type queue struct {
	free  chan struct{} // has one value while nobody has the turn
	len   int           // who has the turn, and who waits for it
	taken int           // how often it was taken
}

// inTurn marks the context of a change that has a turn. A change made with it,
// by Options.Authorize, waits for no turn: it could be one that waits for this.
type inTurn struct{}

// take waits for the turn of a name. The context returned is for all that is
// done until done is called. The error is that of the context.
func (t *turns) take(ctx context.Context, name string) (inside context.Context, done func(), err error) {
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
func (t *turns) taken(q *queue, n int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	q.taken += n
	return q.taken
}

func (t *turns) enter(name string) *queue {
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

func (t *turns) leave(name string, q *queue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if q.len--; q.len == 0 {
		delete(t.queues, name)
	}
}

// attempts makes a change. Each attempt reads what is stored and commits on it;
// lost means that another change came in between, so that the next attempt may
// succeed. The name is that of what they may change at once.
func (m *core) attempts(ctx context.Context, name string, attempt func(ctx context.Context) (lost bool, err error)) error {
	lost, err := attempt(ctx)
	if !lost {
		return err
	}
	inside, done, waitErr := m.turns.take(ctx, name)
	defer done()
	if waitErr != nil {
		return waitErr
	}
	for n := 2; ; n++ {
		if lost, err = attempt(inside); !lost || n == maxAttempts {
			return err
		}
		if err := pause(ctx, n); err != nil {
			return err
		}
	}
}

// pause waits for a random time, the longer the more attempts were lost.
func pause(ctx context.Context, n int) error {
	timer := time.NewTimer(rand.N(min(time.Millisecond<<min(n, 10), maxPause)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
