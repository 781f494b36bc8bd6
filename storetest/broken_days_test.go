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

// brokenDays differ from memstore in what DailyUsage returns.
var brokenDays = []broken{
	{"DailyUsage returns a total of all credentials", "daily usage adds up", afterDays(func(q apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
		var out []apikey.Usage
		for _, u := range uses {
			if n := len(out); n > 0 && out[n-1].Day.Equal(u.Day) && u.Uses == 10 {
				out[n-1].Uses += u.Uses
				continue
			}
			out = append(out, u)
		}
		return out
	})},
	{"DailyUsage forgets the key", "daily usage adds up", func(o *overridden) {
		eachAdded(o, func(u *apikey.Usage) { u.KeyID = "" })
	}},
	{"DailyUsage forgets the last use", "daily usage adds up", func(o *overridden) {
		eachAdded(o, func(u *apikey.Usage) { u.LastUsedAt = time.Time{} })
	}},
	{"DailyUsage returns local days", "daily usage adds up", func(o *overridden) {
		eachAdded(o, func(u *apikey.Usage) { u.Day = u.Day.In(time.FixedZone("CET", 3600)) })
	}},
	{"the last use of a day is that of the last AddUsage", "daily usage adds up", func(o *overridden) {
		var last sync.Map
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			for _, u := range uses {
				last.Store(u.CredentialID+u.Day.String(), u.LastUsedAt)
			}
			return o.Store.AddUsage(ctx, uses)
		}
		afterDays(func(_ apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
			for i, u := range uses {
				if at, ok := last.Load(u.CredentialID + u.Day.String()); ok && u.Uses == 10 {
					uses[i].LastUsedAt = at.(time.Time)
				}
			}
			return uses
		})(o)
	}},
	{"a AddUsage replaces the uses of a day", "daily usage adds up", func(o *overridden) {
		var last sync.Map
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			for _, u := range uses {
				last.Store(u.CredentialID+u.Day.String(), u.Uses)
			}
			return o.Store.AddUsage(ctx, uses)
		}
		afterDays(func(_ apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
			for i, u := range uses {
				if n, ok := last.Load(u.CredentialID + u.Day.String()); ok && u.Uses == 10 {
					uses[i].Uses = n.(int64)
				}
			}
			return uses
		})(o)
	}},
	{"DailyUsage returns at most 100", "daily usage adds up", afterDays(func(_ apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
		return uses[:min(len(uses), 100)]
	})},

	{"DailyUsage returns the latest first", "daily usage order", afterDays(func(_ apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
		slices.SortStableFunc(uses, func(a, b apikey.Usage) int { return b.Day.Compare(a.Day) })
		return uses
	})},
	{"DailyUsage returns credential by credential", "daily usage order", afterDays(func(_ apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
		slices.SortStableFunc(uses, func(a, b apikey.Usage) int { return cmp.Compare(a.CredentialID, b.CredentialID) })
		return uses
	})},
	{"DailyUsage folds case where it sorts", "daily usage order", afterDays(func(_ apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
		slices.SortStableFunc(uses, func(a, b apikey.Usage) int {
			return cmp.Or(a.Day.Compare(b.Day), cmp.Compare(strings.ToLower(a.CredentialID), strings.ToLower(b.CredentialID)))
		})
		return uses
	})},

	{"DailyUsage leaves out the first day", "daily usage interval", shifted(func(q *apikey.UsageQuery) {
		if q.Until.Sub(q.From) == 9*day {
			q.From = q.From.Add(time.Microsecond)
		}
	})},
	{"DailyUsage adds the day after the last", "daily usage interval", shifted(func(q *apikey.UsageQuery) {
		if q.Until.Sub(q.From) == 8*day {
			q.Until = q.Until.Add(time.Microsecond)
		}
	})},
	{"DailyUsage has no end", "daily usage interval", shifted(func(q *apikey.UsageQuery) {
		if q.From.Year() > 1970 {
			q.Until = q.Until.AddDate(100, 0, 0)
		}
	})},
	{"DailyUsage has no beginning", "daily usage interval", shifted(func(q *apikey.UsageQuery) {
		if q.From.Year() > 1970 {
			q.From = q.From.AddDate(-10, 0, 0)
		}
	})},

	{"uses of no day count on that of the last use", "daily usage of unknown days", func(o *overridden) {
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			uses = slices.Clone(uses)
			for i, u := range uses {
				if u.Day.IsZero() {
					uses[i].Day = u.LastUsedAt.Truncate(day)
				}
			}
			return o.Store.AddUsage(ctx, uses)
		}
	}},
	{"uses of no day count on the first of 1970", "daily usage of unknown days", func(o *overridden) {
		var none sync.Map
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			for _, u := range uses {
				if u.Day.IsZero() {
					u.Day = time.Unix(0, 0).UTC()
					none.Store(u.KeyID, u)
				}
			}
			return o.Store.AddUsage(ctx, uses)
		}
		afterDays(func(q apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
			if u, ok := none.Load(q.KeyID); ok && !q.From.After(time.Unix(0, 0)) && q.Until.After(time.Unix(0, 0)) {
				return append([]apikey.Usage{u.(apikey.Usage)}, uses...)
			}
			return uses
		})(o)
	}},
	{"uses of no day are always returned", "daily usage of unknown days", func(o *overridden) {
		var none sync.Map
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			for _, u := range uses {
				if u.Day.IsZero() {
					none.Store(u.KeyID, u)
				}
			}
			return o.Store.AddUsage(ctx, uses)
		}
		afterDays(func(q apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
			if u, ok := none.Load(q.KeyID); ok {
				return append([]apikey.Usage{u.(apikey.Usage)}, uses...)
			}
			return uses
		})(o)
	}},

	{"a change loses the days", "daily usage of changed records", func(o *overridden) {
		o.days = func(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
			uses, err := o.Store.DailyUsage(ctx, q)
			if r, ok := o.ofID(q.KeyID); ok && r.Key.Revision == 2 && r.Key.Name == "renamed" {
				return nil, err
			}
			return uses, err
		}
	}},
	{"a deleted key has no days", "daily usage of changed records", func(o *overridden) {
		o.days = func(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
			if r, ok := o.ofID(q.KeyID); ok && !r.Key.DeletedAt.IsZero() {
				return nil, ctx.Err()
			}
			return o.Store.DailyUsage(ctx, q)
		}
	}},
	{"days outlive a credential", "daily usage of changed records", outliving(func(purged bool) bool { return !purged })},
	{"days outlive a purge", "daily usage of changed records", outliving(func(purged bool) bool { return purged })},
	{"days come again with the id of a key", "daily usage of changed records", func(o *overridden) {
		var mu sync.Mutex
		purged, back := map[string][]apikey.Usage{}, map[string]bool{}
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, ref := range c.Purge {
				purged[ref.ID], _ = o.Store.DailyUsage(background, daysOf(ref.ID, base, 10))
			}
			for _, r := range c.Records {
				back[r.Key.ID] = back[r.Key.ID] || purged[r.Key.ID] != nil
			}
			return o.Store.Commit(ctx, c)
		}
		afterDays(func(q apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
			mu.Lock()
			defer mu.Unlock()
			if back[q.KeyID] && len(uses) == 0 {
				return purged[q.KeyID]
			}
			return uses
		})(o)
	}},

	{"DailyUsage folds case", "daily usage of one key", func(o *overridden) {
		o.days = func(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
			var all []apikey.Usage
			for _, r := range o.everyRecord() {
				if strings.EqualFold(r.Key.ID, q.KeyID) {
					q.KeyID = r.Key.ID
					uses, err := o.Store.DailyUsage(ctx, q)
					if err != nil {
						return nil, err
					}
					all = append(all, uses...)
				}
			}
			return all, ctx.Err()
		}
	}},
	{"DailyUsage cuts spaces", "daily usage of one key", shifted(func(q *apikey.UsageQuery) { q.KeyID = strings.TrimRight(q.KeyID, " ") })},
	{"DailyUsage without an id is that of all keys", "daily usage of one key", func(o *overridden) {
		o.days = func(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
			if q.KeyID == "" {
				q.KeyID = o.everyRecord()[0].Key.ID
			}
			return o.Store.DailyUsage(ctx, q)
		}
	}},
	{"DailyUsage of an unknown key is an error", "daily usage of one key", func(o *overridden) {
		o.days = func(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
			// That a purged one has none as well is the rule before.
			if _, ok := o.ofID(q.KeyID); !ok && len(o.everyRecord()) > 1 {
				return nil, apikey.ErrNotFound
			}
			return o.Store.DailyUsage(ctx, q)
		}
	}},

	{"DailyUsage does not see that the context ended", "calls after the context ended", func(o *overridden) {
		o.days = func(_ context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
			return o.Store.DailyUsage(background, q)
		}
	}},
	{"AddUsage merges the days of a batch", "AddUsage adds uses", func(o *overridden) {
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			uses, days := slices.Clone(uses), map[string]time.Time{}
			for i, u := range uses {
				if first, ok := days[u.CredentialID]; ok {
					uses[i].Day = first
				} else {
					days[u.CredentialID] = u.Day
				}
			}
			return o.Store.AddUsage(ctx, uses)
		}
	}},
	{"the days of a credential to come are kept", "AddUsage of what is not stored", func(o *overridden) {
		var early sync.Map
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			for _, u := range uses {
				if _, err := o.Store.Lookup(ctx, u.CredentialID); err != nil {
					early.Store(u.KeyID, u)
				}
			}
			return o.Store.AddUsage(ctx, uses)
		}
		afterDays(func(q apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
			if u, ok := early.Load(q.KeyID); ok {
				return append(uses, u.(apikey.Usage))
			}
			return uses
		})(o)
	}},
	{"the uses of a day are lost while another AddUsage runs", "concurrent AddUsage", func(o *overridden) {
		var mu sync.Mutex
		var lost sync.Map
		o.addUsage = func(ctx context.Context, uses []apikey.Usage) error {
			if mu.TryLock() {
				yield(20, never)
				mu.Unlock()
			} else {
				for _, u := range uses {
					lost.Store(u.KeyID, true)
				}
			}
			return o.Store.AddUsage(ctx, uses)
		}
		afterDays(func(q apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
			if _, ok := lost.Load(q.KeyID); ok && len(uses) > 0 {
				uses[0].Uses--
			}
			return uses
		})(o)
	}},
}

