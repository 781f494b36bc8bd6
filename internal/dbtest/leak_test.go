package dbtest

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// TestNothingLeaks drives tokens, with a pepper, through every call, every
// error and every answer, and then looks for them in all that came out, and in
// all that the database holds.
func TestNothingLeaks(t *testing.T) { Each(t, nothingLeaks) }

func nothingLeaks(t *testing.T, e Engine) {
	d := e.Database(t)
	pepper := apikey.NewSecret("pepper-0123456789-abcdefghij-ABCDEFGHIJ")
	store := apikeytest.NewFailStore(d.Store(t))
	clock := &apikeytest.Clock{}
	out := &collector{t: t}
	m, err := apikey.New(store, &apikey.Options{
		Peppers: []apikey.Secret{pepper}, Now: clock.Now, MaxKeysPerOwner: 1,
		Observe: func(_ context.Context, o apikey.Observation) { out.add("observed", o, nil) },
		Authorize: func(_ context.Context, a apikey.Action, k apikey.Key) error {
			out.add("authorized", []any{a, k}, nil)
			if a == apikey.ActionUpdate {
				return errors.New("refused")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	out.add("manager", m, nil)
	o := m.ForOwner("acme", &apikey.OwnerOptions{Scopes: []string{"a:*"}})
	out.add("owner manager", o, nil)

	var tokens []apikey.Secret
	issued := func(name string) func(apikey.Issued, error) apikey.Issued {
		return func(i apikey.Issued, err error) apikey.Issued {
			out.add(name, i, err)
			if !i.Token.IsZero() {
				tokens = append(tokens, i.Token)
			}
			return i
		}
	}
	first := issued("issue")(m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "n", Scopes: []string{"a:b"}, IdempotencyKey: "k"}))
	id, text := first.Key.ID, first.Token.Reveal()
	if id == "" {
		t.Fatal("nothing was issued")
	}

	// The token where it does not belong: in every text that a call takes.
	for name, value := range map[string]func() (any, error){
		"name":    func() (any, error) { return m.Issue(ctx, apikey.IssueParams{Owner: "x", Name: text + "\n"}) },
		"owner":   func() (any, error) { return m.Issue(ctx, apikey.IssueParams{Owner: text + "\n", Name: "n"}) },
		"scope":   func() (any, error) { return apikey.NewScopes(text + "\n") },
		"network": func() (any, error) { return apikey.ParseNetworks(text) },
		"id":      func() (any, error) { return m.Get(ctx, text) },
		"access":  func() (any, error) { return m.Find(ctx, text) },
		"reason":  func() (any, error) { return m.Disable(ctx, id, apikey.Reason(text+"\n")) },
		"actor":   func() (any, error) { return m.Disable(apikey.WithActor(ctx, text+"\n"), id) },
		"days":    func() (any, error) { return m.DailyUsage(ctx, text, clock.Now().Add(-time.Hour), clock.Now()) },
		"after":   func() (any, error) { return m.List(ctx, apikey.Query{After: text}) },
		"need":    func() (any, error) { return m.Validate(ctx, text, apikey.Scope(text+"\n")) },
		"pepper": func() (any, error) {
			return apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{pepper, pepper}})
		},
		"short pepper": func() (any, error) {
			return apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NewSecret(pepper.Reveal()[:31])}})
		},
		"prefix": func() (any, error) {
			return apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Prefix: text})
		},
		"realm": func() (any, error) {
			return apikeyhttp.New(apikeytest.Deny(nil), &apikeyhttp.Options{Realm: text + "\""})
		},
		"header": func() (any, error) { return apikeyhttp.New(apikeytest.Deny(nil), &apikeyhttp.Options{Header: text}) },
	} {
		v, err := value()
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		out.add(name, v, err)
	}

	// Every call, in states in which it works and in which it does not.
	validate := func() {
		for _, token := range tokens {
			reveal := token.Reveal()
			for _, text := range []string{reveal, reveal + "x", reveal[:len(reveal)-1], strings.ToUpper(reveal), "Bearer " + reveal} {
				k, err := m.Validate(ctx, text, apikey.Scope("a:b"))
				out.add("validate", k, err)
				ask(out, m, text)
			}
		}
	}
	every := func() {
		issued("issue again")(m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "n", IdempotencyKey: "k"}))
		issued("issue by owner")(o.Issue(ctx, apikey.IssueParams{Name: "n"}))
		out.add2("get")(m.Get(ctx, id))
		out.add2("credentials")(o.Credentials(ctx, id))
		out.add2("find")(o.Find(ctx, first.AccessKey()))
		out.add2("list")(m.List(ctx, apikey.Query{IncludeDeleted: true}))
		out.add2("due")(m.RotationDue(ctx, apikey.Query{}))
		out.add2("expiring")(m.Expiring(ctx, 1e6*time.Hour, apikey.Query{}))
		out.add2("events")(m.Events(ctx, apikey.EventQuery{}))
		out.add2("owner's events")(o.Events(ctx, apikey.EventQuery{KeyID: id}))
		out.add2("daily usage")(m.DailyUsage(ctx, id, clock.Now().Add(-time.Hour), clock.Now()))
		out.add2("owner's daily usage")(o.DailyUsage(ctx, id, clock.Now().Add(-time.Hour), clock.Now()))
		out.add2("owner")(m.Owner(ctx, "acme"))
		issued("rotate")(o.Rotate(ctx, id, time.Hour, apikey.Reason("reason")))
		validate()
		out.add2("extend")(o.ExtendRotation(ctx, id, time.Hour))
		out.add2("finish")(o.FinishRotation(ctx, id))
		issued("regenerate")(m.Regenerate(ctx, id, apikey.Reason("reason"), apikey.IfRevision(1)))
		issued("regenerate by owner")(o.Regenerate(ctx, id, apikey.Reason("reason")))
		out.add2("update")(m.Update(ctx, id, apikey.Changes{Name: new("other")}))
		out.add2("update by owner")(o.Update(ctx, id, apikey.Changes{Name: new("more")}))
		out.add2("disable")(m.Disable(ctx, id))
		validate()
		out.add2("enable by owner")(o.Enable(ctx, id))
		out.add2("enable")(m.Enable(ctx, id))
		out.add2("disable owner")(m.DisableOwner(ctx, "acme"))
		validate()
		out.add2("enable owner")(m.EnableOwner(ctx, "acme"))
		out.add("flush", nil, m.Flush(ctx))
		out.add("check", nil, m.Check(ctx))
	}
	every()
	methods := []apikeytest.Method{apikeytest.Lookup, apikeytest.Get, apikeytest.List, apikeytest.Commit, apikeytest.AddUsage, apikeytest.DailyUsage}
	if e.Name != SQLite.Name && !long {
		methods = methods[3:4] // these failures are the same on every engine
	}
	for _, method := range methods {
		for _, done := range []bool{false, true} {
			store.Fail(apikeytest.Failure{Method: method, Forever: true, Done: done})
			every()
			store.Recover()
		}
	}
	every()
	wrong, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		t.Fatal(err)
	}
	out.add2("check without the pepper")(nil, wrong.Check(ctx))
	out.add2("validate without the pepper")(wrong.Validate(ctx, tokens[len(tokens)-1].Reveal()))
	outputs := contents(t, d, "keys", "credentials", "owners", "events", "usage", "usage_days")
	out.add2("delete")(m.Delete(ctx, id))
	validate()
	clock.Advance(100 * 24 * time.Hour)
	out.add2("sweep")(m.Sweep(ctx))
	validate()
	for found := range apikey.Scan([]byte(text), "ak") {
		out.add("scan", found, nil)
	}

	outputs = append([]string{out.String()}, append(outputs, contents(t, d, "events")...)...)
	if !bytes.Contains([]byte(outputs[0]), []byte(first.AccessKey())) || len(tokens) < 8 || len(outputs[0]) < 100_000 {
		t.Fatalf("%d tokens and %d bytes of output: too little was tried", len(tokens), len(outputs[0]))
	}
	for _, secret := range append(tokens, pepper) {
		apikeytest.AssertNoLeak(t, secret, outputs...)
	}
}

