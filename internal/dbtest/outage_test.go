//go:build linux

package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/matryer/is"
	"go.uber.org/goleak"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/internal/dbtest/servers"
	"github.com/keyturn/apikey/memstore"
	"github.com/keyturn/apikey/sqlstore"
)

// TestOutage lets the database fail under an HTTP server that clients call all
// the time. While it is down every request whose answer needs it is answered
// with 503, whatever its key is; before, and soon after, each gets its right
// answer, from the same Manager on the same pool.
func TestOutage(t *testing.T) {
	rounds := 1
	if long {
		rounds = 25
	}
	// The driver says on stderr that the server is gone.
	if err := mysql.SetLogger(log.New(io.Discard, "", 0)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		engine  Engine
		start   func(testing.TB, ...string) *servers.Server
		freezes bool // lib/pq ignores contexts where nothing answers, as sqlstore says
	}{
		{PostgresPGX, servers.StartPostgres, true},
		{PostgresPQ, servers.StartPostgres, false},
		{MariaDB, servers.StartMariaDB, true},
	} {
		t.Run(test.engine.Name, func(t *testing.T) {
			if !enabled(t, test.engine) {
				t.Skip("the engine is not among those of this run")
			}
			before := goleak.IgnoreCurrent()
			t.Run("load", func(t *testing.T) {
				is := is.New(t)
				s := test.start(t)
				d := &Database{test.engine.At(s.DSN()), "test"}
				d.Migrate(t)
				pool, own := d.Pool(t), d.Pool(t)
				own.SetMaxIdleConns(-1) // one that is idle is dead after the first outage
				l := newLoad(t, sqlstore.New(pool, d.Dialect, &sqlstore.Options{Timeout: time.Second}), nil)
				all := []outage{{"kill", false, s.Kill, s.Start}, {"stop", false, s.Stop, s.Start}, locked(t, d, own)}
				if test.freezes {
					all = append(all, frozen(t, d, own))
				}
				l.run(all, rounds)
				is.NoErr(l.finish(t))
				is.NoErr(allGivenBack(pool))
				pool.Close()
				own.Close()
				is.NoErr(d.server.on(t.Context(), d.Name, d.server.alone))
			})
			goleak.VerifyNone(t, before)
		})
	}
}

// allGivenBack waits until no connection of a pool is in use. Those count as
// in use that the pool is opening for calls whose contexts have ended since.
func allGivenBack(pool *sql.DB) error {
	end := time.After(patience)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		n := pool.Stats().InUse
		if n == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-end:
			return fmt.Errorf("%d connections were not given back", n)
		}
	}
}

// TestOutageFindsFaults is the control: the same load finds each way in which a
// Validator could be wrong about a store that fails.
func TestOutageFindsFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		wrong func(*apikey.Key, error) (apikey.Key, error) // what is made of an outage, with the last key that was good
		stays bool                                         // and of all that comes after it
		want  string
	}{
		{"right", nil, false, ""},
		{"refuses", func(*apikey.Key, error) (apikey.Key, error) { return apikey.Key{}, apikey.ErrInvalid }, false, "401 invalid_token"},
		{"wraps a refusal", func(_ *apikey.Key, err error) (apikey.Key, error) {
			return apikey.Key{}, fmt.Errorf("%w: %w", apikey.ErrDisabled, errors.New(err.Error()))
		}, false, "401 disabled"},
		{"accepts", func(last *apikey.Key, _ error) (apikey.Key, error) { return *last, nil }, false, "200 "},
		{"stays", func(_ *apikey.Key, err error) (apikey.Key, error) { return apikey.Key{}, err }, true, "not recovered"},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := apikeytest.NewFailStore(memstore.New())
			l := newLoad(t, store, func(m apikey.Validator) apikey.Validator {
				if test.wrong == nil {
					return m
				}
				return &wrongValidator{Validator: m, wrong: test.wrong, stays: test.stays}
			})
			fails := func() {
				for _, method := range []apikeytest.Method{apikeytest.Lookup, apikeytest.AddUsage} {
					store.Fail(apikeytest.Failure{Method: method, Forever: true, Err: apikey.ErrAborted})
				}
			}
			l.run([]outage{{"fail", false, fails, store.Recover}}, 1)
			err := l.finish(t)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("found %v, not %q", err, test.want)
			}
		})
	}
}

type wrongValidator struct {
	apikey.Validator
	wrong func(*apikey.Key, error) (apikey.Key, error)
	stays bool

	mu     sync.Mutex
	last   apikey.Key
	failed error
}

func (v *wrongValidator) Validate(ctx context.Context, token string, needs ...apikey.Requirement) (apikey.Key, error) {
	key, err := v.Validator.Validate(ctx, token, needs...)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err == nil && key.Scopes.Allows("orders:read") {
		v.last = key
	}
	if errors.Is(err, apikey.ErrUnavailable) && ctx.Err() == nil {
		v.failed = err
		return v.wrong(&v.last, err)
	}
	if err == nil && v.failed != nil && v.stays {
		return v.wrong(&v.last, v.failed)
	}
	return key, err
}

