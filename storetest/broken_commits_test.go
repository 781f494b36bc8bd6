package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/apikey"
)

// brokenCommits differ from memstore in what Commit writes.
var brokenCommits = []broken{
	{"Commit keeps seconds", "fields come back", beforeCommit(func(_ *overridden, c *apikey.Commit) {
		for i := range c.Records {
			c.Records[i].Key.CreatedAt = c.Records[i].Key.CreatedAt.Truncate(time.Second)
		}
	})},
	{"Commit forgets a field", "fields come back", beforeCommit(func(_ *overridden, c *apikey.Commit) {
		for i := range c.Records {
			c.Records[i].Seal = ""
		}
	})},
	{"Commit forgets a field when it replaces", "fields come back", beforeCommit(func(_ *overridden, c *apikey.Commit) {
		for i := range c.Records {
			if c.Records[i].Key.Revision > 0 {
				c.Records[i].Key.Rate = apikey.Rate{}
			}
		}
	})},
	{"Commit forgets a field of an owner", "state of an owner", beforeCommit(func(_ *overridden, c *apikey.Commit) {
		for i := range c.Owners {
			c.Owners[i].Seal = ""
		}
	})},
	{"Commit forgets a field of an event", "pages of the log", beforeCommit(func(_ *overridden, c *apikey.Commit) {
		for i := range c.Events {
			c.Events[i].OldExpiresAt = time.Time{}
		}
	})},
	{"Commit does half on a conflict", "all or nothing", func(o *overridden) {
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			position, err := o.Store.Commit(ctx, c)
			if errors.Is(err, apikey.ErrConflict) {
				for _, r := range c.Records {
					o.Store.Commit(ctx, records(r))
				}
			}
			return position, err
		}
	}},
	{"Commit keeps the events of a conflict", "all or nothing", func(o *overridden) {
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			position, err := o.Store.Commit(ctx, c)
			if errors.Is(err, apikey.ErrConflict) {
				o.Store.Commit(ctx, apikey.Commit{Events: c.Events})
			}
			return position, err
		}
	}},
	{"Commit uses a position on a conflict", "all or nothing", func(o *overridden) {
		var mu sync.Mutex
		var used []int64 // the positions before which one is missing
		shift := func(seq int64) int64 {
			mu.Lock()
			defer mu.Unlock()
			missing := int64(0)
			for _, at := range used {
				if at < seq {
					missing++
				}
			}
			return seq + missing
		}
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			position, err := o.Store.Commit(ctx, c)
			if errors.Is(err, apikey.ErrConflict) {
				log, _ := o.Store.Events(ctx, apikey.EventQuery{Limit: all})
				mu.Lock()
				used = append(used, int64(len(log)))
				mu.Unlock()
			}
			if err == nil {
				position.Seq = shift(position.Seq)
			}
			return position, err
		}
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			log, err := o.Store.Events(ctx, apikey.EventQuery{KeyID: q.KeyID, Limit: all})
			for i := range log {
				log[i].Position.Seq = shift(log[i].Position.Seq)
			}
			return pageOf(log, q), err
		}
	}},
	{"Commit takes a newer revision", "compare and swap", beforeCommit(func(o *overridden, c *apikey.Commit) {
		for i := range c.Records {
			k := &c.Records[i].Key
			if stored, ok := o.ofID(k.ID); ok && k.Revision > stored.Key.Revision {
				k.Revision = stored.Key.Revision
			}
		}
	})},
	{"Commit takes a newer revision of an owner", "compare and swap", beforeCommit(func(o *overridden, c *apikey.Commit) {
		for i := range c.Owners {
			c.Owners[i].Revision = min(c.Owners[i].Revision, o.ownerState(c.Owners[i].ID).Revision)
		}
	})},
	{"Commit takes the id of a deleted record", "new record whose id is taken", beforeCommit(func(o *overridden, c *apikey.Commit) {
		for i := range c.Records {
			k := &c.Records[i].Key
			if stored, ok := o.ofID(k.ID); ok && k.Revision == 0 && !stored.Key.DeletedAt.IsZero() {
				k.Revision = stored.Key.Revision
			}
		}
	})},
	{"Commit makes what it should replace", "replaced record that is not stored", beforeCommit(func(o *overridden, c *apikey.Commit) {
		for i := range c.Records {
			k := &c.Records[i].Key
			if _, ok := o.ofID(k.ID); !ok && k.Revision > 1 {
				k.Revision = 0
			}
		}
	})},
	{"Commit passes over a credential that is taken", "credential whose id is taken", beforeCommit(func(o *overridden, c *apikey.Commit) {
		for i := range c.Records {
			r := &c.Records[i]
			r.Credentials = slices.DeleteFunc(r.Credentials, func(mine apikey.Credential) bool {
				m, err := lookup(background, o.Store, mine.ID)
				return err == nil && m.Key.ID != r.Key.ID
			})
		}
	})},
	{"Commit keeps credentials if all are new", "credentials become those given", beforeCommit(func(o *overridden, c *apikey.Commit) {
		for i := range c.Records {
			r := &c.Records[i]
			stored, _ := o.ofID(r.Key.ID)
			stays := slices.ContainsFunc(stored.Credentials, func(old apikey.Credential) bool {
				_, ok := credential(*r, old.ID)
				return ok
			})
			if !stays && r.Key.Revision > 0 {
				r.Credentials = append(r.Credentials, stored.Credentials...)
			}
		}
	})},
	{"Commit counts the uses that it is given", "usage in a commit is ignored", afterCommit(func(o *overridden, c apikey.Commit) {
		for _, r := range c.Records {
			for _, given := range r.Credentials {
				if given.Uses > 0 && r.Key.Revision == 0 {
					o.Store.AddUsage(background, []apikey.Usage{used(r, given.ID, given.Uses, given.LastUsedAt)})
				}
			}
		}
	})},
	{"Commit keeps the caller's credentials", "given values are copied", func(o *overridden) {
		var kept sync.Map // by the nonce of the record
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			for _, r := range c.Records {
				kept.Store(r.Nonce, r.Credentials)
			}
			return o.Store.Commit(ctx, c)
		}
		o.get = func(ctx context.Context, id, owner string) (apikey.Record, error) {
			r, err := o.Store.Get(ctx, id, owner)
			given, _ := kept.Load(r.Nonce)
			list, _ := given.([]apikey.Credential)
			for i := range r.Credentials {
				if c, ok := credential(apikey.Record{Credentials: list}, r.Credentials[i].ID); ok {
					r.Credentials[i].PepperID = c.PepperID
				}
			}
			return r, err
		}
	}},
	{"Commit keeps the caller's events", "given values are copied", func(o *overridden) {
		var mu sync.Mutex
		kept := map[apikey.Nonce]*apikey.Event{}
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			mu.Lock()
			defer mu.Unlock()
			for i := range c.Events {
				kept[c.Events[i].Position.Nonce] = &c.Events[i]
			}
			return o.Store.Commit(ctx, c)
		}
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			mu.Lock()
			defer mu.Unlock()
			log, err := o.Store.Events(ctx, q)
			for i := range log {
				log[i].Actor = kept[log[i].Position.Nonce].Actor
			}
			return log, err
		}
	}},
	{"Commit ignores an ended context", "commit after the context ended", func(o *overridden) {
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			return o.Store.Commit(context.WithoutCancel(ctx), c)
		}
	}},
	{"Commit writes before it looks at the context", "commit after the context ended", func(o *overridden) {
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			position, err := o.Store.Commit(context.WithoutCancel(ctx), c)
			if ctx.Err() != nil {
				return apikey.Position{}, ctx.Err()
			}
			return position, err
		}
	}},
	{"the limit passes over expired keys", "limit of an owner", beforeCommit(func(o *overridden, c *apikey.Commit) {
		for _, r := range o.everyRecord() {
			if c.Limit > 0 && r.Key.Owner == c.Records[0].Key.Owner && r.Key.ExpiresAt.Before(base) {
				c.Limit++
			}
		}
	})},
	{"the limit passes over disabled keys", "limit of an owner", beforeCommit(func(o *overridden, c *apikey.Commit) {
		for _, r := range o.everyRecord() {
			if c.Limit > 0 && r.Key.Owner == c.Records[0].Key.Owner && !r.Key.DisabledAt.IsZero() {
				c.Limit++
			}
		}
	})},
	{"the limit folds the case of owners", "limit of an owner", func(o *overridden) {
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			for _, r := range o.everyRecord() {
				mine := c.Records
				if c.Limit == 1 && len(mine) == 1 && mine[0].Key.Owner != r.Key.Owner && strings.EqualFold(mine[0].Key.Owner, r.Key.Owner) {
					return apikey.Position{}, apikey.ErrLimit
				}
			}
			return o.Store.Commit(ctx, c)
		}
	}},
	{"a purge takes a newer revision", "purge", beforeCommit(func(o *overridden, c *apikey.Commit) {
		for i := range c.Purge {
			if stored, ok := o.ofID(c.Purge[i].ID); ok {
				c.Purge[i].Revision = min(c.Purge[i].Revision, stored.Key.Revision)
			}
		}
	})},
	{"a purge takes the events along", "purge", func(o *overridden) {
		var purged sync.Map // by key id, the position of its purge
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			position, err := o.Store.Commit(ctx, c)
			for _, ref := range c.Purge {
				if err == nil {
					purged.Store(ref.ID, position.Seq)
				}
			}
			return position, err
		}
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			log, err := o.Store.Events(ctx, q)
			return slices.DeleteFunc(log, func(e apikey.Event) bool {
				at, ok := purged.Load(e.KeyID)
				return ok && e.Position.Seq < at.(int64)
			}), err
		}
	}},
	{"Commit returns the first position", "positions", func(o *overridden) {
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			position, err := o.Store.Commit(ctx, c)
			if err == nil {
				position.Seq -= int64(len(c.Events)) - 1
				position.Nonce = c.Events[0].Position.Nonce
			}
			return position, err
		}
	}},
	{"Commit turns the events around", "positions", beforeCommit(func(_ *overridden, c *apikey.Commit) {
		if len(c.Events) > 3 {
			slices.Reverse(c.Events[:len(c.Events)-1])
		}
	})},
}

// beforeCommit changes what is committed.
func beforeCommit(change func(*overridden, *apikey.Commit)) func(*overridden) {
	return func(o *overridden) {
		var mu sync.Mutex
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			mu.Lock()
			defer mu.Unlock()
			c = copied(c)
			change(o, &c)
			return o.Store.Commit(ctx, c)
		}
	}
}

// afterCommit does something more after a Commit that succeeded.
func afterCommit(more func(*overridden, apikey.Commit)) func(*overridden) {
	return func(o *overridden) {
		var mu sync.Mutex
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			mu.Lock()
			defer mu.Unlock()
			position, err := o.Store.Commit(ctx, c)
			if err == nil {
				more(o, c)
			}
			return position, err
		}
	}
}
