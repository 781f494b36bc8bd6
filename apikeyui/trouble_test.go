package apikeyui_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/apikeyui"
)

// TestStoreDown: with a store that fails every route about keys answers 503,
// tells the host, and shows nothing of the error.
func TestStoreDown(t *testing.T) {
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	ada := s.browser(t, "ada")
	form := fill(key)
	s.keys.Store.Fail(apikeytest.Failure{Forever: true, Err: errors.New("dial tcp 10.1.2.3: secret dsn")})
	for _, r := range apikeyui.Routes() {
		if strings.Contains(r[1], ".") || r[0]+r[1] == "POST/" {
			continue
		}
		s.observed = nil
		w := ada.do(r[0], strings.TrimSuffix(home, "/")+strings.Replace(r[1], "{id}", key.ID, 1), form)
		if w.Code != 503 || w.Header().Get("Retry-After") != "5" || len(s.observed) != 1 {
			t.Errorf("%s %s: %d, %d errors observed", r[0], r[1], w.Code, len(s.observed))
		}
		if strings.Contains(w.Body.String(), "dsn") || !strings.Contains(w.Body.String(), "Not available right now") {
			t.Errorf("%s %s: %s", r[0], r[1], w.Body)
		}
	}
}

// TestLostAnswer: if it is not known whether a new token works, it is shown
// with a warning, and it can be tested.
func TestLostAnswer(t *testing.T) {
	for _, test := range issuing {
		for _, made := range []bool{true, false} {
			t.Run(fmt.Sprint(test.name, ", made: ", made), func(t *testing.T) {
				is := is.New(t)
				s, _, form := asked(t, test.dialog)
				gets := map[string]int{"new": 1}[test.dialog] // the page reads the key, then the change does
				if gets == 0 {
					gets = 3
				}
				s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Done: made})
				s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Nth: 2})
				s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Get, Nth: gets})
				shown := form.submit(test.dialog, test.values...)
				is.Equal(shown.status, 503)
				is.True(shown.has("It is not certain that this was saved."))
				is.True(shown.token() != "")
				s.keys.Store.Recover()
				is.Equal(s.validate(t, shown.token()) == nil, made)
				is.Equal(len(s.observed), 1)
				is.True(errors.Is(s.observed[0], apikey.ErrOutcomeUnknown))
				apikeytest.AssertNoLeak(t, apikey.NewSecret(shown.token()), s.observed[0].Error())
				if made {
					is.True(shown.submit("test").has("The token works."))
					is.Equal(form.submit(test.dialog, test.values...).status, 409)
				}
			})
		}
	}
}

// TestOutageIsNoVerdict checks that the test of a token reports an outage as
// such, even if the store's error wraps what sounds like a verdict.
func TestOutageIsNoVerdict(t *testing.T) {
	is := is.New(t)
	s, _, form := asked(t, "new")
	shown := form.submit("new", "name", "billing")
	s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Lookup, Err: fmt.Errorf("replica: %w", apikey.ErrDisabled)})
	p := shown.submit("test")
	is.Equal(p.status, 503)
	is.True(!p.has("the key is disabled"))
}

func TestLostAnswerWithoutToken(t *testing.T) {
	is := is.New(t)
	s, key, form := asked(t, "disable")
	defer func() { is.Equal(len(s.observed), 1) }()
	s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Done: true})
	s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Nth: 2})
	s.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Get, Nth: 3})
	p := form.submit("disable")
	is.Equal(p.status, 503)
	is.True(p.has("It is not certain that this was done"))
	is.Equal(len(p.root.all("form")), 0) // to be sent again without a look
	s.keys.Store.Recover()
	is.True(p.follow("key/" + key.ID).has("Disabled"))
}

