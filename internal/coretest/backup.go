package coretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/backup"
)

// populated is a fixture with keys in every state, and the tokens that were
// handed out, by what they are.
func populated(t testing.TB, newStore NewStore) (f *fixture, tokens map[string]apikey.Secret) {
	t.Helper()
	f = newFixture(t, newStore, apikey.Options{})
	f.ctx = apikey.WithActor(f.ctx, "ada <ada@example.com> & co")
	tokens = map[string]apikey.Secret{}
	issue := func(name string, p apikey.IssueParams, opts ...apikey.ChangeOption) apikey.Key {
		t.Helper()
		p.Name = name
		issued := f.issue(p, opts...)
		tokens[name] = issued.Token
		return issued.Key
	}
	change := func(_ any, err error) { t.Helper(); f.no(err) }

	networks, err := apikey.ParseNetworks("192.0.2.0/24 2001:db8::/32")
	f.no(err)
	issue("full", apikey.IssueParams{
		Scopes: []string{"orders:read", "orders:*"}, Networks: networks.Slice(),
		Rate:     apikey.Rate{Requests: 7, Period: 1500 * time.Millisecond},
		Metadata: map[string]string{"plan": `<gold> & "more" \ 'x'`, "Größe": "e\u0301 𝄞", "empty": ""},
	}, apikey.Reason("a <b> & c"))
	issue("expired", apikey.IssueParams{Lifetime: apikey.Period{Time: time.Minute}})
	f.clock.Add(time.Hour)
	change(f.m.Disable(f.ctx, issue("locked", apikey.IssueParams{}).ID, apikey.Reason("looks odd")))
	change(f.m.ForOwner(owner, nil).Disable(f.ctx, issue("disabled by its owner", apikey.IssueParams{}).ID))
	issue("idempotent", apikey.IssueParams{IdempotencyKey: "order 7"})

	rotating := issue("retiring", apikey.IssueParams{})
	issued, err := f.m.Rotate(f.ctx, rotating.ID, 24*time.Hour, apikey.Reason("90 days"))
	f.no(err)
	tokens["rotated"] = issued.Token
	replaced := issue("replaced", apikey.IssueParams{})
	issued, err = f.m.Regenerate(f.ctx, replaced.ID)
	f.no(err)
	tokens["regenerated"] = issued.Token

	change(f.m.Delete(f.ctx, issue("deleted", apikey.IssueParams{}).ID, apikey.Reason("left")))
	issue("of a disabled owner", apikey.IssueParams{Owner: "ÖWNER's \"\\"})
	change(f.m.DisableOwner(f.ctx, "ÖWNER's \"\\", apikey.Reason("unpaid")))
	change(f.m.DisableOwner(f.ctx, "without keys"))
	change(f.m.DisableOwner(f.ctx, "enabled again"))
	change(f.m.EnableOwner(f.ctx, "enabled again"))
	purged := issue("purged", apikey.IssueParams{Owner: "gone"})
	f.no(f.purge(purged.ID))

	// Uses on two days, of the current and of the retiring credential, and some of
	// no known day.
	for day := range 2 {
		for range 3 + day {
			f.no(f.validate(tokens["retiring"]))
			f.no(f.validate(tokens["rotated"]))
			f.no(f.validate(tokens["idempotent"]))
		}
		f.no(f.m.Flush(f.ctx))
		f.clock.Add(12 * time.Hour)
	}
	f.no(f.store.AddUsage(f.ctx, []apikey.Usage{
		{KeyID: rotating.ID, CredentialID: rotating.CredentialID, Uses: 2, LastUsedAt: f.now()},
	}))
	return f, tokens
}

// accessKey is the public half of a token, without secret and checksum.
func accessKey(token apikey.Secret) string {
	text := token.Reveal()
	return text[:len(text)-39]
}

// purge removes a key as Sweep does, without waiting for it.
func (f *fixture) purge(id string) error {
	r, err := f.store.Get(f.ctx, id, "")
	if err != nil {
		return err
	}
	_, err = f.store.Commit(f.ctx, apikey.Commit{
		Purge: []apikey.RecordRef{{ID: id, Revision: r.Key.Revision}},
		Events: []apikey.Event{{
			Position: apikey.Position{Nonce: apikey.Nonce{1, 2, 3}}, At: f.now(), Kind: apikey.EventPurged,
			KeyID: id, Owner: r.Key.Owner, CredentialID: r.Key.CredentialID, Revision: r.Key.Revision + 1,
		}},
	})
	return err
}

