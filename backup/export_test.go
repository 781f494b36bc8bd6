package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/backup"
)

// during runs a function after the nth call of List, once.
type during struct {
	apikey.Store
	left int
	do   func()
}

func (s *during) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	page, err := s.Store.List(ctx, q)
	if s.left--; s.left == 0 {
		s.do()
	}
	return page, err
}

// TestExportOfAStoreThatChanges: what is changed between the pages is in the
// file as it is in the end.
func TestExportOfAStoreThatChanges(t *testing.T) {
	for nth := 1; nth <= 3; nth++ {
		t.Run(fmt.Sprint("after page ", nth), func(t *testing.T) {
			is := is.New(t)
			ctx := t.Context()
			keys := newSystem(t)
			var issued []apikey.Issued
			for range 1200 {
				issued = append(issued, keys.MustIssue(t, apikey.IssueParams{}))
			}
			slices.SortFunc(issued, func(a, b apikey.Issued) int { return strings.Compare(a.Key.ID, b.Key.ID) })
			rounds := 0
			change := func() {
				rounds++
				for i := range 60 {
					id := issued[i*20].Key.ID
					switch i % 5 {
					case 0:
						_, err := keys.Disable(ctx, id)
						is.NoErr(err)
					case 1:
						_, err := keys.Rotate(ctx, id, time.Hour)
						is.NoErr(err)
					case 2:
						_, err := keys.Delete(ctx, id)
						is.NoErr(err)
					case 3:
						_, err := keys.Regenerate(ctx, id)
						is.NoErr(err)
					case 4:
						keys.MustIssue(t, apikey.IssueParams{Owner: fmt.Sprint("new ", i)})
						_, err := keys.DisableOwner(ctx, fmt.Sprint("new ", i/2))
						is.NoErr(err)
					}
				}
				keys.Advance(91 * 24 * time.Hour)
				swept, err := keys.Sweep(ctx)
				is.NoErr(err)
				is.Equal(swept.Keys, 12)
				_, err = keys.DisableOwner(ctx, "owner") // read before, changed now
				is.NoErr(err)
			}
			changing := keys.on(&during{Store: keys.Store, left: nth, do: change})
			inOwners := false
			var file bytes.Buffer
			is.NoErr(changing.Export(ctx, &file, func(p backup.Progress) {
				if p.Done.Owners > 0 && !inOwners { // and again while the changes are read
					inOwners = true
					_, err := keys.EnableOwner(ctx, "owner")
					is.NoErr(err)
					_, err = keys.Delete(ctx, issued[7].Key.ID)
					is.NoErr(err)
				}
			}))
			is.Equal(rounds, 1)
			is.True(inOwners)
			to := newSystem(t)
			is.NoErr(to.Restore(ctx, bytes.NewReader(file.Bytes())))
			if diff := cmp.Diff(contentsOf(t, keys), contentsOf(t, to)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestExportWhileOthersWrite: a file is the state of a moment, and the log in
// it tells which.
func TestExportWhileOthersWrite(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := newSystem(t)
	var ids []string
	for range 600 {
		ids = append(ids, keys.MustIssue(t, apikey.IssueParams{}).Key.ID)
	}
	// Fewer changes than Export has rounds, so that it comes to an end however
	// they fall.
	var writers sync.WaitGroup
	begun := make(chan struct{})
	for w := range 2 {
		writers.Go(func() {
			<-begun
			for i := range 24 {
				id := ids[(w*24+i)*7%50]
				if _, err := keys.Disable(ctx, id); err != nil {
					t.Error(err)
				}
				if i%3 == 0 {
					continue
				}
				if _, err := keys.Enable(ctx, id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var file bytes.Buffer
	var once sync.Once
	err := keys.Export(ctx, &file, func(backup.Progress) { once.Do(func() { close(begun) }) })
	writers.Wait()
	is.NoErr(err)

	to := newSystem(t)
	is.NoErr(to.Restore(ctx, bytes.NewReader(file.Bytes())))
	last := map[string]apikey.EventKind{}
	for _, e := range apikeytest.Events(t, to.Manager) {
		if e.Kind != apikey.EventRestored {
			last[e.KeyID] = e.Kind
		}
	}
	for _, id := range ids {
		key, err := to.Get(ctx, id)
		is.NoErr(err)
		if disabled := !key.DisabledAt.IsZero(); disabled != (last[id] == apikey.EventDisabled) {
			t.Errorf("disabled %v, but the log says %s", disabled, last[id])
		}
	}
}

// busy is changed each time that its log is read.
type busy struct {
	apikey.Store
	change func()
}

func (s *busy) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	s.change()
	return s.Store.Events(ctx, q)
}

func TestExportOfWhatCannotBeRestored(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := newSystem(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	n := 0
	changing := keys.on(&busy{keys.Store, func() {
		n++
		_, err := keys.Update(ctx, issued.Key.ID, apikey.Changes{Name: new(fmt.Sprint("name ", n))})
		is.NoErr(err)
	}})
	err := changing.Export(ctx, io.Discard)
	is.True(err != nil)
	is.True(strings.Contains(err.Error(), "100 rounds"))

	r, err := keys.Store.Get(ctx, issued.Key.ID, "")
	is.NoErr(err)
	r.Key.Name = "two\nlines"
	_, err = keys.Store.Commit(ctx, apikey.Commit{Records: []apikey.Record{r}, Events: []apikey.Event{{
		At: keys.Clock.Now(), Kind: apikey.EventUpdated, KeyID: r.Key.ID, Owner: r.Key.Owner,
	}}})
	is.NoErr(err)
	err = keys.Export(ctx, io.Discard)
	is.True(err != nil)
	is.True(strings.Contains(err.Error(), issued.Key.ID))
	is.True(!strings.Contains(err.Error(), "lines"))
}
