package apikey_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
)

// TestOthersKeysAreNotThere: for every call of an OwnerManager another owner's
// key gives the very answer of an unknown one, and stays as it is.
func TestOthersKeysAreNotThere(t *testing.T) {
	_, counting, mock := newManager(t, apikey.Options{})
	store := &daysStore{Store: counting}
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: mock.Now})
	if err != nil {
		t.Fatal(err)
	}
	theirs := issue(t, m, apikey.IssueParams{Owner: "other"})
	issue(t, m, apikey.IssueParams{Owner: "acme"})
	before := dump(t, store)
	o := m.ForOwner("acme", &apikey.OwnerOptions{Scopes: []string{"a:*"}})
	ctx := t.Context()
	const unknown = "00000000000000000000"
	calls := func(id, access string) map[string]error {
		errs := map[string]error{}
		_, errs["get"] = o.Get(ctx, id)
		_, errs["credentials"] = o.Credentials(ctx, id)
		_, errs["find"] = o.Find(ctx, access)
		_, errs["daily usage"] = o.DailyUsage(ctx, id, start, start.Add(time.Hour))
		_, errs["events"] = o.Events(ctx, apikey.EventQuery{KeyID: id})
		_, errs["update"] = o.Update(ctx, id, apikey.Changes{Name: new("mine")})
		_, errs["disable"] = o.Disable(ctx, id)
		_, errs["enable"] = o.Enable(ctx, id)
		_, errs["regenerate"] = o.Regenerate(ctx, id)
		_, errs["rotate"] = o.Rotate(ctx, id, time.Hour)
		_, errs["finish"] = o.FinishRotation(ctx, id)
		_, errs["extend"] = o.ExtendRotation(ctx, id, time.Hour)
		_, errs["delete"] = o.Delete(ctx, id, apikey.IfRevision(7))
		return errs
	}
	want := calls(unknown, "ak_0000000000000000")
	for call, err := range calls(theirs.Key.ID, theirs.AccessKey()) {
		if !errors.Is(err, apikey.ErrNotFound) {
			t.Errorf("%s: %v", call, err)
			continue
		}
		text := err.Error()
		if call != "find" { // which names no id
			text = text[:len(text)-len(theirs.Key.ID+": not found")] + unknown + ": not found"
		}
		if diff := cmp.Diff(want[call].Error(), text); diff != "" {
			t.Errorf("%s can be told from an unknown id:\n%s", call, diff)
		}
	}
	if diff := cmp.Diff(before, dump(t, store)); diff != "" {
		t.Errorf("something was stored:\n%s", diff)
	}
	if len(store.asked) != 0 {
		t.Errorf("the store was asked for %+v", store.asked)
	}
	keys, err := o.List(ctx, apikey.Query{})
	if err != nil || len(keys) != 1 || keys[0].Owner != "acme" {
		t.Errorf("list: %v, %v", keys, err)
	}
}

func TestOwnerGivesNoScopesButItsOwn(t *testing.T) {
	is := is.New(t)
	m, _, _ := newManager(t, apikey.Options{})
	ctx := t.Context()
	o := m.ForOwner("acme", &apikey.OwnerOptions{Scopes: []string{"orders:*", "me"}})
	ok, err := o.Issue(ctx, apikey.IssueParams{Name: "x", Scopes: []string{"orders:read", "orders:*", "me"}})
	is.NoErr(err)
	for _, scopes := range [][]string{{"admin"}, {"me", "admin"}, {"orders"}, {"me:*"}} {
		_, err := o.Issue(ctx, apikey.IssueParams{Name: "x", Scopes: scopes})
		var field *apikey.FieldError
		is.True(errors.As(err, &field) && field.Field == "scopes" && errors.Is(err, apikey.ErrScope))
		_, err = o.Update(ctx, ok.Key.ID, apikey.Changes{Scopes: &scopes})
		is.True(errors.As(err, &field) && field.Field == "scopes" && errors.Is(err, apikey.ErrScope))
	}
	// What the host gave may stay, and be narrowed.
	_, err = m.Update(ctx, ok.Key.ID, apikey.Changes{Scopes: &[]string{"admin:*"}})
	is.NoErr(err)
	key, err := o.Update(ctx, ok.Key.ID, apikey.Changes{Scopes: &[]string{"admin:read", "me"}})
	is.NoErr(err)
	is.Equal(key.Scopes.String(), "admin:read me")
	_, err = o.Update(ctx, ok.Key.ID, apikey.Changes{Scopes: &[]string{"admin:*"}})
	is.True(errors.Is(err, apikey.ErrScope)) // given up is given up
	_, err = m.ForOwner("acme", nil).Issue(ctx, apikey.IssueParams{Name: "x", Scopes: []string{"me"}})
	is.True(errors.Is(err, apikey.ErrScope))
}

