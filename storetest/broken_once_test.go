package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/keyturn/apikey"
)

// brokenOnce differ from memstore in the names of Commit.Once.
var brokenOnce = []broken{
	{"Commit takes a name again for another key", "name that is taken", func(o *overridden) {
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			if len(c.Once) == 1 && c.Once[0].KeyID != "" {
				if n, taken := o.named(c.Once[0].Name); taken && n.KeyID != c.Once[0].KeyID {
					c = copied(c)
					c.Once = nil
				}
			}
			return o.Store.Commit(ctx, c)
		}
	}},
	{"names are compared outside of the commit", "name under concurrency", func(o *overridden) {
		var looked atomic.Int64
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			if len(c.Once) != 1 || c.Once[0].KeyID != "" {
				return o.Store.Commit(ctx, c)
			}
			_, taken := o.named(c.Once[0].Name)
			if strings.HasPrefix(c.Once[0].Name, "name ") {
				looked.Add(1)
				yield(1000, func() bool { return looked.Load() > 3 })
			}
			position, err := o.Store.Commit(ctx, c)
			if errors.Is(err, apikey.ErrExists) && !taken {
				c = copied(c)
				c.Once = nil
				return o.Store.Commit(ctx, c)
			}
			return position, err
		}
	}},
	{"a purge leaves names", "names of a purged record", func(o *overridden) {
		o.commit = func(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
			names, _ := o.Store.OnceNames(background, apikey.OnceQuery{Limit: all})
			position, err := o.Store.Commit(ctx, c)
			for _, ref := range c.Purge {
				names = slices.DeleteFunc(names, func(n apikey.OnceName) bool { return n.KeyID != ref.ID })
				if err == nil && len(names) > 0 {
					again := once("", "")
					again.Once = names
					o.Store.Commit(background, again)
				}
			}
			return position, err
		}
	}},
	{"OnceNames forgets the key", "names come back", afterNames(func(_ apikey.OnceQuery, list []apikey.OnceName) []apikey.OnceName {
		for i := range list {
			list[i].KeyID = ""
		}
		return list
	})},
	{"OnceNames returns the first position", "names come back", afterNames(func(_ apikey.OnceQuery, list []apikey.OnceName) []apikey.OnceName {
		for i := range list {
			if list[i].Seq == 2 && list[i].Name == "A" {
				list[i].Seq = 1
			}
		}
		return list
	})},
	{"OnceNames ignores case in its order", "order of names", afterNames(func(_ apikey.OnceQuery, list []apikey.OnceName) []apikey.OnceName {
		slices.SortStableFunc(list, func(a, b apikey.OnceName) int {
			if a.Seq != b.Seq {
				return 0
			}
			return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
		})
		return list
	})},
	{"OnceNames returns one too many", "order of names", func(o *overridden) {
		o.once = func(ctx context.Context, q apikey.OnceQuery) ([]apikey.OnceName, error) {
			q.Limit++
			return o.Store.OnceNames(ctx, q)
		}
	}},
	{"OnceNames takes a name for a prefix", "a single name", func(o *overridden) {
		o.once = func(ctx context.Context, q apikey.OnceQuery) ([]apikey.OnceName, error) {
			list, err := o.Store.OnceNames(ctx, q)
			if q.Name == "" || len(list) > 0 || err != nil {
				return list, err
			}
			every, err := o.Store.OnceNames(ctx, apikey.OnceQuery{Limit: all})
			return slices.DeleteFunc(every, func(n apikey.OnceName) bool { return !strings.EqualFold(n.Name, q.Name) }), err
		}
	}},
}

// named returns a name of the memstore behind.
func (o *overridden) named(name string) (apikey.OnceName, bool) {
	list, _ := o.Store.OnceNames(background, apikey.OnceQuery{Name: name, Limit: 1})
	if len(list) == 0 {
		return apikey.OnceName{}, false
	}
	return list[0], true
}

func afterNames(change func(apikey.OnceQuery, []apikey.OnceName) []apikey.OnceName) func(*overridden) {
	return func(o *overridden) {
		o.once = func(ctx context.Context, q apikey.OnceQuery) ([]apikey.OnceName, error) {
			list, err := o.Store.OnceNames(ctx, q)
			return change(q, list), err
		}
	}
}
