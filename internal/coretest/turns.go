package coretest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyturn/apikey"
)

// racesForOwnerTokens checks that the limit over all keys is exact, and that
// no change fails because another key of the owner was changed at once.
func racesForOwnerTokens(t *testing.T, newStores NewStores) {
	const n, limit = 40, 25
	options := apikey.Options{OwnerTokenLimit: &apikey.ReissueLimit{N: limit, Window: time.Hour}}
	f := newRacers(t, newStores, options)
	var ids []string
	for range n / 2 {
		ids = append(ids, f.issue(apikey.IssueParams{}).Key.ID)
	}
	var got, tooSoon atomic.Int64
	atOnce(n, func(i int) {
		o := f.of(i).ForOwner(owner, nil)
		var err error
		if i < len(ids) {
			_, err = o.Regenerate(f.ctx, ids[i])
		} else {
			_, err = o.Issue(f.ctx, apikey.IssueParams{Name: "x"})
		}
		switch {
		case err == nil:
			got.Add(1)
		case errors.Is(err, apikey.ErrTooSoon):
			tooSoon.Add(1)
		default:
			t.Error(err)
		}
	})
	if got.Load() != limit || tooSoon.Load() != n-limit {
		t.Errorf("%d tokens and %d rejections, want %d and %d", got.Load(), tooSoon.Load(), limit, n-limit)
	}
}

// manyUpdates checks that none of 200 changes of one key or owner at once
// fails, at the cost of at most two commits each if one Manager makes them.
func manyUpdates(t *testing.T, newStores NewStores) {
	f := newRacers(t, newStores, apikey.Options{})
	few := 40
	if Long() {
		few = 200
	}
	counting := &commitCounter{Store: f.store}
	one := f.managerOn(counting, apikey.Options{})
	for _, test := range []struct {
		name    string
		of      func(i int) *apikey.Manager
		n       int
		counted bool
	}{
		{"by one Manager", func(int) *apikey.Manager { return one }, 200, true},
		{"by several Managers", f.of, few, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			key := f.issue(apikey.IssueParams{}).Key
			counting.n.Store(0)
			var failed atomic.Int64
			atOnce(test.n, func(i int) {
				if _, err := test.of(i).Update(f.ctx, key.ID, apikey.Changes{Name: new(fmt.Sprint("name ", i))}); err != nil {
					t.Error(err)
					failed.Add(1)
				}
			})
			t.Logf("%d of %d updates failed, %d commits", failed.Load(), test.n, counting.n.Load())
			if got := f.get(key.ID).Revision; got != int64(test.n)+1 {
				t.Errorf("revision %d, want %d", got, test.n+1)
			}
			if got, most := counting.n.Load(), int64(2*test.n); test.counted && got > most {
				t.Errorf("%d commits, want at most %d", got, most)
			}
			counting.n.Store(0)
			atOnce(few, func(i int) {
				if _, err := test.of(i).SetOwnerScopes(f.ctx, owner, []string{fmt.Sprint("a:", i)}); err != nil {
					t.Error(err)
				}
			})
			if got, most := counting.n.Load(), int64(2*few); test.counted && got > most {
				t.Errorf("%d commits for the owner, want at most %d", got, most)
			}
		})
	}
}

// commitCounter counts the commits that were asked for.
type commitCounter struct {
	apikey.Store
	n atomic.Int64
}

func (s *commitCounter) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	s.n.Add(1)
	return s.Store.Commit(ctx, c)
}
