package storetest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/keyturn/apikey"
)

// brokenRequire differ from memstore in what a Commit requires.
var brokenRequire = []broken{
	{"a record that is not stored is at every revision", "requirement that is not met", required(func(o *overridden, c *apikey.Commit) {
		c.RequireRecords = slices.DeleteFunc(c.RequireRecords, func(ref apikey.RecordRef) bool {
			_, stored := o.ofID(ref.ID)
			return !stored
		})
	})},
	{"a record may be at a lower revision", "requirement that is not met", required(func(o *overridden, c *apikey.Commit) {
		c.RequireRecords = slices.DeleteFunc(c.RequireRecords, func(ref apikey.RecordRef) bool {
			r, stored := o.ofID(ref.ID)
			return stored && r.Key.Revision < ref.Revision
		})
	})},
	{"revision 0 is any", "requirement that is not met", required(func(o *overridden, c *apikey.Commit) {
		c.RequireRecords = slices.DeleteFunc(c.RequireRecords, func(ref apikey.RecordRef) bool { return ref.Revision == 0 })
	})},
	{"revision 0 of an owner is any", "requirement that is not met", required(func(o *overridden, c *apikey.Commit) {
		c.RequireOwners = slices.DeleteFunc(c.RequireOwners, func(ref apikey.OwnerRef) bool { return ref.Revision == 0 })
	})},
	{"an owner never committed is at every revision", "requirement that is not met", required(func(o *overridden, c *apikey.Commit) {
		c.RequireOwners = slices.DeleteFunc(c.RequireOwners, func(ref apikey.OwnerRef) bool { return o.ownerState(ref.ID).Revision == 0 })
	})},
	{"an owner never committed is at no revision", "requirement that is not met", func(o *overridden) {
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			for _, ref := range c.RequireOwners {
				list, _ := o.Store.List(background, apikey.Query{Owner: ref.ID, Limit: 1})
				if ref.ID == "with a key" && len(list) > 0 && o.ownerState(ref.ID).Revision == 0 {
					return apikey.Position{}, apikey.ErrConflict
				}
			}
			return o.Store.Commit(ctx, c)
		}
	}},
	{"the first of several is compared", "requirement that is not met", required(func(o *overridden, c *apikey.Commit) {
		c.RequireRecords = c.RequireRecords[:min(len(c.RequireRecords), 1)]
	})},
	{"the first of several owners is compared", "requirement that is not met", required(func(o *overridden, c *apikey.Commit) {
		c.RequireOwners = c.RequireOwners[:min(len(c.RequireOwners), 1)]
	})},
	{"an owner is not compared beside a purge", "requirement that is not met", required(func(o *overridden, c *apikey.Commit) {
		if len(c.Purge) > 0 && len(c.Once) == 0 {
			c.RequireOwners = nil
		}
	})},
	{"what is not met is another error", "requirement that is not met", func(o *overridden) {
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			for _, ref := range c.RequireRecords {
				if _, stored := o.ofID(ref.ID); !stored {
					return apikey.Position{}, apikey.ErrNotFound
				}
			}
			return o.Store.Commit(ctx, c)
		}
	}},
	{"required records are compared outside of the commit", "requirement under concurrency", comparedOutside(true, false)},
	{"required owners are compared outside of the commit", "requirement under concurrency", comparedOutside(false, true)},
	{"required records and owners are compared outside of the commit", "requirement under concurrency", comparedOutside(true, true)},
	{"what is required is written", "requirement changes nothing", func(o *overridden) {
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			position, err := o.Store.Commit(ctx, c)
			for _, ref := range c.RequireOwners {
				if err == nil && ref.ID == "never committed" {
					o.Store.Commit(background, owners(ref.ID, 0))
				}
			}
			return position, err
		}
	}},
	{"a required record gets the nonce of the commit", "requirement changes nothing", func(o *overridden) {
		touched := map[string]apikey.Nonce{}
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			position, err := o.Store.Commit(ctx, c)
			if err == nil && len(c.RequireOwners) == 2 && len(c.RequireRecords) == 1 {
				touched[c.RequireRecords[0].ID] = position.Nonce
			}
			return position, err
		}
		o.get = func(ctx context.Context, id, owner string) (apikey.Record, error) {
			r, err := o.Store.Get(ctx, id, owner)
			if n, ok := touched[id]; ok {
				r.Nonce = n
			}
			return r, err
		}
	}},
	{"two commits cannot require the same", "requirement changes nothing", func(o *overridden) {
		var mu sync.Mutex
		running := map[string]int{}
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			if len(c.RequireRecords) != 1 || len(c.RequireOwners) != 1 {
				return o.Store.Commit(ctx, c)
			}
			id := c.RequireRecords[0].ID
			others := func() bool {
				mu.Lock()
				defer mu.Unlock()
				return running[id] > 1
			}
			mu.Lock()
			running[id]++
			mu.Unlock()
			yield(1e5, others)
			if others() {
				return apikey.Position{}, apikey.ErrConflict
			}
			return o.Store.Commit(ctx, c)
		}
	}},
}

// required changes Commits that require something.
func required(spoil func(*overridden, *apikey.Commit)) func(*overridden) {
	return func(o *overridden) {
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			if len(c.RequireRecords)+len(c.RequireOwners) > 0 {
				c = copied(c)
				spoil(o, &c)
			}
			return o.Store.Commit(ctx, c)
		}
	}
}

// comparedOutside compares what a Commit requires before the Commit, and lets
// another one come in between.
func comparedOutside(ofRecords, ofOwners bool) func(*overridden) {
	return func(o *overridden) {
		var compared, changed atomic.Int64
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			if len(c.RequireRecords)+len(c.RequireOwners) == 0 {
				position, err := o.Store.Commit(ctx, c)
				changed.Add(1)
				return position, err
			}
			c = copied(c)
			if ofRecords {
				for _, ref := range c.RequireRecords {
					if r, stored := o.ofID(ref.ID); !stored || r.Key.Revision != ref.Revision {
						return apikey.Position{}, apikey.ErrConflict
					}
				}
				c.RequireRecords = nil
			}
			if ofOwners {
				for _, ref := range c.RequireOwners {
					if o.ownerState(ref.ID).Revision != ref.Revision {
						return apikey.Position{}, apikey.ErrConflict
					}
				}
				c.RequireOwners = nil
			}
			before, n := changed.Load(), compared.Add(1)
			yield(200, func() bool { return compared.Load() > n || changed.Load() > before })
			return o.Store.Commit(ctx, c)
		}
	}
}
