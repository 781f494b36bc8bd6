package backup_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
)

const day = 24 * time.Hour

// used returns a system with a key that is rotating, whose credentials were used
// on several days, and some of whose uses belong to no day.
func used(t *testing.T) (s *system, id string) {
	t.Helper()
	is := is.New(t)
	ctx := t.Context()
	s = newSystem(t)
	old := s.MustIssue(t, apikey.IssueParams{})
	s.Advance(time.Minute)
	fresh, err := s.Rotate(ctx, old.Key.ID, 5*day)
	is.NoErr(err)
	for n := range 3 {
		for range n + 1 {
			_, err := s.Validate(ctx, old.Token.Reveal())
			is.NoErr(err)
			_, err = s.Validate(ctx, fresh.Token.Reveal())
			is.NoErr(err)
		}
		is.NoErr(s.Flush(ctx))
		s.Advance(day + time.Minute)
	}
	is.NoErr(s.Store.AddUsage(ctx, []apikey.Usage{
		{KeyID: old.Key.ID, CredentialID: old.Key.CredentialID, Uses: 7, LastUsedAt: s.Now()},
	}))
	return s, old.Key.ID
}

// TestUsagePerDay checks that days, uses without a day and totals come back
// exactly, also from the backup of a Store that was restored, and that a repeat
// adds nothing.
func TestUsagePerDay(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	source, id := used(t)
	want := contentsOf(t, source)
	days := daysOf(t, source, id)
	is.Equal(len(days), 6) // two credentials on three days
	record, err := source.Store.Get(ctx, id, "")
	is.NoErr(err)
	is.Equal(record.Credentials[0].Uses, int64(6+7))
	is.Equal(record.Credentials[1].Uses, int64(6))
	file := exported(t, source)
	for range 2 {
		to := newSystem(t)
		to.Clock.Set(source.Now().Add(day))
		for range 3 {
			is.NoErr(to.Restore(ctx, strings.NewReader(file)))
			is.Equal(cmp.Diff(want, contentsOf(t, to)), "")
			restored, err := to.Store.Get(ctx, id, "")
			is.NoErr(err)
			is.Equal(cmp.Diff(record.Credentials, restored.Credentials), "")
		}
		file = exported(t, to)
	}
}

// partly is a Store that adds the first n uses of the next AddUsage only, and
// whose response is lost.
type partly struct {
	apikey.Store
	n int
}

func (s *partly) Unwrap() apikey.Store { return s.Store }

func (s *partly) AddUsage(ctx context.Context, uses []apikey.Usage) error {
	if s.n < 0 {
		return s.Store.AddUsage(ctx, uses)
	}
	if err := s.Store.AddUsage(ctx, uses[:min(s.n, len(uses))]); err != nil {
		return err
	}
	s.n = -1
	return apikeytest.ErrStore
}

// TestRestoreOfSomeUsage checks that a repeat adds exactly the uses that an
// interrupted Restore did not add.
func TestRestoreOfSomeUsage(t *testing.T) {
	ctx := t.Context()
	source, _ := used(t)
	file, want := exported(t, source), contentsOf(t, source)
	for n := range 8 {
		is := is.New(t)
		to := newSystem(t)
		err := to.on(&partly{to.Store, n}).Restore(ctx, strings.NewReader(file))
		is.True(errors.Is(err, apikeytest.ErrStore))
		is.NoErr(to.Restore(ctx, strings.NewReader(file)))
		is.Equal(cmp.Diff(want, contentsOf(t, to)), "")
	}
}

// counting is a Store that adds one use of a credential after each DailyUsage,
// as a Flush of another process does.
type counting struct {
	*apikeytest.FailStore
	use   apikey.Usage
	added int64
}

func (s *counting) DailyUsage(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
	days, err := s.FailStore.DailyUsage(ctx, q)
	if err == nil {
		err = s.AddUsage(ctx, []apikey.Usage{s.use})
		s.added++
	}
	return days, err
}

// TestUsageAddedMeanwhile checks that uses which are added while a key is read
// are exported once, and never lead to uses that are counted twice.
func TestUsageAddedMeanwhile(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	source, id := used(t)
	record, err := source.Store.Get(ctx, id, "")
	is.NoErr(err)
	before := record.Credentials[0].Uses
	use := apikey.Usage{
		KeyID: id, CredentialID: record.Credentials[0].ID, Uses: 1,
		Day: daysOf(t, source, id)[0].Day, LastUsedAt: source.Now(),
	}
	var file strings.Builder
	flushed := &counting{FailStore: source.Store, use: use}
	is.NoErr(source.on(flushed).Export(ctx, &file))
	is.Equal(flushed.added, int64(1))

	to := newSystem(t)
	is.NoErr(to.Restore(ctx, strings.NewReader(file.String())))
	restored, err := to.Store.Get(ctx, id, "")
	is.NoErr(err)
	is.Equal(restored.Credentials[0].Uses, before+1)

	flushed = &counting{FailStore: to.Store, use: use}
	is.NoErr(to.on(flushed).Restore(ctx, strings.NewReader(file.String())))
	restored, err = to.Store.Get(ctx, id, "")
	is.NoErr(err)
	is.Equal(restored.Credentials[0].Uses, before+1+flushed.added)
}