// TestRefusals: what the Manager refuses has a page that says so, and a way on.
func TestRefusals(t *testing.T) {
	refuse := errors.New("not you")
	tests := []struct {
		name    string
		options func(*apikey.Options)
		dialog  string
		prepare func(*site, apikey.Key) error
		values  []string
		status  int
		text    string
	}{
		{"too soon", func(o *apikey.Options) { o.ReissueLimit = &apikey.ReissueLimit{N: 1, Window: time.Hour} }, "regenerate", nil,
			[]string{"choice", "0"}, 429, "Possible again: 1 Jan 2026, 01:00 UTC"},
		{"too soon for a new key", func(o *apikey.Options) {
			o.Authorize = func(_ context.Context, action apikey.Action, _ apikey.Key) error {
				if action == apikey.ActionIssue {
					return &apikey.TooSoonError{At: time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)}
				}
				return nil
			}
		}, "new", nil, []string{"name", "x"}, 429, "Possible again: 1 Jan 2026, 01:00 UTC"},
		{"limit", func(o *apikey.Options) { o.MaxKeysPerOwner = 1 }, "new", nil, []string{"name", "x"}, 409, "as many keys as you may have"},
		{"forbidden", func(o *apikey.Options) {
			o.Authorize = func(_ context.Context, action apikey.Action, _ apikey.Key) error {
				if action == apikey.ActionRotate {
					return refuse
				}
				return nil
			}
		}, "rotate", nil, nil, 403, "You may not do this"},
		{"rotation over", nil, "finish", func(s *site, key apikey.Key) error {
			_, err := s.keys.Rotate(t.Context(), key.ID, time.Minute)
			return err
		}, nil, 409, "The rotation of this key has ended."},
		{"expired", nil, "rotate", nil, nil, 409, "Regenerate it to go on using it."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			keys := apikeytest.New(t, func(o *apikey.Options) {
				if test.options != nil {
					test.options(o)
				}
			})
			s := newSiteOn(t, keys)
			key := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
			if test.prepare != nil {
				is.NoErr(test.prepare(s, key))
			}
			address := "key/" + key.ID + "/" + test.dialog
			if test.dialog == "new" {
				address = "new"
			}
			form := s.browser(t, "ada").open(address)
			is.Equal(form.status, 200)
			switch test.name {
			case "rotation over":
				keys.Advance(time.Hour)
			case "expired":
				keys.Advance(366 * 24 * time.Hour)
			}
			p := form.submit(test.dialog, test.values...)
			is.Equal(p.status, test.status)
			is.True(p.has(test.text))
			is.True(!p.has("not you"))
			is.Equal(p.header.Get("Retry-After"), map[bool]string{true: "3600"}[test.status == 429])
			if test.dialog != "new" {
				is.True(p.follow("key/" + key.ID).has("mine"))
			}
		})
	}
}

// TestBadRequests: what no form of ours sends changes nothing.
func TestBadRequests(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	ada := s.browser(t, "ada")
	is.Equal(ada.open("?after=x").status, 400)
	for _, after := range []string{"x", "-1", "1000000", "AAAAAAAAAAAAAAAAAAAAAA"} {
		is.Equal(ada.open("key/"+key.ID+"/history?after="+after).status, 400)
	}
	is.Equal(ada.open("key/"+key.ID+"/nothing").status, 404)
	is.Equal(ada.open("?status=%22%3E").status, 200)
	form := fill(key)
	form.Set("reason", strings.Repeat("x", 1<<16))
	is.Equal(ada.do("POST", home+"key/"+key.ID+"/disable", form).Code, 413)
	is.Equal(ada.do("POST", home+"key/"+key.ID+"/disable", fill(key), "Content-Type", "multipart/form-data; boundary=x").Code, 400)
	is.Equal(ada.do("POST", home+"key/"+key.ID+"/disable", fill(key), "Content-Type", "text/plain").Code, 400)
	is.Equal(s.keys.Store.Calls(apikeytest.Commit), 1)
}

// TestNotices: an address confirms what the newest event says was done, and
// nothing else.
func TestNotices(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	ada := s.browser(t, "ada")
	notice := func(p *page) string {
		if n := p.root.byID("notice"); n != nil {
			return n.content()
		}
		return ""
	}
	all := []string{"updated", "disabled", "enabled", "finished", "extended", "deleted", "issued", "x", "updated%22"}
	is.Equal(notice(ada.open("key/"+key.ID+"?done=issued&revision=1")), "mine: The key was made.")
	for _, revision := range []string{"", "&revision=2", "&revision=0", "&revision=x"} {
		for _, done := range all {
			is.Equal(notice(ada.open("key/"+key.ID+"?done="+done+revision)), "")
			is.Equal(notice(ada.open("?done="+done+"&key="+key.ID)), "")
		}
	}
	disabled := ada.open("key/" + key.ID + "/disable").submit("disable")
	is.Equal(notice(disabled), "mine: The key was disabled. Requests with it are refused.")
	for _, done := range all {
		for _, revision := range []string{"", "&revision=1", "&revision=2", "&revision=02", "&revision=3"} {
			want := ""
			if done == "disabled" && revision == "&revision=2" {
				want = notice(disabled)
			}
			is.Equal(notice(ada.open("key/"+key.ID+"?done="+done+revision)), want)
		}
	}
	enabled := ada.open("key/" + key.ID + "/enable").submit("enable")
	is.Equal(notice(enabled), "mine: The key was activated.")
	is.Equal(notice(ada.load("GET", disabled.url, nil)), "") // kept, and no longer so
}

