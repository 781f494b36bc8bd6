package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

var listRules = []rule{
	{
		"list without credentials",
		"List returns Records without Credentials.",
		listWithoutCredentials,
	},
	{
		"sums of a list",
		"In List, Key.LastUsedAt is the latest and Key.Uses the sum of all Credentials, and Key.RetiringUntil is the earlier ExpiresAt of the Key and of its retiring Credential, zero if there is none.",
		listSums,
	},
	{
		"order of a page",
		"List returns Records in ascending byte order of their ids, only those after q.After, at most q.Limit.",
		pageOrder,
	},
	{
		"pages hold every record once",
		"Pages that each begin after the last id of the one before hold every Record exactly once; one shorter than q.Limit is the last.",
		pagesComplete,
	},
	{
		"filters of a query",
		"List returns only what each set field of the Query asks for, and all of it.",
		filters,
	},
}

func listWithoutCredentials(c *check) {
	s := c.on("records of one to three credentials")
	s.commit(records(newRecord("acme", 1), newRecord("acme", 2), newRecord("acme", 3)))
	for _, r := range s.list(apikey.Query{}) {
		if r.Credentials != nil {
			s.errorf("List: got %d credentials of a key", len(r.Credentials))
		}
	}
}

func listSums(c *check) {
	s := c.on("one to four credentials, all but the current one used")
	var list []apikey.Record
	var uses []apikey.Usage
	want := map[string]apikey.Key{}
	for n := range 4 {
		r := newRecord("acme", n+1)
		list = append(list, r)
		var sums apikey.Key
		for i, id := range credentialIDs(r)[:n] {
			uses = append(uses, used(r, id, int64(i+5), base.Add(-time.Duration(i)*time.Hour)))
			sums.Uses, sums.LastUsedAt = sums.Uses+int64(i+5), base
			sums.RetiringUntil = r.Credentials[n-1].ExpiresAt
		}
		want[r.Key.ID] = sums
	}
	s.commit(records(list...))
	s.addUsage(uses...)
	for _, got := range s.list(apikey.Query{}) {
		s.equal("List: sums of a key", viewOf(got.Key), want[got.Key.ID])
	}

	s = c.on("a key that ends before its retiring credential, and one that is not rotating")
	early, none := newRecord("acme", 2), newRecord("acme", 3)
	early.Credentials[1].ExpiresAt = base.Add(time.Minute)
	setCurrent(&early)
	none.Key.RetiringID = ""
	s.commit(records(early, none))
	for _, got := range s.list(apikey.Query{}) {
		sums := apikey.Key{}
		if got.Key.ID == early.Key.ID {
			sums.RetiringUntil = base.Add(time.Minute)
		}
		s.equal("List: sums of a key", viewOf(got.Key), sums)
	}
}

func pageOrder(c *check) {
	s := c.on("ids that sort by bytes")
	var list []apikey.Record
	for _, first := range "zaZA9M" {
		for _, second := range "bB" {
			r := newRecord("acme", 1)
			r.Key.ID = string(first) + string(second) + r.Key.ID[2:]
			list = append(list, r)
		}
	}
	s.commit(records(list...))
	afters := append(ids(list), "", "M", "Zz", "a", "zzzzzzzzzzzzzzzzzzzz", "~")
	for _, after := range afters {
		for _, limit := range []int{1, 3, len(list) - 1, len(list), all} {
			got := ids(s.list(apikey.Query{After: after, Limit: limit}))
			what := fmt.Sprintf("List after %q, limit %d", after, limit)
			if !slices.IsSorted(got) {
				s.errorf("%s: got %q, want ascending ids", what, got)
			}
			if slices.ContainsFunc(got, func(id string) bool { return id <= after }) {
				s.errorf("%s: got %q, want later ids only", what, got)
			}
			if len(got) > limit {
				s.errorf("%s: got %d records", what, len(got))
			}
		}
	}
}

