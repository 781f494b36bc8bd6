package dbtest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// learner is a store whose answers to a caller without the secret, or of
// another owner, must not depend on the key: one key with everything that a key
// can have, one with little.
type learner struct {
	m          *apikey.Manager
	store      *sqlstore.Store
	heavy      apikey.Issued // of acme, with 61 credentials
	bare       apikey.Issued // with one of each
	unknown    string        // a key id that is not stored
	unknownKey string        // an access key that is not stored
}

func newLearner(t testing.TB, e Engine) *learner {
	t.Helper()
	ctx := t.Context()
	l := &learner{store: e.Database(t).Store(t), unknown: strings.Repeat("0", 20), unknownKey: "ak_" + strings.Repeat("0", 16)}
	now := start
	m, err := apikey.New(l.store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	p := apikey.IssueParams{Owner: "acme", Name: strings.Repeat("n", 200), Metadata: map[string]string{}}
	for i := range 100 {
		p.Scopes = append(p.Scopes, fmt.Sprintf("scope%03d:%s", i, strings.Repeat("x", 80)))
		p.Networks = append(p.Networks, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24))
	}
	for i := range 50 {
		p.Metadata[fmt.Sprint("key ", i)] = strings.Repeat("v", 200)
	}
	l.m = m
	if l.heavy, err = m.Issue(ctx, p); err != nil {
		t.Fatal(err)
	}
	for range 60 {
		if l.heavy, err = m.Regenerate(ctx, l.heavy.Key.ID); err != nil {
			t.Fatal(err)
		}
	}
	p = apikey.IssueParams{
		Owner: "acme", Name: "n", Scopes: p.Scopes[:1], Networks: p.Networks[:1], Metadata: map[string]string{"a": "b"},
	}
	if l.bare, err = m.Issue(ctx, p); err != nil {
		t.Fatal(err)
	}
	return l
}

// allocations returns how many allocations a call makes. They are counted for
// the whole process, where others add to them, so the fewest of several runs
// count.
func allocations(call func()) float64 {
	fewest := testing.AllocsPerRun(10, call)
	for range 4 {
		fewest = min(fewest, testing.AllocsPerRun(10, call))
	}
	return fewest
}

// TestWrongSecretParsesNothing checks that a wrong secret makes the same
// allocations for a key with 100 scopes, 100 networks and 50 metadata entries as
// for a bare one: their columns are not parsed.
func TestWrongSecretParsesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	Each(t, func(t *testing.T, e Engine) {
		l := newLearner(t, e)
		of := func(issued apikey.Issued) float64 {
			wrong := wrongSecretOf(issued.Token)
			return allocations(func() {
				if _, err := l.m.Validate(context.Background(), wrong); err != apikey.ErrInvalid {
					t.Error(err)
				}
			})
		}
		heavy, bare := of(l.heavy), of(l.bare)
		t.Logf("%.0f allocations for the key with everything, %.0f for the bare one", heavy, bare)
		if heavy > bare+2 {
			t.Errorf("a wrong secret allocates %.0f times for the key with everything, %.0f times for the bare one", heavy, bare)
		}
	})
}

// TestForeignKeyReadsNothing checks that what an OwnerManager does with another
// owner's key makes the same allocations as with a key that is not stored.
func TestForeignKeyReadsNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	Each(t, func(t *testing.T, e Engine) {
		l := newLearner(t, e)
		other := l.m.ForOwner("other", nil)
		ctx := context.Background()
		for name, call := range map[string]func(id, accessKey string) error{
			"Get":         func(id, _ string) error { _, err := other.Get(ctx, id); return err },
			"Credentials": func(id, _ string) error { _, err := other.Credentials(ctx, id); return err },
			"Find":        func(_, accessKey string) error { _, err := other.Find(ctx, accessKey); return err },
			"Events":      func(id, _ string) error { _, err := other.Events(ctx, apikey.EventQuery{KeyID: id}); return err },
			"DailyUsage": func(id, _ string) error {
				_, err := other.DailyUsage(ctx, id, start, start.AddDate(0, 0, 1))
				return err
			},
			"Disable":    func(id, _ string) error { _, err := other.Disable(ctx, id); return err },
			"Regenerate": func(id, _ string) error { _, err := other.Regenerate(ctx, id); return err },
		} {
			t.Run(name, func(t *testing.T) {
				of := func(id, accessKey string) float64 {
					return allocations(func() {
						if err := call(id, accessKey); !errors.Is(err, apikey.ErrNotFound) {
							t.Error(err)
						}
					})
				}
				foreign, unknown := of(l.heavy.Key.ID, l.heavy.AccessKey()), of(l.unknown, l.unknownKey)
				t.Logf("%.0f allocations for another owner's key, %.0f for an unknown one", foreign, unknown)
				if foreign > unknown+2 {
					t.Errorf("another owner's key makes %.0f allocations, an unknown one %.0f", foreign, unknown)
				}
			})
		}
	})
}

// BenchmarkLearn measures what the tests above count.
func BenchmarkLearn(b *testing.B) {
	for _, e := range Engines(b) {
		b.Run(e.Name, func(b *testing.B) {
			l := newLearner(b, e)
			other := l.m.ForOwner("other", nil)
			ctx := context.Background()
			for _, bench := range []struct {
				name string
				call func() error
			}{
				{"wrong secret, key with everything", validate(l.m, wrongSecretOf(l.heavy.Token))},
				{"wrong secret, bare key", validate(l.m, wrongSecretOf(l.bare.Token))},
				{"right secret, bare key", validate(l.m, l.bare.Token.Reveal())},
				{"another owner's key", func() error { _, err := other.Get(ctx, l.heavy.Key.ID); return err }},
				{"unknown key", func() error { _, err := other.Get(ctx, l.unknown); return err }},
				{"another owner's access key", func() error { _, err := other.Find(ctx, l.heavy.AccessKey()); return err }},
				{"unknown access key", func() error { _, err := other.Find(ctx, l.unknownKey); return err }},
			} {
				b.Run(bench.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						bench.call()
					}
				})
			}
		})
	}
}

func validate(m *apikey.Manager, token string) func() error {
	return func() error { _, err := m.Validate(context.Background(), token); return err }
}

// TestSweepPassesDamagedKeys checks that a deleted key that is damaged does not
// keep others from being swept.
func TestSweepPassesDamagedKeys(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		ctx := t.Context()
		db := e.Database(t).Pool(t)
		now := start
		m, err := apikey.New(sqlstore.New(db, e.Dialect, nil), &apikey.Options{
			Peppers: []apikey.Secret{apikey.NoPepper()}, Now: func() time.Time { return now },
		})
		is.NoErr(err)
		var deleted, replaced []string
		for range 5 {
			issued, err := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
			is.NoErr(err)
			_, err = m.Delete(ctx, issued.Key.ID)
			is.NoErr(err)
			deleted = append(deleted, issued.Key.ID)
			issued, err = m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
			is.NoErr(err)
			_, err = m.Regenerate(ctx, issued.Key.ID)
			is.NoErr(err)
			replaced = append(replaced, issued.Key.ID)
		}
		for _, id := range []string{deleted[1], deleted[3], replaced[2]} {
			mustExec(t, db, "UPDATE apikey_keys SET metadata = '{' WHERE id = '"+id+"'")
		}
		now = start.AddDate(0, 0, 91)
		swept, err := m.Sweep(ctx)
		is.Equal(swept, apikey.Swept{Keys: 3, Credentials: 4})
		for _, id := range []string{deleted[1], deleted[3], replaced[2]} {
			is.True(err != nil && strings.Contains(err.Error(), id))
		}
	})
}
