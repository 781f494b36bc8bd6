package apikeyrest_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/internal/cursor"
)

// pages follows a list to its end, and returns its members and the cursors.
func pages(t *testing.T, s *shop, target, list string) (all []map[string]any, cursors []string) {
	t.Helper()
	next := ""
	for range 10_000 {
		page := decode(t, s.ask(t, "GET", target+next, ""), 200)
		for _, member := range page[list].([]any) {
			all = append(all, member.(map[string]any))
		}
		cursor, ok := page["next"].(string)
		if !ok {
			return all, cursors
		}
		cursors = append(cursors, cursor)
		next = "&after=" + cursor
	}
	t.Fatal("the list has no end")
	return nil, nil
}

func TestPaging(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	var want []string
	for range 5 {
		want = append(want, s.rotating(t, "ada").ID)
		s.rotating(t, "bob")
	}
	slices.Sort(want)
	for limit := 1; limit < 7; limit++ {
		all, _ := pages(t, s, fmt.Sprintf("/keys?limit=%d", limit), "keys")
		var got []string
		for _, key := range all {
			got = append(got, key["id"].(string))
		}
		is.Equal(got, want)
	}
	s.ask(t, "DELETE", "/keys/"+want[0]+"?reason=gone", "")
	is.Equal(len(decode(t, s.ask(t, "GET", "/keys", ""), 200)["keys"].([]any)), 4)
	all := decode(t, s.ask(t, "GET", "/keys?deleted=true", ""), 200)["keys"].([]any)
	is.Equal(len(all), 5)
	is.Equal(all[0].(map[string]any)["status"], "deleted")
	is.Equal(all[0].(map[string]any)["deleted_at"], "2026-01-01T00:00:00.000000Z")

	for limit, more := range map[int]int{1: 2, 2: 1, 3: 0, 4: 0} {
		events, cursors := pages(t, s, fmt.Sprintf("/keys/%s/events?limit=%d", want[0], limit), "events")
		var kinds []any
		for _, event := range events {
			kinds = append(kinds, event["kind"])
		}
		is.Equal(kinds, []any{"key.deleted", "key.rotated", "key.issued"})
		is.Equal(len(cursors), more) // no page is empty
	}
	last := apikeytest.Events(t, s)
	is.Equal(last[len(last)-1].Reason, "gone")
	is.Equal(read(t, s.ask(t, "GET", "/keys", "", "Session", "eve")), "{\"keys\":[]}\n")
}

// TestPagingGoesOn checks that a page which follows another is the same,
// whatever happens in between.
func TestPagingGoesOn(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	id := s.rotating(t, "ada").ID
	first := decode(t, s.ask(t, "GET", "/keys/"+id+"/events?limit=1", ""), 200)
	s.rotating(t, "bob")
	s.ask(t, "PATCH", "/keys/"+id, `{"name":"b"}`)
	second := decode(t, s.ask(t, "GET", "/keys/"+id+"/events?limit=1&after="+first["next"].(string), ""), 200)
	is.Equal(second["events"].([]any)[0].(map[string]any)["kind"], "key.issued")
	is.Equal(second["next"], nil)
}

