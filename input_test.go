package apikey_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// badTexts are refused wherever a short printable text is expected.
var badTexts = map[string]string{
	"10 KB":         strings.Repeat("a", 10<<10),
	"NUL":           "a\x00b",
	"invalid UTF-8": "a\xff\xfeb",
	"half a rune":   "a\xe2\x82",
	"surrogate":     "a\xed\xa0\x80",
	"CR LF":         "a\r\nb: c",
	"tab":           "a\tb",
	"escape":        "a\x1b[31m",
	"delete":        "a\x7f",
	"C1 control":    "a\u0085",
	"line sep":      "a\u2028b",
	"override":      "a\u202egnp.exe",
	"zero width":    "a\u200bb",
	"BOM":           "\ufeffa",
	"no-break":      "a\u00a0b",
	"private use":   "a\ue000",
	"noncharacter":  "a\uffff",
	"filler":        "a\u3164",
	"empty Braille": "\u2800",
}

// badIDs cannot be ids of keys; look-alikes are no letters of base62.
var badIDs = map[string]string{
	"empty": "", "short": "abc", "19": strings.Repeat("a", 19), "21": strings.Repeat("a", 21),
	"look-alike": strings.Repeat("a", 18) + "\u0430", "full width": "\uff21" + strings.Repeat("a", 17),
	"underscore": "aaaaaaaaaa_aaaaaaaaa", "space": "aaaaaaaaaaaaaaaaaaa ", "quote": "aaaaaaaaaaaaaaaaaa'-",
}

