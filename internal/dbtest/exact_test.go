package dbtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// alike are texts that databases take for one another, under one collation,
// type or comparison or another, or for a pattern, a number or nothing.
var alike = []string{
	"a", "A", "a ", " a", "a  ", "a\t", "a\n", "á", "a\u0301", "ä", "ａ", "aa", "aA", "a\u200b", "a\u00ad",
	"é", "e\u0301", "É", "ß", "ss", "SS", "ẞ", "ﬀ", "ff", "i", "I", "ı", "İ", "K", "\u212a", "σ", "ς", "Σ",
	"%", "_", "a%", "a_", `a\`, `a\%`, `\`, `'`, `"`, "`", "a'--", "$1", "?", ":a", "@a", "*",
	"0", "00", "0.0", "1", "1.0", "1e0", "0x1", "-0", "NULL", "null", "true", "[]", "{}", "<&>\u2028",
	"\U0001d4b6", "\U0001f511", "\U0001f512", "\U0010ffff", "\ufffd", "\uffff",
	strings.Repeat("x", 254), strings.Repeat("x", 255), strings.Repeat("x", 254) + "X",
	strings.Repeat("é", 127), strings.Repeat("\U0001f511", 63),
}

// foreign are texts that are not stored. No column could hold some of them.
var foreign = []string{
	"", "b", "a   ", "a\x00", "\x00", "\x00a", "a\x00a", "\xff", "a\xff", "\xc3", "\xed\xa0\x80", "\xc0\x80",
	strings.Repeat("x", 253), strings.Repeat("x", 256), strings.Repeat("x", 10_000), strings.Repeat("\U0001f511", 64),
}