// TestCursors checks that a cursor serves for the list of one owner only,
// and in one spelling.
func TestCursors(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	id, second, other := s.rotating(t, "ada").ID, s.rotating(t, "ada").ID, s.rotating(t, "bob").ID
	s.rotating(t, "bob")
	next := func(path, session string) string {
		return decode(t, s.ask(t, "GET", path+"?limit=1", "", "Session", session), 200)["next"].(string)
	}
	keys, othersKeys := next("/keys", "ada"), next("/keys", "bob")
	events, secondEvents, othersEvents := next("/keys/"+id+"/events", "ada"), next("/keys/"+second+"/events", "ada"), next("/keys/"+other+"/events", "bob")
	bad := func(path string, cursors ...string) {
		t.Helper()
		for _, cursor := range cursors {
			got := s.ask(t, "GET", path+"?after="+cursor, "")
			is.Equal(refused(t, got, 400, "invalid_field").Field, "after")
			is.True(len(cursor) < 5 || !strings.Contains(read(t, got), cursor))
		}
	}
	spellings := func(cursor string) (list []string) {
		for _, text := range []string{cursor[1:], cursor + "A", cursor + "=", cursor + "%0A", "%20" + cursor, strings.ToLower(cursor), cursor + cursor} {
			if text != cursor {
				list = append(list, text)
			}
		}
		for i := range cursor {
			for _, c := range "Aa0-_" {
				if changed := cursor[:i] + string(c) + cursor[i+1:]; changed != cursor {
					list = append(list, changed)
				}
			}
		}
		return list
	}
	bad("/keys", append(spellings(keys), othersKeys, events, id, "1", "0")...)
	bad("/keys/"+id+"/events", append(spellings(events), secondEvents, othersEvents, keys, id, "1", "0")...)
	refused(t, s.ask(t, "GET", "/keys/"+other+"/events?after="+othersEvents, ""), 404, "not_found")
	refused(t, s.ask(t, "GET", "/keys/"+other+"/events?after="+events, ""), 404, "not_found")
	is.Equal(s.ask(t, "GET", "/keys?after="+keys, "").StatusCode, 200)
	is.Equal(s.ask(t, "GET", "/keys/"+id+"/events?after="+events, "").StatusCode, 200)
}

// TestCursorsHideVolume checks that cursors do not show how many events
// other owners have: neither their size nor their order depends on positions.
func TestCursorsHideVolume(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	key := s.MustIssue(t, apikey.IssueParams{Owner: "ada"}).Key
	change := func(id string, n int) {
		for i := range n {
			_, err := s.Update(t.Context(), id, apikey.Changes{Name: new(fmt.Sprint(i))})
			must(t, err)
		}
	}
	change(key.ID, 100)
	_, cursors := pages(t, s, "/keys/"+key.ID+"/events?limit=1", "events")
	is.Equal(len(cursors), 100)
	ascending, common := 0, 0
	for i, text := range cursors {
		raw, err := base64.RawURLEncoding.DecodeString(text)
		must(t, err)
		is.Equal(len(raw), 16)
		if i == 0 {
			continue
		}
		before, err := base64.RawURLEncoding.DecodeString(cursors[i-1])
		must(t, err)
		if string(before) < string(raw) {
			ascending++
		}
		for j := range raw {
			if raw[j] == before[j] {
				common++
			}
		}
	}
	is.True(ascending > 20 && ascending < 80)
	is.True(common < 40) // of 1584 bytes, 6 by chance
}

// countingStore counts what is read of the log.
type countingStore struct {
	apikey.Store

	mu     sync.Mutex
	calls  int
	events int
}

func (s *countingStore) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	events, err := s.Store.Events(ctx, q)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.events += len(events)
	return events, err
}

// TestDeepPages reads the last pages of a long history. Each page reads the
// log twice, for its own events and one more.
func TestDeepPages(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	counting := &countingStore{Store: s.Store}
	s.handler = newAPI(s.Manager.Manager.WithStore(counting), &apikeyrest.Options{
		Owner: func(*http.Request) (string, string, error) { return "ada", "", nil },
	})
	key := s.MustIssue(t, apikey.IssueParams{Owner: "ada"}).Key
	const changes = 3000
	for i := range changes {
		_, err := s.Update(t.Context(), key.ID, apikey.Changes{Name: new(fmt.Sprint(i))})
		must(t, err)
	}
	target, revision := "/keys/"+key.ID+"/events?limit=7", float64(changes+1)
	for next := ""; ; {
		calls, events := counting.calls, counting.events
		page := decode(t, s.ask(t, "GET", target+next, ""), 200)
		for _, event := range page["events"].([]any) {
			is.Equal(event.(map[string]any)["revision"], revision)
			revision--
		}
		is.True(counting.calls-calls <= 2)
		is.True(counting.events-events <= 8)
		cursor, ok := page["next"].(string)
		if !ok {
			break
		}
		next = "&after=" + cursor
	}
	is.Equal(revision, 0.0)
}