// afterDays changes what DailyUsage returns.
func afterDays(change func(apikey.UsageQuery, []apikey.Usage) []apikey.Usage) func(*overridden) {
	return func(o *overridden) {
		o.days = func(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
			uses, err := o.Store.DailyUsage(ctx, q)
			if err != nil {
				return nil, err
			}
			return change(q, uses), nil
		}
	}
}

// eachAdded changes each sum of 10, which only the rule about sums looks at.
func eachAdded(o *overridden, change func(*apikey.Usage)) {
	afterDays(func(_ apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
		for i := range uses {
			if uses[i].Uses == 10 {
				change(&uses[i])
			}
		}
		return uses
	})(o)
}

// shifted changes what DailyUsage is asked.
func shifted(change func(*apikey.UsageQuery)) func(*overridden) {
	return func(o *overridden) {
		o.days = func(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
			change(&q)
			return o.Store.DailyUsage(ctx, q)
		}
	}
}

// outliving lets the days of Credentials that went be returned.
func outliving(which func(purged bool) bool) func(*overridden) {
	return func(o *overridden) {
		var mu sync.Mutex
		gone := map[string][]apikey.Usage{} // by key
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			mu.Lock()
			defer mu.Unlock()
			going := map[string][]apikey.Usage{}
			keep := func(id string, stays func(string) bool) {
				uses, _ := o.Store.DailyUsage(background, daysOf(id, base, 10))
				going[id] = append(going[id], slices.DeleteFunc(uses, func(u apikey.Usage) bool { return stays(u.CredentialID) })...)
			}
			for _, r := range c.Records {
				if which(false) {
					keep(r.Key.ID, func(id string) bool { _, stays := credential(r, id); return stays })
				}
			}
			for _, ref := range c.Purge {
				delete(gone, ref.ID)
				if which(true) {
					keep(ref.ID, func(string) bool { return false })
				}
			}
			position, err := o.Store.Commit(ctx, c)
			for id, uses := range going {
				if err == nil {
					gone[id] = append(gone[id], uses...)
				}
			}
			return position, err
		}
		afterDays(func(q apikey.UsageQuery, uses []apikey.Usage) []apikey.Usage {
			mu.Lock()
			defer mu.Unlock()
			return append(gone[q.KeyID], uses...)
		})(o)
	}
}
