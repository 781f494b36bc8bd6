package apikeylimit

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestMemoryAgainstScan compares which tokens are remembered with a plain map,
// over random uses.
func TestMemoryAgainstScan(t *testing.T) {
	const most, window = 20, 70 * time.Second
	random := rand.New(rand.NewPCG(1, 3))
	var now time.Time
	m := newMemory(most, window, newClock(func() time.Time { return now }))
	last := map[mark]time.Time{} // when a token came
	known, lost := 0, 0
	for step := range 50_000 {
		now = now.Add(time.Duration(random.IntN(4)) * time.Second)
		for k, at := range last {
			if !now.Before(at.Add(window)) {
				delete(last, k)
			}
		}
		k := mark{network{low: uint64(random.IntN(2))}, uint64(random.IntN(20))}
		_, want := last[k]
		switch random.IntN(6) {
		case 0:
			m.forget(k)
			delete(last, k)
		case 1:
			if got := m.has(k); got != want {
				t.Fatalf("step %d: %v, want %v", step, got, want)
			}
		default:
			if got := m.remember(k); got != want {
				t.Fatalf("step %d: %v, want %v", step, got, want)
			}
			if want {
				known++
			} else if len(last) == most {
				var oldest mark
				for other, at := range last {
					if first, ok := last[oldest]; !ok || at.Before(first) {
						oldest = other
					}
				}
				delete(last, oldest)
				lost++
			}
			// Times must differ, or which one is the oldest is open.
			now = now.Add(time.Nanosecond)
			last[k] = now.Add(-time.Nanosecond)
		}
		if len(m.places) > most || len(m.marks) > most+1 {
			t.Fatalf("step %d: %d tokens are remembered", step, len(m.places))
		}
	}
	if known < 5000 || lost < 1000 {
		t.Errorf("the walk shows little: %d known, %d lost", known, lost)
	}
}
