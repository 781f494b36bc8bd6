package storetest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keyturn/apikey"
)

var logRules = []rule{
	{
		"positions",
		"Events get the next positions in their order; positions begin at 1 and have no gaps, and the Position of the last one is returned.",
		positionsOfEvents,
	},
	{
		"following the log",
		"Who has seen position n can read every position up to n: the order of positions is the order in which Commits become visible.",
		following,
	},
	{
		"pages of the log",
		"Events returns events in ascending order of position, only those after q.After.Seq, at most q.Limit, as they were committed.",
		pagesOfLog,
	},
	{
		"events of a key",
		"With a KeyID, Events returns only the events of that key.",
		eventsOfKey,
	},
	{
		"events before a position",
		"With a Before.Seq above 0, Events returns only events before that position.",
		eventsBefore,
	},
	{
		"newest events",
		"Of more events than q.Limit, Events returns the first ones, with Newest the last ones.",
		newestEvents,
	},
}

// eventsOf returns a Commit of a new Record with n events.
func eventsOf(n int) apikey.Commit {
	r := newRecord("acme", 1)
	c := records(r)
	for i := range n {
		c.Events = append(c.Events, apikey.Event{
			Position: apikey.Position{Nonce: nonce()}, At: base, Kind: apikey.EventUpdated,
			KeyID: r.Key.ID, Owner: "acme", CredentialID: r.Key.CredentialID, Revision: 1, Reason: fmt.Sprint(i),
		})
	}
	return c
}

func positionsOfEvents(c *check) {
	s := c.on("commits one after the other")
	var want []apikey.Nonce
	for _, n := range []int{1, 3, 10, 1, 2} {
		commit := eventsOf(n)
		want = append(want, nonces(commit.Events)...)
		got := s.commit(commit)
		if last := (apikey.Position{Seq: int64(len(want)), Nonce: want[len(want)-1]}); got != last {
			s.errorf("Commit of %d events: got position %d, %x, want %d, %x", n, got.Seq, got.Nonce, last.Seq, last.Nonce)
		}
	}
	log := s.numbered(len(want))
	if !slices.Equal(nonces(log), want) {
		s.errorf("Events: got nonces %x, want %x", nonces(log), want)
	}

	s = c.on("commits at once")
	const callers = 8
	each := max(c.rounds/4, 3)
	made := make([]map[apikey.Position][]apikey.Nonce, callers)
	total := atomic.Int64{}
	s.together(callers, func(i int) {
		made[i] = map[apikey.Position][]apikey.Nonce{}
		for k := range each {
			commit := eventsOf((i+k)%10 + 1)
			position, err := s.try(commit)
			if err != nil {
				s.errorf("Commit: %v", err)
				return
			}
			made[i][position] = nonces(commit.Events)
			total.Add(int64(len(commit.Events)))
		}
	})
	log = s.numbered(int(total.Load()))
	for _, positions := range made {
		for position, want := range positions {
			from, to := int(position.Seq)-len(want), int(position.Seq)
			if from < 0 || to > len(log) || !slices.Equal(nonces(log[from:to]), want) || position.Nonce != want[len(want)-1] {
				s.fatalf("a Commit that returned position %d: its %d events are not those up to there", position.Seq, len(want))
			}
		}
	}
}

// numbered reads the log, which must have the positions 1 to n.
func (s *subject) numbered(n int) []apikey.Event {
	s.t.Helper()
	log := s.events(apikey.EventQuery{})
	if len(log) != n {
		s.fatalf("the log has %d events, want %d", len(log), n)
	}
	for i, e := range log {
		if e.Position.Seq != int64(i)+1 {
			s.fatalf("the log has position %d where %d belongs", e.Position.Seq, i+1)
		}
	}
	return log
}

func following(c *check) {
	const writers = 8
	s := c.on("a follower of 8 writers")
	each := max(c.rounds/4, 5)
	var running atomic.Int64
	running.Store(writers)
	written := make([][]apikey.Nonce, writers)
	seen := map[apikey.Nonce]bool{}
	s.together(writers+1, func(i int) {
		if i < writers {
			defer running.Add(-1)
			for k := range each {
				commit := eventsOf((i+k)%10 + 1)
				if _, err := s.try(commit); err != nil {
					s.errorf("Commit: %v", err)
					return
				}
				written[i] = append(written[i], nonces(commit.Events)...)
			}
			return
		}
		var last apikey.Position
		for {
			ended := running.Load() == 0
			page, err := s.Events(background, apikey.EventQuery{After: last, Limit: 7})
			if err != nil {
				s.errorf("Events: %v", err)
				return
			}
			for _, e := range page {
				if e.Position.Seq != last.Seq+1 {
					s.errorf("position %d came after %d, which was then the last one visible", e.Position.Seq, last.Seq)
					return
				}
				// What an event tells of can be read once the event can.
				if _, err := s.Get(background, e.KeyID, ""); err != nil {
					s.errorf("position %d tells of a key that is not seen yet: %v", e.Position.Seq, err)
					return
				}
				last, seen[e.Position.Nonce] = e.Position, true
			}
			if len(page) == 0 {
				if ended {
					return
				}
				runtime.Gosched()
			}
		}
	})
	for _, nonces := range written {
		for _, n := range nonces {
			if !seen[n] {
				s.fatalf("the follower missed an event; it saw %d", len(seen))
			}
		}
	}
}

