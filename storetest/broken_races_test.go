package storetest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/keyturn/apikey"
)

// brokenRaces keep the contract as long as one call follows the other.
var brokenRaces = []broken{
	{"the revision is compared outside of the commit", "concurrent replacements", func(o *overridden) {
		var mu sync.Mutex
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			c = copied(c)
			for _, r := range c.Records {
				if stored, ok := o.ofID(r.Key.ID); r.Key.Revision != 0 && (!ok || stored.Key.Revision != r.Key.Revision) {
					return apikey.Position{}, apikey.ErrConflict
				}
			}
			yield(20, never)
			mu.Lock()
			defer mu.Unlock()
			for i := range c.Records {
				k := &c.Records[i].Key
				if stored, ok := o.ofID(k.ID); ok && k.Revision != 0 {
					k.Revision = stored.Key.Revision
				}
			}
			return o.Store.Commit(ctx, c)
		}
	}},
	{"the revision of an owner is compared outside of the commit", "concurrent replacements", func(o *overridden) {
		var mu sync.Mutex
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			c = copied(c)
			for _, state := range c.Owners {
				if o.ownerState(state.ID).Revision != state.Revision {
					return apikey.Position{}, apikey.ErrConflict
				}
			}
			yield(20, never)
			mu.Lock()
			defer mu.Unlock()
			for i := range c.Owners {
				c.Owners[i].Revision = o.ownerState(c.Owners[i].ID).Revision
			}
			return o.Store.Commit(ctx, c)
		}
	}},
	{"the limit is counted outside of the commit", "limit under concurrency", func(o *overridden) {
		var counted atomic.Int64
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			if c.Limit == 5 && len(c.Records) == 1 {
				list, _ := o.Store.List(ctx, apikey.Query{Owner: c.Records[0].Key.Owner, Limit: all})
				if len(list) >= c.Limit {
					return apikey.Position{}, apikey.ErrLimit
				}
				counted.Add(1)
				yield(1e7, func() bool { return counted.Load() > 10 })
				c.Limit = 0
			}
			return o.Store.Commit(ctx, c)
		}
	}},
	{"Get reads key and credentials apart", "all or nothing", func(o *overridden) {
		var running atomic.Int64
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			running.Add(1)
			defer running.Add(-1)
			yield(20, never)
			return o.Store.Commit(ctx, c)
		}
		o.get = func(ctx context.Context, id, owner string) (apikey.Record, error) {
			r, err := o.Store.Get(ctx, id, owner)
			yield(100, func() bool {
				later, _ := o.ofID(id)
				r.Credentials = later.Credentials
				return later.Key.Revision != r.Key.Revision || running.Load() == 0
			})
			return r, err
		}
	}},
	{"a position is given before it is visible", "following the log", func(o *overridden) {
		var mu sync.Mutex
		var running, polls, last atomic.Int64
		hidden := map[apikey.Nonce]bool{} // of one Commit at a time
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			running.Add(1)
			defer running.Add(-1)
			yield(20, func() bool { return polls.Load() > 0 })
			if polls.Load() > 0 { // someone follows: wait for company, on a busy machine too
				yield(1e5, func() bool { return running.Load() > 1 })
			}
			mu.Lock()
			position, err := o.Store.Commit(ctx, c)
			if err != nil || len(hidden) > 0 {
				last.Store(max(last.Load(), position.Seq))
				mu.Unlock()
				if before := polls.Load(); before > 0 { // someone follows
					yield(1e5, func() bool { return polls.Load() > before })
				}
				return position, err
			}
			for _, e := range c.Events {
				hidden[e.Position.Nonce] = true
			}
			mu.Unlock()
			seen := int64(-1) // polls when a later one was visible
			yield(1e5, func() bool {
				if seen < 0 && last.Load() > position.Seq {
					seen = polls.Load()
				}
				return running.Load() < 2 || seen >= 0 && polls.Load() > seen
			})
			mu.Lock()
			defer mu.Unlock()
			clear(hidden)
			return position, nil
		}
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			mu.Lock()
			defer mu.Unlock()
			polls.Add(1)
			log, err := o.Store.Events(ctx, apikey.EventQuery{KeyID: q.KeyID, Limit: all})
			return pageOf(slices.DeleteFunc(log, func(e apikey.Event) bool { return hidden[e.Position.Nonce] }), q), err
		}
	}},
	{"an AddUsage is lost while another runs", "concurrent AddUsage", func(o *overridden) {
		var mu sync.Mutex
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			if !mu.TryLock() {
				return ctx.Err()
			}
			defer mu.Unlock()
			yield(20, never)
			return o.Store.AddUsage(ctx, uses)
		}
	}},
}

func never() bool { return false }