// contents returns all that a database holds: the files of SQLite, which keep
// also what was removed, and the rows of every table. Some tables must hold any.
func contents(t *testing.T, d *Database, filled ...string) (all []string) {
	t.Helper()
	if d.server == nil {
		files, err := filepath.Glob(d.Name + "*")
		if err != nil || len(files) < 2 {
			t.Fatalf("the database and its WAL: %v, %v", files, err)
		}
		for _, name := range files {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(content))
		}
	}
	db := d.Pool(t)
	for _, table := range []string{"keys", "credentials", "owners", "events", "usage", "usage_days", "counter", "schema"} {
		content := dump(t, db, "apikey_"+table)
		if content == "" && slices.Contains(filled, table) {
			t.Fatalf("there is nothing in apikey_%s", table)
		}
		all = append(all, content)
	}
	return all
}

// dump returns all values of a table.
func dump(t *testing.T, db *sql.DB, table string) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	values := make([]sql.RawBytes, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	var b strings.Builder
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			b.Write(v)
			b.WriteByte('\n')
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// collector keeps all that calls return, in every form in which a program could
// write it down.
type collector struct {
	t *testing.T
	bytes.Buffer
}

func (c *collector) add2(name string) func(any, error) {
	return func(v any, err error) { c.add(name, v, err) }
}

func (c *collector) add(name string, v any, err error) {
	fmt.Fprintf(c, "%s: %v %+v %#v %s %q %x | %v %+v %#v\n", name, v, v, v, v, v, v, err, err, err)
	if j, jsonErr := json.Marshal([]any{v, err}); jsonErr == nil {
		c.Write(j)
	}
	func() {
		defer func() { fmt.Fprint(c, recover()) }() // of a nil pointer
		gob.NewEncoder(c).Encode(v)
	}()
	for e := err; e != nil; e = errors.Unwrap(e) {
		fmt.Fprintf(c, "%T %+v\n", e, e)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(c, nil), slog.NewJSONHandler(c, nil)} {
		slog.New(h).Info(name, "value", v, "err", err)
	}
	func() {
		defer func() { fmt.Fprint(c, recover()) }()
		panic(fmt.Sprint(v, err))
	}()
}

// ask calls a protected route and keeps all of the answer.
func ask(c *collector, m *apikey.Manager, token string) {
	guard, err := apikeyhttp.New(m, nil)
	if err != nil {
		panic(err)
	}
	h := guard.Require("a:b")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := apikey.FromContext(r.Context())
		fmt.Fprintf(w, "%+v %v", key, r.Context())
	}))
	for _, header := range []string{"Authorization", "X-API-Key"} {
		r := httptest.NewRequest("GET", "/", nil)
		value := token
		if header == "Authorization" {
			value = "Bearer " + token
		}
		r.Header.Set(header, value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Fprint(c, w.Code, w.Header(), w.Body)
	}
}
