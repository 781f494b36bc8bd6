package apikeylimit

import "time"

// memory remembers which wrong tokens came from which network. Each time that
// one comes again it is remembered for another window. If there is no room,
// the one that has not come for the longest time is forgotten.
type memory struct {
	max    int
	window time.Duration
	clock  *clock
	places map[mark]int // in marks
	marks  []remembered // marks[0] is the ends of a ring, by time
}

// mark is a token from a network.
type mark struct {
	from  network
	token uint64
}

type remembered struct {
	mark           mark
	until          time.Time
	earlier, later int // in marks
}

func newMemory(max int, window time.Duration, c *clock) *memory {
	return &memory{max: max, window: window, clock: c, places: make(map[mark]int), marks: make([]remembered, 1)}
}

// has reports whether a token is remembered.
func (m *memory) has(k mark) bool {
	if len(m.places) == 0 {
		return false
	}
	at, ok := m.places[k]
	return ok && m.clock.read().Before(m.marks[at].until)
}

// remember remembers a token from now on, and reports whether it was
// remembered before.
func (m *memory) remember(k mark) (known bool) {
	now := m.clock.read()
	at, ok := m.places[k]
	switch oldest := m.marks[0].later; {
	case ok:
		known = now.Before(m.marks[at].until)
		m.unlink(at)
	case oldest != 0 && (len(m.places) >= m.max || !now.Before(m.marks[oldest].until)):
		at = oldest
		delete(m.places, m.marks[at].mark)
		m.unlink(at)
	default:
		at = len(m.marks)
		m.marks = append(m.marks, remembered{})
	}
	newest := m.marks[0].earlier
	m.marks[at] = remembered{mark: k, until: now.Add(m.window), earlier: newest}
	m.marks[newest].later, m.marks[0].earlier = at, at
	m.places[k] = at
	return known
}

// forget forgets a token, which has turned out to be good. Its place is the
// next one that is used again.
func (m *memory) forget(k mark) {
	if len(m.places) == 0 {
		return
	}
	if at, ok := m.places[k]; ok {
		m.unlink(at)
		oldest := m.marks[0].later
		m.marks[at] = remembered{mark: k, later: oldest}
		m.marks[oldest].earlier, m.marks[0].later = at, at
	}
}

func (m *memory) unlink(at int) {
	e := &m.marks[at]
	m.marks[e.earlier].later, m.marks[e.later].earlier = e.later, e.earlier
}
