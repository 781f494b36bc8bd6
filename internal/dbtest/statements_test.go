package dbtest

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// hostile are texts that mean something in SQL, or to a driver. All hold a
// word that is in no statement.
var hostile = []string{
	`'; DROP TABLE apikey_keys; -- zzqx`,
	`" OR ""="zzqx`,
	`zzqx\' OR 1=1 #`,
	`zzqx\\\`,
	`/* zzqx */ UNION SELECT`,
	`? ?? $1 $2 :zzqx @zzqx %s %d %!v(zzqx)`,
	"`zzqx` [zzqx] {zzqx}",
	`NULL zzqx`,
	"zzqx \U0001F511 \U00010348 é",
	`$$zzqx$$ E'\x27'`,
	`zzqx%_*`,
}

// TestHostileTexts checks that no text of a caller becomes part of a statement:
// a whole life sends the same statements whatever the texts are, they come back
// as they were, and all tables are still there.
func TestHostileTexts(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		want := lifeOf(t, e, "plain")
		if len(want) < 20 {
			t.Fatalf("only %d statements", len(want))
		}
		for _, text := range hostile {
			t.Run(text, func(t *testing.T) {
				if diff := cmp.Diff(want, lifeOf(t, e, text)); diff != "" {
					t.Errorf("other statements:\n%s", diff)
				}
			})
		}
	})
}

// TestNUL checks that a text with a zero byte, which PostgreSQL cannot hold, is
// refused before a statement is sent.
func TestNUL(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		s, _, store := e.newSpied(t, nil)
		m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, text := t.Context(), "a\x00b"
		s.preparing = true
		for name, call := range map[string]func() error{
			"owner": func() error { _, err := m.Issue(ctx, apikey.IssueParams{Owner: text, Name: "n"}); return err },
			"name":  func() error { _, err := m.Issue(ctx, apikey.IssueParams{Owner: "o", Name: text}); return err },
			"scope": func() error {
				_, err := m.Issue(ctx, apikey.IssueParams{Owner: "o", Name: "n", Scopes: []string{text}})
				return err
			},
			"metadata": func() error {
				_, err := m.Issue(ctx, apikey.IssueParams{Owner: "o", Name: "n", Metadata: map[string]string{text: "v"}})
				return err
			},
			"reason": func() error {
				_, err := m.Issue(ctx, apikey.IssueParams{Owner: "o", Name: "n"}, apikey.Reason(text))
				return err
			},
			"idempotency key": func() error {
				_, err := m.Issue(ctx, apikey.IssueParams{Owner: "o", Name: "n", IdempotencyKey: text})
				return err
			},
			"actor": func() error {
				_, err := m.Issue(apikey.WithActor(ctx, text), apikey.IssueParams{Owner: "o", Name: "n"})
				return err
			},
			"disabled owner": func() error { _, err := m.DisableOwner(ctx, text); return err },
			"owner read":     func() error { _, err := m.Owner(ctx, text); return err },
			"owner listed":   func() error { _, err := m.List(ctx, apikey.Query{Owner: text}); return err },
			"id":             func() error { _, err := m.Get(ctx, text); return err },
			"days": func() error {
				_, err := m.DailyUsage(ctx, text, start, start.Add(time.Hour))
				return err
			},
			"after":      func() error { _, err := m.List(ctx, apikey.Query{After: text}); return err },
			"access key": func() error { _, err := m.Find(ctx, "ak_"+text); return err },
			"token":      func() error { _, err := m.Validate(ctx, "ak_"+text); return err },
		} {
			t.Run(name, func(t *testing.T) {
				s.reset(nil, nil)
				if err := call(); err == nil {
					t.Error("accepted")
				}
				if n := len(s.all()); n != 0 {
					t.Errorf("%d statements were sent", n)
				}
			})
		}
	})
}

// lifeOf runs through the life of a key of which every text is the one given,
// and returns the statements that were sent.
func lifeOf(t *testing.T, e Engine, text string) []string {
	t.Helper()
	s, _, store := e.newSpied(t, &sqlstore.Options{Attempts: 1})
	now := start
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: func() time.Time { return now }, MaxKeysPerOwner: 3})
	if err != nil {
		t.Fatal(err)
	}
	s.preparing = true
	s.reset(nil, nil)
	ctx := apikey.WithActor(t.Context(), "actor "+text)
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	owner := "owner " + text
	params := apikey.IssueParams{
		Owner: owner, Name: "name " + text, Scopes: []string{"a:b"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Metadata: map[string]string{"data": text, "more": text + text}, IdempotencyKey: text,
	}
	issued, err := m.Issue(ctx, params, apikey.Reason("reason "+text))
	must("issue", err)
	if _, err := m.Issue(ctx, params, apikey.Reason("reason "+text)); !errors.Is(err, apikey.ErrExists) {
		t.Fatalf("issue again: %v", err)
	}
	id := issued.Key.ID
	_, err = m.Validate(ctx, issued.Token.Reveal(), apikey.From(netip.MustParseAddr("192.0.2.1")))
	must("validate", err)
	must("flush", m.Flush(ctx))
	days, err := m.DailyUsage(ctx, id, start, start.Add(time.Hour))
	must("daily usage", err)
	if len(days) != 1 || days[0].Uses != 1 {
		t.Errorf("other days came back: %+v", days)
	}
	_, err = m.Update(ctx, id, apikey.Changes{Name: new("new " + text), Metadata: new(map[string]string{"data": "new " + text})}, apikey.Reason(text))
	must("update", err)
	_, err = m.Disable(ctx, id, apikey.Reason("why "+text))
	must("disable", err)
	key, err := m.Get(ctx, id)
	must("get", err)
	if key.Owner != owner || key.Name != "new "+text || key.DisabledReason != "why "+text || key.DisabledBy != "actor "+text {
		t.Errorf("other texts came back: %+v", key)
	}
	if data, _ := key.Metadata.Get("data"); data != "new "+text {
		t.Errorf("other metadata came back: %q", data)
	}
	_, err = m.Enable(ctx, id, apikey.Reason(text))
	must("enable", err)
	_, err = m.Rotate(ctx, id, time.Hour, apikey.Reason(text))
	must("rotate", err)
	_, err = m.FinishRotation(ctx, id, apikey.Reason(text))
	must("finish rotation", err)
	_, err = m.Regenerate(ctx, id, apikey.Reason(text))
	must("regenerate", err)
	_, err = m.DisableOwner(ctx, owner, apikey.Reason(text))
	must("disable owner", err)
	state, err := m.Owner(ctx, owner)
	must("owner", err)
	if state.DisabledReason != text || state.DisabledBy != "actor "+text {
		t.Errorf("other texts came back: %+v", state)
	}
	_, err = m.EnableOwner(ctx, owner, apikey.Reason(text))
	must("enable owner", err)
	keys, err := m.List(ctx, apikey.Query{Owner: owner})
	must("list", err)
	events, err := m.Events(ctx, apikey.EventQuery{KeyID: id})
	must("events", err)
	if len(keys) != 1 || len(events) != 7 || events[0].Reason != "reason "+text || events[0].Actor != "actor "+text {
		t.Errorf("%d keys and %d events came back", len(keys), len(events))
	}
	_, err = m.Delete(ctx, id, apikey.Reason(text))
	must("delete", err)
	now = now.AddDate(1, 0, 0)
	swept, err := m.Sweep(ctx)
	must("sweep", err)
	if swept.Keys != 1 {
		t.Errorf("%d keys were swept", swept.Keys)
	}
	must("check", checkStatements(s, text))
	return slices.Sorted(maps.Keys(statements(s)))
}

// statements returns the texts of all statements that were sent.
func statements(s *spy) map[string]bool {
	all := map[string]bool{}
	for _, c := range s.all() {
		all[c.statement] = true
	}
	return all
}

// checkStatements looks for a text in statements.
func checkStatements(s *spy, text string) error {
	for statement := range statements(s) {
		if text != "plain" && (strings.Contains(statement, text) || strings.Contains(statement, "zzqx")) {
			return fmt.Errorf("a text of the caller in a statement: %s", statement)
		}
	}
	return nil
}
