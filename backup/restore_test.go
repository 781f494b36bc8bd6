package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/backup"
	"github.com/keyturn/apikey/memstore"
)

// TestInterruptedBatches: as coretest does, with more than one batch and page.
func TestInterruptedBatches(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := newSystem(t)
	for i := range 601 {
		issued := keys.MustIssue(t, apikey.IssueParams{Owner: fmt.Sprint("owner ", i%3)})
		_, err := keys.Validate(ctx, issued.Token.Reveal())
		is.NoErr(err)
	}
	_, err := keys.DisableOwner(ctx, "owner 1")
	is.NoErr(err)
	is.NoErr(keys.Flush(ctx))
	file := exported(t, keys)
	want := contentsOf(t, keys)
	for _, mode := range []apikeytest.Failure{
		{}, {Done: true}, {Done: true, Forever: true}, {Forever: true},
	} {
		faults := 0
		for nth := 1; ; nth++ {
			to := newSystem(t)
			mode.Nth = nth
			to.Store.Fail(mode)
			err := to.Restore(ctx, strings.NewReader(file))
			fired := to.Store.Calls(apikeytest.Any) >= nth
			to.Store.Recover()
			is.True(err == nil || fired)
			is.NoErr(to.Restore(ctx, strings.NewReader(file)))
			if nth%4 == 1 {
				is.NoErr(to.Restore(ctx, strings.NewReader(file)))
			}
			if diff := cmp.Diff(want, contentsOf(t, to)); diff != "" {
				t.Fatalf("call %d: %.1000s", nth, diff)
			}
			if events := len(apikeytest.Events(t, to.Manager)); events != 602+601+1 {
				t.Fatalf("call %d: %d events", nth, events)
			}
			if !fired {
				break
			}
			faults++
		}
		is.True(faults >= 10)
	}
}

func TestRestoreIntoAStoreThatIsNotEmpty(t *testing.T) {
	ctx := t.Context()
	source := newSystem(t)
	for range 3 {
		source.MustIssue(t, apikey.IssueParams{})
	}
	first := exported(t, source)
	before := contentsOf(t, source)
	// It is all there, but not from this file.
	if err := source.Restore(ctx, strings.NewReader(first)); !errors.Is(err, backup.ErrOtherData) {
		t.Errorf("into its own store: %v", err)
	}
	if diff := cmp.Diff(before, contentsOf(t, source)); diff != "" {
		t.Error(diff)
	}
	fourth := source.MustIssue(t, apikey.IssueParams{})
	second := exported(t, source)
	empty := exported(t, newSystem(t))
	disabled := newSystem(t)
	if _, err := disabled.DisableOwner(ctx, "owner"); err != nil {
		t.Fatal(err)
	}
	ofOwner := exported(t, disabled)

	for _, test := range []struct {
		name string
		file string
		fill func(m *system)
	}{
		{"other keys", first, func(m *system) { m.MustIssue(t, apikey.IssueParams{}) }},
		{"an older export", second, func(m *system) { m.Restore(ctx, strings.NewReader(first)) }},
		{"a newer export", first, func(m *system) { m.Restore(ctx, strings.NewReader(second)) }},
		{"an export of nothing", empty, func(m *system) { m.MustIssue(t, apikey.IssueParams{}) }},
		{"an owner only", first, func(m *system) { m.DisableOwner(ctx, "owner") }},
		{"keys with a part of their log", second, func(m *system) { copyStore(t, m, source, 3) }},
		{"an owner changed since", ofOwner, func(m *system) {
			m.Restore(ctx, strings.NewReader(ofOwner))
			m.EnableOwner(ctx, "owner")
		}},
		{"changed since", second, func(m *system) {
			m.Restore(ctx, strings.NewReader(second))
			m.Disable(ctx, fourth.Key.ID)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newSystem(t)
			test.fill(m)
			before := contentsOf(t, m)
			if err := m.Restore(ctx, strings.NewReader(test.file)); !errors.Is(err, backup.ErrOtherData) {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(before, contentsOf(t, m)); diff != "" {
				t.Error(diff)
			}
		})
	}
	nothing := newSystem(t)
	if err := nothing.Restore(ctx, strings.NewReader(empty)); err != nil {
		t.Errorf("nothing into nothing: %v", err)
	}

	// Someone else writes to the log in between.
	other := newSystem(t)
	intruder := &intruded{Store: other.Store, do: func() { other.DisableOwner(ctx, "x") }}
	err := other.on(intruder).Restore(ctx, strings.NewReader(first))
	if !errors.Is(err, backup.ErrOtherData) {
		t.Errorf("someone else writes: %v", err)
	}
}

// intruded runs a function before its first Commit.
type intruded struct {
	apikey.Store
	do func()
}

func (s *intruded) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	if do := s.do; do != nil {
		s.do = nil
		do()
	}
	return s.Store.Commit(ctx, c)
}

