package apikeylimit_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeylimit"
)

// tick is the unit of time of the model. In one tick an address gets an eighth
// of a bad key back, so that the model and a float64 agree exactly.
const tick = 125 * time.Millisecond

// budget counts the bad keys of a network in eighths.
type budget struct{ level, most, perTick int }

// modelPaths has the networks of each client, by names of the test's own.
var modelPaths = func() map[string][]string {
	paths := map[string][]string{
		"2001:db8:0:101::2":  {"64 1/1", "56 1", "48"}, // another one in this /64
		"192.0.2.1":          {"4 a"},
		"64:ff9b::192.0.2.1": {"4 a"},
		"192.0.2.2":          {"4 b"},
		"":                   {"unknown"},
	}
	for large := range 5 {
		for small := range 5 {
			client := fmt.Sprintf("2001:db8:0:%x::1", large<<8|small)
			paths[client] = []string{fmt.Sprintf("64 %d/%d", large, small), fmt.Sprintf("56 %d", large), "48"}
		}
	}
	return paths
}()

// attemptsModel says what a Limiter that allows so many bad keys in as many
// seconds may do.
type attemptsModel struct {
	*crowd
	seed    uint64
	window  int // in ticks
	budgets map[string]*budget
	known   map[string]int // when a token is forgotten, by network and token
	now     int
	waiting map[string]apikeyhttp.Attempt
	cancel  map[string]context.CancelFunc
	seen    int            // of order
	last    map[string]int // the number of the last attempt that was allowed, by network
	count   map[string]int // of what has happened
}

func newAttemptsModel(t *testing.T, seed uint64, invalid int) *attemptsModel {
	m := &attemptsModel{
		crowd: newCrowd(t, apikeylimit.Options{
			Invalid: new(per(invalid, time.Duration(invalid)*time.Second)), MaxWait: 1000 * time.Hour,
		}),
		seed: seed, window: 8 * invalid,
		budgets: map[string]*budget{}, known: map[string]int{}, waiting: map[string]apikeyhttp.Attempt{},
		cancel: map[string]context.CancelFunc{}, last: map[string]int{}, count: map[string]int{},
	}
	for _, path := range modelPaths {
		for i, name := range path {
			n := []int{1, 4, 16}[i]
			if name == "unknown" {
				n = 100
			}
			m.budgets[name] = &budget{level: 8 * invalid * n, most: 8 * invalid * n, perTick: n}
		}
	}
	return m
}

func networksOf(a apikeyhttp.Attempt) []string {
	if !a.Client.IsValid() {
		return modelPaths[""]
	}
	for client, path := range modelPaths {
		if client != "" && addr(client) == a.Client {
			return path
		}
	}
	panic("no such client")
}

func (m *attemptsModel) pass(ticks int) {
	m.clock.Advance(time.Duration(ticks) * tick)
	m.now += ticks
	for _, b := range m.budgets {
		b.level = min(b.level+ticks*b.perTick, b.most)
	}
}

// begin starts an attempt, and checks that it is denied only if a network is out
// of bad keys.
func (m *attemptsModel) begin(n int, client string, token uint64) {
	name := fmt.Sprintf("%s/%d", client, n)
	a := apikeyhttp.Attempt{Client: addr(client), Token: token}
	attempt, cancel := context.WithCancel(ctx)
	m.waiting[name], m.cancel[name] = a, cancel
	go func() {
		q, err := m.limiter.StartAttempt(attempt, a)
		m.results <- started{name, a, q, err}
	}()
	m.check()
}

func (m *attemptsModel) finish(name string, o apikeyhttp.Outcome) {
	a := m.running[name]
	mark := fmt.Sprint(networksOf(a)[0], a.Token)
	switch o {
	case apikeyhttp.OutcomeValid:
		delete(m.known, mark)
	case apikeyhttp.OutcomeRejected:
		m.known[mark] = m.now + m.window
	case apikeyhttp.OutcomeInvalid:
		if m.now >= m.known[mark] {
			for _, n := range networksOf(a) {
				m.budgets[n].level -= 8
			}
			m.count["charged"]++
		} else {
			m.count["repeated"]++
		}
		m.known[mark] = m.now + m.window
	}
	m.end(name, o)
	m.cancel[name]()
	m.check()
}