// TestBadInput gives every exported call every bad input: a *FieldError that
// names the field and does not repeat the input, and nothing is stored.
func TestBadInput(t *testing.T) {
	is := is.New(t)
	m, store, _ := newManager(t, apikey.Options{})
	ctx := t.Context()
	id := issue(t, m, apikey.IssueParams{}).Key.ID
	o := m.ForOwner("acme", &apikey.OwnerOptions{Scopes: []string{"a"}})
	before := dump(t, store)
	good := apikey.IssueParams{Owner: "acme", Name: "test"}
	with := func(change func(*apikey.IssueParams)) apikey.IssueParams {
		p := good
		change(&p)
		return p
	}
	check := func(name, field string, err error) {
		t.Helper()
		var f *apikey.FieldError
		if !errors.As(err, &f) || f.Field != field || f.Problem == "" {
			t.Errorf("%s: %v, want a FieldError for %q", name, err, field)
		} else if len(err.Error()) > 200 {
			t.Errorf("%s: the error repeats the input", name)
		}
	}
	issueErr := func(change func(*apikey.IssueParams)) error { _, err := m.Issue(ctx, with(change)); return err }
	update := func(c apikey.Changes) error { _, err := m.Update(ctx, id, c); return err }

	for name, bad := range badTexts {
		check(name, "owner", issueErr(func(p *apikey.IssueParams) { p.Owner = bad }))
		check(name, "name", issueErr(func(p *apikey.IssueParams) { p.Name = bad }))
		check(name, "reason", second(m.Issue(ctx, good, apikey.Reason(bad))))
		check(name, "idempotency_key", issueErr(func(p *apikey.IssueParams) { p.IdempotencyKey = bad }))
		check(name, "scopes", issueErr(func(p *apikey.IssueParams) { p.Scopes = []string{bad} }))
		check(name, "metadata", issueErr(func(p *apikey.IssueParams) { p.Metadata = map[string]string{bad: "v"} }))
		check(name, "metadata", issueErr(func(p *apikey.IssueParams) { p.Metadata = map[string]string{"k": bad} }))
		check(name, "name", update(apikey.Changes{Name: &bad}))
		check(name, "scopes", update(apikey.Changes{Scopes: &[]string{bad}}))
		check(name, "metadata", update(apikey.Changes{Metadata: &map[string]string{bad: ""}}))
		check(name, "owner", second(m.Owner(ctx, bad)))
		check(name, "owner", second(m.DisableOwner(ctx, bad)))
		check(name, "owner", second(m.EnableOwner(ctx, bad)))
		check(name, "reason", second(m.DisableOwner(ctx, "acme", apikey.Reason(bad))))
		check(name, "reason", second(m.EnableOwner(ctx, "acme", apikey.Reason(bad))))
		check(name, "owner", second(m.List(ctx, apikey.Query{Owner: bad})))
		check(name, "owner", second(m.RotationDue(ctx, apikey.Query{Owner: bad})))
		check(name, "owner", second(m.Expiring(ctx, time.Hour, apikey.Query{Owner: bad})))
		check(name, "after", second(m.List(ctx, apikey.Query{After: bad})))
		check(name, "access_key", second(m.Find(ctx, bad)))
		check(name, "scopes", second(apikey.NewScopes(bad)))
		check(name, "networks", second(apikey.ParseNetworks("192.0.2.0/24 "+strings.ReplaceAll(bad, " ", ""))))
		check(name, "prefix", second(apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Prefix: bad})))
		_, err := m.Validate(ctx, bad)
		is.Equal(err, apikey.ErrInvalid)
		_, err = m.Validate(ctx, "", apikey.Scope(bad))
		check(name, "scope", err)
		for op, err := range changes(m, ctx, id, apikey.Reason(bad)) {
			check(op+" because "+name, "reason", err)
		}
		for op, err := range changes(m, apikey.WithActor(ctx, bad), id) {
			check(op+" by "+name, "actor", err)
		}
		check(name, "actor", second(m.DisableOwner(apikey.WithActor(ctx, bad), "acme")))
		check(name, "actor", second(m.Sweep(apikey.WithActor(ctx, bad))))
		check(name, "owner", second(m.ForOwner(bad, nil).List(ctx, apikey.Query{})))
		check(name, "scopes", second(m.ForOwner("acme", &apikey.OwnerOptions{Scopes: []string{bad}}).Issue(ctx, good)))
	}
	check("empty", "owner", issueErr(func(p *apikey.IssueParams) { p.Owner = "" }))
	check("empty", "owner", second(m.Owner(ctx, "")))
	check("empty", "owner", second(m.DisableOwner(ctx, "")))
	check("empty", "owner", second(m.ForOwner("", nil).Get(ctx, id)))
	check("empty", "owner", second(m.ForOwner("", nil).DailyUsage(ctx, id, start, start.Add(time.Hour))))
	check("empty", "name", update(apikey.Changes{Name: new("")}))
	check("nothing", "changes", update(apikey.Changes{}))
	check("look-alike", "access_key", second(m.Find(ctx, "\u0430k_0123456789abcdef")))
	for name, bad := range map[string]string{
		"empty": "", "only a space": " ", "leading space": " a", "trailing space": "a ",
		"marks": "a" + strings.Repeat("\u0301", 5), "only marks": strings.Repeat("\u0301", 300/2),
	} {
		check(name, "name", issueErr(func(p *apikey.IssueParams) { p.Name = bad }))
	}
	for name, bad := range badIDs {
		for op, err := range changes(m, ctx, bad) {
			check(op+" of "+name, "id", err)
			is.True(errors.Is(err, apikey.ErrNotFound))
		}
		check(name, "id", second(m.Get(ctx, bad)))
		check(name, "id", second(m.Credentials(ctx, bad)))
		check(name, "id", second(m.DailyUsage(ctx, bad, start, start.Add(time.Hour))))
		check(name, "id", second(o.DailyUsage(ctx, bad, start, start.Add(time.Hour))))
		check(name, "id", second(o.Events(ctx, apikey.EventQuery{KeyID: bad})))
		if bad != "" {
			check(name, "id", second(m.Events(ctx, apikey.EventQuery{KeyID: bad})))
			check(name, "after", second(m.List(ctx, apikey.Query{After: bad})))
		}
	}
	var scopes []string
	for i := range 101 {
		scopes = append(scopes, strings.Repeat("a", i/26+1)+string(rune('a'+i%26)))
	}
	check("101", "scopes", issueErr(func(p *apikey.IssueParams) { p.Scopes = scopes }))
	for _, bad := range []string{"", "*", ":*", "a*", "a:*:b", "a*:*", "**", "a\"b", `a\b`, "\u0430"} {
		check(bad, "scopes", issueErr(func(p *apikey.IssueParams) { p.Scopes = []string{"a", bad} }))
	}
	var networks []netip.Prefix
	for i := range 101 {
		networks = append(networks, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i)}), 16))
	}
	check("101", "networks", issueErr(func(p *apikey.IssueParams) { p.Networks = networks }))
	for _, bad := range []netip.Prefix{{}, netip.PrefixFrom(netip.Addr{}, 0), netip.PrefixFrom(netip.MustParseAddr("192.0.2.1"), 33), netip.PrefixFrom(netip.MustParseAddr("::ffff:192.0.2.1"), 90)} {
		check(bad.String(), "networks", issueErr(func(p *apikey.IssueParams) { p.Networks = []netip.Prefix{bad} }))
		check(bad.String(), "networks", update(apikey.Changes{Networks: &[]netip.Prefix{bad}}))
	}
	for _, bad := range []apikey.Rate{{Requests: -1, Period: time.Second}, {Requests: 1, Period: -time.Second}, {Requests: 1}, {Period: 1000}, {Requests: 1, Period: 1}, {Requests: math.MinInt, Period: math.MinInt64}} {
		check("rate", "rate", issueErr(func(p *apikey.IssueParams) { p.Rate = bad }))
		check("rate", "rate", update(apikey.Changes{Rate: &bad}))
	}
	many := map[string]string{}
	for _, s := range scopes {
		many[s] = ""
	}
	check("101", "metadata", issueErr(func(p *apikey.IssueParams) { p.Metadata = many }))
	check("empty key", "metadata", issueErr(func(p *apikey.IssueParams) { p.Metadata = map[string]string{"": "v"} }))
	for _, bad := range []time.Time{start, start.Add(-1), {}, time.Unix(0, 0), start.AddDate(1, 0, 0).Add(time.Microsecond), time.Unix(1<<62, 0)} {
		check(bad.String(), "expires_at", update(apikey.Changes{ExpiresAt: &bad}))
	}
	for _, bad := range []time.Duration{0, -1, 1, 999, math.MinInt64} {
		check(bad.String(), "overlap", second(m.Rotate(ctx, id, bad)))
		check(bad.String(), "overlap", second(m.ExtendRotation(ctx, id, bad)))
	}
	for _, bad := range []time.Duration{0, -1, math.MinInt64} {
		check(bad.String(), "within", second(m.Expiring(ctx, bad, apikey.Query{})))
	}
	for _, bad := range []int64{0, -1, math.MinInt64} {
		for op, err := range changes(m, ctx, id, apikey.IfRevision(bad)) {
			check(op, "revision", err)
		}
		check("revision", "revision", second(m.Update(ctx, id, apikey.Changes{Name: new("x")}, apikey.IfRevision(bad))))
	}
	for _, bad := range []int{-1, math.MinInt} {
		check("limit", "limit", second(m.List(ctx, apikey.Query{Limit: bad})))
		check("limit", "limit", second(m.RotationDue(ctx, apikey.Query{Limit: bad})))
		check("limit", "limit", second(m.Expiring(ctx, time.Hour, apikey.Query{Limit: bad})))
		check("limit", "limit", second(m.Events(ctx, apikey.EventQuery{Limit: bad})))
		check("limit", "limit", second(o.Events(ctx, apikey.EventQuery{KeyID: id, Limit: bad})))
	}
	check("after", "after", second(m.Events(ctx, apikey.EventQuery{After: apikey.Position{Seq: -1}})))
	check("after", "after", second(o.Events(ctx, apikey.EventQuery{KeyID: id, After: apikey.Position{Seq: math.MinInt64}})))
	check("before", "before", second(m.Events(ctx, apikey.EventQuery{Before: apikey.Position{Seq: -1}})))
	check("before", "before", second(o.Events(ctx, apikey.EventQuery{KeyID: id, Before: apikey.Position{Seq: math.MinInt64}})))
	for _, bad := range []time.Time{time.Unix(0, 0), time.Unix(1<<62, 0)} {
		for _, q := range []apikey.Query{{ExpiresFrom: bad}, {ExpiresBefore: bad}, {IssuedBefore: bad}, {DeletedBefore: bad}, {RetiredBefore: bad}} {
			check("query", "query", second(m.List(ctx, q)))
		}
	}
	check("another owner", "owner", second(o.List(ctx, apikey.Query{Owner: "other"})))
	check("another owner", "owner", second(o.Issue(ctx, apikey.IssueParams{Owner: "other", Name: "x"})))

	secret := func(n int) apikey.Secret { return apikey.NewSecret(strings.Repeat("p", n)) }
	for field, bad := range map[string]apikey.Options{
		"prefix":             {Prefix: "AK"},
		"peppers":            {Prefix: "ak"},
		"peppers[3]":         {Peppers: []apikey.Secret{secret(32), secret(33), secret(34), {}}},
		"peppers[0]":         {Peppers: []apikey.Secret{secret(31)}},
		"peppers[1]":         {Peppers: []apikey.Secret{secret(32), {}}},
		"peppers[2]":         {Peppers: []apikey.Secret{secret(32), secret(33), secret(32)}},
		"lifetime":           {Lifetime: apikey.Period{Years: 1, Days: 1}},
		"max_lifetime":       {MaxLifetime: apikey.Period{Years: -1, Months: 24}},
		"rotate_after":       {RotateAfter: apikey.Period{Days: math.MaxInt}},
		"retain":             {Retain: apikey.Period{Days: -1}},
		"max_keys_per_owner": {MaxKeysPerOwner: -1},
		"reissue_limit":      {ReissueLimit: &apikey.ReissueLimit{N: 1}},
		"scopes":             {Scopes: []string{"a b"}},

		"owner_token_limit": {OwnerTokenLimit: &apikey.ReissueLimit{N: 1}},
	} {
		check(field, field, second(apikey.New(memstore.New(), &bad)))
	}
	for n, limit := range map[string]apikey.ReissueLimit{"-1": {N: -1, Window: 1}, "51": {N: 51}} {
		check(n, "reissue_limit", second(apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, ReissueLimit: &limit})))
	}
	for _, limit := range []apikey.ReissueLimit{{N: -1, Window: time.Hour}, {N: 1_000_001, Window: time.Hour}, {N: 1001, Window: time.Millisecond}, {Window: -1}} {
		check("bad limit", "owner_token_limit", second(apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, OwnerTokenLimit: &limit})))
	}
	check("self rotation", "self_rotation", second(m.ForOwner("acme", &apikey.OwnerOptions{SelfRotation: 1}).Get(ctx, id)))
	check("self rotation", "self_rotation", second(m.ForOwner("acme", &apikey.OwnerOptions{SelfRotation: -time.Hour}).Get(ctx, id)))
	check("nil options", "peppers", second(apikey.New(memstore.New(), nil)))
	check("nil store", "store", second(apikey.New(nil, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})))

	if diff := cmp.Diff(before, dump(t, store)); diff != "" {
		t.Errorf("something was stored:\n%s", diff)
	}
}