// copyStore copies all keys, and so many events, past the Managers.
func copyStore(t *testing.T, to, from *system, events int) {
	t.Helper()
	records, err := from.Store.List(t.Context(), apikey.Query{Limit: 1000})
	if err == nil {
		for i := range records {
			records[i].Key.Revision = 0
		}
		_, err = to.Store.Commit(t.Context(), apikey.Commit{Records: records, Events: apikeytest.Events(t, from.Manager)[:events]})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRestoreAfterLostAnswers checks that a Commit whose response was lost is
// not sent again, and that the next Restore finds out whether it was applied.
func TestRestoreAfterLostAnswers(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := newSystem(t)
	keys.MustIssue(t, apikey.IssueParams{})
	_, err := keys.DisableOwner(ctx, "owner")
	is.NoErr(err)
	file := exported(t, keys)
	for nth := range 3 { // the log, the owner, the key
		for _, done := range []bool{false, true} {
			to := newSystem(t)
			to.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Nth: nth + 1, Done: done})
			err := to.Restore(ctx, strings.NewReader(file))
			is.True(errors.Is(err, apikey.ErrOutcomeUnknown))
			is.True(errors.Is(err, apikeytest.ErrStore))
			is.Equal(to.Store.Calls(apikeytest.Commit), nth+1) // never sent again
			is.NoErr(to.Restore(ctx, strings.NewReader(file)))
		}
		to := newSystem(t)
		to.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Nth: nth + 1, Err: apikey.ErrAborted})
		err := to.Restore(ctx, strings.NewReader(file))
		is.True(errors.Is(err, apikey.ErrAborted))
		is.True(!errors.Is(err, apikey.ErrOutcomeUnknown))
	}
}

// TestRestoreNeverCountsUsesTwice: what the store has been given is not given
// again, and what it was used for since stays.
func TestRestoreNeverCountsUsesTwice(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	source := newSystem(t)
	issued := source.MustIssue(t, apikey.IssueParams{})
	use := func(m *system, n int) {
		for range n {
			_, err := m.Validate(ctx, issued.Token.Reveal())
			is.NoErr(err)
		}
		is.NoErr(m.Flush(ctx))
	}
	use(source, 5)
	file := exported(t, source)
	to := newSystem(t)
	to.Store.Fail(apikeytest.Failure{Method: apikeytest.AddUsage})
	is.True(to.Restore(ctx, strings.NewReader(file)) != nil)
	for used, want := range []int64{5, 6, 8} {
		use(to, used) // 0, then 1, then 2 more
		for range 2 {
			is.NoErr(to.Restore(ctx, strings.NewReader(file)))
			key, err := to.Get(ctx, issued.Key.ID)
			is.NoErr(err)
			is.Equal(key.Uses, want)
		}
	}
}

func TestProgress(t *testing.T) {
	is := is.New(t)
	ctx := apikey.WithActor(t.Context(), "ada")
	keys := newSystem(t)
	for i := range 1100 {
		issued := keys.MustIssue(t, apikey.IssueParams{Owner: fmt.Sprint("owner ", i)})
		_, err := keys.DisableOwner(ctx, issued.Key.Owner)
		is.NoErr(err)
	}
	steps := map[backup.Step]int{}
	var last backup.Progress
	follow := func(p backup.Progress) {
		if steps[p.Step]++; p.Step == last.Step && (p.Done.Keys < last.Done.Keys || p.Done.Owners < last.Done.Owners || p.Done.Events < last.Done.Events) {
			t.Errorf("%+v after %+v", p, last)
		}
		last = p
	}
	all := backup.Counts{Keys: 1100, Owners: 1100, Events: 2200}
	var file bytes.Buffer
	is.NoErr(keys.Export(ctx, &file, follow))
	is.Equal(last, backup.Progress{Step: backup.StepExport, Done: all})
	to := newSystem(t)
	is.NoErr(to.Restore(ctx, bytes.NewReader(file.Bytes()), follow))
	is.Equal(last, backup.Progress{Step: backup.StepRestore, Done: all, Total: all})
	is.True(steps[backup.StepExport] > 5)
	is.True(steps[backup.StepVerify] > 5)
	is.True(steps[backup.StepRestore] > 5)
	events := apikeytest.Events(t, to.Manager)
	is.Equal(events[2200].Kind, apikey.EventOwnerRestored) // before any key works
	is.Equal(events[3299].Kind, apikey.EventOwnerRestored)
	is.Equal(events[3300].Kind, apikey.EventRestored)
	is.Equal(events[3300].Actor, "ada")

	// Ended in the middle, by who is told of the progress.
	for _, step := range []backup.Step{backup.StepExport, backup.StepVerify, backup.StepRestore} {
		to := newSystem(t)
		ending, end := context.WithCancel(ctx)
		stop := func(p backup.Progress) {
			if p.Step == step {
				end()
			}
		}
		if step == backup.StepExport {
			is.True(errors.Is(keys.Export(ending, io.Discard, stop), context.Canceled))
			continue
		}
		is.True(errors.Is(to.Restore(ending, bytes.NewReader(file.Bytes()), stop), context.Canceled))
		if step == backup.StepVerify {
			is.Equal(to.Store.Calls(apikeytest.Any), 0)
		}
	}
}