func pagesComplete(c *check) {
	const n = 11
	s := c.on("pages of every size")
	var list []apikey.Record
	for i := range n {
		r := newRecord([]string{"acme", "other"}[i/2%2], 1+i%2)
		if i%5 == 0 {
			r.Key.DeletedAt = base
		}
		list = append(list, r)
	}
	s.commit(records(list...))
	for _, q := range []apikey.Query{
		{}, {IncludeDeleted: true}, {Owner: "acme"}, {DeletedBefore: base.AddDate(1, 0, 0), IncludeDeleted: true},
		{RetiredBefore: base.AddDate(9, 0, 0)}, {Owner: "other", IncludeDeleted: true, ExpiresFrom: base},
	} {
		var want []string
		for _, r := range list {
			if selects(q, r) {
				want = append(want, r.Key.ID)
			}
		}
		for limit := 1; limit <= n+1; limit++ {
			q.Limit, q.After = limit, ""
			var got []string
			for range n + 2 {
				page := s.list(q)
				got = append(got, ids(page)...)
				if len(page) < limit { // the Manager takes it for the last
					break
				}
				q.After = page[len(page)-1].Key.ID
			}
			s.sameIDs(fmt.Sprintf("pages of %d of %s", limit, describe(q)), got, want)
		}
	}
}

func filters(c *check) {
	// Records that lie just before, at and just after each border, and all
	// pairs of these.
	var list []apikey.Record
	var (
		issued  = base
		expires = base.AddDate(0, 6, 0)
		deleted = base.AddDate(0, 7, 0)
		retired = base.AddDate(0, 8, 0) // later than the current credentials end
		owners  = []string{"acme", "ACME", "acme "}
	)
	around := func(t time.Time, i int) time.Time { return t.Add(time.Duration(i%3-1) * time.Microsecond) }
	for i := range 4 * 4 * 3 {
		r := newRecord(owners[(i+i/3+i/12)%3], 1)
		current := &r.Credentials[0]
		current.CreatedAt, current.ExpiresAt = around(issued, i), around(expires, i+i/3)
		if n := i % 4; n < 3 {
			r.Key.DeletedAt = around(deleted, n)
		}
		if n := i / 4 % 4; n < 3 {
			r.Credentials = append([]apikey.Credential{newCredential(base.Add(-time.Hour), around(retired, n))}, r.Credentials...)
		}
		setCurrent(&r)
		if i%2 == 0 {
			r.Key.RetiringID = ""
		}
		list = append(list, r)
	}
	s := c.on("one filter or several")
	s.commit(records(list...))
	ask := func(q apikey.Query) {
		s.t.Helper()
		want := []apikey.Record{}
		for _, r := range list {
			if selects(q, r) {
				want = append(want, r)
			}
		}
		s.sameIDs(describe(q), ids(s.list(q)), ids(want))
	}
	fields := []func(*apikey.Query){
		func(q *apikey.Query) { q.Owner = "acme" },
		func(q *apikey.Query) { q.IncludeDeleted = true },
		func(q *apikey.Query) { q.ExpiresFrom = expires },
		func(q *apikey.Query) { q.ExpiresBefore = expires },
		func(q *apikey.Query) { q.IssuedBefore = issued },
		func(q *apikey.Query) { q.DeletedBefore = deleted },
		func(q *apikey.Query) { q.RetiredBefore = retired },
		func(q *apikey.Query) { q.CredentialID = list[5].Credentials[0].ID },
	}
	for chosen := range 1 << len(fields) {
		q := apikey.Query{}
		for i, set := range fields {
			if chosen>>i&1 == 1 {
				set(&q)
			}
		}
		ask(q)
	}
	for i := range 3 {
		ask(apikey.Query{IncludeDeleted: true, ExpiresFrom: around(expires, i)})
		ask(apikey.Query{IncludeDeleted: true, ExpiresBefore: around(expires, i)})
		ask(apikey.Query{IncludeDeleted: true, IssuedBefore: around(issued, i)})
		ask(apikey.Query{IncludeDeleted: true, RetiredBefore: around(retired, i)})
		ask(apikey.Query{DeletedBefore: around(deleted, i)})
		ask(apikey.Query{ExpiresFrom: around(expires, i), ExpiresBefore: around(expires, i+1)})
		ask(apikey.Query{Owner: owners[i]})
	}
	for _, r := range list[:9] {
		for _, id := range credentialIDs(r) {
			ask(apikey.Query{CredentialID: id, IncludeDeleted: true})
			ask(apikey.Query{CredentialID: id, IncludeDeleted: true, Owner: "acme"})
			ask(apikey.Query{CredentialID: id, IncludeDeleted: true, After: r.Key.ID})
			for _, other := range like(id) {
				if other != "" {
					ask(apikey.Query{CredentialID: other, IncludeDeleted: true})
				}
			}
		}
	}
	for _, owner := range []string{"Acme", "acm", "acme  ", " acme", "acm_", "acm%", "%"} {
		ask(apikey.Query{Owner: owner})
	}

	s = c.on("owners named alike")
	list = nil
	for _, name := range likeNames {
		list = append(list, newRecord(name, 1))
	}
	s.commit(records(list...))
	for _, name := range likeNames {
		ask(apikey.Query{Owner: name})
	}

	s = c.on("a credential that was replaced and else stays as it is")
	r := newRecord("acme", 1)
	s.commit(records(r))
	old := r.Credentials[0]
	r = at(1, r)
	r.Credentials = append(r.Credentials, newCredential(base.Add(time.Hour), old.ExpiresAt.AddDate(1, 0, 0)))
	setCurrent(&r)
	r.Key.RetiringID = ""
	s.commit(records(r))
	q := apikey.Query{RetiredBefore: old.ExpiresAt.Add(time.Microsecond)}
	s.sameIDs(describe(q), ids(s.list(q)), ids([]apikey.Record{r}))
}

