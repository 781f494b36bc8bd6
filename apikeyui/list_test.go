package apikeyui_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
	"github.com/keyturn/apikey/memstore"
)

// names returns the names of the keys that a page of the list shows.
func (p *page) names() []string {
	var found []string
	for _, n := range p.root.all("h2") {
		if strings.HasPrefix(n.attr["id"], "name-") {
			found = append(found, n.content())
		}
	}
	return found
}

func TestSearch(t *testing.T) {
	s := newSite(t)
	own := s.keys.ForOwner("ada", nil)
	id := map[string]apikey.Key{}
	for _, name := range []string{"Billing", "export ÜBER", "old", "off", "gone", "soon"} {
		params := apikey.IssueParams{Name: name}
		switch name {
		case "old":
			params.Lifetime.Time = time.Hour
		case "soon":
			params.Lifetime.Days = 31
		}
		issued, err := own.Issue(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		id[name] = issued.Key
	}
	if _, err := own.Disable(t.Context(), id["off"].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := own.Delete(t.Context(), id["gone"].ID); err != nil {
		t.Fatal(err)
	}
	s.keys.MustIssue(t, apikey.IssueParams{Owner: "grace", Name: "Billing of Grace"})
	s.keys.Advance(2 * 24 * time.Hour)
	rotated, err := own.Rotate(t.Context(), id["Billing"].ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		q      string
		status string
		want   string
	}{
		{"all", "", "", "Billing,export ÜBER,off,old,soon"},
		{"part of a name", "ill", "", "Billing"},
		{"in another case", "BILL", "", "Billing"},
		{"with spaces around", "  bill ", "", "Billing"},
		{"not ASCII", "über", "", "export ÜBER"},
		{"nothing", "zzz", "", ""},
		{"access key", rotated.AccessKey(), "", "Billing"},
		{"former access key", id["Billing"].AccessKey(), "", "Billing"},
		{"access key of nobody", "ak_0000000000000000", "", ""},
		{"active", "", "active", "Billing,export ÜBER,soon"},
		{"expiring", "", "expiring", "soon"},
		{"disabled", "", "disabled", "off"},
		{"expired", "", "expired", "old"},
		{"deleted", "", "deleted", "gone"},
		{"name and status", "o", "expired", "old"},
		{"name and other status", "old", "active", ""},
		{"access key and status", id["off"].AccessKey(), "disabled", "off"},
		{"access key and other status", id["off"].AccessKey(), "active", ""},
		{"access key, not expiring", id["off"].AccessKey(), "expiring", ""},
		{"no such status", "", "locked'", "Billing,export ÜBER,off,old,soon"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			p := s.browser(t, "ada").open("").submit("./", "q", test.q, "status", test.status)
			is.Equal(p.status, 200)
			got := p.names()
			want := strings.Split(test.want, ",")
			if test.want == "" {
				want = nil
				is.True(p.has("No key matches."))
			}
			is.Equal(sorted(got), want)
			values, _ := p.form("./")
			is.Equal(values.Get("q"), strings.TrimSpace(test.q)) // what was typed stays
		})
	}
}

// TestPages: each key of an owner is on one page, and on one only.
func TestPages(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	want := map[string]int{}
	for i := range 2*apikeyui.PageSize + 3 {
		name := fmt.Sprint("key ", i)
		s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: name})
		want[name] = 1
	}
	for _, start := range []string{"", "?status=active", "?q=key"} {
		got := map[string]int{}
		p := s.browser(t, "ada").open(start)
		sizes := []int{}
		for {
			for _, name := range p.names() {
				got[name]++
			}
			sizes = append(sizes, len(p.names()))
			next := p.next()
			if next == "" {
				break
			}
			p = p.follow(next)
		}
		is.Equal(got, want)
		is.Equal(sizes, []int{apikeyui.PageSize, apikeyui.PageSize, 3})
		if start == "" {
			is.Equal(len(p.follow("./").names()), apikeyui.PageSize) // the first page
		}
	}
}

