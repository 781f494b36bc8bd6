package apikeyui_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

const cannotBeShown = "Some of your keys cannot be shown"

// TestDamagedKey checks that the list shows the other keys, that it states that
// some are missing, and that Observe learns which.
func TestDamagedKey(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	bad := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "bad"})
	good := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "good"})
	s.keys.MustIssue(t, apikey.IssueParams{Owner: "grace", Name: "theirs"})
	ada := s.browser(t, "ada")
	is.True(!ada.open("").has(cannotBeShown))
	s.keys.Store.Damage(bad.Key.ID)
	for address, names := range map[string]string{
		"": "good", "?status=active": "good", "?status=deleted": "", "?status=expiring": "", "?q=good": "good", "?q=bad": "",
		"?q=" + bad.AccessKey(): "",
	} {
		s.observed = nil
		p := ada.open(address)
		is.Equal(p.status, 200)
		is.Equal(strings.Join(p.names(), " "), names)
		is.True(p.has(cannotBeShown) || address == "?status=expiring") // the store may know that it is not asked for
		is.True(!p.has("No API keys") && p.has("Generate New Key"))
		for _, err := range s.observed {
			is.True(errors.Is(err, apikey.ErrDamaged))
			is.True(strings.Contains(err.Error(), bad.Key.ID))
		}
		is.True(len(s.observed) > 0 || address == "?status=expiring")
	}
	is.True(!s.browser(t, "grace").open("").has(cannotBeShown))

	s.observed = nil
	p := ada.open("key/" + bad.Key.ID)
	is.Equal(p.status, 500)
	is.True(p.has("The stored data is damaged."))
	is.Equal(len(s.observed), 1)
	is.Equal(ada.open("key/"+good.Key.ID).status, 200)

	// Without any other key the list does not claim that there is none.
	s.keys.Store.Damage(good.Key.ID)
	p = ada.open("")
	is.Equal(p.status, 200)
	is.True(p.has(cannotBeShown) && !p.has("No API keys") && p.has("Generate New Key"))
	is.True(ada.open("new").submit("new", "name", "new").token() != "")
}

// TestDamagedPages checks that paging goes on beyond damaged keys, and that an
// address past the end leads to the first page, also where all are damaged.
func TestDamagedPages(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	var want []string
	for i := range 3 * apikeyui.PageSize {
		name := fmt.Sprintf("name %02d", i)
		key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: name}).Key
		if i%3 == 0 {
			s.keys.Store.Damage(key.ID)
		} else {
			want = append(want, name)
		}
	}
	var found []string
	p := s.browser(t, "ada").open("")
	for {
		found = append(found, p.names()...)
		if p.next() == "" {
			break
		}
		p = p.follow(p.next())
	}
	slices.Sort(found)
	is.Equal(found, want)
	is.Equal(s.browser(t, "ada").open("?after=zzzzzzzzzzzzzzzzzzzz").status, 200)
}

// TestOutageAmongDamaged checks that a list that ended early is not shown as if
// only damaged keys were missing.
func TestOutageAmongDamaged(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "bad"}).Key
	s.keys.Store.Damage(key.ID)
	s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.List, Forever: true})
	is.Equal(s.browser(t, "ada").open("").status, 503)
}

// TestDamagedEvent checks that a history shows the other events.
func TestDamagedEvent(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	_, err := s.keys.Disable(t.Context(), key.ID, apikey.Reason("first"))
	is.NoErr(err)
	_, err = s.keys.Enable(t.Context(), key.ID, apikey.Reason("second"))
	is.NoErr(err)
	for seq, shown := range map[int64]string{1: "first second", 2: "second", 3: "first"} {
		s.keys.Store.DamageEvent(seq)
		for _, address := range []string{"key/" + key.ID, "key/" + key.ID + "/history", "key/" + key.ID + "?done=x&revision=0"} {
			s.observed = nil
			p := s.browser(t, "ada").open(address)
			is.Equal(p.status, 200)
			is.True(p.has("This entry cannot be read."))
			for text := range strings.FieldsSeq(shown) {
				is.True(p.has(text))
			}
			is.True(p.root.byID("notice") == nil)
			is.Equal(len(s.observed), 1)
			is.True(errors.Is(s.observed[0], apikey.ErrDamaged))
		}
		s.keys.Store.Recover()
	}
}

// TestFormUsedBefore checks that a form for a new key creates one key at most,
// and what it answers if it is sent again, changed or after a Sweep.
func TestFormUsedBefore(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t, func(o *apikey.Options) { o.Retain = apikey.Period{Days: 1} })
	s := newSiteOn(t, keys)
	form := s.browser(t, "ada").open("new")
	is.Equal(form.submit("new", "name", "first").status, 200)
	is.Equal(form.submit("new", "name", "first").status, 409)
	p := form.submit("new", "name", "second")
	is.Equal(p.status, 422)
	is.True(p.has("This form was used before"))

	list, err := keys.List(t.Context(), apikey.Query{Owner: "ada"})
	is.NoErr(err)
	is.Equal(len(list), 1)
	_, err = keys.Delete(t.Context(), list[0].ID)
	is.NoErr(err)
	keys.Advance(48 * time.Hour)
	_, err = keys.Sweep(t.Context())
	is.NoErr(err)
	p = form.submit("new", "name", "first")
	is.Equal(p.status, 409)
	is.True(p.has("This form was used before"))
}