// check compares what has happened with what may be.
func (m *attemptsModel) check() {
	t := m.t
	t.Helper()
	m.settle()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("seed %d, tick %d: %s", m.seed, m.now, fmt.Sprintf(format, args...))
	}
	for _, name := range m.order[m.seen:] {
		a := m.waiting[name]
		delete(m.waiting, name)
		if q, denied := m.denied[name]; denied {
			m.count["denied"]++
			wait := 0
			for _, n := range networksOf(a) {
				if b := m.budgets[n]; b.level < 8 {
					wait = max(wait, 1000*(8-b.level)/b.perTick)
				}
			}
			if wait == 0 {
				fail("%s was denied although there are bad keys left", name)
			}
			if want := time.Duration(wait) * tick / 1000; q.RetryAfter > want+time.Millisecond || q.RetryAfter < want-time.Millisecond {
				fail("%s has to wait %v, want %v", name, q.RetryAfter, want)
			}
			continue
		}
		if _, failed := m.failed[name]; failed {
			m.count["canceled"]++
			continue
		}
		m.count["allowed"]++
		home := networksOf(a)[0]
		m.last[home] = max(m.last[home], number(name))
	}
	m.seen = len(m.order)

	inFlight := map[string]int{}
	for _, a := range m.running {
		for _, n := range networksOf(a) {
			inFlight[n]++
		}
	}
	for n, b := range m.budgets {
		if b.level < 0 {
			fail("%s has sent %d eighths too many", n, -b.level)
		}
		if inFlight[n] > b.level/8 {
			fail("%d attempts of %s, which has %d bad keys left", inFlight[n], n, b.level/8)
		}
	}
	for name, a := range m.waiting {
		m.count["waiting"]++
		if last := m.last[networksOf(a)[0]]; number(name) < last {
			fail("%s was overtaken by %d", name, last)
		}
		if !slices.ContainsFunc(networksOf(a), func(n string) bool { return inFlight[n] > 0 }) {
			fail("%s waits for nobody", name)
		}
	}
}

// TestAttemptsModel walks through random attempts, outcomes, times and clients
// that leave, beside the model.
func TestAttemptsModel(t *testing.T) {
	walks := uint64(40)
	if os.Getenv("APIKEY_LONG") != "" {
		walks = 2000
	}
	total := map[string]int{}
	for seed := range walks {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 8))
			m := newAttemptsModel(t, seed, []int{1, 2, 4}[seed%3])
			var clients []string
			for client := range modelPaths {
				clients = append(clients, client)
			}
			slices.Sort(clients)
			for n := range 300 {
				switch k := random.IntN(20); {
				case k < 10:
					token, client := fresh.Add(1), clients[random.IntN(len(clients))]
					if k < 3 { // some come again
						token, client = 1<<60<<random.IntN(3), clients[random.IntN(4)]
					}
					m.begin(n, client, token)
				case k < 17:
					if name := pick(random, m.running); name != "" {
						outcomes := []apikeyhttp.Outcome{
							apikeyhttp.OutcomeInvalid, apikeyhttp.OutcomeInvalid, apikeyhttp.OutcomeInvalid,
							apikeyhttp.OutcomeValid, apikeyhttp.OutcomeRejected, apikeyhttp.OutcomeUnknown,
						}
						m.finish(name, outcomes[random.IntN(len(outcomes))])
					}
				case k < 18:
					if name := pick(random, m.waiting); name != "" {
						m.cancel[name]()
						m.check()
					}
				default:
					m.pass(random.IntN(4))
				}
			}
			for len(m.running) > 0 {
				m.finish(pick(random, m.running), apikeyhttp.OutcomeUnknown)
			}
			if len(m.waiting) > 0 {
				t.Errorf("seed %d: %d wait until the end", seed, len(m.waiting))
				for _, cancel := range m.cancel {
					cancel()
				}
			}
			for what, n := range m.count {
				total[what] += n
			}
		})
	}
	t.Log(total)
	for _, what := range []string{"allowed", "denied", "waiting", "canceled", "charged", "repeated"} {
		if total[what] < int(walks) {
			t.Errorf("the walks show little: %v", total)
		}
	}
}

// number returns the number of an attempt.
func number(name string) int {
	n, _ := strconv.Atoi(name[strings.LastIndexByte(name, '/')+1:])
	return n
}

// pick returns a random name.
func pick(random *rand.Rand, from map[string]apikeyhttp.Attempt) string {
	var names []string
	for name := range from {
		names = append(names, name)
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return names[random.IntN(len(names))]
}
