package apikeylimit

import (
	"container/heap"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

// table holds the buckets of all keys, or of all networks, at most max. It is
// used by one goroutine at a time.
type table[K comparable] struct {
	max     int
	clock   *clock
	buckets map[K]*bucket
	order   order[K] // has each bucket once
}

func newTable[K comparable](max int, c *clock) *table[K] {
	return &table[K]{max: max, clock: c, buckets: make(map[K]*bucket)}
}

// take takes one request from a bucket, which is made if need be.
func (t *table[K]) take(name K, r apikey.Rate) apikeyhttp.Quota {
	now := t.clock.read()
	if b := t.buckets[name]; b != nil {
		return b.take(now, r)
	}
	b := newBucket(r)
	q := b.take(now, r)
	t.add(name, b)
	return q
}

// look returns what is in a bucket. One that is not there is full.
func (t *table[K]) look(name K, r apikey.Rate) apikeyhttp.Quota {
	if b := t.buckets[name]; b != nil {
		return b.look(t.clock.read())
	}
	return full(r)
}

// add adds a bucket, in the place of the one that is full soonest if there is
// no room: those that are full already come before all others.
func (t *table[K]) add(name K, b *bucket) {
	t.buckets[name] = b
	e := entry[K]{full: b.full, name: name, bucket: b}
	if len(t.order) < t.max {
		heap.Push(&t.order, e)
		return
	}
	// Of a bucket that was used since, the entry has an earlier time. It is
	// moved only here, once for all these uses, so that a use costs nothing.
	first := &t.order[0]
	for first.full.Before(first.bucket.full) {
		first.full = first.bucket.full
		heap.Fix(&t.order, 0)
	}
	delete(t.buckets, first.name)
	*first = e
	heap.Fix(&t.order, 0)
}

// entry is the place of a bucket in the order.
type entry[K comparable] struct {
	full   time.Time // not after that of the bucket, but for a rate that was raised
	name   K
	bucket *bucket
}

// order is a heap: the entry with the earliest time is the first.
type order[K comparable] []entry[K]

func (o order[K]) Len() int           { return len(o) }
func (o order[K]) Less(i, j int) bool { return o[i].full.Before(o[j].full) }
func (o order[K]) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o *order[K]) Push(e any)        { *o = append(*o, e.(entry[K])) }

// Pop is there for heap.Interface: add replaces entries, and never removes one.
func (o *order[K]) Pop() any {
	last := len(*o) - 1
	e := (*o)[last]
	*o = (*o)[:last]
	return e
}

// clock makes a time that never goes back out of one that may. It begins at
// the zero Time.
type clock struct {
	now        func() time.Time
	last, time time.Time
}

func newClock(now func() time.Time) *clock { return &clock{now: now, last: now()} }

func (c *clock) read() time.Time {
	now := c.now()
	if passed := now.Sub(c.last); passed > 0 {
		c.time = c.time.Add(passed)
	}
	c.last = now
	return c.time
}
