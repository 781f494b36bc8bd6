package dbtest

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/coretest"
	"github.com/keyturn/apikey/memstore"
	"github.com/keyturn/apikey/sqlstore"
)

// TestSameAsMemory makes random calls, right and wrong ones, to this store and
// to memstore and compares the answers and, at the end, all that is stored.
func TestSameAsMemory(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		db := e.Database(t).Pool(t)
		if e.Dialect == sqlstore.SQLite { // no file, so that many runs are quick
			db = OpenEmpty(t, ":memory:")
			db.SetMaxOpenConns(1)
			if err := sqlstore.Migrate(t.Context(), db, e.Dialect); err != nil {
				t.Fatal(err)
			}
		}
		checks := 15
		if e.Dialect == sqlstore.SQLite || coretest.Long() {
			checks = 100
		}
		setChecks(t, checks)
		rapid.Check(t, func(r *rapid.T) {
			for _, statement := range []string{
				"DELETE FROM apikey_keys", "DELETE FROM apikey_credentials", "DELETE FROM apikey_owners", "DELETE FROM apikey_usage",
				"DELETE FROM apikey_usage_days", "DELETE FROM apikey_events", "DELETE FROM apikey_once", "UPDATE apikey_counter SET seq = 0",
			} {
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					r.Fatal(err)
				}
			}
			pair := &pair{T: r, ours: sqlstore.New(db, e.Dialect, nil), theirs: memstore.New()}
			r.Repeat(map[string]func(*rapid.T){
				"commit":    pair.commit,
				"add usage": pair.addUsage,
				"list":      pair.list,
			})
			pair.all()
		})
	})
}

// setChecks sets how many sequences are tried, until the test ends.
func setChecks(t *testing.T, n int) {
	t.Helper()
	before := flag.Lookup("rapid.checks").Value.String()
	if err := flag.Set("rapid.checks", strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flag.Set("rapid.checks", before) })
}

// pair is the two stores.
type pair struct {
	*rapid.T
	ours, theirs apikey.Store
	nonces       int
}

var (
	owners = rapid.SampledFrom([]string{"a", "A", "b ", "b", "é", "e\u0301"})
	ids    = rapid.SampledFrom([]string{"k1", "K1", "k2", "k3", "k10"})
	// Ids of credentials are few, so that keys take each other's.
	credentials = rapid.SampledFrom([]string{"c1", "C1", "c2", "c3", "c4", "c5", "c6"})
)

// instant is unset or one of few moments, so that some are the same and bounds
// are hit.
func instant(t *rapid.T, name string) time.Time {
	n := rapid.IntRange(-1, 6).Draw(t, name)
	if n < 0 {
		return time.Time{}
	}
	return start.Add(time.Duration(n) * time.Microsecond)
}

// text has no NUL, which not every database holds and no Manager lets through.
func text(t *rapid.T, name string) string {
	return strings.ReplaceAll(rapid.StringN(0, 5, 20).Draw(t, name), "\x00", "0")
}

func metadata(t *rapid.T, name string) apikey.Metadata {
	m := rapid.MapOfN(rapid.StringN(1, 3, 10), rapid.StringN(0, 5, 20), 0, 3).Draw(t, name)
	return apikey.NewMetadata(m)
}

func (p *pair) nonce() apikey.Nonce { p.nonces++; return nonceOf(p.nonces) }

