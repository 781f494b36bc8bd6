package apikeylimit

// Entries is how many things a Limiter keeps, by what they are.
type Entries struct {
	Keys, Networks, Repeats, Tokens, Running int
}

// EntriesOf counts what a Limiter keeps. Nobody may use it meanwhile.
func EntriesOf(l *Limiter) Entries {
	e := Entries{Keys: max(len(l.keys.buckets.buckets), len(l.keys.buckets.order))}
	if a := l.attempts; a != nil {
		e.Networks = max(len(a.buckets.buckets), len(a.buckets.order))
		e.Repeats = max(len(a.repeats.buckets), len(a.repeats.order))
		e.Tokens, e.Running = max(len(a.memory.places), len(a.memory.marks)-1), len(a.running)
	}
	return e
}
