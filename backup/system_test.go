package backup_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/backup"
)

// system is a Manager on a Store that is exported or restored.
type system struct {
	*apikeytest.Manager
	store   apikey.Store // that Export and Restore are given
	peppers []apikey.Secret
}

// newSystem returns an empty system, without peppers one with NoPepper.
func newSystem(t testing.TB, peppers ...apikey.Secret) *system {
	t.Helper()
	if peppers == nil {
		peppers = []apikey.Secret{apikey.NoPepper()}
	}
	m := apikeytest.New(t, func(o *apikey.Options) { o.Peppers = peppers })
	return &system{m, m.Store, peppers}
}

// on returns the system with another Store in front of its own.
func (s *system) on(store apikey.Store) *system { return &system{s.Manager, store, s.peppers} }

func (s *system) options(onProgress []func(backup.Progress)) *backup.Options {
	o := &backup.Options{Peppers: s.peppers, Now: s.Clock.Now}
	for _, f := range onProgress {
		o.OnProgress = f
	}
	return o
}

func (s *system) Export(ctx context.Context, w io.Writer, onProgress ...func(backup.Progress)) error {
	return backup.Export(ctx, s.store, w, s.options(onProgress))
}

func (s *system) Restore(ctx context.Context, r io.ReadSeeker, onProgress ...func(backup.Progress)) error {
	return backup.Restore(ctx, s.store, r, s.options(onProgress))
}

// exported returns the file of a system.
func exported(t testing.TB, s *system) string {
	t.Helper()
	var file strings.Builder
	if err := s.Export(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

// daysOf returns the usage of a key on every day.
func daysOf(t testing.TB, s *system, id string) []apikey.Usage {
	t.Helper()
	days, err := s.Store.DailyUsage(t.Context(), apikey.UsageQuery{
		KeyID: id, From: time.Unix(0, 0).UTC(), Until: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
	})
	if err != nil {
		t.Fatal(err)
	}
	return days
}

// contentsOf is what a Store contains, without what a Restore sets and its
// events.
func contentsOf(t testing.TB, s *system) map[string]any {
	t.Helper()
	is := is.New(t)
	contents := map[string]any{}
	q := apikey.Query{IncludeDeleted: true, Limit: 1000}
	for {
		page, err := s.Store.List(t.Context(), q)
		is.NoErr(err)
		for _, r := range page {
			r.Key.Revision, r.Nonce = 0, apikey.Nonce{}
			contents[r.Key.ID] = r
			contents["days of "+r.Key.ID] = daysOf(t, s, r.Key.ID)
			q.After = r.Key.ID
		}
		if len(page) < q.Limit {
			break
		}
	}
	var log []apikey.Event
	for _, e := range apikeytest.Events(t, s.Manager) {
		if !slices.Contains([]apikey.EventKind{apikey.EventRestored, apikey.EventOwnerRestored}, e.Kind) {
			e.Position.Nonce = apikey.Nonce{}
			log = append(log, e)
		}
		o, err := s.Store.Owner(t.Context(), e.Owner)
		is.NoErr(err)
		o.Revision, o.Nonce = 0, apikey.Nonce{}
		contents["owner "+e.Owner] = o
	}
	contents["log"] = log
	return contents
}