func (p *pair) commit(t *rapid.T) {
	var c apikey.Commit
	given := map[string]bool{} // each credential of one Commit goes to one Record
	for _, id := range rapid.SliceOfNDistinct(ids, 0, 3, rapid.ID[string]).Draw(t, "records") {
		c.Records = append(c.Records, p.record(t, id, given))
	}
	for _, id := range rapid.SliceOfNDistinct(owners, 0, 2, rapid.ID[string]).Draw(t, "owners") {
		o, err := p.theirs.Owner(p.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		c.Owners = append(c.Owners, apikey.Owner{
			ID: id, DisabledAt: instant(t, "disabled"), DisabledBy: text(t, "by"), DisabledReason: text(t, "reason"),
			Revision: o.Revision + wrong(t), Nonce: p.nonce(), Seal: text(t, "seal"),
		})
	}
	for _, id := range rapid.SliceOfNDistinct(ids, 0, 2, rapid.ID[string]).Draw(t, "purge") {
		if !hasRecord(c, id) {
			r, _ := p.theirs.Get(p.Context(), id, "")
			c.Purge = append(c.Purge, apikey.RecordRef{ID: id, Revision: max(r.Key.Revision, 1) + wrong(t)})
		}
	}
	for _, id := range rapid.SliceOfNDistinct(ids, 0, 1, rapid.ID[string]).Draw(t, "required records") {
		if !hasRecord(c, id) && !slices.ContainsFunc(c.Purge, func(ref apikey.RecordRef) bool { return ref.ID == id }) {
			if r, err := p.theirs.Get(p.Context(), id, ""); err == nil {
				c.RequireRecords = append(c.RequireRecords, apikey.RecordRef{ID: id, Revision: r.Key.Revision + wrong(t)})
			}
		}
	}
	for _, id := range rapid.SliceOfNDistinct(owners, 0, 1, rapid.ID[string]).Draw(t, "required owners") {
		if !slices.ContainsFunc(c.Owners, func(o apikey.Owner) bool { return o.ID == id }) {
			o, _ := p.theirs.Owner(p.Context(), id)
			c.RequireOwners = append(c.RequireOwners, apikey.OwnerRef{ID: id, Revision: o.Revision + wrong(t)})
		}
	}
	for range rapid.IntRange(1, 3).Draw(t, "events") {
		c.Events = append(c.Events, apikey.Event{
			Position: apikey.Position{Nonce: p.nonce()}, At: instant(t, "at"), Kind: apikey.EventKind(text(t, "kind")),
			KeyID: rapid.OneOf(ids, rapid.Just("")).Draw(t, "key"), Owner: text(t, "owner"),
			CredentialID: text(t, "credential"), OldCredentialID: text(t, "old"), OldExpiresAt: instant(t, "old end"),
			Revision: rapid.Int64().Draw(t, "revision"), Actor: text(t, "actor"), Reason: text(t, "reason"),
			Data: metadata(t, "data"), Seal: text(t, "seal"),
		})
	}
	c.Limit = rapid.IntRange(0, 3).Draw(t, "limit")
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,2}`), 0, 2, rapid.ID[string]).Draw(t, "once") {
		c.Once = append(c.Once, apikey.OnceName{Name: name, KeyID: rapid.OneOf(ids, rapid.Just("")).Draw(t, "of key")})
	}

	theirs, theirErr := p.theirs.Commit(p.Context(), c)
	ours, ourErr := p.ours.Commit(p.Context(), c)
	// More than one thing may be wrong with a Commit: which one is named is
	// not said. Only that it exists is found before the limit.
	if (theirErr == nil) != (ourErr == nil) || errors.Is(ourErr, apikey.ErrLimit) != errors.Is(theirErr, apikey.ErrLimit) {
		t.Fatalf("memory: %v, here: %v", theirErr, ourErr)
	}
	if errors.Is(ourErr, apikey.ErrAborted) {
		t.Fatal(ourErr)
	}
	if ours != theirs {
		t.Fatalf("memory: %v, here: %v", theirs, ours)
	}
}

// wrong is seldom something else than 0.
func wrong(t *rapid.T) int64 {
	return rapid.SampledFrom([]int64{0, 0, 0, 0, 0, 0, 0, 0, 0, 1}).Draw(t, "wrong")
}

func hasRecord(c apikey.Commit, id string) bool {
	for i := range c.Records {
		if c.Records[i].Key.ID == id {
			return true
		}
	}
	return false
}

func (p *pair) record(t *rapid.T, id string, given map[string]bool) apikey.Record {
	stored, err := p.theirs.Get(p.Context(), id, "")
	owner := stored.Key.Owner
	if err != nil {
		owner = owners.Draw(t, "owner")
	}
	scopes, err := apikey.NewScopes(rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,5}(:\*)?`), 0, 3).Draw(t, "scopes")...)
	if err != nil {
		t.Fatal(err)
	}
	networks, err := apikey.ParseNetworks(rapid.SampledFrom([]string{"", "192.0.2.0/24", "192.0.2.1 2001:db8::/32"}).Draw(t, "networks"))
	if err != nil {
		t.Fatal(err)
	}
	r := apikey.Record{
		Key: apikey.Key{
			ID: id, Owner: owner, Name: text(t, "name"), Scopes: scopes, Networks: networks,
			Rate:      apikey.Rate{Requests: rapid.Int().Draw(t, "requests"), Period: time.Duration(rapid.IntRange(0, 1000).Draw(t, "period")) * time.Microsecond},
			Metadata:  metadata(t, "metadata"),
			CreatedAt: instant(t, "created"), DisabledAt: instant(t, "disabled"), DisabledBy: text(t, "by"), DisabledReason: text(t, "reason"),
			Locked: rapid.Bool().Draw(t, "locked"), DeletedAt: instant(t, "deleted"),
			RetiringID: credentials.Draw(t, "retiring"),
			Revision:   stored.Key.Revision + wrong(t),
			LastUsedAt: start, Uses: 99, RetiringUntil: start,
		},
		Nonce: p.nonce(), Seal: text(t, "seal"),
	}
	for _, c := range stored.Credentials { // those that stay, some changed
		if !given[c.ID] && rapid.Bool().Draw(t, "stays") {
			given[c.ID] = true
			if rapid.Bool().Draw(t, "changes") {
				c = credential(t, c.ID)
			}
			r.Credentials = append(r.Credentials, c)
		}
	}
	for _, id := range rapid.SliceOfNDistinct(credentials, 0, 3, rapid.ID[string]).Draw(t, "new") {
		// One that another key gives up in the same Commit may be taken or
		// not: the contract does not say.
		m, err := lookup(p.Context(), p.theirs, id)
		if given[id] || err == nil && m.Key.ID != r.Key.ID && rapid.IntRange(0, 9).Draw(t, "take") > 0 {
			continue
		}
		given[id] = true
		r.Credentials = append(r.Credentials, credential(t, id))
	}
	if len(r.Credentials) == 0 { // a Record holds its current one
		r.Credentials = append(r.Credentials, credential(t, "only of "+id))
	}
	current := rapid.SampledFrom(r.Credentials).Draw(t, "current")
	r.Key.Prefix, r.Key.CredentialID, r.Key.IssuedAt, r.Key.ExpiresAt =
		current.Prefix, current.ID, current.CreatedAt, current.ExpiresAt
	return r
}