var errDisk = errors.New("disk is full")

// failing is a file that fails after so many bytes or calls.
type failing struct {
	io.ReadSeeker
	left int
}

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func (f *failing) Read(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errDisk
	}
	return f.ReadSeeker.Read(p)
}

func (f *failing) Seek(offset int64, whence int) (int64, error) {
	if f.left--; f.left < 0 {
		return 0, errDisk
	}
	return f.ReadSeeker.Seek(offset, whence)
}

func TestErrorsOfFileAndStore(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := newSystem(t)
	for range 300 {
		keys.MustIssue(t, apikey.IssueParams{})
	}
	file := exported(t, keys)
	for _, n := range []int{0, 1, len(file) / 2, len(file) - 1} {
		is.True(errors.Is(keys.Export(ctx, &failing{left: n}), errDisk))
	}
	is.NoErr(keys.Export(ctx, &failing{left: len(file)}))

	done := false
	for n := 0; !done; n++ {
		to := newSystem(t)
		err := to.Restore(ctx, &failing{strings.NewReader(file), n})
		if done = err == nil; !done {
			is.True(errors.Is(err, errDisk))
			is.True(!errors.Is(err, backup.ErrFile)) // the file may be good
		}
		is.NoErr(to.Restore(ctx, strings.NewReader(file)))
		is.Equal(len(contentsOf(t, to)), len(contentsOf(t, keys)))
	}

	// An export that stands in the middle of something.
	inside := strings.NewReader("header" + file)
	_, err := inside.Seek(6, io.SeekStart)
	is.NoErr(err)
	is.NoErr(newSystem(t).Restore(ctx, inside))

	// Each call of the store fails in its turn.
	for nth := 1; ; nth++ {
		calls := keys.Store.Calls(apikeytest.Any)
		keys.Store.Fail(apikeytest.Failure{Nth: nth})
		err := keys.Export(ctx, io.Discard)
		fired := keys.Store.Calls(apikeytest.Any)-calls >= nth
		keys.Store.Recover()
		is.Equal(errors.Is(err, apikeytest.ErrStore), fired)
		if !fired {
			is.NoErr(err)
			break
		}
	}

	bad := apikey.WithActor(ctx, "\n")
	var field *apikey.FieldError
	is.True(errors.As(keys.Restore(bad, strings.NewReader(file)), &field))
	keys.Clock.Set(time.Time{})
	is.True(errors.Is(keys.Export(ctx, io.Discard), apikey.ErrClock))
	is.True(errors.Is(keys.Restore(ctx, strings.NewReader(file)), apikey.ErrClock))
}

// BenchmarkRestore restores 100,000 keys into memory.
func BenchmarkRestore(b *testing.B) {
	const keys = 100_000
	store, options := memstore.New(), &backup.Options{Peppers: []apikey.Secret{apikey.NoPepper()}}
	m, err := apikey.New(store, &apikey.Options{Peppers: options.Peppers})
	if err != nil {
		b.Fatal(err)
	}
	for i := range keys {
		if _, err := m.Issue(b.Context(), apikey.IssueParams{Owner: fmt.Sprint("owner ", i/10), Name: "name", Scopes: []string{"orders:read"}}); err != nil {
			b.Fatal(err)
		}
	}
	var file bytes.Buffer
	begin := time.Now()
	if err := backup.Export(b.Context(), store, &file, options); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(begin).Seconds(), "s/export")
	b.ReportMetric(float64(file.Len())/keys, "bytes/key")
	for b.Loop() {
		if err := backup.Restore(b.Context(), memstore.New(), bytes.NewReader(file.Bytes()), options); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/restore")
}
