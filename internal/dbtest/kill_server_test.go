//go:build linux

package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/dbtest/servers"
	"github.com/keyturn/apikey/sqlstore"
)

// killed is a kind of server that is killed below.
type killed struct {
	engine Engine
	start  func(testing.TB, ...string) *servers.Server
	unsafe []string // settings with which it acknowledges what it has not written
}

var killedServers = []killed{
	// What a transaction wrote is otherwise flushed with the next full page.
	{PostgresPGX, servers.StartPostgres, []string{"synchronous_commit=off", "wal_writer_delay=10s"}},
	{MariaDB, servers.StartMariaDB, []string{"innodb_flush_log_at_trx_commit=0"}},
}

// TestKillServer kills the server, under eight writers, and looks whether all
// that was acknowledged is there once it has recovered, and nothing of which a
// writer was told that it was not made.
func TestKillServer(t *testing.T) {
	cycles := 3
	if long {
		cycles = 50
	}
	for _, k := range killedServers {
		t.Run(k.engine.Name, func(t *testing.T) {
			victim := newVictim(t, k)
			if err := victim.store(t).Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range cycles {
				result := victim.killOnce(t)
				for _, problem := range lost(t, victim.store(t), result.acknowledged) {
					t.Error(problem)
				}
				victim.checkLog(t, result)
				if t.Failed() {
					return
				}
			}
			// A later crash has lost nothing of what an earlier one left.
			for _, problem := range lost(t, victim.store(t), victim.all) {
				t.Error(problem)
			}
			if victim.unknown == 0 && cycles > 10 {
				t.Error("no kill hit a writer in the middle of a commit")
			}
			t.Logf("%d kills, %d changes acknowledged, %d made, none lost; of %d the outcome was unknown, %d of these were made; %d failed otherwise",
				cycles, len(victim.all), victim.seq, victim.unknown, victim.seq-int64(len(victim.all)), victim.failed)
		})
	}
}

// TestKillServerFindsLosses is the control: the same on servers that
// acknowledge too early finds that changes were lost.
func TestKillServerFindsLosses(t *testing.T) {
	for _, k := range killedServers {
		t.Run(k.engine.Name, func(t *testing.T) {
			victim := newVictim(t, k, k.unsafe...)
			if err := victim.store(t).Check(t.Context()); len(settings(err)) != 1 {
				t.Fatalf("the settings are not as unsafe as they should be: %v", err)
			}
			const cycles = 20
			for cycle := range cycles {
				result := victim.killOnce(t)
				if missing := lost(t, victim.store(t), result.acknowledged); len(missing) > 0 {
					t.Logf("lost in cycle %d: %d of %d", cycle+1, len(missing), len(result.acknowledged))
					return
				}
			}
			t.Fatalf("nothing was lost in %d cycles", cycles)
		})
	}
}

// victim is a server that is killed again and again.
type victim struct {
	*servers.Server
	database *Database
	random   *rand.Rand
	pool     *sql.DB // of store

	seq             int64 // the length of the log
	all             []acknowledged
	unknown, failed int // writers by what they were told last
}

func newVictim(t *testing.T, k killed, settings ...string) *victim {
	t.Helper()
	if !enabled(t, k.engine) {
		t.Skip("the engine is not among those of this run")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	// The driver says on stderr that the server is gone.
	if err := mysql.SetLogger(log.New(io.Discard, "", 0)); err != nil {
		t.Fatal(err)
	}
	s := k.start(t, settings...)
	v := &victim{
		Server: s, database: &Database{k.engine.At(s.DSN()), "test"}, random: rand.New(rand.NewPCG(seed, 0)),
	}
	v.database.Migrate(t)
	return v
}

// enabled reports whether the tests are run on an engine.
func enabled(t *testing.T, e Engine) bool {
	t.Helper()
	for _, other := range Engines(t) {
		if other.Name == e.Name {
			return true
		}
	}
	return false
}

// store returns a Store on a new pool: the connections of the one before may
// be to a server that was killed.
func (v *victim) store(t *testing.T) *sqlstore.Store {
	t.Helper()
	if v.pool != nil {
		v.pool.Close()
	}
	v.pool = v.database.Pool(t)
	return sqlstore.New(v.pool, v.database.Dialect, nil)
}

// result is what the writers were told until the server was killed.
type result struct {
	acknowledged []acknowledged
	ends         map[string]error // by owner: the error of its last change
}

const killWriters = 8

// killOnce lets writers change keys, each for an owner of its own, kills the
// server after a random number of changes and starts it again.
func (v *victim) killOnce(t *testing.T) result {
	t.Helper()
	m, err := apikey.New(v.store(t), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		t.Fatal(err)
	}
	const most = 200
	var (
		mu     sync.Mutex
		r      = result{ends: map[string]error{}}
		group  sync.WaitGroup
		limit  = 1 + v.random.IntN(most)
		enough = make(chan struct{})
	)
	for writer := range killWriters {
		group.Go(func() {
			owner := fmt.Sprint("owner ", writer)
			for n := 0; ; n++ {
				err := changeKey(context.Background(), m, owner, n, func(a acknowledged) error {
					mu.Lock()
					defer mu.Unlock()
					if r.acknowledged = append(r.acknowledged, a); len(r.acknowledged) == limit {
						close(enough)
					}
					return nil
				})
				if err != nil {
					mu.Lock()
					r.ends[owner] = err
					mu.Unlock()
					return
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { group.Wait(); close(ended) }()
	select {
	case <-enough:
	case <-ended:
		t.Fatalf("the writers ended by themselves: %v", r.ends)
	}
	mu.Lock()
	for owner, err := range r.ends {
		t.Errorf("%s, before the server was killed: %v", owner, err)
	}
	mu.Unlock()
	v.Kill()
	<-ended
	v.pool.Close()
	v.Start()
	return r
}

// checkLog checks the log against what the writers were told: it has what was
// acknowledged, and one event more only of a writer that was told that it does
// not know the outcome of its last change.
func (v *victim) checkLog(t *testing.T, r result) {
	t.Helper()
	store := v.store(t)
	events := checkLog(t, store, v.seq)
	checkRecords(t, store, events)
	acknowledged := map[string]int{} // by key
	for _, a := range r.acknowledged {
		acknowledged[a.id]++
	}
	further := map[string]int{} // by owner
	for _, e := range events {
		if acknowledged[e.KeyID]--; acknowledged[e.KeyID] < 0 {
			further[e.Owner]++
		}
	}
	for owner, err := range r.ends {
		allowed := 0
		if errors.Is(err, apikey.ErrOutcomeUnknown) {
			allowed = 1
			v.unknown++
		} else {
			v.failed++
		}
		if further[owner] > allowed {
			t.Errorf("%s: %d changes were made that were not acknowledged, after the error: %v", owner, further[owner], err)
		}
	}
	v.seq += int64(len(events))
	v.all = append(v.all, r.acknowledged...)
}