// TestOutageChecker gives the checker each kind of answer in each state.
func TestOutageChecker(t *testing.T) {
	up, down, unsure, other := &epoch{state: isUp}, &epoch{state: isDown}, &epoch{}, &epoch{}
	good, bad := caller{right: answer{status: 200, code: "id"}}, caller{right: answer{401, "invalid_token", false, true}}
	malformed := caller{right: bad.right, offline: true}
	for _, test := range []struct {
		name         string
		caller       caller
		began, ended *epoch
		answer       answer
		fine         bool
	}{
		{"accepted", good, up, up, good.right, true},
		{"another's key", good, up, up, answer{status: 200, code: "another"}, false},
		{"unavailable, up", good, up, up, unavailable, false},
		{"unavailable", good, down, down, unavailable, true},
		{"unavailable without Retry-After", good, down, down, answer{503, "unavailable", false, false}, false},
		{"unavailable with a challenge", good, down, down, answer{503, "unavailable", true, true}, false},
		{"another error of the server", good, down, down, answer{status: 500, code: "server_error"}, false},
		{"accepted, down", good, down, down, good.right, false},
		{"refused, down", good, down, down, bad.right, false},
		{"bad refused, down", bad, down, down, bad.right, false},
		{"bad accepted, down", bad, down, down, good.right, false},
		{"accepted in passing", good, up, unsure, good.right, true},
		{"unavailable in passing", good, unsure, down, unavailable, true},
		{"refused in passing", good, up, unsure, bad.right, false},
		{"bad refused in passing", bad, down, other, bad.right, true},
		{"bad accepted in passing", bad, unsure, unsure, good.right, false},
		{"malformed", malformed, down, down, bad.right, true},
		{"malformed unavailable", malformed, down, down, unavailable, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.caller.accepts(test.began, test.ended, test.answer); got != test.fine {
				t.Errorf("got %v", got)
			}
		})
	}
}

// outage is one way in which a database fails. Between begin and end it does
// nothing.
type outage struct {
	name       string
	hangs      bool // a request ends by its deadline only, or because its client leaves
	begin, end func()
}

// locked lets every lookup, and every count, wait for a lock.
func locked(t *testing.T, d *Database, own *sql.DB) outage {
	lock, unlock := []string{"BEGIN", "LOCK TABLE apikey_credentials, apikey_usage"}, "ROLLBACK"
	if d.Dialect == sqlstore.MySQL {
		lock, unlock = []string{"LOCK TABLES apikey_credentials WRITE, apikey_usage WRITE"}, "UNLOCK TABLES"
	}
	var conn *sql.Conn
	exec := func(statements ...string) {
		for _, s := range statements {
			if _, err := conn.ExecContext(context.Background(), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	return outage{"lock", true, func() {
		var err error
		if conn, err = own.Conn(context.Background()); err != nil {
			t.Fatal(err)
		}
		exec(lock...)
	}, func() {
		exec(unlock)
		conn.Close()
	}}
}

// frozen stops the processes of the server: connections to it stay, and are
// made, and nothing answers.
func frozen(t *testing.T, d *Database, own *sql.DB) outage {
	file := "SELECT current_setting('data_directory') || '/postmaster.pid'"
	if d.Dialect == sqlstore.MySQL {
		file = "SELECT @@pid_file"
	}
	var all []int
	send := func(pid int, signal syscall.Signal) {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	freeze := func(pid int) {
		send(pid, syscall.SIGSTOP)
		for end := time.Now().Add(patience); !stopped(pid); {
			if time.Now().After(end) {
				t.Fatalf("process %d does not stop", pid)
			}
		}
		all = append(all, pid)
	}
	return outage{"freeze", true, func() {
		var name string
		if err := own.QueryRowContext(t.Context(), file).Scan(&name); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		server, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		all = nil
		freeze(server) // first, so that it starts no others
		for _, child := range childrenOf(t, server) {
			freeze(child)
		}
	}, func() {
		for _, pid := range all {
			send(pid, syscall.SIGCONT)
		}
	}}
}

// childrenOf returns the processes that a process has started: see proc(5).
func childrenOf(t *testing.T, pid int) (all []int) {
	t.Helper()
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if len(lists) == 0 {
		t.Fatalf("nothing is known of the children of process %d", pid)
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for field := range strings.FieldsSeq(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, child)
		}
	}
	return all
}

// stopped reports whether no thread of a process runs.
func stopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		rest := text[strings.LastIndexByte(string(text), ')'):]
		if !strings.HasPrefix(string(rest), ") T") && !strings.HasPrefix(string(rest), ") Z") {
			return false
		}
	}
	return true
}