// TestOrder: all keys of an owner who has one page of them are in the order of
// their names; pages of more are in that of the ids, or they would lose keys.
func TestOrder(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	ada := s.browser(t, "ada")
	var want []string
	for i := range apikeyui.PageSize {
		name := fmt.Sprintf("key %02d", (i*7)%apikeyui.PageSize)
		if i%2 == 0 {
			name = strings.ToUpper(name)
		}
		s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: name})
		want = append(want, name)
	}
	slices.SortFunc(want, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	p := ada.open("")
	is.Equal(p.names(), want)
	is.Equal(p.next(), "")
	s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "one more"})
	keys, err := s.keys.List(t.Context(), apikey.Query{Owner: "ada"})
	is.NoErr(err)
	var byID []string
	for _, key := range keys {
		byID = append(byID, key.Name)
	}
	p = ada.open("")
	is.Equal(p.names(), byID[:apikeyui.PageSize])
	is.Equal(p.follow(p.next()).names(), byID[apikeyui.PageSize:])
	is.True(ada.open("?status=active").has("Show all keys"))
	is.True(!p.has("Show all keys"))
}

// next returns where the link to the next page leads, or nothing.
func (p *page) next() string {
	for _, a := range p.root.all("a") {
		if strings.Contains(a.attr["href"], "after=") {
			return a.attr["href"]
		}
	}
	return ""
}

// meter counts what a Store reads.
type meter struct {
	apikey.Store
	records, calls, events int
}

func (m *meter) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	page, err := m.Store.List(ctx, q)
	m.calls++
	m.records += len(page)
	return page, err
}

func (m *meter) Get(ctx context.Context, id, owner string) (apikey.Record, error) {
	m.calls++
	m.records++
	return m.Store.Get(ctx, id, owner)
}

func (m *meter) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	page, err := m.Store.Events(ctx, q)
	m.events += len(page)
	return page, err
}

// TestManyKeys: with 10,000 keys of one owner no page reads more than a bounded
// number of them, a search goes on where it stopped, and finds what there is.
func TestManyKeys(t *testing.T) {
	is := is.New(t)
	m := &meter{Store: memstore.New()}
	keys, err := apikey.New(m, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	is.NoErr(err)
	for i := range 10_000 {
		_, err := keys.Issue(t.Context(), apikey.IssueParams{Owner: "ada", Name: fmt.Sprint("key ", i)})
		is.NoErr(err)
	}
	s := newSiteOn(t, &apikeytest.Manager{Manager: keys})
	ada := s.browser(t, "ada")
	cost := func(address string) *page {
		m.records, m.calls = 0, 0
		return ada.open(address)
	}
	is.Equal(len(cost("").names()), apikeyui.PageSize)
	is.Equal(m.calls, 1)
	is.Equal(m.records, apikeyui.PageSize+1)

	p := cost("?q=" + "key+7777")
	steps, found := 0, p.names()
	for p.next() != "" {
		is.True(m.records <= apikeyui.MaxScanned)
		is.True(p.has("Search further"))
		p = cost(p.next())
		found = append(found, p.names()...)
		steps++
	}
	is.Equal(found, []string{"key 7777"})
	is.True(steps <= 10_000/apikeyui.MaxScanned)

	cost("?status=disabled")
	is.Equal(m.records, apikeyui.MaxScanned)
}

// TestHistory: all of a long log can be read, in pages, newest first.
func TestHistory(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	own := s.keys.ForOwner("ada", nil)
	changes := 0
	change := func(n int) {
		for range n {
			changes++
			_, err := own.Update(t.Context(), key.ID, apikey.Changes{Name: new(fmt.Sprint("name ", changes))})
			is.NoErr(err)
			s.keys.MustIssue(t, apikey.IssueParams{Owner: "grace", Name: "another's, in between"})
		}
	}
	names := func(p *page) (names []string) {
		for _, n := range p.root.all("ol")[0].all("dd") {
			if text := n.content(); text == "mine" || strings.HasPrefix(text, "name ") {
				names = append(names, text)
			}
		}
		return names
	}
	want := func(newest, n int) (names []string) {
		for i := newest; i > newest-n && i > 0; i-- {
			names = append(names, fmt.Sprint("name ", i))
		}
		if newest < n {
			names = append(names, "mine")
		}
		return names
	}
	ada := s.browser(t, "ada")
	change(9)
	show := ada.open("key/" + key.ID)
	is.Equal(names(show), want(9, 10))
	is.True(!show.has("Show the whole history"))
	change(241)
	is.Equal(names(ada.open("key/"+key.ID)), want(250, 10))
	first := ada.open("key/" + key.ID).follow("/history")
	p, read := first, names(first)
	for pages := 0; p.next() != "" && pages < 10; pages++ {
		is.Equal(len(names(p)), 50)
		p = p.follow(p.next())
		read = append(read, names(p)...)
		is.True(p.has("Newest"))
	}
	is.Equal(read, want(250, 251))
	is.Equal(p.follow("/history").body, first.body)

	// The link to older entries serves for this key and this owner only.
	older := first.next()
	_, query, _ := strings.Cut(older, "?")
	other := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "other"}).Key
	is.Equal(ada.open("key/"+other.ID+"/history?"+query).status, 400)
	is.Equal(s.browser(t, "grace").open("key/"+key.ID+"/history?"+query).status, 404)
}

