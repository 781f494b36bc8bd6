package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/keyturn/apikey"
)

// brokenFit differ from memstore in what they report about themselves.
var brokenFit = []broken{
	{"PepperIDs returns current ones only", "pepper ids", peppersOf(func(r apikey.Record, c apikey.Credential) bool {
		return c.ID == r.Key.CredentialID
	})},
	{"PepperIDs leaves out retired ones", "pepper ids", peppersOf(func(r apikey.Record, c apikey.Credential) bool {
		return c.ID == r.Key.CredentialID || c.ID == r.Key.RetiringID
	})},
	{"PepperIDs leaves out deleted records", "pepper ids", peppersOf(func(r apikey.Record, _ apikey.Credential) bool {
		return r.Key.DeletedAt.IsZero()
	})},
	{"PepperIDs returns one twice", "pepper ids", afterPeppers(func(list []string) []string {
		if i := slices.Index(list, "current1"); i >= 0 {
			return append(list, list[i])
		}
		return list
	})},
	{"PepperIDs folds case", "pepper ids", afterPeppers(func(list []string) []string {
		slices.Sort(list)
		return slices.CompactFunc(list, func(a, b string) bool { return bytes.EqualFold([]byte(a), []byte(b)) })
	})},
	{"PepperIDs keeps those that are gone", "pepper ids", func(o *overridden) {
		seen := map[string]bool{}
		o.peppers = func(ctx context.Context) ([]string, error) {
			list, err := o.Store.PepperIDs(ctx)
			for _, id := range list {
				seen[id] = true
			}
			for id := range seen {
				if !slices.Contains(list, id) && strings.HasPrefix(id, "ret") {
					list = append(list, id)
				}
			}
			return list, err
		}
	}},
	{"PepperIDs ignores the end of the context", "calls after the context ended", func(o *overridden) {
		o.peppers = func(context.Context) ([]string, error) { return o.Store.PepperIDs(background) }
	}},
	{"Check ignores the end of the context", "calls after the context ended", func(o *overridden) {
		o.check = func(context.Context) error { return nil }
	}},
	{"Check finds fault with what is stored", "a store that is fit for use", func(o *overridden) {
		o.check = func(ctx context.Context) error {
			if log, _ := o.Store.Events(background, apikey.EventQuery{Limit: 1}); len(log) > 0 && ctx.Err() == nil {
				return errors.New("there are events")
			}
			return o.Store.Check(ctx)
		}
	}},
	{"Check finds fault with an empty store", "a store that is fit for use", func(o *overridden) {
		o.check = func(ctx context.Context) error {
			if log, _ := o.Store.Events(background, apikey.EventQuery{Limit: 1}); len(log) == 0 && ctx.Err() == nil {
				return errors.New("there are no events")
			}
			return o.Store.Check(ctx)
		}
	}},
	{"Check leaves an event behind", "a store that is fit for use", func(o *overridden) {
		o.check = func(ctx context.Context) error {
			if err := o.Store.Check(ctx); err != nil {
				return err
			}
			_, err := o.Store.Commit(ctx, apikey.Commit{Events: []apikey.Event{{Kind: "check", At: base}}})
			return err
		}
	}},
	{"Check adds usage", "a store that is fit for use", func(o *overridden) {
		o.check = func(ctx context.Context) error {
			for _, r := range o.everyRecord() {
				o.Store.AddUsage(ctx, []apikey.Usage{used(r, r.Key.CredentialID, 1, base)})
			}
			return o.Store.Check(ctx)
		}
	}},
}

func afterPeppers(change func([]string) []string) func(*overridden) {
	return func(o *overridden) {
		o.peppers = func(ctx context.Context) ([]string, error) {
			list, err := o.Store.PepperIDs(ctx)
			return change(list), err
		}
	}
}

// peppersOf returns the ids of some credentials only.
func peppersOf(which func(apikey.Record, apikey.Credential) bool) func(*overridden) {
	return func(o *overridden) {
		o.peppers = func(ctx context.Context) ([]string, error) {
			var list []string
			for _, r := range o.everyRecord() {
				for _, c := range r.Credentials {
					if which(r, c) && !slices.Contains(list, c.PepperID) {
						list = append(list, c.PepperID)
					}
				}
			}
			return list, ctx.Err()
		}
	}
}