// moments are times that are cut, unset, shifted or refused somewhere.
var moments = []time.Time{
	{},
	start,
	time.Date(2026, 3, 1, 12, 0, 0, 123_456_789, time.UTC),
	time.Date(2026, 3, 1, 12, 0, 0, 999_999_999, time.UTC),
	time.Date(2026, 3, 1, 12, 0, 0, 1_000, time.UTC),
	time.Date(2026, 3, 1, 12, 0, 0, 1_000, time.FixedZone("odd", -12345)),
	time.Date(2026, 3, 29, 2, 30, 0, 0, time.UTC), // no such local time in much of Europe
	time.Date(1970, 1, 1, 0, 0, 0, 1_000, time.UTC),
	time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
	time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	time.Date(1582, 10, 10, 0, 0, 0, 1_000, time.UTC),
	time.Date(1, 1, 1, 0, 0, 0, 1_000, time.UTC),
	time.Date(2038, 1, 19, 3, 14, 8, 0, time.UTC),
	time.Date(9998, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
	time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
}

// exactAnswer is what a store said.
type exactAnswer struct {
	Question string
	Value    any
	Err      string
}

// asker asks a store and keeps what it says.
type asker struct {
	*testing.T
	store   apikey.Store
	n       int // of Records and events
	answers []exactAnswer
}

func (a *asker) keep(question string, value any, err error) {
	said := ""
	switch {
	case err == nil:
	case errors.Is(err, apikey.ErrNotFound), errors.Is(err, apikey.ErrConflict), errors.Is(err, apikey.ErrExists), errors.Is(err, apikey.ErrLimit):
		said = err.Error()
	default:
		a.Errorf("%s: %v", question, err)
	}
	a.answers = append(a.answers, exactAnswer{question, value, said})
}

func (a *asker) commit(question string, c apikey.Commit) {
	a.n++
	if c.Events == nil {
		c.Events = []apikey.Event{{Position: apikey.Position{Nonce: nonceOf(a.n)}, At: start, Kind: "test"}}
	}
	position, err := a.store.Commit(a.Context(), c)
	a.keep("commit "+question, position, err)
}

// record returns a new Record with one Credential.
func (a *asker) record(id, owner, credential string) apikey.Record {
	a.n++
	r := newRecord(a, owner, a.n)
	r.Key.ID, r.Key.CredentialID, r.Credentials[0].ID = id, credential, credential
	return r
}

// read asks for everything that a text could name.
func (a *asker) read(text string) {
	ctx := a.Context()
	match, err := lookup(ctx, a.store, text)
	match.Credential.LastUsedAt, match.Credential.Uses = time.Time{}, 0 // Lookup may leave them out
	a.keep(fmt.Sprintf("lookup %.20q", text), match, err)
	record, err := a.store.Get(ctx, text, "")
	a.keep(fmt.Sprintf("get %.20q", text), record, err)
	owner, err := a.store.Owner(ctx, text)
	a.keep(fmt.Sprintf("owner %.20q", text), owner, err)
	days, err := a.store.DailyUsage(ctx, apikey.UsageQuery{KeyID: text, From: moments[11], Until: moments[len(moments)-1]})
	a.keep(fmt.Sprintf("days of %.20q", text), days, err)
}

// list asks for what a text could select.
func (a *asker) list(text string) {
	for _, ask := range []struct {
		name  string
		query apikey.Query
	}{
		{"list of owner", apikey.Query{Owner: text, Limit: 1000}},
		{"list after", apikey.Query{After: text, Limit: 1000}},
	} {
		records, err := a.store.List(a.Context(), ask.query)
		var ids []string
		for _, r := range records {
			ids = append(ids, r.Key.ID)
		}
		a.keep(fmt.Sprintf("%s %.20q", ask.name, text), ids, err)
	}
	events, err := a.store.Events(a.Context(), apikey.EventQuery{KeyID: text, Limit: 1000})
	a.keep(fmt.Sprintf("events of %.20q", text), events, err)
}

// texts asks about texts that are alike: each is a key, an owner and a
// credential of its own.
func (a *asker) texts() {
	for _, text := range alike {
		r := a.record(text, text, text)
		k := &r.Key
		k.Name, k.DisabledBy, k.DisabledReason, k.RetiringID, k.Prefix, r.Credentials[0].Prefix = text, text, text, text, text, text
		k.Metadata = apikey.NewMetadata(map[string]string{text: text, "empty": "", "A": "1", "a": "2", "a ": "3"})
		r.Seal, r.Credentials[0].Seal, r.Credentials[0].PepperID, r.Credentials[0].Digest = text, text, text, apikey.Digest(text)
		e := event(r)
		e.Kind, e.OldCredentialID, e.Actor, e.Reason, e.Seal = apikey.EventKind(text), text, text, text, text
		e.Data = k.Metadata
		a.commit(fmt.Sprintf("new %.20q", text), apikey.Commit{Records: []apikey.Record{r}, Events: []apikey.Event{e}, Limit: 1})
	}
	for _, text := range alike {
		a.commit("taken", apikey.Commit{Records: []apikey.Record{a.record(text, "other", "other")}})
		a.commit("taken credential", apikey.Commit{Records: []apikey.Record{a.record("other", "other", text)}})
		a.commit("limit", apikey.Commit{Records: []apikey.Record{a.record("other", text, "other")}, Limit: 1})
	}
	ask := func() {
		for _, text := range append(alike, foreign...) {
			a.read(text)
			if !strings.ContainsRune(text, 0) && strings.ToValidUTF8(text, "") == text {
				a.list(text)
			}
		}
	}
	ask()
	var uses []apikey.Usage
	for i, text := range alike { // one changes, one is used, one goes
		switch i % 3 {
		case 0:
			r := a.record(text, text, text)
			r.Key.Revision, r.Key.Name = 1, "changed"
			a.commit(fmt.Sprintf("change %.20q", text), apikey.Commit{
				Records: []apikey.Record{r},
				Owners:  []apikey.Owner{{ID: text, DisabledAt: start, DisabledBy: text, DisabledReason: text, Nonce: r.Nonce, Seal: text}},
			})
		case 1:
			uses = append(uses, apikey.Usage{CredentialID: text, Day: start, Uses: int64(i), LastUsedAt: start.Add(time.Duration(i) * time.Microsecond)})
		case 2:
			a.commit(fmt.Sprintf("purge %.20q", text), apikey.Commit{Purge: []apikey.RecordRef{{ID: text, Revision: 1}}})
		}
	}
	a.keep("add usage", nil, a.store.AddUsage(a.Context(), uses))
	ask()
}

// times asks about moments, in each field that holds one.
func (a *asker) times() {
	for i, at := range moments {
		id := fmt.Sprint("moment ", i)
		r := a.record(id, id, id)
		k, c := &r.Key, &r.Credentials[0]
		for _, field := range []*time.Time{
			&k.CreatedAt, &k.DisabledAt, &k.DeletedAt, &k.IssuedAt, &k.ExpiresAt,
			&c.CreatedAt, &c.ExpiresAt, &c.RetireBefore,
		} {
			*field = at
		}
		e := event(r)
		e.At, e.OldExpiresAt = at, at
		a.commit(id, apikey.Commit{
			Records: []apikey.Record{r}, Events: []apikey.Event{e},
			Owners: []apikey.Owner{{ID: id, DisabledAt: at}},
		})
		use := apikey.Usage{CredentialID: id, Day: at, Uses: 1, LastUsedAt: at}
		if early(at) {
			use.LastUsedAt = time.Time{} // which is not moved back
		}
		a.keep("add usage", nil, a.store.AddUsage(a.Context(), []apikey.Usage{use}))
		a.read(id)
		got, err := a.store.Get(a.Context(), id, "")
		if want := at.Truncate(time.Microsecond); err != nil || at.Unix() != 0 && !got.Key.ExpiresAt.Equal(want) {
			a.Errorf("%v came back as %v, %v", want, got.Key.ExpiresAt, err)
		}
	}
	for _, at := range moments {
		if early(at) {
			continue
		}
		at = at.Truncate(time.Microsecond)
		for _, q := range []apikey.Query{
			{ExpiresFrom: at}, {ExpiresBefore: at}, {ExpiresFrom: at, ExpiresBefore: at.Add(time.Microsecond)}, {IssuedBefore: at},
		} {
			q.Limit, q.IncludeDeleted = 1000, true
			records, err := a.store.List(a.Context(), q)
			a.keep(fmt.Sprintf("list %+v", q), records, err)
		}
	}
	events, err := a.store.Events(a.Context(), apikey.EventQuery{Limit: 1000})
	a.keep("events", events, err)
}

// early reports whether a time is before all that a Manager's clock tells. A
// Record that was made by other means may hold it, but no bound or use.
func early(t time.Time) bool { return t.UnixMicro() <= 0 }

// extremes asks about the longest texts, the largest numbers, all bytes, and
// what is empty.
func (a *asker) extremes() {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(255 - i)
	}
	bytes := string(all[1:])
	longest := func(n int) string { return strings.Repeat("\U0001f511", n/4) + strings.Repeat("~", n%4) }
	for i, change := range []func(*apikey.Record, *apikey.Event){
		func(r *apikey.Record, e *apikey.Event) {
			r.Credentials[0].Digest, r.Credentials[0].PepperID = apikey.Digest(bytes), bytes
			r.Seal, r.Credentials[0].Seal, e.Seal = bytes, bytes, bytes
			r.Nonce, r.Credentials[0].Scheme = apikey.Nonce(all[:16]), 255
			e.Position.Nonce = apikey.Nonce(all[240:])
		},
		func(r *apikey.Record, e *apikey.Event) {
			k := &r.Key
			k.Name, k.DisabledBy, k.DisabledReason = longest(200), longest(255), longest(500)
			k.Prefix = strings.Repeat("p", 20)
			r.Credentials[0].Prefix = k.Prefix
			entries := map[string]string{}
			var scopes []string
			var networks []string
			for n := range 100 {
				if n < 50 {
					entries[fmt.Sprintf("%02d", n)+longest(62)] = longest(500)
				}
				scopes = append(scopes, fmt.Sprintf("%03d", n)+strings.Repeat("~", 97))
				networks = append(networks, fmt.Sprintf("2001:db8:1111:2222:3333:4444:5555:%x/128", 0x1000+n))
			}
			k.Metadata = apikey.NewMetadata(entries)
			var err, badNetworks error
			k.Scopes, err = apikey.NewScopes(scopes...)
			k.Networks, badNetworks = apikey.ParseNetworks(strings.Join(networks, " "))
			if err = errors.Join(err, badNetworks); err != nil {
				a.Fatal(err)
			}
			e.Data, e.Kind, e.Actor, e.Reason = k.Metadata, apikey.EventKind(longest(64)), longest(255), longest(500)
		},
		func(r *apikey.Record, e *apikey.Event) {
			r.Key.Rate = apikey.Rate{Requests: math.MaxInt, Period: time.Duration(math.MaxInt64).Truncate(time.Microsecond)}
			e.Revision = math.MaxInt64
		},
		func(r *apikey.Record, e *apikey.Event) {
			r.Key.Rate = apikey.Rate{Requests: math.MinInt, Period: time.Duration(math.MinInt64).Truncate(time.Microsecond)}
			e.Revision = math.MinInt64
		},
		func(r *apikey.Record, e *apikey.Event) {
			id, owner, credential := r.Key.ID, r.Key.Owner, r.Key.CredentialID
			*r = apikey.Record{
				Key:         apikey.Key{ID: id, Owner: owner, CredentialID: credential},
				Credentials: []apikey.Credential{{ID: credential}},
			}
			*e = apikey.Event{}
		},
		func(r *apikey.Record, e *apikey.Event) {
			r.Key.Metadata = apikey.NewMetadata(map[string]string{"": "", " ": " "})
			e.Data = r.Key.Metadata
		},
	} {
		id := fmt.Sprint("extreme ", i)
		r := a.record(id, id, id)
		e := event(r)
		change(&r, &e)
		a.commit(id, apikey.Commit{Records: []apikey.Record{r}, Events: []apikey.Event{e}})
		for _, n := range []int64{math.MaxInt64 - 1, 1} {
			err := a.store.AddUsage(a.Context(), []apikey.Usage{{CredentialID: id, Day: start, Uses: n, LastUsedAt: start}})
			a.keep("add usage", nil, err)
			a.read(id)
		}
	}
	a.commit("owner set back to nothing", apikey.Commit{Owners: []apikey.Owner{{ID: "nothing"}}})
	a.read("nothing")
	events, err := a.store.Events(a.Context(), apikey.EventQuery{Limit: 1000})
	a.keep("events", events, err)
}

