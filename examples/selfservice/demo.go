package main

import (
	"context"
	"errors"
	"time"

	"github.com/keyturn/apikey"
)

// demoUsers are who may log in, each for a customer of its own.
var demoUsers = []struct{ email, customer string }{
	{"ada@example.com", "customer-17"},
	{"grace@example.com", "customer-42"},
}

// demoAccounts makes the accounts, with new passwords: one that stood here
// would open every site that somebody forgot to change it on.
func demoAccounts() (all *accounts, passwords map[string]string) {
	all, passwords = newAccounts(), map[string]string{}
	for _, u := range demoUsers {
		passwords[u.email] = all.add(u.email, u.customer)
	}
	return all, passwords
}

// demo makes keys with a past of some weeks, so that there is something to see:
// uses, a rotation, a key that ends soon, one that has ended, one that is
// switched off and one that the operator has switched off. It has a Manager with a clock of its own.
type demo struct {
	keys *apikey.Manager
	now  time.Time
}

const demoDays = 60

// addDemoKeys makes them in a new database. In one where they were made before
// it does nothing, and what was done with them since stays.
func addDemoKeys(ctx context.Context, store apikey.Store, pepper apikey.Secret) error {
	d := &demo{}
	today := time.Now()
	keys, err := apikey.New(store, &apikey.Options{
		Peppers: []apikey.Secret{pepper},
		Now:     func() time.Time { return d.now },
	})
	if err != nil {
		return err
	}
	d.keys = keys

	var production, monthly, paused, locked, warehouse apikey.Issued
	var successor apikey.Issued // of production
	for ago := demoDays; ago >= 1 && err == nil; ago-- {
		d.now = today.AddDate(0, 0, -ago)
		switch ago {
		case demoDays:
			production, err = d.issue(ctx, 0, "Billing, production", 0, "orders:read", "orders:write")
			if errors.Is(err, apikey.ErrExists) {
				return nil
			}
		case demoDays - 1:
			monthly, err = d.issue(ctx, 0, "Weekly report", 80*24*time.Hour, "orders:read")
		case demoDays - 2:
			_, err = d.issue(ctx, 0, "Spring campaign", 30*24*time.Hour, "orders:read")
		case 30:
			warehouse, err = d.issue(ctx, 1, "Warehouse", 0, "orders:read")
		case 25:
			paused, err = d.issue(ctx, 0, "Test bench", 0, "orders:read", "orders:write")
		case 20:
			locked, err = d.issue(ctx, 0, "Web shop", 0, "orders:write")
		case 10:
			_, err = d.owner(0).Disable(d.as(ctx, 0), paused.Key.ID, apikey.Reason("not needed before the next release"))
		case 5:
			support := apikey.WithActor(ctx, "support@example.net")
			_, err = d.keys.Disable(support, locked.Key.ID, apikey.Reason("its token was found in a public repository"))
		case 2:
			successor, err = d.owner(0).Rotate(d.as(ctx, 0), production.Key.ID, 7*24*time.Hour, apikey.Reason("as every 60 days"))
		}
		if err != nil {
			return err
		}
		busy := 4 + ago*7%5 // as good as any
		if day := d.now.Weekday(); day == time.Saturday || day == time.Sunday {
			busy = 1
		}
		err = errors.Join(
			d.use(ctx, production, busy),
			d.use(ctx, successor, busy/2),
			d.use(ctx, warehouse, busy/2),
		)
		if d.now.Weekday() == time.Monday {
			err = errors.Join(err, d.use(ctx, monthly, 1))
		}
		if ago > 5 {
			err = errors.Join(err, d.use(ctx, locked, busy/4+1))
		}
	}
	return errors.Join(err, d.keys.Flush(ctx))
}

// owner is what a user may do.
func (d *demo) owner(user int) *apikey.OwnerManager {
	return d.keys.ForOwner(demoUsers[user].customer, &apikey.OwnerOptions{Scopes: []string{"orders:*"}})
}

func (d *demo) as(ctx context.Context, user int) context.Context {
	return apikey.WithActor(ctx, demoUsers[user].email)
}

// issue makes a key, once for each name.
func (d *demo) issue(ctx context.Context, user int, name string, lifetime time.Duration, scopes ...string) (apikey.Issued, error) {
	return d.owner(user).Issue(d.as(ctx, user), apikey.IssueParams{
		Name: name, Scopes: scopes, Lifetime: apikey.Period{Time: lifetime}, IdempotencyKey: "demo " + name,
	})
}

// use counts uses of a token, if there is one yet.
func (d *demo) use(ctx context.Context, issued apikey.Issued, times int) error {
	if issued.Token.IsZero() {
		return nil
	}
	for range times {
		if _, err := d.keys.Validate(ctx, issued.Token.Reveal()); err != nil {
			return err
		}
	}
	return nil
}
