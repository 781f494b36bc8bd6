package apikey

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// usageCounter counts uses in memory. Writing on every validation would make
// the database the limit of every request, and a lost count is no harm.
type usageCounter struct {
	id     uint64 // names it in cells, which may outlive it
	shards [64]usageShard

	// since is when the first use after the last Flush was counted, in Unix
	// microseconds, or 0 if there was none.
	since atomic.Int64
}

// usageShard has each cell that is not closed. A cell is closed under the lock.
type usageShard struct {
	mu    sync.Mutex
	cells map[credentialDay]*cell
	_     [48]byte // a cache line of its own
}

type credentialDay struct {
	credentialID string
	day          int64 // since 1970
}

// cell counts the uses of one credential on one day for one Manager. Uses are
// added without a lock. They are taken out by exchange, so that none is taken
// twice.
type cell struct {
	of    uint64 // usageCounter.id
	keyID string
	credentialDay

	uses atomic.Int64 // below 0: closed, whatever is added
	last atomic.Int64 // Unix microseconds
}

const closed = math.MinInt64 / 2

var usageCounters atomic.Uint64

func newUsageCounter() *usageCounter { return &usageCounter{id: usageCounters.Add(1)} }

// Tally is where Managers count the uses of one Credential until they are
// flushed. A Store that has its entries in memory may keep one in the entry of
// each Credential and pass it to NewLookupResult. A use is then counted without
// searching for its counter. The zero value is ready. It must not be copied
// after its first use.
type Tally struct {
	cell atomic.Pointer[cell] // of the Manager that counted last
}

const microsPerDay = 24 * int64(time.Hour/time.Microsecond)

// count adds one use. It trusts no Tally: one that counts for another Manager,
// credential or day is set to the right cell.
func (u *usageCounter) count(t *Tally, keyID, credentialID string, now time.Time) {
	micros := now.UnixMicro()
	at := credentialDay{credentialID, micros / microsPerDay}
	if t == nil {
		u.add(at, keyID, 1, micros)
		return
	}
	c := t.cell.Load()
	if c == nil || c.of != u.id || c.credentialDay != at || !c.add(1, micros) {
		t.cell.Store(u.add(at, keyID, 1, micros))
	}
}

// add adds uses to the cell of a credential and day, which it creates if needed,
// and returns the cell.
func (u *usageCounter) add(at credentialDay, keyID string, uses, micros int64) *cell {
	s := u.shard(at.credentialID)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cells[at]
	if c == nil {
		if s.cells == nil {
			s.cells = map[credentialDay]*cell{}
		}
		c = &cell{of: u.id, keyID: keyID, credentialDay: at}
		s.cells[at] = c
	}
	c.add(uses, micros)
	return c
}

// add adds uses, unless the cell is closed. The time is moved first, so that who
// takes the uses out finds a time that is not before any of them.
func (c *cell) add(uses, micros int64) bool {
	for {
		last := c.last.Load()
		if micros <= last || c.last.CompareAndSwap(last, micros) {
			return c.uses.Add(uses) > 0
		}
	}
}

func (u *usageCounter) shard(credentialID string) *usageShard {
	var h uint32
	for i := range min(4, len(credentialID)) { // they are random
		h = h*31 + uint32(credentialID[i])
	}
	return &u.shards[h%uint32(len(u.shards))]
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

// drain takes out all counts, in the order of the credentials. A cell without a
// use since the last drain is closed and forgotten, so that the counter's memory
// follows the keys in use. A Tally keeps its closed cell.
func (u *usageCounter) drain() []Usage {
	u.since.Store(0)
	var uses []Usage
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		for at, c := range s.cells {
			switch n := c.uses.Swap(0); {
			case n > 0:
				uses = append(uses, c.usage(n))
			case c.uses.CompareAndSwap(0, closed):
				delete(s.cells, at)
			}
		}
		s.mu.Unlock()
	}
	slices.SortFunc(uses, compareUsage)
	return uses
}

func (c *cell) usage(n int64) Usage {
	return Usage{
		KeyID: c.keyID, CredentialID: c.credentialID,
		Day: time.UnixMicro(c.day * microsPerDay).UTC(), Uses: n,
		LastUsedAt: time.UnixMicro(c.last.Load()).UTC(),
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
		at := credentialDay{use.CredentialID, use.Day.UnixMicro() / microsPerDay}
		u.add(at, use.KeyID, use.Uses, use.LastUsedAt.UnixMicro())
	}
}