func credential(t *rapid.T, id string) apikey.Credential {
	return apikey.Credential{
		ID: id, Prefix: text(t, "prefix"), CreatedAt: instant(t, "created"), ExpiresAt: instant(t, "expires"),
		RetireBefore: instant(t, "retire before"), Scheme: rapid.Uint8().Draw(t, "scheme"),
		PepperID: text(t, "pepper"), Digest: apikey.Digest(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "digest")),
		Seal: text(t, "seal"), LastUsedAt: start, Uses: 99,
	}
}

func (p *pair) addUsage(t *rapid.T) {
	var uses []apikey.Usage
	for range rapid.IntRange(0, 5).Draw(t, "uses") {
		uses = append(uses, apikey.Usage{
			KeyID: ids.Draw(t, "key"), CredentialID: credentials.Draw(t, "credential"),
			Day:  start.AddDate(0, 0, rapid.IntRange(0, 2).Draw(t, "day")).Truncate(24 * time.Hour),
			Uses: rapid.Int64Range(1, 1000).Draw(t, "n"), LastUsedAt: instant(t, "last"),
		})
	}
	if err := errors.Join(p.ours.AddUsage(p.Context(), uses), p.theirs.AddUsage(p.Context(), uses)); err != nil {
		t.Fatal(err)
	}
}

