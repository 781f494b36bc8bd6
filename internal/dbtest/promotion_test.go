//go:build linux

package dbtest

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/dbtest/servers"
	"github.com/keyturn/apikey/sqlstore"
)

// enginesDir names the directory of pg.sh, which starts PostgreSQL with a
// replica.
const enginesDir = "APIKEY_ENGINES"

// postgresPair is a primary, node 0, and a standby, node 1, behind a relay.
type postgresPair struct {
	t      *testing.T
	script string
	dir    string
	port   int
}

func newPostgresPair(t *testing.T) *postgresPair {
	t.Helper()
	engines := os.Getenv(enginesDir)
	if engines == "" {
		if long && os.Getenv("CI") != "" {
			t.Fatalf("%s is not set", enginesDir)
		}
		t.Skipf("%s is not set", enginesDir)
	}
	dir, err := os.MkdirTemp("", "apikey-pair-")
	if err != nil {
		t.Fatal(err)
	}
	p := &postgresPair{t, filepath.Join(engines, "pg.sh"), dir, twoPorts(t)}
	t.Cleanup(func() {
		p.run("destroy")
		os.RemoveAll(dir)
	})
	p.run("start", "1")
	p.run("sync", "on") // what was acknowledged survives
	return p
}

// twoPorts returns the first of two ports that nobody listens on.
func twoPorts(t *testing.T) int {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := first.Addr().(*net.TCPAddr).Port
		second, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		first.Close()
		if err == nil {
			second.Close()
			return port
		}
	}
	t.Fatal("no two ports are free")
	return 0
}

