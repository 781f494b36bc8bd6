package dbtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// The tests below kill a program, with a signal that it cannot catch, while it
// changes keys in a SQLite file, and look whether all that it had acknowledged
// is there. The program is the test binary itself, told by its environment what
// to be.
const (
	killFile  = "APIKEY_KILL_FILE"  // the database
	killEarly = "APIKEY_KILL_EARLY" // acknowledge before the commit: the control
)

func TestMain(m *testing.M) {
	if file := os.Getenv(killFile); file != "" {
		err := changeKeys(file, os.Getenv(killEarly) != "", os.Stdout)
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if encoded := os.Getenv(programVariable); encoded != "" {
		if err := runProgram(encoded); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	status := m.Run()
	if err := dropAll(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// changeKeys issues, disables and regenerates keys without end, and writes a
// line for each change once it has returned.
func changeKeys(file string, early bool, out io.Writer) error {
	ctx := context.Background()
	db, err := openFile(file)
	if err != nil {
		return err
	}
	var store apikey.Store = sqlstore.New(db, sqlstore.SQLite, nil)
	if early {
		store = newEarlyStore(store)
	}
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		return err
	}
	var writing sync.Mutex
	acknowledge := func(a acknowledged) error {
		writing.Lock()
		defer writing.Unlock()
		_, err := fmt.Fprintln(out, a.change, a.id, a.revision, a.token)
		return err
	}
	failed := make(chan error)
	for worker := range 4 {
		go func() {
			for n := 0; ; n++ {
				err := changeKey(ctx, m, fmt.Sprint("owner ", worker), n, acknowledge)
				if early && (errors.Is(err, apikey.ErrNotFound) || errors.Is(err, apikey.ErrConflict)) {
					err = nil // it looked for what is not written yet
				}
				if err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

// acknowledged is one change that was made, for all that the program knows.
type acknowledged struct {
	change   string
	id       string
	revision int64
	token    string
}

// changeKey issues a key and makes up to three further changes of it, others
// for each n.
func changeKey(ctx context.Context, m *apikey.Manager, owner string, n int, acknowledge func(acknowledged) error) error {
	made := func(change string, key apikey.Key, token apikey.Secret) error {
		return acknowledge(acknowledged{change, key.ID, key.Revision, token.Reveal()})
	}
	issued, err := m.Issue(ctx, apikey.IssueParams{Owner: owner, Name: "kill"})
	if err == nil {
		err = made("issue", issued.Key, issued.Token)
	}
	for i := 0; err == nil && i < n%4; i++ {
		if (n+i)%2 == 0 {
			var key apikey.Key
			if key, err = m.Disable(ctx, issued.Key.ID, apikey.Reason("kill")); err == nil {
				err = made("disable", key, issued.Token)
			}
		} else if issued, err = m.Regenerate(ctx, issued.Key.ID, apikey.Reason("kill")); err == nil {
			err = made("regenerate", issued.Key, issued.Token)
		}
	}
	return err
}

// earlyStore is what a Store must not be: it acknowledges a Commit before it
// is made.
type earlyStore struct {
	apikey.Store
	commits chan apikey.Commit
}

func newEarlyStore(s apikey.Store) *earlyStore {
	early := &earlyStore{s, make(chan apikey.Commit, 8)}
	go func() {
		for c := range early.commits {
			s.Commit(context.Background(), c)
		}
	}()
	return early
}

func (s *earlyStore) Commit(_ context.Context, c apikey.Commit) (apikey.Position, error) {
	s.commits <- c
	return apikey.Position{}, nil
}

// killOnce starts the program and kills it after a number of lines. It returns
// all that was acknowledged, also while it died.
func killOnce(t *testing.T, file string, early bool, lines int) []acknowledged {
	t.Helper()
	program := exec.CommandContext(t.Context(), os.Args[0])
	program.Env = append(os.Environ(), killFile+"="+file)
	if early {
		program.Env = append(program.Env, killEarly+"=1")
	}
	var stderr strings.Builder
	program.Stderr = &stderr
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	var all []acknowledged
	reader := bufio.NewReader(out)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			break // half a line acknowledges nothing
		}
		var a acknowledged
		if _, err := fmt.Sscan(line, &a.change, &a.id, &a.revision, &a.token); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if all = append(all, a); len(all) == lines {
			if err := program.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := program.Wait(); len(all) < lines {
		t.Fatalf("the program ended by itself: %v: %s", err, stderr.String())
	}
	return all
}

// lost returns what of the acknowledged changes does not hold.
func lost(t *testing.T, store apikey.Store, all []acknowledged) (missing []string) {
	t.Helper()
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]acknowledged{} // of each key
	for _, a := range all {
		if a.revision > last[a.id].revision {
			last[a.id] = a
		}
	}
	kinds := map[string]apikey.EventKind{
		"issue": apikey.EventIssued, "disable": apikey.EventDisabled, "regenerate": apikey.EventRegenerated,
	}
	for _, a := range all {
		lose := func(format string, args ...any) {
			missing = append(missing, fmt.Sprintf("%s of %s, revision %d: ", a.change, a.id, a.revision)+fmt.Sprintf(format, args...))
		}
		events, err := m.Events(t.Context(), apikey.EventQuery{KeyID: a.id})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(events); int64(n) < a.revision || events[a.revision-1].Revision != a.revision || events[a.revision-1].Kind != kinds[a.change] {
			lose("the log has %d events", n)
			continue
		}
		// One more change may have been made that was not acknowledged.
		newest := last[a.id]
		unseen := int64(len(events)) > newest.revision
		_, err = m.Validate(t.Context(), a.token)
		switch {
		case a.token != newest.token:
			if !errors.Is(err, apikey.ErrReplaced) {
				lose("a token that was replaced: %v", err)
			}
		case unseen:
			if newest.change == "disable" && err == nil {
				lose("a disabled token is accepted")
			}
		case newest.change == "disable":
			if !errors.Is(err, apikey.ErrDisabled) {
				lose("a disabled token: %v", err)
			}
		case err != nil:
			lose("%v", err)
		}
	}
	return missing
}

// checkRecords checks that every record is as its last event left it.
func checkRecords(t *testing.T, store apikey.Store, events []apikey.Event) {
	t.Helper()
	last := map[string]apikey.Event{}
	for _, e := range events {
		last[e.KeyID] = e
	}
	for id, e := range last {
		r, err := store.Get(t.Context(), id, "")
		if err != nil {
			t.Fatal(err)
		}
		if r.Key.Revision != e.Revision || r.Nonce != e.Position.Nonce || r.Key.CredentialID != e.CredentialID {
			t.Fatalf("key %s has revision %d, its last event %d", id, r.Key.Revision, e.Revision)
		}
	}
}

func TestKill(t *testing.T) {
	cycles := 10
	if long {
		cycles = 1000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	file := filepath.Join(t.TempDir(), "keys.db")
	var seq, changes int64
	for range cycles {
		all := killOnce(t, file, false, 1+random.IntN(100))
		db := Open(t, file)
		store := sqlstore.New(db, sqlstore.SQLite, nil)
		for _, problem := range lost(t, store, all) {
			t.Error(problem)
		}
		events := checkLog(t, store, seq)
		checkRecords(t, store, events)
		if t.Failed() {
			return
		}
		seq += int64(len(events))
		changes += int64(len(all))
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if seq < changes {
		t.Fatalf("%d changes, but %d events", changes, seq)
	}
	t.Log(strconv.Itoa(cycles), "kills,", changes, "changes acknowledged,", seq, "made, none lost")
}

// TestKillFindsLosses is the control: the same test on a store that
// acknowledges a few changes too early finds that those were lost.
func TestKillFindsLosses(t *testing.T) {
	for cycle := range 20 {
		file := filepath.Join(t.TempDir(), fmt.Sprint(cycle, ".db"))
		all := killOnce(t, file, true, 100)
		store := sqlstore.New(Open(t, file), sqlstore.SQLite, nil)
		if missing := lost(t, store, all); len(missing) > 0 && len(missing) < len(all) {
			t.Logf("lost in cycle %d: %d of %d", cycle+1, len(missing), len(all))
			return
		}
	}
	t.Fatal("nothing was lost, or everything")
}
