package apikeytest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/memstore"
	"github.com/matryer/is"
)

// fakeT is a test inside of a test, whose failure can be looked at.
type fakeT struct {
	testing.TB
	failures []string
}

func (f *fakeT) Helper() {}

func (f *fakeT) Errorf(format string, args ...any) {
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

func (f *fakeT) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// failures runs a test and returns how it failed, and whether it ran to its
// end.
func failures(t *testing.T, test func(t testing.TB)) (messages []string, finished bool) {
	f := &fakeT{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(f)
		finished = true
	}()
	<-done
	return f.failures, finished
}

func TestNew(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	is.Equal(keys.Clock.Now(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))

	issued := keys.MustIssue(t, apikey.IssueParams{})
	is.Equal(issued.Key.Owner, "owner")
	is.Equal(issued.Key.Name, "name")
	is.Equal(issued.Key.CreatedAt, keys.Clock.Now())

	key, err := keys.Validate(t.Context(), issued.Token.Reveal())
	is.NoErr(err)
	is.Equal(key.ID, issued.Key.ID)

	keys.Advance(365*24*time.Hour - time.Microsecond)
	_, err = keys.Validate(t.Context(), issued.Token.Reveal())
	is.NoErr(err)
	keys.Advance(time.Microsecond)
	_, err = keys.Validate(t.Context(), issued.Token.Reveal())
	is.Equal(err, apikey.ErrExpired)
	is.NoErr(keys.Check(t.Context()))
}

func TestNewOptions(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t,
		func(o *apikey.Options) { o.Prefix = "first" },
		func(o *apikey.Options) { o.MaxKeysPerOwner = 1 },
		func(o *apikey.Options) { o.Prefix = "shop" },
	)
	issued := keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Name: "billing"})
	is.Equal(issued.Key.Owner, "ada")
	is.Equal(issued.Key.Name, "billing")
	is.True(strings.HasPrefix(issued.Token.Reveal(), "shop_"))

	messages, finished := failures(t, func(t testing.TB) { keys.MustIssue(t, apikey.IssueParams{Owner: "ada"}) })
	is.Equal(messages, []string{"apikeytest: apikey: issue: owner has too many keys"})
	is.True(!finished)

	messages, finished = failures(t, func(t testing.TB) {
		apikeytest.New(t, func(o *apikey.Options) { o.Prefix = "No" })
	})
	is.Equal(len(messages), 1)
	is.True(strings.Contains(messages[0], "prefix"))
	is.True(!finished)
}

func TestClock(t *testing.T) {
	is := is.New(t)
	var c apikeytest.Clock
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	is.Equal(c.Now(), begin)
	is.Equal(c.Advance(time.Hour), begin.Add(time.Hour))
	is.Equal(c.Now(), begin.Add(time.Hour))
	is.Equal(c.Advance(-2*time.Hour), begin.Add(-time.Hour))

	leap := time.Date(2028, 2, 29, 12, 0, 0, 0, time.UTC)
	c.Set(leap)
	is.Equal(c.Now(), leap)
	c.Set(time.Time{}) // a wrong clock can be shown too
	is.True(c.Now().IsZero())
}

func TestEvents(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	is.Equal(len(apikeytest.Events(t, keys)), 0)

	issued := keys.MustIssue(t, apikey.IssueParams{})
	var want []apikey.EventKind
	want = append(want, apikey.EventIssued)
	for range 130 { // more than a page
		_, err := keys.Disable(t.Context(), issued.Key.ID)
		is.NoErr(err)
		_, err = keys.Enable(t.Context(), issued.Key.ID)
		is.NoErr(err)
		want = append(want, apikey.EventDisabled, apikey.EventEnabled)
	}
	events := apikeytest.Events(t, keys)
	if diff := cmp.Diff(want, apikeytest.Kinds(events)); diff != "" {
		t.Error(diff)
	}
	for i, e := range events {
		is.Equal(e.Position.Seq, int64(i)+1)
	}

	own, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	is.NoErr(err)
	is.Equal(len(apikeytest.Events(t, own)), 0) // a Manager of the host's own

	keys.Store.Fail(apikeytest.Failure{Method: apikeytest.ReadEvents})
	messages, finished := failures(t, func(t testing.TB) { apikeytest.Events(t, keys) })
	is.Equal(messages, []string{"apikeytest: apikey: events: apikeytest: store failed"})
	is.True(!finished)
}
