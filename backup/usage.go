package backup

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/keyturn/apikey"
)

// usageBatch is how many uses are added at once.
const usageBatch = 1000

// readKey reads a key with its usage per day. It reads the days first: uses
// that are added in between then belong to no day. The other way around they
// would be missing from the uses without a day, and a Restore could add them
// twice.
func readKey(ctx context.Context, store apikey.Store, id string) (k keyState, err error) {
	days, err := dailyUsage(ctx, store, id)
	if err != nil {
		return keyState{}, err
	}
	if k.Record, err = store.Get(ctx, id, ""); err != nil {
		return keyState{}, err
	}
	if len(days) > 0 {
		k.days = map[string][]apikey.Usage{}
	}
	for _, u := range days {
		k.days[u.CredentialID] = append(k.days[u.CredentialID], u)
	}
	return k, nil
}

// dailyUsage reads the usage of a key on every day, oldest first.
func dailyUsage(ctx context.Context, store apikey.Store, id string) ([]apikey.Usage, error) {
	return store.DailyUsage(ctx, apikey.UsageQuery{
		KeyID: id,
		From:  time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		Until: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
	})
}

// missingUses returns by how much the uses of a key exceed the stored ones, for
// each credential and day, and for those of no known day.
func missingUses(k, stored *keyState) []apikey.Usage {
	var missing []apikey.Usage
	add := func(u apikey.Usage, stored int64) {
		if u.Uses -= stored; u.Uses > 0 {
			missing = append(missing, u)
		}
	}
	for i := range k.Credentials {
		c := &k.Credentials[i]
		dated, undated := map[int64]int64{}, int64(0)
		for _, u := range stored.days[c.ID] {
			dated[u.Day.Unix()] = u.Uses
		}
		for j := range stored.Credentials {
			if stored.Credentials[j].ID == c.ID {
				undated = stored.undated(&stored.Credentials[j])
			}
		}
		for _, u := range k.days[c.ID] {
			add(u, dated[u.Day.Unix()])
		}
		add(apikey.Usage{KeyID: k.Key.ID, CredentialID: c.ID, Uses: k.undated(c), LastUsedAt: c.LastUsedAt}, undated)
	}
	return missing
}

// addUses adds uses in batches. It never adds a batch again: a later Restore
// reads what there is.
func addUses(ctx context.Context, store apikey.Store, uses []apikey.Usage) error {
	slices.SortFunc(uses, func(a, b apikey.Usage) int {
		return cmp.Or(cmp.Compare(a.CredentialID, b.CredentialID), a.Day.Compare(b.Day))
	})
	for batch := range slices.Chunk(uses, usageBatch) {
		if err := store.AddUsage(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// withoutUsage returns a key as it was before it was used.
func (k keyState) withoutUsage() keyState {
	k.days = nil
	k.Credentials = slices.Clone(k.Credentials)
	for i := range k.Credentials {
		k.Credentials[i].LastUsedAt, k.Credentials[i].Uses = time.Time{}, 0
	}
	return k
}