// answers returns what Validate says of each token.
func (f *fixture) answers(tokens map[string]apikey.Secret) map[string]string {
	answers := map[string]string{}
	for name, token := range tokens {
		answers[name] = fmt.Sprint(f.validate(token))
	}
	return answers
}

// contents is what a store holds, without what a Restore gives anew.
type contents struct {
	Records []apikey.Record
	Owners  map[string]apikey.Owner
	Events  []apikey.Event
	Days    []apikey.Usage // of all keys, in the order of Records
}

func (f *fixture) contents() contents {
	f.Helper()
	all := contents{Owners: map[string]apikey.Owner{}}
	q := apikey.Query{IncludeDeleted: true, Limit: 1000}
	for {
		page, err := f.store.List(f.ctx, q)
		f.no(err)
		all.Records = append(all.Records, page...)
		if len(page) < q.Limit {
			break
		}
		q.After = page[len(page)-1].Key.ID
	}
	for i := range all.Records {
		r := &all.Records[i]
		r.Key.Revision, r.Nonce = 0, apikey.Nonce{}
		uses, err := f.store.DailyUsage(f.ctx, apikey.UsageQuery{KeyID: r.Key.ID, From: start.AddDate(-1, 0, 0).Truncate(24 * time.Hour), Until: start.AddDate(1, 0, 0).Truncate(24 * time.Hour)})
		f.no(err)
		all.Days = append(all.Days, uses...)
	}
	all.Events = f.events("")
	for i, e := range all.Events {
		all.Events[i].Position.Nonce = apikey.Nonce{}
		o, err := f.store.Owner(f.ctx, e.Owner)
		f.no(err)
		o.Revision, o.Nonce = 0, apikey.Nonce{}
		all.Owners[o.ID] = o
	}
	return all
}

// export returns the file of an Export.
func (f *fixture) export() []byte {
	f.Helper()
	return f.exportOf(f.store)
}

func (f *fixture) exportOf(store apikey.Store) []byte {
	f.Helper()
	var file bytes.Buffer
	f.no(backup.Export(f.ctx, store, &file, f.backupOptions()))
	return file.Bytes()
}

func (f *fixture) restore(file []byte) error {
	return backup.Restore(f.ctx, f.store, bytes.NewReader(file), f.backupOptions())
}

func (f *fixture) backupOptions() *backup.Options {
	return &backup.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: f.clock.Now}
}

// on returns the fixture on another store.
func (f *fixture) on(store apikey.Store) *fixture {
	f.Helper()
	other := *f
	other.store = store
	other.m = other.manager(apikey.Options{})
	return &other
}

// sameAs fails the test if a store that the file of another was restored into
// does not hold what that one holds, and besides it one event for each key and
// each owner that was ever changed.
func (f *fixture) sameAs(want contents) {
	f.Helper()
	got := f.contents()
	restored := map[apikey.EventKind]int{}
	if len(got.Events) < len(want.Events) {
		f.Fatalf("the log has %d events, want %d and more", len(got.Events), len(want.Events))
	}
	for _, e := range got.Events[len(want.Events):] {
		restored[e.Kind]++
		if e.Revision != 1 || e.At != f.now() {
			f.Errorf("%s of revision %d at %v", e.Kind, e.Revision, e.At)
		}
	}
	got.Events = got.Events[:len(want.Events)]
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("other than before:\n%s", diff)
	}
	if diff := cmp.Diff(map[apikey.EventKind]int{
		apikey.EventRestored: len(want.Records), apikey.EventOwnerRestored: 3,
	}, restored); diff != "" {
		f.Errorf("events of the restore:\n%s", diff)
	}
}