// TestExact asks every engine and memstore the same and compares what they say.
func TestExact(t *testing.T) {
	for _, test := range []struct {
		name string
		ask  func(*asker)
	}{
		{"texts", (*asker).texts},
		{"times", (*asker).times},
		{"extremes", (*asker).extremes},
	} {
		t.Run(test.name, func(t *testing.T) {
			memory := &asker{T: t, store: memstore.New()}
			test.ask(memory)
			Each(t, func(t *testing.T, e Engine) {
				a := &asker{T: t, store: e.newStore(t)}
				test.ask(a)
				if diff := cmp.Diff(memory.answers, a.answers, asStored); diff != "" {
					t.Errorf("(- in memory, + here):\n%.10000s", diff)
				}
			})
		})
	}
}

// TestRefusedTexts checks that what some database could not hold is refused
// before any store is asked, in every field, with the same words.
func TestRefusedTexts(t *testing.T) {
	refused := func(t *testing.T, store apikey.Store) (problems []string) {
		is := is.New(t)
		m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
		is.NoErr(err)
		issued, err := m.Issue(t.Context(), apikey.IssueParams{Owner: "acme", Name: "test"})
		is.NoErr(err)
		id := issued.Key.ID
		before, err := m.Get(t.Context(), id)
		is.NoErr(err)
		for _, bad := range []string{"\x00", "a\x00", "\x00a", "a\x00b", "\xff", "a\xc3", "\xed\xa0\x80"} {
			issue := func(change func(*apikey.IssueParams)) func(context.Context) error {
				return func(ctx context.Context) error {
					p := apikey.IssueParams{Owner: "acme", Name: "test"}
					change(&p)
					_, err := m.Issue(ctx, p)
					return err
				}
			}
			reason := func(change func(context.Context, string, ...apikey.ChangeOption) (apikey.Key, error)) func(context.Context) error {
				return func(ctx context.Context) error { _, err := change(ctx, id, apikey.Reason(bad)); return err }
			}
			for _, call := range []struct {
				field string
				run   func(context.Context) error
			}{
				{"owner", issue(func(p *apikey.IssueParams) { p.Owner = bad })},
				{"name", issue(func(p *apikey.IssueParams) { p.Name = bad })},
				{"scopes", issue(func(p *apikey.IssueParams) { p.Scopes = []string{bad} })},
				{"metadata", issue(func(p *apikey.IssueParams) { p.Metadata = map[string]string{bad: ""} })},
				{"metadata", issue(func(p *apikey.IssueParams) { p.Metadata = map[string]string{"a": bad} })},
				{"reason", func(ctx context.Context) error {
					_, err := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "test"}, apikey.Reason(bad))
					return err
				}},
				{"idempotency_key", issue(func(p *apikey.IssueParams) { p.IdempotencyKey = bad })},
				{"actor", func(ctx context.Context) error {
					return issue(func(*apikey.IssueParams) {})(apikey.WithActor(ctx, bad))
				}},
				{"reason", reason(m.Disable)},
				{"reason", reason(m.Enable)},
				{"reason", reason(m.Delete)},
				{"reason", func(ctx context.Context) error { _, err := m.Regenerate(ctx, id, apikey.Reason(bad)); return err }},
				{"reason", func(ctx context.Context) error {
					_, err := m.Rotate(ctx, id, time.Hour, apikey.Reason(bad))
					return err
				}},
				{"name", func(ctx context.Context) error {
					_, err := m.Update(ctx, id, apikey.Changes{Name: &bad})
					return err
				}},
				{"id", func(ctx context.Context) error { _, err := m.Get(ctx, bad); return err }},
				{"id", func(ctx context.Context) error { _, err := m.Disable(ctx, bad); return err }},
				{"id", func(ctx context.Context) error { _, err := m.Credentials(ctx, bad); return err }},
				{"id", func(ctx context.Context) error {
					_, err := m.DailyUsage(ctx, bad, start, start.Add(time.Hour))
					return err
				}},
				{"owner", func(ctx context.Context) error { _, err := m.Owner(ctx, bad); return err }},
				{"owner", func(ctx context.Context) error { _, err := m.DisableOwner(ctx, bad); return err }},
				{"reason", func(ctx context.Context) error { _, err := m.DisableOwner(ctx, "acme", apikey.Reason(bad)); return err }},
				{"owner", func(ctx context.Context) error { _, err := m.List(ctx, apikey.Query{Owner: bad}); return err }},
				{"after", func(ctx context.Context) error { _, err := m.List(ctx, apikey.Query{After: bad}); return err }},
				{"id", func(ctx context.Context) error { _, err := m.Events(ctx, apikey.EventQuery{KeyID: bad}); return err }},
			} {
				err := call.run(t.Context())
				var field *apikey.FieldError
				if !errors.As(err, &field) || field.Field != call.field {
					t.Errorf("%s %q: %v", call.field, bad, err)
				}
				problems = append(problems, strings.ReplaceAll(fmt.Sprint(err), id, "id"))
			}
			// What is no token is told by its form, and refused like all others.
			for _, token := range []string{bad, issued.Token.Reveal() + bad, bad + issued.Token.Reveal()} {
				_, err := m.Validate(t.Context(), token)
				is.Equal(err, apikey.ErrInvalid)
			}
		}
		after, err := m.Get(t.Context(), id)
		is.NoErr(err)
		is.Equal(cmp.Diff(before, after), "")
		is.Equal(len(checkLog(t, store, 0)), 1)
		return problems
	}
	memory := refused(t, memstore.New())
	Each(t, func(t *testing.T, e Engine) {
		is.New(t).Equal(cmp.Diff(memory, refused(t, e.newStore(t))), "")
	})
}