// TestBadJSON: what the immutable values refuse to read is a *FieldError that
// does not repeat it, and null leaves them as they are.
func TestBadJSON(t *testing.T) {
	is := is.New(t)
	key := apikey.Key{Metadata: apikey.NewMetadata(map[string]string{"k": "v"})}
	is.NoErr(json.Unmarshal([]byte(`{"Scopes":["a"],"Networks":["192.0.2.0/24","2001:db8::1"]}`), &key))
	is.Equal(key.Networks.String(), "192.0.2.0/24 2001:db8::1/128")
	before := key
	is.NoErr(json.Unmarshal([]byte(`{"Scopes":null,"Networks":null,"Metadata":null}`), &key))
	if diff := cmp.Diff(before, key); diff != "" {
		t.Errorf("null changed the key:\n%s", diff)
	}
	for text, field := range map[string]string{
		`{"Scopes":["canary x"]}`: "scopes", `{"Scopes":"canary"}`: "scopes", `{"Scopes":[7]}`: "scopes",
		`{"Networks":["canary"]}`: "networks", `{"Networks":["192.0.2.1 192.0.2.2"]}`: "networks", `{"Networks":[""]}`: "networks",
		`{"Networks":{}}`: "networks", `{"Metadata":["canary"]}`: "metadata", `{"Metadata":{"k":7}}`: "metadata",
	} {
		var f *apikey.FieldError
		err := json.Unmarshal([]byte(text), &key)
		if !errors.As(err, &f) || f.Field != field || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if diff := cmp.Diff(before, key); diff != "" {
		t.Errorf("what was refused changed the key:\n%s", diff)
	}
}

// TestGoodInput: what the checks above must not refuse.
func TestGoodInput(t *testing.T) {
	m, _, _ := newManager(t, apikey.Options{})
	long := strings.Repeat("é", 100)
	for _, p := range []apikey.IssueParams{
		{Name: "a"}, {Name: "Rechnungen (2026) – été, 請求書, счёт, حساب, हिसाब, 🔑"}, {Name: long},
		{Name: `<img src=x onerror=alert(1)>`}, {Name: "=HYPERLINK(1)"}, {Name: "{{7*7}}"},
		{Owner: strings.Repeat("o", 255)}, {Owner: "auth0|5f7 c"}, {Owner: "acme "},
		{Scopes: []string{"!", "~", "a/b?c=d", "x:y:*", "a", "a"}},
		{Metadata: map[string]string{strings.Repeat("k", 64): strings.Repeat("v", 500), "empty": ""}},
		{Rate: apikey.Rate{Requests: 1, Period: time.Microsecond}},
	} {
		issue(t, m, p)
	}
	issue(t, m, apikey.IssueParams{}, apikey.Reason(strings.Repeat("r", 500)))
}

// second returns the error of a call.
func second(_ any, err error) error { return err }

// changes makes every change that takes a reason, and returns the errors.
func changes(m *apikey.Manager, ctx context.Context, id string, opts ...apikey.ChangeOption) map[string]error {
	errs := map[string]error{}
	_, errs["disable"] = m.Disable(ctx, id, opts...)
	_, errs["enable"] = m.Enable(ctx, id, opts...)
	_, errs["regenerate"] = m.Regenerate(ctx, id, opts...)
	_, errs["rotate"] = m.Rotate(ctx, id, time.Hour, opts...)
	_, errs["finish"] = m.FinishRotation(ctx, id, opts...)
	_, errs["extend"] = m.ExtendRotation(ctx, id, time.Hour, opts...)
	_, errs["delete"] = m.Delete(ctx, id, opts...)
	_, errs["update"] = m.Update(ctx, id, apikey.Changes{Name: new("x")}, opts...)
	o := m.ForOwner("acme", nil)
	_, errs["owner disable"] = o.Disable(ctx, id, opts...)
	_, errs["owner enable"] = o.Enable(ctx, id, opts...)
	_, errs["owner regenerate"] = o.Regenerate(ctx, id, opts...)
	_, errs["owner rotate"] = o.Rotate(ctx, id, time.Hour, opts...)
	_, errs["owner finish"] = o.FinishRotation(ctx, id, opts...)
	_, errs["owner extend"] = o.ExtendRotation(ctx, id, time.Hour, opts...)
	_, errs["owner delete"] = o.Delete(ctx, id, opts...)
	_, errs["owner update"] = o.Update(ctx, id, apikey.Changes{Name: new("x")}, opts...)
	return errs
}

// dump returns all that a store holds.
func dump(t testing.TB, s apikey.Store) (all struct {
	Records []apikey.Record
	Events  []apikey.Event
	Owner   apikey.Owner
}) {
	t.Helper()
	var errs [3]error
	all.Records, errs[0] = s.List(t.Context(), apikey.Query{Limit: 1000, IncludeDeleted: true})
	all.Events, errs[1] = s.Events(t.Context(), apikey.EventQuery{Limit: 1000})
	all.Owner, errs[2] = s.Owner(t.Context(), "acme")
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return all
}