// selects is what a Query means.
func selects(q apikey.Query, r apikey.Record) bool {
	k := r.Key
	retired := slices.ContainsFunc(r.Credentials, func(c apikey.Credential) bool {
		return c.ID != k.CredentialID && c.ExpiresAt.Before(q.RetiredBefore)
	})
	switch {
	case q.Owner != "" && k.Owner != q.Owner,
		q.CredentialID != "" && !slices.Contains(credentialIDs(r), q.CredentialID),
		k.ID <= q.After,
		!q.ExpiresFrom.IsZero() && k.ExpiresAt.Before(q.ExpiresFrom),
		!q.ExpiresBefore.IsZero() && !k.ExpiresAt.Before(q.ExpiresBefore),
		!q.IssuedBefore.IsZero() && !k.IssuedAt.Before(q.IssuedBefore),
		!q.RetiredBefore.IsZero() && !retired:
		return false
	case !q.DeletedBefore.IsZero():
		return !k.DeletedAt.IsZero() && k.DeletedAt.Before(q.DeletedBefore)
	}
	return k.DeletedAt.IsZero() || q.IncludeDeleted
}

// describe names the fields of a Query that are set.
func describe(q apikey.Query) string {
	text := []string{}
	if q.Owner != "" {
		text = append(text, fmt.Sprintf("Owner %q", q.Owner))
	}
	if q.IncludeDeleted {
		text = append(text, "IncludeDeleted")
	}
	if q.CredentialID != "" {
		text = append(text, fmt.Sprintf("CredentialID %q", q.CredentialID))
	}
	if q.After != "" {
		text = append(text, fmt.Sprintf("After %q", q.After))
	}
	for _, field := range []struct {
		name string
		time time.Time
	}{
		{"ExpiresFrom", q.ExpiresFrom}, {"ExpiresBefore", q.ExpiresBefore}, {"IssuedBefore", q.IssuedBefore},
		{"DeletedBefore", q.DeletedBefore}, {"RetiredBefore", q.RetiredBefore},
	} {
		if !field.time.IsZero() {
			text = append(text, field.name+" "+field.time.Format(time.RFC3339Nano))
		}
	}
	return "Query{" + strings.Join(text, ", ") + "}"
}