// TestNoticesOfTheLog: each kind of change is confirmed by its own event only,
// whatever the address says.
func TestNoticesOfTheLog(t *testing.T) {
	is := is.New(t)
	s := newSite(t)
	key := s.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine"}).Key
	own := s.keys.ForOwner("ada", nil)
	ada := s.browser(t, "ada")
	steps := []struct {
		done string
		do   func() (apikey.Key, error)
	}{
		{"issued", func() (apikey.Key, error) { return own.Get(t.Context(), key.ID) }},
		{"updated", func() (apikey.Key, error) {
			return own.Update(t.Context(), key.ID, apikey.Changes{Name: new("other")})
		}},
		{"rotated", func() (apikey.Key, error) {
			issued, err := own.Rotate(t.Context(), key.ID, time.Hour)
			return issued.Key, err
		}},
		{"extended", func() (apikey.Key, error) { return own.ExtendRotation(t.Context(), key.ID, 2*time.Hour) }},
		{"finished", func() (apikey.Key, error) { return own.FinishRotation(t.Context(), key.ID) }},
		{"disabled", func() (apikey.Key, error) { return own.Disable(t.Context(), key.ID) }},
		{"enabled", func() (apikey.Key, error) { return own.Enable(t.Context(), key.ID) }},
		{"regenerated", func() (apikey.Key, error) {
			issued, err := own.Regenerate(t.Context(), key.ID)
			return issued.Key, err
		}},
	}
	for _, step := range steps {
		changed, err := step.do()
		is.NoErr(err)
		for _, other := range steps {
			p := ada.open(fmt.Sprintf("key/%s?done=%s&revision=%d", key.ID, other.done, changed.Revision))
			is.Equal(p.root.byID("notice") != nil, other.done == step.done)
		}
		old := ada.open(fmt.Sprintf("key/%s?done=unchanged&revision=%d", key.ID, changed.Revision-1))
		is.True(old.root.byID("notice") == nil)
		is.True(ada.open("key/"+key.ID+"?done=unchanged").root.byID("notice") == nil)
	}
}

// TestUnchanged: an edit in which nothing was changed is nobody's right
// either, and says what it did.
func TestUnchanged(t *testing.T) {
	is := is.New(t)
	allowed := true
	keys := apikeytest.New(t, func(o *apikey.Options) {
		o.Authorize = func(_ context.Context, action apikey.Action, _ apikey.Key) error {
			if action == apikey.ActionUpdate && !allowed {
				return errors.New("not you")
			}
			return nil
		}
	})
	s := newSiteOn(t, keys)
	key := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "mine", Scopes: []string{"orders:read"}}).Key
	form := s.browser(t, "ada").open("key/" + key.ID + "/edit")
	p := form.submit("edit")
	is.True(p.has("There was nothing to change."))
	is.True(!p.has("Saved."))
	is.Equal(len(apikeytest.Events(t, keys)), 1)
	is.True(form.submit("edit", "name", "other").has("Saved."))
	is.Equal(form.submit("edit").status, 409) // for an older revision
	allowed = false
	is.Equal(s.browser(t, "ada").open("key/"+key.ID+"/edit").submit("edit").status, 403)
}

// TestObservation checks what Observe learns of a page that failed.
func TestObservation(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	key := keys.MustIssue(t, apikey.IssueParams{Owner: "ada"}).Key
	var seen []apikey.Observation
	s := newSiteOn(t, keys, func(o *apikeyui.Options) {
		o.Observe = func(_ *http.Request, o apikey.Observation) { seen = append(seen, o) }
	})
	address := home + "key/" + key.ID + "/disable"
	keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Forever: true})
	is.Equal(s.browser(t, "ada").do("POST", address, url.Values{"revision": {"1"}}).Code, 503)
	keys.Store.Recover()
	keys.Store.Fail(apikeytest.Failure{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", address, nil)
	r.Header.Set("Test-Owner", "ada")
	s.handler.ServeHTTP(httptest.NewRecorder(), r)
	want := []apikey.Observation{
		{Status: 503, Code: "outcome_unknown", Owner: "ada", KeyID: key.ID, Err: apikey.ErrOutcomeUnknown},
		{Status: 503, Code: "unreachable", Owner: "ada", Canceled: true, Err: context.Canceled},
	}
	if diff := cmp.Diff(want, seen, cmpopts.EquateErrors(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}