// TestOwnerLeavesWhatIsTheHosts: an owner cannot lift its own rate, nor change
// what the host wrote down.
func TestOwnerLeavesWhatIsTheHosts(t *testing.T) {
	is := is.New(t)
	m, _, _ := newManager(t, apikey.Options{})
	rate, metadata := apikey.Rate{Requests: 1, Period: time.Second}, map[string]string{"plan": "small"}
	key := issue(t, m, apikey.IssueParams{Rate: rate, Metadata: metadata}).Key
	o := m.ForOwner("acme", nil)
	more, large := apikey.Rate{Requests: 2, Period: time.Second}, map[string]string{"plan": "large"}
	for field, try := range map[string]func() error{
		"rate":     func() error { _, err := o.Update(ctx, key.ID, apikey.Changes{Rate: &more}); return err },
		"metadata": func() error { _, err := o.Update(ctx, key.ID, apikey.Changes{Metadata: &large}); return err },
	} {
		var f *apikey.FieldError
		err := try()
		is.True(errors.As(err, &f) && f.Field == field && errors.Is(err, apikey.ErrForbidden))
	}
	for _, p := range []apikey.IssueParams{{Name: "x", Rate: rate}, {Name: "x", Metadata: metadata}} {
		_, err := o.Issue(ctx, p)
		is.True(errors.Is(err, apikey.ErrForbidden))
	}
	// A form that sends all fields back is no attempt.
	_, err := o.Update(ctx, key.ID, apikey.Changes{Name: new("renamed"), Rate: &rate, Metadata: &metadata})
	is.NoErr(err)
}

