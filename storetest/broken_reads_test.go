package storetest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/apikey"
)

// brokenReads differ from memstore in what a read returns.
var brokenReads = []broken{
	{"Lookup returns who disabled a key", "lookup returns no more than needed", detailed(func(m *match, r apikey.Record, _ apikey.Owner) {
		m.Key.DisabledBy = r.Key.DisabledBy
	})},
	{"Lookup returns why a key is disabled", "lookup returns no more than needed", detailed(func(m *match, r apikey.Record, _ apikey.Owner) {
		m.Key.DisabledReason = r.Key.DisabledReason
	})},
	{"Lookup returns the whole state of an owner", "lookup returns no more than needed", detailed(func(m *match, _ apikey.Record, o apikey.Owner) {
		m.Owner = o
	})},
	{"Lookup misses retired credentials", "lookup finds the credential", func(o *overridden) {
		o.lookup = func(ctx context.Context, id string) (apikey.LookupResult, error) {
			result, err := o.Store.Lookup(ctx, id)
			if key, _, _ := result.Rest(); err == nil && id != key.CredentialID {
				return apikey.LookupResult{}, apikey.ErrNotFound
			}
			return result, err
		}
	}},
	{"Lookup forgets a field", "lookup finds the credential", detailed(func(m *match, _ apikey.Record, _ apikey.Owner) {
		m.Credential.RetireBefore = time.Time{}
	})},
	{"Lookup folds case", "lookup of another id", func(o *overridden) {
		o.lookup = func(ctx context.Context, id string) (apikey.LookupResult, error) {
			m, err := o.Store.Lookup(ctx, id)
			if err == nil {
				return m, nil
			}
			for _, r := range o.everyRecord() {
				for _, c := range r.Credentials {
					if strings.EqualFold(c.ID, id) {
						return o.Store.Lookup(ctx, c.ID)
					}
				}
			}
			return m, err
		}
	}},
	{"Lookup answers what it answered before", "writes are seen at once", func(o *overridden) {
		var kept sync.Map
		o.lookup = func(ctx context.Context, id string) (apikey.LookupResult, error) {
			if m, ok := kept.Load(id); ok && ctx.Err() == nil {
				return m.(apikey.LookupResult), nil
			}
			m, err := o.Store.Lookup(ctx, id)
			if err == nil {
				kept.Store(id, m)
			}
			return m, err
		}
	}},
	{"Lookup keeps what it returns until the record is replaced", "writes are seen at once", func(o *overridden) {
		var kept sync.Map
		o.lookup = func(ctx context.Context, id string) (apikey.LookupResult, error) {
			type version struct {
				id       string
				revision int64
			}
			m, err := lookup(ctx, o.Store, id)
			if err != nil {
				return apikey.LookupResult{}, err
			}
			result, _ := kept.LoadOrStore(version{id, m.Key.Revision}, apikey.NewLookupResult(m.Credential, m.Key, m.Owner, nil))
			return result.(apikey.LookupResult), nil
		}
	}},
	{"Get answers what it answered before", "writes are seen at once", func(o *overridden) {
		var kept sync.Map
		o.get = func(ctx context.Context, id, owner string) (apikey.Record, error) {
			if r, ok := kept.Load(id + owner); ok && ctx.Err() == nil {
				r := r.(apikey.Record)
				r.Credentials = slices.Clone(r.Credentials)
				return r, nil
			}
			r, err := o.Store.Get(ctx, id, owner)
			if err == nil {
				stored := r
				stored.Credentials = slices.Clone(r.Credentials)
				kept.Store(id+owner, stored)
			}
			return r, err
		}
	}},
	{"Get leaves out the fifth credential", "get finds the record", afterGet(func(r *apikey.Record) {
		if len(r.Credentials) == 5 {
			r.Credentials = r.Credentials[1:]
		}
	})},
	{"Get folds case", "get of another id", func(o *overridden) {
		o.get = func(ctx context.Context, id, owner string) (apikey.Record, error) {
			r, err := o.Store.Get(ctx, id, owner)
			if err == nil {
				return r, nil
			}
			for _, other := range o.everyRecord() {
				if owner == "" && strings.EqualFold(other.Key.ID, id) {
					return other, ctx.Err()
				}
			}
			return r, err
		}
	}},
	{"Get ignores trailing spaces", "get of another id", func(o *overridden) {
		o.get = func(ctx context.Context, id, owner string) (apikey.Record, error) {
			return o.Store.Get(ctx, strings.TrimRight(id, " "), owner)
		}
	}},
	{"Get returns the store's own slice", "returned values are copies", func(o *overridden) {
		var own ownSlices
		o.get = func(ctx context.Context, id, owner string) (apikey.Record, error) {
			r, err := o.Store.Get(ctx, id, owner)
			own.put(&r)
			return r, err
		}
	}},
	{"List returns the store's own slice", "returned values are copies", func(o *overridden) {
		var mu sync.Mutex
		var own []apikey.Record
		var kept apikey.Nonce
		o.list = func(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			list, err := o.Store.List(ctx, q)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || q != (apikey.Query{Limit: all}) || len(list) != 1 {
				return list, err
			}
			if len(own) != 1 || kept != list[0].Nonce {
				own, kept = list, list[0].Nonce
			}
			return own, nil
		}
	}},
	{"Get ignores the owner", "get with an owner", func(o *overridden) {
		o.get = func(ctx context.Context, id, owner string) (apikey.Record, error) { return o.Store.Get(ctx, id, "") }
	}},
	{"Get folds the case of the owner", "get with an owner", func(o *overridden) {
		o.get = func(ctx context.Context, id, owner string) (apikey.Record, error) {
			r, err := o.Store.Get(ctx, id, "")
			if err == nil && owner != "" && !strings.EqualFold(r.Key.Owner, owner) {
				return apikey.Record{}, apikey.ErrNotFound
			}
			return r, err
		}
	}},
	{"List returns credentials", "list without credentials", func(o *overridden) {
		o.list = func(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			list, err := o.Store.List(ctx, q)
			for i := range list {
				r, _ := o.ofID(list[i].Key.ID)
				list[i].Credentials = r.Credentials
			}
			return list, err
		}
	}},
	{"List sums up the newest three credentials", "sums of a list", func(o *overridden) {
		o.list = func(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			list, err := o.Store.List(ctx, q)
			for i := range list {
				r, _ := o.ofID(list[i].Key.ID)
				if n := len(r.Credentials); n == 4 {
					list[i].Key.Uses -= r.Credentials[0].Uses
				}
			}
			return list, err
		}
	}},
	{"List returns the end of the retiring credential alone", "sums of a list", func(o *overridden) {
		o.list = func(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			list, err := o.Store.List(ctx, q)
			for i := range list {
				r, _ := o.ofID(list[i].Key.ID)
				if old, ok := credential(r, r.Key.RetiringID); ok {
					list[i].Key.RetiringUntil = old.ExpiresAt
				}
			}
			return list, err
		}
	}},
	{"List ignores the owner of a credential", "filters of a query", beforeList(func(q *apikey.Query) {
		if q.CredentialID != "" {
			q.Owner = ""
		}
	})},
	{"Events returns the store's own log", "returned values are copies", func(o *overridden) {
		var mu sync.Mutex
		var own []apikey.Event
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			log, err := o.Store.Events(ctx, q)
			mu.Lock()
			defer mu.Unlock()
			if q != (apikey.EventQuery{Limit: all}) {
				return log, err
			}
			if len(own) != len(log) {
				own = log
			}
			return own, err
		}
	}},
	{"Get returns local times", "fields come back", afterGet(func(r *apikey.Record) {
		r.Key.ExpiresAt = r.Key.ExpiresAt.In(time.FixedZone("CET", 3600))
	})},
	{"Get cuts raw bytes at a NUL", "fields come back", afterGet(func(r *apikey.Record) {
		for i := range r.Credentials {
			text, _, _ := strings.Cut(r.Credentials[i].PepperID, "\x00")
			r.Credentials[i].PepperID = text
		}
	})},
	{"Get returns credentials by id alone", "order of credentials", afterGet(func(r *apikey.Record) {
		slices.SortFunc(r.Credentials, func(a, b apikey.Credential) int { return cmp.Compare(a.ID, b.ID) })
	})},
	{"List swaps two records", "order of a page", afterList(func(_ apikey.Query, list []apikey.Record) []apikey.Record {
		if len(list) > 2 {
			list[0], list[1] = list[1], list[0]
		}
		return list
	})},
	{"List returns one too many", "order of a page", beforeList(func(q *apikey.Query) { q.Limit++ })},
	{"List skips a record at page borders", "pages hold every record once", func(o *overridden) {
		o.list = func(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			if q.After == "" {
				return o.Store.List(ctx, q)
			}
			q.Limit++
			list, err := o.Store.List(ctx, q)
			return list[min(1, len(list)):], err
		}
	}},
	{"List filters after it has cut the page", "pages hold every record once", func(o *overridden) {
		o.list = func(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			wide := q
			wide.IncludeDeleted = true
			list, err := o.Store.List(ctx, wide)
			return slices.DeleteFunc(list, func(r apikey.Record) bool {
				whole, _ := o.ofID(r.Key.ID)
				return !selects(q, whole)
			}), err
		}
	}},
	{"List ignores IssuedBefore", "filters of a query", beforeList(func(q *apikey.Query) { q.IssuedBefore = time.Time{} })},
	{"List includes the end of an interval", "filters of a query", beforeList(func(q *apikey.Query) {
		if !q.ExpiresBefore.IsZero() {
			q.ExpiresBefore = q.ExpiresBefore.Add(time.Microsecond)
		}
	})},
	{"List compares seconds", "filters of a query", beforeList(func(q *apikey.Query) { q.RetiredBefore = q.RetiredBefore.Truncate(time.Second) })},
	{"List needs IncludeDeleted for DeletedBefore", "filters of a query", afterList(func(q apikey.Query, list []apikey.Record) []apikey.Record {
		if !q.DeletedBefore.IsZero() && !q.IncludeDeleted {
			return nil
		}
		return list
	})},
	{"List trims owners", "filters of a query", beforeList(func(q *apikey.Query) { q.Owner = strings.TrimSpace(q.Owner) })},
	{"Owner trims owners", "state of an owner", func(o *overridden) {
		o.owner = func(ctx context.Context, id string) (apikey.Owner, error) {
			return o.Store.Owner(ctx, strings.TrimSpace(id))
		}
	}},
	{"Owner returns no id for one never committed", "state of an owner", func(o *overridden) {
		o.owner = func(ctx context.Context, id string) (apikey.Owner, error) {
			state, err := o.Store.Owner(ctx, id)
			if state.Revision == 0 && !slices.ContainsFunc(o.everyRecord(), func(r apikey.Record) bool { return r.Key.Owner == id }) {
				state.ID = ""
			}
			return state, err
		}
	}},
	{"Get returns the revision that was given", "compare and swap", afterGet(func(r *apikey.Record) {
		if r.Key.Revision > 1 {
			r.Key.Revision--
		}
	})},
	{"Get sums up the uses", "usage in a commit is ignored", afterGet(func(r *apikey.Record) {
		for _, c := range r.Credentials {
			r.Key.Uses += c.Uses
		}
	})},
	{"Get ignores an ended context", "calls after the context ended", func(o *overridden) {
		o.get = func(ctx context.Context, id, owner string) (apikey.Record, error) {
			return o.Store.Get(context.WithoutCancel(ctx), id, owner)
		}
	}},
	{"AddUsage ignores an ended context", "calls after the context ended", func(o *overridden) {
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			return o.Store.AddUsage(context.WithoutCancel(ctx), uses)
		}
	}},
	{"Events forgets a field", "pages of the log", func(o *overridden) {
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			log, err := o.Store.Events(ctx, q)
			for i := range log {
				log[i].Data = apikey.Metadata{}
			}
			return log, err
		}
	}},
	{"Events returns one too many", "pages of the log", func(o *overridden) {
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			if q.KeyID == "" {
				q.Limit++
			}
			return o.Store.Events(ctx, q)
		}
	}},
	{"Events ignores the key", "events of a key", func(o *overridden) {
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			q.KeyID = ""
			return o.Store.Events(ctx, q)
		}
	}},
	{"Events takes Before for included", "events before a position", func(o *overridden) {
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			if q.Before.Seq > 0 && !q.Newest {
				q.Before.Seq++
			}
			return o.Store.Events(ctx, q)
		}
	}},
	{"Events ignores Before for the events of a key", "events before a position", func(o *overridden) {
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			if q.KeyID != "" && !q.Newest {
				q.Before = apikey.Position{}
			}
			return o.Store.Events(ctx, q)
		}
	}},
	{"Events ignores After if there is a Before", "events before a position", func(o *overridden) {
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			if q.Before.Seq > 0 && !q.Newest {
				q.After = apikey.Position{}
			}
			return o.Store.Events(ctx, q)
		}
	}},
	{"Events ignores After for the newest", "newest events", func(o *overridden) {
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			if q.Newest {
				q.After = apikey.Position{}
			}
			return o.Store.Events(ctx, q)
		}
	}},
	{"Events ignores Newest", "newest events", func(o *overridden) {
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			q.Newest = false
			return o.Store.Events(ctx, q)
		}
	}},
	{"Events returns the newest in descending order", "newest events", func(o *overridden) {
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			log, err := o.Store.Events(ctx, q)
			if q.Newest {
				slices.Reverse(log)
			}
			return log, err
		}
	}},
	{"Events folds the case of the key", "events of a key", func(o *overridden) {
		o.events = func(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
			if q.KeyID == "" {
				return o.Store.Events(ctx, q)
			}
			log, err := o.Store.Events(ctx, apikey.EventQuery{Limit: all})
			return pageOf(slices.DeleteFunc(log, func(e apikey.Event) bool { return !strings.EqualFold(e.KeyID, q.KeyID) }), q), err
		}
	}},
}