// TestDamaged lets rows be damaged. The others are shown, all of them, and
// the response states that some are missing.
func TestDamaged(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	var observed []apikey.Observation
	s.handler = newAPI(s.Manager.Manager, &apikeyrest.Options{
		Owner:   func(*http.Request) (string, string, error) { return "ada", "", nil },
		Observe: func(_ *http.Request, o apikey.Observation) { observed = append(observed, o) },
	})
	var ids []string
	for range 7 {
		ids = append(ids, s.rotating(t, "ada").ID)
	}
	slices.Sort(ids)
	for _, damaged := range [][]int{{0}, {3}, {6}, {0, 1, 2}, {4, 5, 6}, {0, 1, 2, 3, 4, 5, 6}} {
		s.Store.Recover()
		var want []string
		for i, id := range ids {
			if slices.Contains(damaged, i) {
				s.Store.Damage(id)
			} else {
				want = append(want, id)
			}
		}
		for limit := 1; limit < 9; limit++ {
			observed = nil
			keys, _ := pages(t, s, fmt.Sprintf("/keys?limit=%d", limit), "keys")
			var got []string
			for _, key := range keys {
				got = append(got, key["id"].(string))
			}
			is.Equal(got, want)
			is.True(slices.ContainsFunc(observed, func(o apikey.Observation) bool { return errors.Is(o.Err, apikey.ErrDamaged) && o.Status == 0 }))
		}
		is.Equal(decode(t, s.ask(t, "GET", "/keys", ""), 200)["damaged"], true)
	}

	s.Store.Recover()
	is.Equal(decode(t, s.ask(t, "GET", "/keys", ""), 200)["damaged"], nil)
	for _, name := range []string{"b", "c", "d"} {
		s.ask(t, "PATCH", "/keys/"+ids[0], `{"name":"`+name+`"}`)
	}
	log, err := s.Events(t.Context(), apikey.EventQuery{KeyID: ids[0]})
	must(t, err)
	is.Equal(len(log), 5)
	for i := range log {
		s.Store.Recover()
		s.Store.DamageEvent(log[i].Position.Seq)
		for limit := 1; limit < 7; limit++ {
			observed = nil
			events, _ := pages(t, s, fmt.Sprintf("/keys/%s/events?limit=%d", ids[0], limit), "events")
			is.Equal(len(events), 4)
			is.True(slices.ContainsFunc(observed, func(o apikey.Observation) bool { return errors.Is(o.Err, apikey.ErrDamaged) }))
		}
		is.Equal(decode(t, s.ask(t, "GET", "/keys/"+ids[0]+"/events", ""), 200)["damaged"], true)
	}
}

// withoutNonces is a store whose oldest events lost their nonces.
type withoutNonces struct {
	apikey.Store
	until int64
}

func (s *withoutNonces) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	events, err := s.Store.Events(ctx, q)
	for i := range events {
		if events[i].Position.Seq <= s.until {
			events[i] = apikey.Event{Position: apikey.Position{Seq: events[i].Position.Seq}, Err: apikey.ErrDamaged}
		}
	}
	return events, err
}

// TestCursorWithoutNonce checks that a nonce which cannot be read never
// becomes the secret of a cursor.
func TestCursorWithoutNonce(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	key := s.MustIssue(t, apikey.IssueParams{Owner: "ada"}).Key
	for i := range 4 {
		_, err := s.Update(t.Context(), key.ID, apikey.Changes{Name: new(fmt.Sprint(i))})
		must(t, err)
	}
	for until, want := range map[int64]int{0: 5, 1: 4, 3: 2, 4: 1, 5: 0} {
		s.handler = newAPI(s.Manager.Manager.WithStore(&withoutNonces{s.Store, until}), &apikeyrest.Options{
			Owner: func(*http.Request) (string, string, error) { return "ada", "", nil },
		})
		events, cursors := pages(t, s, "/keys/"+key.ID+"/events?limit=1", "events")
		is.Equal(len(events), want)
		for _, text := range cursors {
			_, ok := cursor.Open(text, [16]byte{}, "events", "ada", key.ID)
			is.True(!ok)
		}
	}
}
