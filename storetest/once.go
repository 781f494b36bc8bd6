package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/keyturn/apikey"
)

var onceRules = []rule{
	{
		"name that is taken",
		"A Commit with a name in Once that is stored is ErrExists.",
		nameTaken,
	},
	{
		"name under concurrency",
		"Of concurrent Commits with the same name in Once exactly one succeeds.",
		nameExact,
	},
	{
		"names of a purged record",
		"A name in Once with a KeyID is removed by the Purge of that Record, a name without one never.",
		namesPurged,
	},
	{
		"names come back",
		"OnceNames returns names as they were committed, each with the position of the last Event of its Commit.",
		namesComeBack,
	},
	{
		"order of names",
		"OnceNames returns names in ascending order of Seq, and in byte order of the Name where that is the same, only those after q.After, at most q.Limit.",
		namesOrder,
	},
	{
		"a single name",
		"With a Name, OnceNames returns only exactly that one.",
		singleName,
	},
}

// once returns a Commit of one Event with names that belong to a key.
func once(keyID string, names ...string) apikey.Commit {
	c := apikey.Commit{Events: []apikey.Event{{
		Position: apikey.Position{Nonce: nonce()}, At: base, Kind: apikey.EventUpdated, KeyID: keyID, Owner: "acme",
	}}}
	for _, name := range names {
		c.Once = append(c.Once, apikey.OnceName{Name: name, KeyID: keyID})
	}
	return c
}

func nameTaken(c *check) {
	for _, of := range []string{"", keyID()} {
		s := c.on(fmt.Sprintf("a name of key %q", of))
		s.commit(once(of, "first"))
		s.refused("the same commit", apikey.ErrExists, once(of, "first"))
		s.refused("one of several names", apikey.ErrExists, once(of, "second", "first"))
		s.refused("the name for another key", apikey.ErrExists, once(keyID(), "first"))
		s.refused("the name without a key", apikey.ErrExists, once("", "first"))
		with := once(of, "first")
		with.Records = []apikey.Record{newRecord("acme", 1)}
		s.refused("the name with a new record", apikey.ErrExists, with)
		s.commit(once(of, "second"))
	}

	s := c.on("names that are alike")
	for _, name := range likeNames {
		if _, err := s.try(once("", name)); err != nil {
			s.errorf("name %q: got error %v", name, err)
		}
	}

	s = c.on("as many names as records of a restore")
	var names []string
	for range 500 {
		names = append(names, "name "+keyID())
	}
	s.commit(once("", names...))
	s.refused("the last one again", apikey.ErrExists, once("", append(names[:0:0], names[499])...))
}

func nameExact(c *check) {
	for _, test := range []struct {
		name string
		make func(of string) apikey.Commit
	}{
		{"a name alone", func(string) apikey.Commit { return once("") }},
		{"a name with a new record", func(string) apikey.Commit { return records(newRecord("acme", 1)) }},
	} {
		s := c.on(test.name)
		for range c.rounds {
			name := "name " + keyID()
			var winners atomic.Int64
			s.together(8, func(int) {
				commit := test.make(name)
				commit.Once = []apikey.OnceName{{Name: name}}
				switch _, err := s.try(commit); {
				case err == nil:
					winners.Add(1)
				case !errors.Is(err, apikey.ErrExists):
					s.errorf("Commit: got error %v, want %v", err, apikey.ErrExists)
				}
			})
			if winners.Load() != 1 {
				s.fatalf("%d of 8 succeeded, want 1", winners.Load())
			}
		}
	}
}

func namesPurged(c *check) {
	s := c.on("a record that is purged, and one that stays")
	gone, stays := newRecord("acme", 1), newRecord("acme", 1)
	s.commit(records(gone, stays))
	s.commit(once(gone.Key.ID, "of the key", "also of the key"))
	s.commit(once(stays.Key.ID, "of another key"))
	s.commit(once("", "permanent"))
	s.commit(purge(gone.Key.ID, 1))
	var left []string
	for _, n := range s.names(apikey.OnceQuery{}) {
		left = append(left, n.Name)
	}
	s.sameIDs("names", left, []string{"of another key", "permanent"})
	for _, name := range []string{"of another key", "permanent"} {
		if _, err := s.try(once("", name)); !errors.Is(err, apikey.ErrExists) {
			s.errorf("name %q after the purge: got error %v, want %v", name, err, apikey.ErrExists)
		}
	}
	if _, err := s.try(once("", "of the key")); err != nil {
		s.errorf("a name of the purged key: got error %v", err)
	}
}

func namesComeBack(c *check) {
	s := c.on("names of several commits")
	longest := text(255)
	first := once("", longest, "b\\'\"%", "A")
	first.Events = append(first.Events, once("").Events...)
	key := keyID()
	want := map[string]apikey.OnceName{}
	seq := int64(0)
	for _, commit := range []apikey.Commit{first, once(key, "of a key"), once("", likeNames[0])} {
		s.commit(commit)
		seq += int64(len(commit.Events))
		for _, n := range commit.Once {
			n.Seq = seq
			want[n.Name] = n
		}
	}
	got := s.names(apikey.OnceQuery{})
	if len(got) != len(want) {
		s.errorf("OnceNames: got %d names, want %d", len(got), len(want))
	}
	for _, n := range got {
		s.equal(fmt.Sprintf("OnceNames: %q", n.Name), n, want[n.Name])
	}
}

func namesOrder(c *check) {
	s := c.on("pages of every size")
	var want []string
	for _, names := range [][]string{{"z", "B", "b", "é"}, {"y"}, {"C", "c", "a"}} {
		s.commit(once("", names...))
		slices.Sort(names)
		want = append(want, names...)
	}
	for limit := 1; limit <= len(want)+1; limit++ {
		q := apikey.OnceQuery{Limit: limit}
		var got []string
		for range len(want) + 2 {
			page := s.names(q)
			if len(page) > limit {
				s.errorf("OnceNames: got %d names, the limit is %d", len(page), limit)
			}
			for _, n := range page {
				got = append(got, n.Name)
				q.After = n
			}
			if len(page) == 0 {
				break
			}
		}
		if !slices.Equal(got, want) {
			s.errorf("pages of %d: got %q, want %q", limit, got, want)
		}
	}
}

func singleName(c *check) {
	s := c.on("names that are alike")
	s.commit(once("", likeNames...))
	for _, name := range likeNames {
		if got := s.names(apikey.OnceQuery{Name: name, Limit: 1}); len(got) != 1 || got[0].Name != name {
			s.errorf("OnceNames of %q: got %+v", name, got)
		}
	}
	for _, name := range []string{"Cafe", strings.ToUpper("ﬁn"), "caf_", "acme"} {
		if got := s.names(apikey.OnceQuery{Name: name, Limit: 1}); len(got) != 0 {
			s.errorf("OnceNames of %q, which is not stored: got %+v", name, got)
		}
	}
}
