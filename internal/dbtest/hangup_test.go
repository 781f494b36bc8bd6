//go:build linux

package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/sqlstore"
)

// TestHangUps checks that a client that leaves costs no connection to the
// database, and nothing that others need.
func TestHangUps(t *testing.T) {
	eachServer(t, func(t *testing.T, o *ownServer) {
		t.Run("canceled while running", func(t *testing.T) { canceledWhileRunning(t, o.in(t)) })
		t.Run("timeout", func(t *testing.T) { timeout(t, o.in(t)) })
		t.Run("clients", func(t *testing.T) { hangingUp(t, o.in(t)) })
	})
}

// waiting returns a statement that counts the sessions that wait for a lock of
// lockTables.
func (o *ownServer) waiting() string {
	if o.Dialect == sqlstore.MySQL {
		return "SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'test' AND state LIKE '%lock%'"
	}
	return "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = 'test' AND wait_event_type = 'Lock'"
}

// lockTables lets every read and every change wait until the function that it
// returns is called.
func (o *ownServer) lockTables(t *testing.T) (unlock func()) {
	t.Helper()
	lock, release := []string{"BEGIN", "LOCK TABLE apikey_keys, apikey_credentials, apikey_owners, apikey_events, apikey_usage, apikey_usage_days"}, "ROLLBACK"
	if o.Dialect == sqlstore.MySQL {
		var tables []string
		for _, name := range []string{"keys", "credentials", "owners", "events", "usage", "usage_days"} {
			tables = append(tables, "apikey_"+name+" WRITE")
		}
		lock, release = []string{"LOCK TABLES " + strings.Join(tables, ", ")}, "UNLOCK TABLES"
	}
	db, err := sql.Open(o.driver, o.admin.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	exec := func(statement string) {
		t.Helper()
		if _, err := conn.ExecContext(context.Background(), statement); err != nil {
			t.Error(err)
		}
	}
	for _, statement := range lock {
		exec(statement)
	}
	var once sync.Once
	unlock = func() {
		once.Do(func() {
			exec(release)
			conn.Close()
			db.Close()
		})
	}
	t.Cleanup(unlock)
	return unlock
}

// await returns once a statement of the administrator's returns n.
func (o *ownServer) await(t *testing.T, db *sql.DB, statement string, n int) {
	t.Helper()
	for end := time.Now().Add(patience); ; {
		var got int
		if err := db.QueryRowContext(t.Context(), statement).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d sessions wait, not %d", got, n)
		}
	}
}

// canceledWhileRunning cancels the context of each call while its first
// statement on a table runs. The statement ends by itself, a read returns its
// result, a change is not made, and no connection is lost.
func canceledWhileRunning(t *testing.T, o *ownServer) {
	admin := o.admin.Pool(t)
	db := o.pool(1)
	store := sqlstore.New(db, o.Dialect, &sqlstore.Options{Timeout: patience})
	of := set(int(issued.Add(1)) + 1_000_000)
	mustCommit(t, store, commitOf(of.record(t, 1)))
	opened := o.relay.count()
	for name, call := range everyCall(t, of) {
		if name == "Check" {
			continue // does not begin with such a statement
		}
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			unlock := o.lockTables(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result := make(chan error)
			go func() { result <- call(ctx, store) }()
			o.await(t, admin, o.waiting(), 1)
			cancel()
			select {
			case err := <-result:
				t.Fatalf("the call did not wait: %v", err)
			default:
			}
			unlock()
			err := <-result
			if slices.ContainsFunc(writes, func(w write) bool { return w.name == name }) {
				is.True(errors.Is(err, context.Canceled))
				is.True(errors.Is(err, apikey.ErrAborted))
			} else {
				is.NoErr(err)
			}
			is.Equal(o.relay.count(), opened)
		})
	}
	for _, w := range writes {
		if w.done(t.Context(), t, store, of) {
			t.Errorf("%s was done", w.name)
		}
	}
}