func afterGet(change func(*apikey.Record)) func(*overridden) {
	return func(o *overridden) {
		o.get = func(ctx context.Context, id, owner string) (apikey.Record, error) {
			r, err := o.Store.Get(ctx, id, owner)
			change(&r)
			return r, err
		}
	}
}

func beforeList(change func(*apikey.Query)) func(*overridden) {
	return func(o *overridden) {
		o.list = func(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			change(&q)
			return o.Store.List(ctx, q)
		}
	}
}

func afterList(change func(apikey.Query, []apikey.Record) []apikey.Record) func(*overridden) {
	return func(o *overridden) {
		o.list = func(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
			list, err := o.Store.List(ctx, q)
			return change(q, list), err
		}
	}
}

// ownSlices hands out the same slice of Credentials each time, as long as
// those stored are the same.
type ownSlices struct {
	mu     sync.Mutex
	stored map[string][]apikey.Credential
	shared map[string][]apikey.Credential
}

func (s *ownSlices) put(r *apikey.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored == nil {
		s.stored, s.shared = map[string][]apikey.Credential{}, map[string][]apikey.Credential{}
	}
	if !slices.Equal(s.stored[r.Key.ID], r.Credentials) {
		s.stored[r.Key.ID], s.shared[r.Key.ID] = slices.Clone(r.Credentials), r.Credentials
	}
	r.Credentials = s.shared[r.Key.ID]
}

// detailed changes what Lookup returns.
func detailed(change func(*match, apikey.Record, apikey.Owner)) func(*overridden) {
	return func(o *overridden) {
		o.lookup = func(ctx context.Context, id string) (apikey.LookupResult, error) {
			m, err := lookup(ctx, o.Store, id)
			if err != nil {
				return apikey.LookupResult{}, err
			}
			r, _ := o.ofID(m.Key.ID)
			change(&m, r, o.ownerState(m.Owner.ID))
			return apikey.NewLookupResult(m.Credential, m.Key, m.Owner, nil), nil
		}
	}
}