func pagesOfLog(c *check) {
	s := c.on("events with every field set, and with none that may be unset")
	var want []apikey.Event
	for i := range 4 {
		full := filled[apikey.Event](s)
		full.Kind, full.KeyID, full.Position = apikey.EventRotated, keyID(), apikey.Position{Nonce: nonce()}
		full.CredentialID, full.OldCredentialID = credentialID(), credentialID()
		full.Revision = int64(i + 1)
		want = append(want, full)
	}
	longest := apikey.Event{
		Kind: apikey.EventRotationFinished, KeyID: keyID(), Owner: text(255), Actor: text(255), Reason: text(500),
		Data: apikey.NewMetadata(map[string]string{"scopes": text(10099), "networks": text(4300), "metadata": text(3300), "name": text(200)}),
	}
	early, late, abroad := want[0], want[1], want[2]
	early.At, early.OldExpiresAt = time.UnixMicro(1).UTC(), time.Date(1999, 12, 31, 23, 59, 59, 999999000, time.UTC)
	late.At, late.OldExpiresAt = time.Date(9998, 12, 31, 23, 59, 59, 999999000, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	abroad.At = base.In(time.FixedZone("NPT", 5*3600+45*60))
	raw := apikey.Event{Kind: "custom.kind", Owner: "acme", Seal: "\x00\xff\xc3\x28 \x00"}
	want = append(want, longest, early, late, abroad, raw, apikey.Event{Kind: apikey.EventOwnerEnabled, Owner: "acme "})
	for i := range want {
		e := &want[i]
		e.Position = apikey.Position{Nonce: nonce()}
		if e.At.IsZero() {
			e.At = base
		}
	}
	want[len(want)-1].Position.Nonce = apikey.Nonce{0, 0xff, 14: ' ', 15: 0}
	for from := 0; from < len(want); from += 3 {
		r := newRecord("acme", 1)
		s.commit(apikey.Commit{Records: []apikey.Record{r}, Events: want[from:min(from+3, len(want))]})
	}
	for i := range want {
		want[i].At = want[i].At.UTC()
	}
	// Positions are another rule's: here the order, and what is left out.
	log := s.events(apikey.EventQuery{})
	if len(log) != len(want) {
		s.fatalf("Events: got %d, want %d", len(log), len(want))
	}
	for i, e := range log {
		expected := want[i]
		expected.Position.Seq = e.Position.Seq
		s.equal(fmt.Sprintf("event %d", i+1), e, expected)
	}
	if !slices.IsSortedFunc(log, func(a, b apikey.Event) int { return int(a.Position.Seq - b.Position.Seq) }) {
		s.errorf("Events: got positions %v, want ascending ones", positions(log))
	}
	for from := range len(log) + 1 {
		for limit := 1; limit <= len(log)+1; limit++ {
			// The Nonce of After is the follower's to compare.
			after := apikey.Position{Nonce: nonce()}
			if from > 0 {
				after.Seq = log[from-1].Position.Seq
			}
			got := s.events(apikey.EventQuery{After: after, Limit: limit})
			if expected := log[from:min(from+limit, len(log))]; !slices.Equal(positions(got), positions(expected)) {
				s.errorf("Events after %d, limit %d: got positions %v, want %v", after.Seq, limit, positions(got), positions(expected))
			}
		}
	}
	for _, after := range []int64{int64(len(log)) + 1, 1 << 40} {
		if got := s.events(apikey.EventQuery{After: apikey.Position{Seq: after}}); len(got) != 0 {
			s.errorf("Events after %d: got positions %v, want none", after, positions(got))
		}
	}
}

func eventsOfKey(c *check) {
	s := c.on("keys whose ids differ by case, and owners")
	id := keyID()
	names := []string{id, strings.ToLower(id), strings.ToUpper(id), keyID(), ""}
	for i := range 15 {
		commit := records(newRecord("acme", 1))
		for n := range 1 + i%3 {
			e := apikey.Event{Position: apikey.Position{Nonce: nonce()}, At: base, Kind: apikey.EventUpdated, KeyID: names[(i*7+n/2)%len(names)], Owner: "acme"}
			if e.KeyID == "" {
				e.Kind = apikey.EventOwnerDisabled
			}
			commit.Events = append(commit.Events, e)
		}
		s.commit(commit)
	}
	log := s.events(apikey.EventQuery{})
	for _, name := range names[:4] {
		var want []apikey.Event
		for _, e := range log {
			if e.KeyID == name {
				want = append(want, e)
			}
		}
		for limit := 1; limit <= len(want)+1; limit++ {
			var got []apikey.Event
			for range len(want) + 2 {
				q := apikey.EventQuery{KeyID: name, Limit: limit}
				if len(got) > 0 {
					q.After = got[len(got)-1].Position
				}
				page := s.events(q)
				got = append(got, page...)
				if len(page) < limit {
					break
				}
			}
			if !slices.Equal(positions(got), positions(want)) {
				s.errorf("events of %q by %d: got positions %v, want %v", name, limit, positions(got), positions(want))
			}
		}
	}
	for _, other := range []string{keyID(), id + " ", id[:len(id)-1], id[:len(id)-1] + "%", "acme"} {
		if got := s.events(apikey.EventQuery{KeyID: other}); len(got) != 0 {
			s.errorf("events of %q: got positions %v, want none", other, positions(got))
		}
	}
}

// twoKeys fills a Store with events of two keys in turn, and returns the log.
func (s *subject) twoKeys() (log []apikey.Event, ids [2]string) {
	ids = [2]string{keyID(), keyID()}
	for i := range 9 {
		commit := records(newRecord("acme", 1))
		for n := range 1 + i%2 {
			commit.Events = append(commit.Events, apikey.Event{
				Position: apikey.Position{Nonce: nonce()}, At: base, Kind: apikey.EventUpdated, KeyID: ids[(i+n)%2], Owner: "acme",
			})
		}
		s.commit(commit)
	}
	return s.events(apikey.EventQuery{}), ids
}

// between returns the events after one position and, if it is not 0, before
// another.
func between(log []apikey.Event, after, before int64) []apikey.Event {
	var chosen []apikey.Event
	for _, e := range log {
		if e.Position.Seq > after && (before == 0 || e.Position.Seq < before) {
			chosen = append(chosen, e)
		}
	}
	return chosen
}

func eventsBefore(c *check) {
	s := c.on("events of two keys in turn")
	log, ids := s.twoKeys()
	for _, id := range []string{"", ids[0], ids[1]} {
		all := s.events(apikey.EventQuery{KeyID: id})
		for _, after := range []int64{0, 1, 4} {
			for _, before := range []int64{1, 2, 5, int64(len(log)), int64(len(log)) + 1, 1 << 40} {
				// The Nonce of Before says nothing.
				q := apikey.EventQuery{After: apikey.Position{Seq: after}, Before: apikey.Position{Seq: before, Nonce: nonce()}, KeyID: id}
				if got, want := positions(s.events(q)), positions(between(all, after, before)); !slices.Equal(got, want) {
					s.errorf("events of %q after %d, before %d: got positions %v, want %v", id, after, before, got, want)
				}
			}
		}
	}
}

func newestEvents(c *check) {
	s := c.on("events of two keys in turn")
	log, ids := s.twoKeys()
	for _, id := range []string{"", ids[0], ids[1]} {
		all := s.events(apikey.EventQuery{KeyID: id})
		for _, after := range []int64{0, 4, int64(len(log))} {
			want := between(all, after, 0)
			for limit := 1; limit <= len(log)+1; limit++ {
				// How many there are is another rule's: here which ones.
				q := apikey.EventQuery{After: apikey.Position{Seq: after}, KeyID: id, Limit: limit}
				got := s.events(q)
				if n := min(len(got), len(want)); !slices.Equal(positions(got), positions(want[:n])) {
					s.errorf("the first %d events of %q after %d: got positions %v of %v", limit, id, after, positions(got), positions(want))
				}
				q.Newest = true
				got = s.events(q)
				if n := min(len(got), len(want)); n < min(limit, len(want)) || !slices.Equal(positions(got), positions(want[len(want)-n:])) {
					s.errorf("the newest %d events of %q after %d: got positions %v of %v", limit, id, after, positions(got), positions(want))
				}
			}
		}
		// Page by page back to the beginning.
		q := apikey.EventQuery{KeyID: id, Limit: 3, Newest: true}
		var got []apikey.Event
		for range len(log) {
			page := s.events(q)
			if got = append(page, got...); len(page) < q.Limit {
				break
			}
			q.Before = page[0].Position
		}
		if !slices.Equal(positions(got), positions(all)) {
			s.errorf("events of %q page by page from the newest: got positions %v, want %v", id, positions(got), positions(all))
		}
	}
}

func positions(events []apikey.Event) []int64 {
	list := []int64{}
	for _, e := range events {
		list = append(list, e.Position.Seq)
	}
	return list
}

func nonces(events []apikey.Event) []apikey.Nonce {
	list := []apikey.Nonce{}
	for _, e := range events {
		list = append(list, e.Position.Nonce)
	}
	return list
}