func backups(t *testing.T, newStore NewStore) {
	f, tokens := populated(t, newStore)
	file := f.export()
	want := f.contents()
	f.no(f.m.Flush(f.ctx))
	answers := f.answers(tokens)

	t.Run("same tokens, same contents", func(t *testing.T) {
		to := f.on(newStore(t))
		to.TB = t
		to.no(to.restore(file))
		to.sameAs(want)
		if diff := cmp.Diff(answers, to.answers(tokens)); diff != "" {
			t.Errorf("tokens:\n%s", diff)
		}
		to.no(to.m.Check(to.ctx))
		if _, err := to.m.Issue(to.ctx, apikey.IssueParams{Owner: owner, Name: "idempotent", IdempotencyKey: "order 7"}); !errors.Is(err, apikey.ErrExists) {
			t.Errorf("an idempotency key after the restore: %v", err)
		}

		// What was restored is a store like any other.
		again := to.on(newStore(t))
		again.no(again.restore(to.export()))
		for _, r := range want.Records {
			key := again.get(r.Key.ID)
			if key.Revision != 1 || key.Name != r.Key.Name {
				t.Errorf("%q has revision %d", key.Name, key.Revision)
			}
		}
	})

	t.Run("no token in the file", func(t *testing.T) {
		for _, token := range tokens {
			apikeytest.AssertNoLeak(t, token, string(file))
		}
	})

	t.Run("uses of no known day", func(t *testing.T) {
		to := f.on(newStore(t))
		to.TB = t
		issued := to.issue(apikey.IssueParams{})
		use := apikey.Usage{KeyID: issued.Key.ID, CredentialID: issued.Key.CredentialID, Uses: 5, LastUsedAt: to.now()}
		to.no(to.store.AddUsage(to.ctx, []apikey.Usage{use}))
		to.no(to.store.AddUsage(to.ctx, []apikey.Usage{use}))
		use.Day = to.now().Truncate(24 * time.Hour)
		to.no(to.store.AddUsage(to.ctx, []apikey.Usage{use}))
		if key := to.get(issued.Key.ID); key.Uses != 15 || key.LastUsedAt != to.now() {
			t.Errorf("%d uses, the last at %v", key.Uses, key.LastUsedAt)
		}
	})

	t.Run("another store's data", func(t *testing.T) {
		to := f.on(newStore(t))
		to.TB = t
		to.issue(apikey.IssueParams{})
		before := to.contents()
		if err := to.restore(file); !errors.Is(err, backup.ErrOtherData) {
			t.Errorf("error %v", err)
		}
		if diff := cmp.Diff(before, to.contents()); diff != "" {
			t.Errorf("something was written:\n%s", diff)
		}
	})

	t.Run("repeated", func(t *testing.T) {
		to := f.on(newStore(t))
		to.TB = t
		for range 3 {
			to.no(to.restore(file))
		}
		to.sameAs(want)

		differs, err := to.m.Find(to.ctx, accessKey(tokens["full"]))
		to.no(err)
		_, err = to.m.Disable(to.ctx, differs.ID)
		to.no(err)
		before := to.contents()
		if err := to.restore(file); !errors.Is(err, backup.ErrOtherData) {
			t.Errorf("with a key that was changed: %v", err)
		}
		if diff := cmp.Diff(before, to.contents()); diff != "" {
			t.Errorf("something was written:\n%s", diff)
		}
	})

	t.Run("interrupted", func(t *testing.T) { interruptedRestore(t, f, newStore, file, want) })
}

// interruptedRestore lets each call of each method fail in its turn, and
// repeats the Restore with the same file.
func interruptedRestore(t *testing.T, f *fixture, newStore NewStore, file []byte, want contents) {
	for _, mode := range []struct {
		name string
		failure
	}{
		{"not done", failure{}},
		{"done, answer lost", failure{done: true}},
		{"aborted", failure{err: fmt.Errorf("%w: %w", apikey.ErrAborted, errLost)}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			faults := 0
			for nth := 1; ; nth++ {
				store := apikeytest.NewFailStore(newStore(t))
				to := f.on(store)
				to.TB = t
				store.Fail(apikeytest.Failure{Nth: nth, Done: mode.done, Err: mode.err})
				calls := store.Calls(apikeytest.Any)
				err := to.restore(file)
				fired := store.Calls(apikeytest.Any)-calls >= nth
				store.Recover()
				if err != nil && !fired {
					t.Fatal(err)
				}
				to.no(to.restore(file))
				to.sameAs(want)
				if !fired {
					break
				}
				faults++
			}
			if faults < 8 {
				t.Errorf("only %d faults", faults)
			}
			t.Logf("%d faults", faults)
		})
	}
	ended, cancel := context.WithCancel(f.ctx)
	cancel()
	to := f.on(newStore(t))
	if err := backup.Restore(ended, to.store, bytes.NewReader(file), f.backupOptions()); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	if err := backup.Export(ended, f.store, &bytes.Buffer{}, f.backupOptions()); !errors.Is(err, context.Canceled) {
		t.Errorf("an export with a context that has ended: %v", err)
	}
}

type failure struct {
	done bool
	err  error
}
