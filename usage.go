package apikey

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// usageCounter counts uses in memory. Writing on every validation would make
// the database the limit of every request, and a lost count is no harm.
type usageCounter struct {
	shards [64]usageShard

	// since is when the first use after the last Flush was counted, in Unix
	// microseconds, or 0 if there was none.
	since atomic.Int64
}

type usageShard struct {
	mu     sync.Mutex
	counts map[string]*count  // by credential id
	past   map[pastDay]*count // of days before, and what a failed flush gave back
	_      [40]byte           // a cache line of its own
}

// count is the uses of one credential on one day.
type count struct {
	keyID string
	day   int64 // since 1970
	uses  int64
	last  int64 // Unix microseconds
}

type pastDay struct {
	credentialID string
	day          int64
}

const microsPerDay = 24 * int64(time.Hour/time.Microsecond)

func (u *usageCounter) shard(credentialID string) *usageShard {
	var h uint32
	for i := range min(4, len(credentialID)) { // they are random
		h = h*31 + uint32(credentialID[i])
	}
	return &u.shards[h%uint32(len(u.shards))]
}

// count adds one use.
func (u *usageCounter) count(keyID, credentialID string, now time.Time) {
	micros := now.UnixMicro()
	day := micros / microsPerDay
	s := u.shard(credentialID)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[credentialID]
	switch {
	case c == nil:
		if s.counts == nil {
			s.counts = map[string]*count{}
		}
		c = &count{keyID: keyID, day: day}
		s.counts[credentialID] = c
	case c.day != day:
		s.keep(credentialID, *c)
		*c = count{keyID: keyID, day: day}
	}
	c.uses++
	c.last = max(c.last, micros)
}

// flushOverdue is how long uses wait for a Flush before that is reported.
const flushOverdue = time.Hour

// overdue reports whether uses have waited for a Flush for too long at time now,
// at most once in that time.
func (u *usageCounter) overdue(now time.Time) bool {
	micros := now.UnixMicro()
	since := u.since.Load()
	if since == 0 {
		u.since.CompareAndSwap(0, micros)
		return false
	}
	return micros-since >= int64(flushOverdue/time.Microsecond) && u.since.CompareAndSwap(since, micros)
}

// keep adds to the days that are past.
func (s *usageShard) keep(credentialID string, c count) {
	if c.uses == 0 {
		return
	}
	if s.past == nil {
		s.past = map[pastDay]*count{}
	}
	day := pastDay{credentialID, c.day}
	if p := s.past[day]; p != nil {
		p.uses += c.uses
		p.last = max(p.last, c.last)
		return
	}
	s.past[day] = &c
}

// drain takes out all counts, in the order of the credentials. A credential
// that was not used since the last drain is forgotten, so that memory follows
// the keys in use.
func (u *usageCounter) drain() []Usage {
	u.since.Store(0)
	var uses []Usage
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		for id, c := range s.counts {
			if c.uses == 0 {
				delete(s.counts, id)
				continue
			}
			s.keep(id, *c) // one Usage a day, with what was put back
			c.uses = 0
		}
		for day, c := range s.past {
			uses = append(uses, c.usage(day.credentialID))
		}
		s.past = nil
		s.mu.Unlock()
	}
	slices.SortFunc(uses, compareUsage)
	return uses
}

func (c *count) usage(credentialID string) Usage {
	return Usage{
		KeyID: c.keyID, CredentialID: credentialID,
		Day: time.UnixMicro(c.day * microsPerDay).UTC(), Uses: c.uses,
		LastUsedAt: time.UnixMicro(c.last).UTC(),
	}
}

// compareUsage gives all nodes one order, in which their batches cannot
// deadlock.
func compareUsage(a, b Usage) int {
	switch {
	case a.CredentialID != b.CredentialID:
		if a.CredentialID < b.CredentialID {
			return -1
		}
		return 1
	default:
		return a.Day.Compare(b.Day)
	}
}

// putBack returns what a flush did not write.
func (u *usageCounter) putBack(uses []Usage) {
	for _, use := range uses {
		s := u.shard(use.CredentialID)
		s.mu.Lock()
		s.keep(use.CredentialID, count{
			keyID: use.KeyID, day: use.Day.UnixMicro() / microsPerDay,
			uses: use.Uses, last: use.LastUsedAt.UnixMicro(),
		})
		s.mu.Unlock()
	}
}

const (
	flushBatch = 1000
	flushEvery = 10 * time.Second
	lastFlush  = 5 * time.Second
)

// Flush writes the uses counted since the last one to the store, in batches.
// Uses count forward only: a batch of which it is not known whether it was
// written is dropped, never written again; one that the store is sure not to
// have written, and those not tried, wait for the next Flush.
func (m *Manager) Flush(ctx context.Context) (err error) {
	defer wrap(&err, "flush", "")
	if err := m.ready(ctx); err != nil {
		return err // and nothing is lost
	}
	uses := m.usage.drain()
	for len(uses) > 0 {
		batch := uses[:min(flushBatch, len(uses))]
		if err := m.store.AddUsage(ctx, batch); err != nil {
			if !errors.Is(err, ErrAborted) {
				uses = uses[len(batch):]
			}
			m.usage.putBack(uses)
			return err
		}
		uses = uses[len(batch):]
	}
	return nil
}

// Run flushes every 10 seconds until the context ends, and then once more, for
// at most 5 seconds. The host starts it, and waits for it before it ends:
//
//	done := make(chan error, 1)
//	go func() { done <- m.Run(ctx) }()
//	...
//	cancel()
//	err := <-done
//
// An error of a flush does not end Run: it is handed to Options.Observe. That
// of the flush at the end is returned too. If an hour passes without a Flush
// while uses are counted, Options.Observe gets ErrNotFlushed, once per hour.
func (m *Manager) Run(ctx context.Context) error {
	if err := m.usable(); err != nil {
		return failed("run", "", err)
	}
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.observeFlush(ctx, m.Flush(ctx))
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			err := m.Flush(last)
			m.observeFlush(last, err)
			return err
		}
	}
}

func (m *Manager) observeFlush(ctx context.Context, err error) {
	if err != nil && m.options.Observe != nil {
		m.options.Observe(ctx, Observation{Flush: true, Err: err})
	}
}

// usage sums up the usage of a record's credentials.
func (r *Record) usage() (retiringUntil, lastUsed time.Time, uses int64) {
	for i := range r.Credentials {
		c := &r.Credentials[i]
		if c.ID == r.Key.RetiringID {
			retiringUntil = earlier(c.ExpiresAt, r.Key.ExpiresAt)
		}
		if c.LastUsedAt.After(lastUsed) {
			lastUsed = c.LastUsedAt
		}
		uses += c.Uses
	}
	return retiringUntil, lastUsed, uses
}