func (p *pair) list(t *rapid.T) {
	q := apikey.Query{
		Owner:          rapid.OneOf(owners, rapid.Just("")).Draw(t, "owner"),
		After:          rapid.OneOf(ids, rapid.Just("")).Draw(t, "after"),
		Limit:          rapid.IntRange(1, 5).Draw(t, "limit"),
		IncludeDeleted: rapid.Bool().Draw(t, "deleted"),
	}
	for name, bound := range map[string]*time.Time{
		"expires from": &q.ExpiresFrom, "expires before": &q.ExpiresBefore, "issued before": &q.IssuedBefore,
		"deleted before": &q.DeletedBefore, "retired before": &q.RetiredBefore,
	} {
		if rapid.IntRange(0, 2).Draw(t, "with "+name) == 0 {
			*bound = instant(t, name)
		}
	}
	p.compareList(q)
}

func (p *pair) compareList(q apikey.Query) {
	ours, err := p.ours.List(p.Context(), q)
	if err != nil {
		p.Fatal(err)
	}
	theirs, err := p.theirs.List(p.Context(), q)
	if err != nil {
		p.Fatal(err)
	}
	if diff := cmp.Diff(theirs, ours, asStored); diff != "" {
		p.Fatalf("%+v (- in memory, + here):\n%s", q, diff)
	}
}

// asStored compares no list with an empty one, and a digest by its bytes.
var asStored = cmp.Options{
	cmp.Comparer(func(a, b apikey.Digest) bool { return a == b }),
	cmp.Transformer("list", func(c []apikey.Credential) string {
		text := ""
		for _, c := range c {
			text += fmt.Sprintf("%+v %x\n", c, string(c.Digest))
		}
		return text
	}),
}

// all compares all that is stored.
func (p *pair) all() {
	p.compareList(apikey.Query{IncludeDeleted: true, Limit: 1000})
	for _, q := range []apikey.EventQuery{
		{Limit: 1000}, {KeyID: "k1", Limit: 5}, {After: apikey.Position{Seq: 3}, Limit: 2},
		{Limit: 3, Newest: true}, {KeyID: "k1", Limit: 2, Newest: true}, {KeyID: "k2", Before: apikey.Position{Seq: 9}, Limit: 2, Newest: true},
	} {
		ours, err := p.ours.Events(p.Context(), q)
		if err != nil {
			p.Fatal(err)
		}
		theirs, err := p.theirs.Events(p.Context(), q)
		if err != nil {
			p.Fatal(err)
		}
		if diff := cmp.Diff(theirs, ours); diff != "" {
			p.Fatalf("events (- in memory, + here):\n%s", diff)
		}
	}
	for _, id := range []string{"k1", "K1", "k2", "k3", "k10", "k"} {
		ours, err := p.ours.DailyUsage(p.Context(), days(id))
		if err != nil {
			p.Fatal(err)
		}
		theirs, err := p.theirs.DailyUsage(p.Context(), days(id))
		if err != nil {
			p.Fatal(err)
		}
		if diff := cmp.Diff(theirs, ours); diff != "" {
			p.Fatalf("days of %s (- in memory, + here):\n%s", id, diff)
		}
	}
	ourNames, err := p.ours.OnceNames(p.Context(), apikey.OnceQuery{Limit: 1000})
	if err != nil {
		p.Fatal(err)
	}
	theirNames, err := p.theirs.OnceNames(p.Context(), apikey.OnceQuery{Limit: 1000})
	if err != nil {
		p.Fatal(err)
	}
	if diff := cmp.Diff(theirNames, ourNames, asStored); diff != "" {
		p.Fatalf("names (- in memory, + here):\n%s", diff)
	}
	for _, id := range []string{"c1", "C1", "c2", "c3", "c4", "c5", "c6", "c7"} {
		ours, ourErr := lookup(p.Context(), p.ours, id)
		theirs, theirErr := lookup(p.Context(), p.theirs, id)
		if ourErr != theirErr {
			p.Fatalf("lookup: memory: %v, here: %v", theirErr, ourErr)
		}
		// The usage of a Credential from Lookup may be zero.
		theirs.Credential.LastUsedAt, theirs.Credential.Uses = time.Time{}, 0
		if diff := cmp.Diff(theirs, ours, asStored); diff != "" {
			p.Fatalf("lookup (- in memory, + here):\n%s", diff)
		}
	}
}
