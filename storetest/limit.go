package storetest

import (
	"errors"
	"sync/atomic"

	"github.com/keyturn/apikey"
)

var limitRules = []rule{
	{
		"limit of an owner",
		"With a Limit, a Commit after which the owner of a new Record would have more than Limit Records that are not deleted is ErrLimit; expired and disabled ones count.",
		limitOfOwner,
	},
	{
		"limit under concurrency",
		"The Limit is exact, however many Commits run at once.",
		limitExact,
	},
}

func limitOfOwner(c *check) {
	expired, disabled, deleted := newRecord("acme", 1), newRecord("acme", 1), newRecord("acme", 1)
	expired.Credentials[0].ExpiresAt = base.AddDate(-20, 0, 0)
	setCurrent(&expired)
	disabled.Key.DisabledAt, deleted.Key.DeletedAt = base, base
	active := newRecord("acme", 1)
	fresh := newRecord("acme", 1)
	tombstone := newRecord("acme", 1)
	tombstone.Key.DeletedAt = base
	ended := func(r apikey.Record) apikey.Record {
		r = at(1, r)
		r.Key.DeletedAt = base
		return r
	}
	purged := []apikey.RecordRef{{ID: active.Key.ID, Revision: 1}}
	four := []apikey.Record{active, expired, disabled, deleted} // three of which count
	for _, test := range []struct {
		name   string
		stored []apikey.Record
		commit apikey.Commit
		want   error
	}{
		{"the first of one", nil, apikey.Commit{Records: []apikey.Record{fresh}, Limit: 1}, nil},
		{"the fourth of four", four, apikey.Commit{Records: []apikey.Record{fresh}, Limit: 4}, nil},
		{"the fourth of three", four, apikey.Commit{Records: []apikey.Record{fresh}, Limit: 3}, apikey.ErrLimit},
		{"the fourth of one", four, apikey.Commit{Records: []apikey.Record{fresh}, Limit: 1}, apikey.ErrLimit},
		{"no limit", four, apikey.Commit{Records: []apikey.Record{fresh}}, nil},
		{"the second of one, the first has expired", []apikey.Record{expired}, apikey.Commit{Records: []apikey.Record{fresh}, Limit: 1}, apikey.ErrLimit},
		{"the second of one, the first is disabled", []apikey.Record{disabled}, apikey.Commit{Records: []apikey.Record{fresh}, Limit: 1}, apikey.ErrLimit},
		{"the second of one, the first is deleted", []apikey.Record{deleted}, apikey.Commit{Records: []apikey.Record{fresh}, Limit: 1}, nil},
		{"two at once, one too many", four, apikey.Commit{Records: []apikey.Record{fresh, newRecord("acme", 1)}, Limit: 4}, apikey.ErrLimit},
		{"two at once", four, apikey.Commit{Records: []apikey.Record{fresh, newRecord("acme", 1)}, Limit: 5}, nil},
		{"one for another that is deleted", four, apikey.Commit{Records: []apikey.Record{fresh, ended(active)}, Limit: 3}, nil},
		{"two for another that is deleted", four, apikey.Commit{Records: []apikey.Record{fresh, ended(active), newRecord("acme", 1)}, Limit: 3}, apikey.ErrLimit},
		{"one for another that is purged", four, apikey.Commit{Records: []apikey.Record{fresh}, Purge: purged, Limit: 3}, nil},
		{"one that is deleted already", four, apikey.Commit{Records: []apikey.Record{tombstone}, Limit: 3}, nil},
		{"a change is not limited", four, apikey.Commit{Records: []apikey.Record{at(1, active)}, Limit: 1}, nil},
		{"a change beside a new record of another owner", four, apikey.Commit{Records: []apikey.Record{at(1, active), newRecord("other", 1)}, Limit: 1}, nil},
		{"two owners, one of them at the limit", four, apikey.Commit{Records: []apikey.Record{newRecord("aaaa", 1), fresh}, Limit: 3}, apikey.ErrLimit},
		{"two owners below the limit", four, apikey.Commit{Records: []apikey.Record{newRecord("other", 1), fresh}, Limit: 4}, nil},
	} {
		s := c.on(test.name)
		if test.stored != nil {
			s.commit(records(test.stored...))
		}
		if _, err := s.try(test.commit); !errors.Is(err, test.want) {
			s.errorf("Commit: got error %v, want %v", err, test.want)
		}
	}

	s := c.on("owners named alike")
	for _, name := range likeNames {
		if _, err := s.try(apikey.Commit{Records: []apikey.Record{newRecord(name, 1)}, Limit: 1}); err != nil {
			s.errorf("the first key of owner %q: got error %v", name, err)
		}
	}

	s = c.on("keys that were changed, deleted and purged before")
	changed, gone := newRecord("acme", 1), newRecord("acme", 1)
	s.commit(records(changed, gone))
	s.commit(records(at(1, changed), at(1, gone)))
	changed, gone = at(2, changed), at(2, gone)
	changed.Key.DeletedAt, gone.Key.DeletedAt = base, base
	s.commit(records(changed, gone))
	s.commit(apikey.Commit{Purge: []apikey.RecordRef{{ID: gone.Key.ID, Revision: 3}}, Events: records(gone).Events})
	for n, want := range []error{nil, apikey.ErrLimit} {
		if _, err := s.try(apikey.Commit{Records: []apikey.Record{newRecord("acme", 1)}, Limit: 1}); !errors.Is(err, want) {
			s.errorf("key %d of 1: got error %v, want %v", n+1, err, want)
		}
	}

	s = c.on("one after the other")
	for n := range 5 {
		var want error
		if n >= 3 {
			want = apikey.ErrLimit
		}
		r := newRecord("acme", 1)
		if _, err := s.try(apikey.Commit{Records: []apikey.Record{r}, Limit: 3}); !errors.Is(err, want) {
			s.errorf("key %d of 3: got error %v, want %v", n+1, err, want)
		}
	}
}

func limitExact(c *check) {
	const callers, limit = 100, 5
	s := c.on("100 commits at once, limit 5")
	for range 1 + c.rounds/10 {
		owner := "owner " + keyID()
		var made atomic.Int64
		s.together(callers, func(int) {
			commit := apikey.Commit{Records: []apikey.Record{newRecord(owner, 1)}, Limit: limit}
			switch _, err := s.try(commit); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, apikey.ErrLimit):
				s.errorf("Commit: got error %v, want %v", err, apikey.ErrLimit)
			}
		})
		if stored := len(s.list(apikey.Query{Owner: owner})); made.Load() != limit || stored != limit {
			s.fatalf("%d succeeded and %d are stored, want %d", made.Load(), stored, limit)
		}
	}
}