// TestAuthorize: the hook is asked before every call, with the key, and its
// refusal stops it.
func TestAuthorize(t *testing.T) {
	is := is.New(t)
	denied := errors.New("not in your role")
	var asked []apikey.Action
	var refuse bool
	_, counting, mock := newManager(t, apikey.Options{})
	store := &daysStore{Store: counting.Store}
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: mock.Now, Authorize: func(_ context.Context, a apikey.Action, k apikey.Key) error {
		if k.Owner != "acme" || k.Name == "" {
			t.Errorf("%s was asked with %+v", a, k)
		}
		asked = append(asked, a)
		if refuse {
			return denied
		}
		return nil
	}})
	is.NoErr(err)
	ctx := t.Context()
	o := m.ForOwner("acme", nil)
	issued, err := o.Issue(ctx, apikey.IssueParams{Name: "x"})
	is.NoErr(err)
	id := issued.Key.ID
	_, err = m.Get(ctx, id)
	is.NoErr(err) // the Manager is not asked about
	calls := func() map[string]error {
		errs := map[string]error{}
		_, errs["issue"] = o.Issue(ctx, apikey.IssueParams{Name: "x"})
		_, errs["get"] = o.Get(ctx, id)
		_, errs["credentials"] = o.Credentials(ctx, id)
		_, errs["find"] = o.Find(ctx, issued.AccessKey())
		_, errs["daily usage"] = o.DailyUsage(ctx, id, start, start.Add(time.Hour))
		_, errs["events"] = o.Events(ctx, apikey.EventQuery{KeyID: id})
		_, errs["update"] = o.Update(ctx, id, apikey.Changes{Name: new("y")})
		_, errs["disable"] = o.Disable(ctx, id)
		_, errs["enable"] = o.Enable(ctx, id)
		_, errs["regenerate"] = o.Regenerate(ctx, id)
		_, errs["rotate"] = o.Rotate(ctx, id, time.Hour)
		_, errs["extend"] = o.ExtendRotation(ctx, id, time.Hour)
		_, errs["finish"] = o.FinishRotation(ctx, id)
		_, errs["delete"] = o.Delete(ctx, id)
		return errs
	}
	refuse, asked = true, nil
	before := dump(t, store)
	for call, err := range calls() {
		if !errors.Is(err, apikey.ErrForbidden) || !errors.Is(err, denied) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if keys, err := o.List(ctx, apikey.Query{}); err != nil || len(keys) != 0 {
		t.Errorf("list: %v, %v", keys, err)
	}
	if diff := cmp.Diff(before, dump(t, store)); diff != "" {
		t.Errorf("something was stored:\n%s", diff)
	}
	is.Equal(len(store.asked), 0)
	want := []apikey.Action{
		apikey.ActionIssue, apikey.ActionGet, apikey.ActionGet, apikey.ActionGet, apikey.ActionGet, apikey.ActionEvents, apikey.ActionUpdate,
		apikey.ActionDisable, apikey.ActionEnable, apikey.ActionRegenerate, apikey.ActionRotate, apikey.ActionExtendRotation,
		apikey.ActionFinishRotation, apikey.ActionDelete, apikey.ActionList,
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
	refuse = false
	for call, err := range calls() {
		if err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
}

// TestFindOfAnother: an access key of another owner costs what one costs that
// there is not, so that no time tells them apart.
func TestFindOfAnother(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	theirs := keys.MustIssue(t, apikey.IssueParams{Owner: "grace"})
	mine := keys.MustIssue(t, apikey.IssueParams{Owner: "ada"})
	reads := func(accessKey string) (int, error) {
		before := keys.Store.Calls(apikeytest.Any)
		_, err := keys.ForOwner("ada", nil).Find(t.Context(), accessKey)
		return keys.Store.Calls(apikeytest.Any) - before, err
	}
	unknown, unknownErr := reads("ak_0000000000000000")
	another, anotherErr := reads(theirs.AccessKey())
	is.Equal(another, unknown)
	is.Equal(anotherErr.Error(), unknownErr.Error())
	is.True(errors.Is(anotherErr, apikey.ErrNotFound))
	_, err := reads(mine.AccessKey())
	is.NoErr(err)
}

// TestAuthorizedRevision: what was authorized is what is changed; if the key
// changes in between, the host is asked again.
func TestAuthorizedRevision(t *testing.T) {
	is := is.New(t)
	var m *apikey.Manager
	asked, rate := 0, apikey.Rate{Period: time.Second}
	m, _, _ = newManager(t, apikey.Options{Authorize: func(ctx context.Context, a apikey.Action, k apikey.Key) error {
		if asked++; asked == 1 {
			rate.Requests++
			_, err := m.Update(ctx, k.ID, apikey.Changes{Rate: &rate})
			is.NoErr(err)
		} else if k.Rate != rate {
			t.Errorf("asked again about %v", k.Rate)
		}
		return nil
	}})
	id := issue(t, m, apikey.IssueParams{}).Key.ID
	_, err := m.ForOwner("acme", nil).Disable(t.Context(), id)
	is.NoErr(err)
	is.Equal(asked, 2)
	asked = 0
	_, err = m.ForOwner("acme", nil).Delete(t.Context(), id, apikey.IfRevision(3))
	is.True(errors.Is(err, apikey.ErrConflict)) // never over an expected revision
	asked = 0
	_, err = m.ForOwner("acme", nil).Regenerate(t.Context(), id)
	is.True(errors.Is(err, apikey.ErrConflict)) // never a second try
}

// TestExpectedRevision: every change can be made to depend on the revision,
// also one that would do nothing.
func TestExpectedRevision(t *testing.T) {
	m, store, _ := newManager(t, apikey.Options{})
	issued := issue(t, m, apikey.IssueParams{})
	id := issued.Key.ID
	_, err := m.Rotate(t.Context(), id, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	before := dump(t, store)
	for _, revision := range []int64{1, 3} {
		for op, err := range changes(m, t.Context(), id, apikey.IfRevision(revision)) {
			if !errors.Is(err, apikey.ErrConflict) {
				t.Errorf("%s at revision %d: %v", op, revision, err)
			}
		}
	}
	if diff := cmp.Diff(before, dump(t, store)); diff != "" {
		t.Errorf("something was stored:\n%s", diff)
	}
}

func TestUpdate(t *testing.T) {
	is := is.New(t)
	m, _, mock := newManager(t, apikey.Options{})
	ctx := t.Context()
	issued := issue(t, m, apikey.IssueParams{
		Name: "first", Scopes: []string{"a"}, Rate: apikey.Rate{Requests: 1, Period: time.Second}, Metadata: map[string]string{"k": "v", "same": "s"},
	})
	id := issued.Key.ID

	// Absent fields stay.
	key, err := m.Update(ctx, id, apikey.Changes{Name: new("second")}, apikey.Reason("typo"))
	is.NoErr(err)
	want := issued.Key
	want.Name, want.Revision = "second", 2
	if diff := cmp.Diff(want, key); diff != "" {
		t.Error(diff)
	}
	// Empty values clear.
	key, err = m.Update(ctx, id, apikey.Changes{Scopes: new([]string{}), Rate: &apikey.Rate{}, Metadata: new(map[string]string{"same": "s", "n": ""})})
	is.NoErr(err)
	is.Equal(key.Scopes.Len(), 0)
	is.Equal(key.Rate, apikey.Rate{})
	is.Equal(key.Metadata.Map(), map[string]string{"same": "s", "n": ""})
	// What changes nothing records nothing.
	again, err := m.Update(ctx, id, apikey.Changes{Name: new("second"), ExpiresAt: &key.ExpiresAt})
	is.NoErr(err)
	is.Equal(again.Revision, key.Revision)
	// The end moves within the longest lifetime, and can revive an expired key.
	end := start.Add(time.Hour)
	key, err = m.Update(ctx, id, apikey.Changes{ExpiresAt: &end})
	is.NoErr(err)
	is.Equal(key.ExpiresAt, end)
	mock.Set(end)
	_, err = m.Validate(ctx, issued.Token.Reveal())
	is.Equal(err, apikey.ErrExpired)
	end = start.AddDate(1, 0, 0)
	_, err = m.Update(ctx, id, apikey.Changes{ExpiresAt: &end})
	is.NoErr(err)
	_, err = m.Validate(ctx, issued.Token.Reveal())
	is.NoErr(err)

	// The end of the credential moves with that of the key.
	short := issue(t, m, apikey.IssueParams{Lifetime: apikey.Period{Time: time.Hour}})
	later := mock.Now().Add(3 * time.Hour)
	_, err = m.Update(ctx, short.Key.ID, apikey.Changes{ExpiresAt: &later})
	is.NoErr(err)
	mock.Add(2 * time.Hour)
	_, err = m.Validate(ctx, short.Token.Reveal())
	is.NoErr(err)

	events, err := m.Events(ctx, apikey.EventQuery{KeyID: id})
	is.NoErr(err)
	var data []map[string]string
	for _, e := range events {
		data = append(data, e.Data.Map())
	}
	if diff := cmp.Diff([]map[string]string{
		{"name": "first", "scopes": "a", "rate": "1 per 1s", "metadata": "k same", "expires_at": "2027-03-01T12:00:00Z"},
		{"name": "second"},
		{"scopes": "", "rate": "0 per 0s", "metadata": "n -k"},
		{"expires_at": "2026-03-01T13:00:00Z"},
		{"expires_at": "2027-03-01T12:00:00Z"},
	}, data); diff != "" {
		t.Error(diff)
	}
}

func TestFindAndCredentials(t *testing.T) {
	is := is.New(t)
	m, _, mock := newManager(t, apikey.Options{})
	ctx := t.Context()
	old := issue(t, m, apikey.IssueParams{})
	fresh, err := m.Rotate(ctx, old.Key.ID, time.Hour)
	is.NoErr(err)
	for _, token := range []apikey.Secret{old.Token, old.Token, fresh.Token} {
		mock.Add(time.Minute)
		_, err := m.Validate(ctx, token.Reveal())
		is.NoErr(err)
	}
	is.NoErr(m.Flush(ctx))
	for _, access := range []string{old.AccessKey(), fresh.AccessKey()} {
		key, err := m.Find(ctx, access)
		is.NoErr(err)
		is.Equal(key.ID, old.Key.ID)
		is.Equal(key.AccessKey(), fresh.AccessKey()) // the current one
		is.Equal(key.Uses, int64(3))
		is.Equal(key.LastUsedAt, start.Add(3*time.Minute))
	}
	_, err = m.Find(ctx, "xx"+old.AccessKey()[2:])
	is.True(errors.Is(err, apikey.ErrNotFound))
	got, err := m.Credentials(ctx, old.Key.ID)
	is.NoErr(err)
	want := []apikey.Credential{
		{ID: old.Key.CredentialID, Prefix: "ak", CreatedAt: start, ExpiresAt: start.Add(time.Hour), RetireBefore: start.AddDate(1, 0, 0), Uses: 2, LastUsedAt: start.Add(2 * time.Minute)},
		{ID: fresh.Key.CredentialID, Prefix: "ak", CreatedAt: start, ExpiresAt: start.AddDate(1, 0, 0), Uses: 1, LastUsedAt: start.Add(3 * time.Minute)},
	}
	if want[0].ID > want[1].ID {
		want[0], want[1] = want[1], want[0]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEndedContext(t *testing.T) {
	m, store, _ := newManager(t, apikey.Options{})
	id := issue(t, m, apikey.IssueParams{}).Key.ID
	before := dump(t, store)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	errs := changes(m, ctx, id)
	_, errs["issue"] = m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "x"})
	_, errs["get"] = m.Get(ctx, id)
	_, errs["list"] = m.List(ctx, apikey.Query{})
	_, errs["events"] = m.Events(ctx, apikey.EventQuery{})
	_, errs["daily usage"] = m.DailyUsage(ctx, id, start, start.Add(time.Hour))
	_, errs["owner"] = m.Owner(ctx, "acme")
	_, errs["disable owner"] = m.DisableOwner(ctx, "acme")
	_, errs["sweep"] = m.Sweep(ctx)
	errs["check"] = m.Check(ctx)
	for call, err := range errs {
		if !errors.Is(err, context.Canceled) || errors.Is(err, apikey.ErrOutcomeUnknown) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if diff := cmp.Diff(before, dump(t, store)); diff != "" {
		t.Errorf("something was stored:\n%s", diff)
	}
}