// TestHistoryCost checks that a page of a history reads as much far into it as
// at its beginning.
func TestHistoryCost(t *testing.T) {
	is := is.New(t)
	m := &meter{Store: memstore.New()}
	keys, err := apikey.New(m, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	is.NoErr(err)
	issued, err := keys.Issue(t.Context(), apikey.IssueParams{Owner: "ada", Name: "mine"})
	is.NoErr(err)
	for i := range 1000 {
		_, err := keys.Update(t.Context(), issued.Key.ID, apikey.Changes{Name: new(fmt.Sprint("name ", i))})
		is.NoErr(err)
	}
	s := newSiteOn(t, &apikeytest.Manager{Manager: keys})
	p, pages := s.browser(t, "ada").open("key/"+issued.Key.ID+"/history"), 1
	for ; p.next() != ""; pages++ {
		m.events = 0
		p = p.follow(p.next())
		is.True(m.events <= 51)
	}
	is.Equal(pages, 21)
}

// TestHistoryTells: what an event tells of the host's own is not shown.
func TestHistoryTells(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine", Metadata: map[string]string{"risk-score": "high"}}).Key
	for _, rate := range []apikey.Rate{{Requests: 5, Period: time.Second}, {}} {
		_, err := s.keys.Update(t.Context(), key.ID, apikey.Changes{Rate: &rate})
		is.NoErr(err)
	}
	p := s.browser(t, "ada").open("key/" + key.ID + "/history")
	is.True(p.has("Metadatachanged"))
	is.True(!strings.Contains(p.body, "risk"))
	is.True(p.has("Rate5 per 1s"))
	is.True(p.has("Ratenone"))
}

// TestHistoryOfRotation: the end of an overlap is told as long as it was one.
func TestHistoryOfRotation(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	history := func() *page { return s.browser(t, "ada").open("key/" + key.ID + "/history") }
	_, err := s.keys.Regenerate(t.Context(), key.ID)
	is.NoErr(err)
	is.True(!history().has("Old token works until")) // it died at once
	_, err = s.keys.Rotate(t.Context(), key.ID, time.Hour)
	is.NoErr(err)
	is.True(history().has("Old token works until: 1 Jan 2026, 01:00 UTC") || history().has("Old token works until1 Jan 2026, 01:00 UTC"))
}

// TestEditOfTheSame: what is written in another way is no change.
func TestEditOfTheSame(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine", Scopes: []string{"orders:read", "orders:write"}}).Key
	form := s.browser(t, "ada").open("key/" + key.ID + "/edit")
	for _, values := range [][]string{
		{"scope", "orders:write,orders:read,orders:write"}, {"name", "  mine "}, {"expires", " 2027-01-01 "}, {"networks", " \n "},
	} {
		is.True(form.submit("edit", values...).has("There was nothing to change."))
	}
}