// TestCanceledWhileWaiting checks that a call that waits for a connection ends
// with its context, and sends nothing.
func TestCanceledWhileWaiting(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		s, db, store := e.newSpied(t, &sqlstore.Options{Timeout: time.Hour})
		db.SetMaxOpenConns(1)
		mustCommit(t, store, commitOf(set(1).record(t, 1)))
		for name, call := range everyCall(t, 1) {
			t.Run(name, func(t *testing.T) {
				is := is.New(t)
				conn, err := db.Conn(t.Context())
				is.NoErr(err)
				defer conn.Close()
				s.reset(nil, nil)
				waits := db.Stats().WaitCount
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				result := make(chan error)
				go func() { result <- call(ctx, store) }()
				for end := time.Now().Add(patience); db.Stats().WaitCount == waits; {
					if time.Now().After(end) {
						t.Fatal("the call does not wait")
					}
				}
				cancel()
				is.True(errors.Is(<-result, context.Canceled))
				is.Equal(len(s.all()), 0)
			})
		}
	})
}

// timeout checks that a Lookup that the database does not answer ends after
// Options.Timeout, whatever its context.
func timeout(t *testing.T, o *ownServer) {
	is := is.New(t)
	db := o.pool(2)
	store := sqlstore.New(db, o.Dialect, &sqlstore.Options{Timeout: 50 * time.Millisecond})
	unlock := o.lockTables(t)
	if o.driver == "postgres" {
		defer o.cancelLate(t)()
	}
	_, err := store.Lookup(context.WithoutCancel(t.Context()), "cred000000000001")
	is.True(errors.Is(err, context.DeadlineExceeded))
	is.True(strings.Contains(err.Error(), "Options.Timeout"))
	// Other calls wait as long as their context.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = store.Get(ctx, "key", "")
	is.True(errors.Is(err, context.DeadlineExceeded))
	unlock()
	_, err = sqlstore.New(db, o.Dialect, nil).Lookup(t.Context(), "cred000000000001")
	is.True(errors.Is(err, apikey.ErrNotFound))
}

