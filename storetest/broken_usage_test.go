package storetest

import (
	"context"
	"sync"
	"time"

	"github.com/keyturn/apikey"
)

// brokenUsage differ from memstore in what becomes of usage.
var brokenUsage = []broken{
	{"a change loses the usage of a retired credential", "credentials become those given", afterGet(func(r *apikey.Record) {
		for i := range r.Credentials {
			if c := &r.Credentials[i]; r.Key.Revision > 1 && c.ID != r.Key.CredentialID {
				c.Uses, c.LastUsedAt = 0, time.Time{}
			}
		}
	})},
	{"usage outlives a credential that goes", "credentials become those given", func(o *overridden) {
		remember(o, func(c apikey.Commit) (gone []apikey.Credential) {
			for _, r := range c.Records {
				stored, _ := o.ofID(r.Key.ID)
				for _, old := range stored.Credentials {
					if _, stays := credential(r, old.ID); !stays {
						gone = append(gone, old)
					}
				}
			}
			return gone
		})
	}},
	{"usage outlives a purge", "purge", func(o *overridden) {
		remember(o, func(c apikey.Commit) (gone []apikey.Credential) {
			for _, ref := range c.Purge {
				stored, _ := o.ofID(ref.ID)
				gone = append(gone, stored.Credentials...)
			}
			return gone
		})
	}},
	{"AddUsage moves last-used back", "AddUsage adds uses", func(o *overridden) {
		var last sync.Map
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			for _, u := range uses {
				last.Store(u.CredentialID, u.LastUsedAt.UTC())
			}
			return o.Store.AddUsage(ctx, uses)
		}
		o.get = func(ctx context.Context, id, owner string) (apikey.Record, error) {
			r, err := o.Store.Get(ctx, id, owner)
			for i := range r.Credentials {
				if c := &r.Credentials[i]; c.Uses > 0 {
					at, _ := last.Load(c.ID)
					c.LastUsedAt = at.(time.Time)
				}
			}
			return r, err
		}
	}},
	{"AddUsage counts a credential once a batch", "AddUsage adds uses", func(o *overridden) {
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			var once []apikey.Usage
			seen := map[string]bool{}
			for _, u := range uses {
				if !seen[u.CredentialID] {
					once = append(once, u)
				}
				seen[u.CredentialID] = true
			}
			return o.Store.AddUsage(ctx, once)
		}
	}},
	{"AddUsage writes the record back", "AddUsage changes nothing else", func(o *overridden) {
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			err := o.Store.AddUsage(ctx, uses)
			for _, u := range uses {
				if r, ok := o.ofID(u.KeyID); ok && err == nil {
					o.Store.Commit(ctx, records(r))
				}
			}
			return err
		}
	}},
	{"AddUsage writes an event", "AddUsage changes nothing else", func(o *overridden) {
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			if err := o.Store.AddUsage(ctx, uses); err != nil {
				return err
			}
			for _, u := range uses {
				if r, ok := o.ofID(u.KeyID); ok && r.Key.Locked {
					_, err := o.Store.Commit(ctx, apikey.Commit{Events: []apikey.Event{{Position: apikey.Position{Nonce: nonce()}, KeyID: u.KeyID}}})
					return err
				}
			}
			return nil
		}
	}},
	{"AddUsage revives a purged record", "AddUsage of what is not stored", func(o *overridden) {
		var purged sync.Map
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			for _, ref := range c.Purge {
				if r, ok := o.ofID(ref.ID); ok {
					purged.Store(ref.ID, at(0, r))
				}
			}
			return o.Store.Commit(ctx, c)
		}
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			for _, u := range uses {
				if r, ok := purged.Load(u.KeyID); ok {
					o.Store.Commit(ctx, records(r.(apikey.Record)))
				}
			}
			return o.Store.AddUsage(ctx, uses)
		}
	}},
	{"AddUsage keeps usage for a credential to come", "AddUsage of what is not stored", func(o *overridden) {
		var mu sync.Mutex
		early := map[string]apikey.Usage{}
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			mu.Lock()
			defer mu.Unlock()
			for _, u := range uses {
				if _, err := o.Store.Lookup(ctx, u.CredentialID); err != nil {
					early[u.CredentialID] = u
				}
			}
			return o.Store.AddUsage(ctx, uses)
		}
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			mu.Lock()
			defer mu.Unlock()
			position, err := o.Store.Commit(ctx, c)
			for _, r := range c.Records {
				for _, made := range r.Credentials {
					if u, ok := early[made.ID]; ok && err == nil {
						o.Store.AddUsage(ctx, []apikey.Usage{u})
					}
				}
			}
			return position, err
		}
	}},
	{"AddUsage fails for what is not stored", "AddUsage of what is not stored", func(o *overridden) {
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			for _, u := range uses {
				if _, err := o.Store.Lookup(ctx, u.CredentialID); err != nil {
					return err
				}
			}
			return o.Store.AddUsage(ctx, uses)
		}
	}},
}

// remember lets the usage of the Credentials that go return with their ids.
func remember(o *overridden, going func(apikey.Commit) []apikey.Credential) {
	var mu sync.Mutex
	usage := map[string]apikey.Usage{}
	o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
		mu.Lock()
		defer mu.Unlock()
		gone := going(c)
		position, err := o.Store.Commit(ctx, c)
		if err != nil {
			return position, err
		}
		for _, r := range c.Records {
			for _, back := range r.Credentials {
				if u, ok := usage[back.ID]; ok {
					delete(usage, back.ID)
					o.Store.AddUsage(ctx, []apikey.Usage{u})
				}
			}
		}
		for _, old := range gone {
			if old.Uses > 0 {
				usage[old.ID] = apikey.Usage{CredentialID: old.ID, Uses: old.Uses, LastUsedAt: old.LastUsedAt} // of no day
			}
		}
		return position, nil
	}
}
