package apikey

import (
	"context"
	"math/rand/v2"
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

const maxPause = 50 * time.Millisecond

// attempts makes a change. Each attempt reads what is stored and commits on it;
// lost means that another change came in between, so that the next attempt may
// succeed. The name is that of what they may change at once.
func (m *core) attempts(ctx context.Context, name string, attempt func(ctx context.Context) (lost bool, err error)) error {
	lost, err := attempt(ctx)
	if !lost {
		return err
	}
	inside, done, waitErr := m.turns.Take(ctx, name)
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