// cancelLate cancels, each second, what waits for a lock. lib/pq asks the server to
// do so at the end of a context and then waits for the answer. On a busy machine
// the request can overtake the statement, and the server forgets it.
func (o *ownServer) cancelLate(t *testing.T) (stop func()) {
	admin := o.admin.Pool(t)
	stopping, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for ticker := time.NewTicker(time.Second); ; {
			select {
			case <-stopping:
				ticker.Stop()
				return
			case <-ticker.C:
				const waiting = "SELECT COUNT(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE datname = 'test' AND wait_event_type = 'Lock'"
				if _, err := admin.ExecContext(context.Background(), waiting); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	return func() { close(stopping); <-stopped }
}

// hangingUp lets three clients send tokens that were never issued, and hang
// up after 0.3 ms, while others send a good one. No connection to the database
// is lost, and each lookup that is sent counts as an attempt with a bad key.
// The long form compares what the good ones get with what they get while the
// three wait for their answers.
func hangingUp(t *testing.T, o *ownServer) {
	is := is.New(t)
	const connections, good = 8, 2
	d := &Database{o.admin.Engine, "test"}
	d.server = newServer(d.server.kind, o.relay.dsn(o.Engine))
	s := newSpy(t, d.Connector(t))
	db := sql.OpenDB(s)
	defer db.Close()
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	store := sqlstore.New(db, o.Dialect, nil)
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	is.NoErr(err)
	key, err := m.Issue(t.Context(), apikey.IssueParams{Owner: "acme", Name: "hang-ups"})
	is.NoErr(err)
	never, err := apikeytest.New(t).Manager.Issue(t.Context(), apikey.IssueParams{Owner: "acme", Name: "never issued here"})
	is.NoErr(err)
	fillPool(t, db, connections, "")
	opened := o.relay.count()

	rounds, lasts := 1, 300*time.Millisecond
	if long {
		rounds = 40 // short ones, in turns: what else the machine does falls on both
	}
	var served [2]int64
	for round := range rounds {
		for turn := range 2 {
			i := (round + turn) % 2
			patient := i == 1
			s.reset(nil, nil)
			h := newHangUps(t, m)
			n := h.run(key.Token.Reveal(), never.Token.Reveal(), good, patient, lasts)
			served[i] += n
			sent := int64(len(s.all()))
			t.Logf("clients wait: %v; %d good requests served, %d failed; %d lookups sent, %d bad attempts counted, %d ended before",
				patient, n, h.failed.Load(), sent, h.counted.Load(), h.left.Load())
			is.Equal(h.failed.Load(), int64(0))
			is.Equal(h.wrong.Load(), int64(0))
			is.True(h.counted.Load() > 0)
			is.Equal(sent, n+h.counted.Load())
		}
	}
	opened = o.relay.count() - opened
	t.Logf("%d connections opened", opened)
	is.Equal(opened, 0)
	if long {
		share := float64(served[0]) / float64(served[1])
		t.Logf("good requests beside clients that hang up: %.0f %% of those beside clients that wait", 100*share)
		if share < 0.9 {
			t.Error("less than 90 %")
		}
	}
}

// hangUps is a server that clients call, and leave.
type hangUps struct {
	*httptest.Server
	handled              [3]chan struct{} // by client with a bad token: its request was
	served, failed       atomic.Int64     // good requests
	counted, left, wrong atomic.Int64     // bad ones
}

func newHangUps(t *testing.T, m *apikey.Manager) *hangUps {
	t.Helper()
	h := &hangUps{}
	for n := range h.handled {
		h.handled[n] = make(chan struct{}, 1)
	}
	guard, err := apikeyhttp.New(observed{m, h}, nil)
	if err != nil {
		t.Fatal(err)
	}
	inner := guard.Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r)
		if n, err := strconv.Atoi(r.Header.Get("X-Client")); err == nil {
			h.handled[n] <- struct{}{}
		}
	}))
	t.Cleanup(h.Close)
	return h
}

// observed counts what becomes of the bad tokens.
type observed struct {
	*apikey.Manager
	h *hangUps
}

func (o observed) Validate(ctx context.Context, token string, needs ...apikey.Requirement) (apikey.Key, error) {
	key, err := o.Manager.Validate(ctx, token, needs...)
	switch {
	case err == nil:
	case errors.Is(err, apikey.ErrInvalid):
		o.h.counted.Add(1)
	case errors.Is(err, context.Canceled):
		o.h.left.Add(1)
	default:
		o.h.wrong.Add(1)
	}
	return key, err
}

// run lets clients call for a while, and returns how many good requests were
// served. One with a bad token calls again once the server is done with its last
// request, whether or not it has waited for the answer.
func (h *hangUps) run(good, bad string, clients int, patient bool, lasts time.Duration) int64 {
	end, cancel := context.WithTimeout(context.Background(), lasts)
	defer cancel()
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for end.Err() == nil {
				if status, err := present(client, h.URL, good); err == nil && status == http.StatusOK {
					h.served.Add(1)
				} else {
					h.failed.Add(1)
				}
			}
		})
	}
	for n := range h.handled {
		group.Go(func() {
			for end.Err() == nil {
				if err := h.attempt(n, bad, patient); err != nil {
					h.failed.Add(1)
					return
				}
				<-h.handled[n]
			}
		})
	}
	group.Wait()
	return h.served.Load()
}

// attempt sends a request and closes the connection, after 0.3 ms or with the
// answer.
func (h *hangUps) attempt(n int, token string, patient bool) error {
	conn, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if !patient {
		if err := conn.SetReadDeadline(time.Now().Add(300 * time.Microsecond)); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: test\r\nX-Client: %d\r\nAuthorization: Bearer %s\r\n\r\n", n, token); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1024))
	if !patient && errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

func present(client *http.Client, url, token string) (int, error) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}