func (p *postgresPair) run(command string, args ...string) {
	p.t.Helper()
	c := exec.Command("bash", append([]string{p.script, command, p.dir}, args...)...)
	c.Env = append(os.Environ(), "PG_PORT="+strconv.Itoa(p.port))
	// Not pipes, which the server would inherit, and keep open.
	out, err := os.Create(filepath.Join(p.t.TempDir(), "out"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer out.Close()
	c.Stdout, c.Stderr = out, out
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		p.t.Fatalf("%s: %v\n%s", command, err, text)
	}
}

// node returns the address of a node.
func (p *postgresPair) node(n int) string { return fmt.Sprintf("127.0.0.1:%d", p.port+n) }

// calls are clients of one Manager that validate and change keys all the time.
type calls struct {
	m     *apikey.Manager
	token string
	key   string
	ended atomic.Bool
	group sync.WaitGroup

	mu     sync.Mutex
	phase  *phase
	phases []*phase
}

// phase counts the calls that began and ended in it.
type phase struct {
	name           string
	reads, changes tally
	enough         chan struct{} // closed when there were many of both
}

type tally struct {
	done, failed int
	first        error
}

func newCalls(t *testing.T, m *apikey.Manager) *calls {
	t.Helper()
	issued, err := m.Issue(t.Context(), apikey.IssueParams{Owner: "acme", Name: "failover"})
	if err != nil {
		t.Fatal(err)
	}
	c := &calls{m: m, token: issued.Token.Reveal(), key: issued.Key.ID}
	c.enter("before")
	for n := range 16 {
		c.group.Go(func() {
			for i := 0; !c.ended.Load(); i++ {
				c.call(t, n, i)
			}
		})
	}
	t.Cleanup(c.end)
	return c
}

func (c *calls) end() {
	c.ended.Store(true)
	c.group.Wait()
}

func (c *calls) enter(name string) *phase {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phase = &phase{name: name, enough: make(chan struct{})}
	c.phases = append(c.phases, c.phase)
	return c.phase
}

func (c *calls) call(t *testing.T, n, i int) {
	c.mu.Lock()
	began := c.phase
	c.mu.Unlock()
	var err error
	count := &began.reads
	if n%4 > 0 {
		_, err = c.m.Validate(t.Context(), c.token)
	} else {
		count = &began.changes
		_, err = c.m.Issue(t.Context(), apikey.IssueParams{Owner: fmt.Sprintf("owner %d %d", n, i), Name: "failover"})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if began != c.phase || c.ended.Load() {
		return
	}
	if err == nil {
		count.done++
	} else if count.failed++; count.first == nil {
		count.first = err
	}
	if began.reads.done+began.reads.failed >= 300 && began.changes.done+began.changes.failed >= 100 {
		select {
		case <-began.enough:
		default:
			close(began.enough)
		}
	}
}

// report prints the phases. The problems are those of phases in which no call,
// or no read, may fail.
func (c *calls) report(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.phases {
		t.Logf("%-45s %6d reads, %5d failed; %5d changes, %5d failed", p.name, p.reads.done+p.reads.failed, p.reads.failed,
			p.changes.done+p.changes.failed, p.changes.failed)
	}
}

func (p *phase) noneFailed(t *testing.T, onlyReads bool) {
	t.Helper()
	<-p.enough
	if p.reads.failed > 0 || p.changes.failed > 0 && !onlyReads {
		t.Errorf("%s: calls failed: %v, %v", p.name, p.reads.first, p.changes.first)
	}
}

// TestPromotion lets a primary of PostgreSQL crash, promotes its standby and
// sends the pool, by way of a relay as a load balancer is, to each of them. Once
// the relay leads to the primary no call fails, neither because pooled
// connections have died nor because they lead to the standby.
func TestPromotion(t *testing.T) {
	if !long {
		t.Skip("long form only")
	}
	quiet(t)
	for _, e := range []Engine{PostgresPGX, PostgresPQ} {
		t.Run(e.Name, func(t *testing.T) {
			if !enabled(t, e) {
				t.Skip("the engine is not among those of this run")
			}
			is := is.New(t)
			pair := newPostgresPair(t)
			r := newRelay(t, "tcp", pair.node(0))
			o := &ownServer{Engine: e, relay: r, t: t}
			db := o.pool(20)
			is.NoErr(sqlstore.Migrate(t.Context(), db, e.Dialect))
			store := sqlstore.New(db, e.Dialect, nil)
			m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
			is.NoErr(err)
			fillPool(t, db, 20, "")
			c := newCalls(t, m)
			c.phase.noneFailed(t, false)

			c.enter("the primary crashes, the standby is promoted")
			pair.run("kill", "0")
			pair.run("promote", "1")
			r.to("tcp", pair.node(1))
			opened := r.count()
			c.enter("the relay leads to the new primary").noneFailed(t, false)
			t.Logf("%d connections opened", r.count()-opened)

			// The relay takes the old primary, which is a standby now, for the
			// primary, until it knows better.
			c.enter("the old primary comes back as a standby").noneFailed(t, false)
			pair.run("rejoin", "0", "1")
			c.enter("the relay changes")
			r.to("tcp", pair.node(0))
			r.cut()
			fillPool(t, db, 8, "")
			opened = r.count()
			p := c.enter("the relay leads to the standby")
			p.noneFailed(t, true)
			t.Logf("%d connections opened for %d changes that failed", r.count()-opened, p.changes.failed)
			var setting *sqlstore.SettingError
			is.True(errors.As(store.Check(t.Context()), &setting))
			is.Equal(setting.Setting, "pg_is_in_recovery")

			r.to("tcp", pair.node(1)) // sessions with the standby stay
			opened = r.count()
			c.enter("the relay leads to the primary again").noneFailed(t, false)
			t.Logf("%d connections opened", r.count()-opened)
			c.end()
			c.report(t)
			noneFailed(t, "validate", 20, repeated(20, true, func() error { _, err := m.Validate(t.Context(), c.token); return err }))
			_, err = m.Issue(t.Context(), apikey.IssueParams{Owner: "acme", Name: "last"})
			is.NoErr(err)
			// Some sessions are with the standby still. None is used.
			t.Logf("%d of %d idle sessions are with the standby", standbySessions(t, db), db.Stats().Idle)
			pair.run("sql", "0", "SELECT pg_wal_replay_pause()")
			_, err = m.Disable(t.Context(), c.key)
			is.NoErr(err)
			noneFailed(t, "validate a disabled key", 200, repeated(200, true, func() error {
				if _, err := m.Validate(t.Context(), c.token); !errors.Is(err, apikey.ErrDisabled) {
					return fmt.Errorf("not rejected: %v", err)
				}
				return nil
			}))
			is.NoErr(store.Check(t.Context()))
		})
	}
}

// standbySessions counts the idle sessions of a pool with a standby.
func standbySessions(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	var all []*sql.Conn
	for range db.Stats().Idle {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
		var standby bool
		if err := conn.QueryRowContext(t.Context(), "SELECT pg_is_in_recovery()").Scan(&standby); err != nil {
			t.Fatal(err)
		}
		if standby {
			n++
		}
	}
	for _, conn := range all {
		conn.Close()
	}
	return n
}

// TestPromotionMariaDB does the same with two servers of MariaDB, the first of
// which becomes read-only and keeps its sessions.
func TestPromotionMariaDB(t *testing.T) {
	if !enabled(t, MariaDB) {
		t.Skip("the engine is not among those of this run")
	}
	quiet(t)
	first, second := servers.StartMariaDB(t), servers.StartMariaDB(t)
	for _, s := range []*servers.Server{first, second} {
		(&Database{MariaDB.At(s.DSN()), "test"}).prepareServer(t)
	}
	both(t, func(t *testing.T, together bool) {
		o := &ownServer{Engine: MariaDB, relay: newRelay(t, "unix", socket(MariaDB, first.DSN())), t: t}
		o.admin = &Database{MariaDB.At(first.DSN()), "test"}
		const connections, changes = 20, 20
		db := o.pool(connections)
		store := sqlstore.New(db, MariaDB.Dialect, nil)
		fillPool(t, db, connections, "")
		is := is.New(t)
		only := newRecord(t, "acme", int(issued.Add(1))) // which only the first server has
		mustCommit(t, store, commitOf(only))
		var busy []*sql.Conn // while the others are replaced
		for range connections / 2 {
			conn, err := db.Conn(t.Context())
			is.NoErr(err)
			busy = append(busy, conn)
		}
		o.setReadOnly(t, true)
		defer o.setReadOnly(t, false)
		o.relay.to("unix", socket(MariaDB, second.DSN()))
		opened := o.relay.count()
		is.NoErr(o.issue(t.Context(), store))
		for _, conn := range busy {
			is.NoErr(conn.Close())
		}
		// What the first server has is stale from now on.
		noneFailed(t, "lookup", 100, repeated(100, together, func() error {
			if _, err := store.Lookup(t.Context(), only.Key.CredentialID); !errors.Is(err, apikey.ErrNotFound) {
				return fmt.Errorf("a former primary was read: %v", err)
			}
			return nil
		}))
		noneFailed(t, "commit", changes, repeated(changes, together, func() error { return o.issue(t.Context(), store) }))
		t.Logf("%d connections opened for %d changes", o.relay.count()-opened, changes+1)
		db.Close()
	})
}
