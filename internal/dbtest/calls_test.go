package dbtest

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// client makes calls, all of its own key and owner.
type client struct {
	m     *apikey.Manager
	store *sqlstore.Store
	owner string
	key   apikey.Key
	token apikey.Secret
}

// namedCall is one call of a client.
type namedCall struct {
	name string
	run  func(context.Context, *client) error
}

// cycle is every operation once, in an order in which none is refused.
var cycle = []namedCall{
	{"issue", func(ctx context.Context, c *client) error {
		issued, err := c.m.Issue(ctx, apikey.IssueParams{
			Owner: c.owner, Name: "näme", Scopes: []string{"orders:read"}, Metadata: map[string]string{"tier": "gold"},
		}, apikey.Reason("why"))
		c.key, c.token = issued.Key, issued.Token
		return err
	}},
	{"validate", validateKey},
	{"get", func(ctx context.Context, c *client) error { _, err := c.m.Get(ctx, c.key.ID); return err }},
	{"list", func(ctx context.Context, c *client) error {
		keys, err := c.m.List(ctx, apikey.Query{Owner: c.owner})
		if err == nil && len(keys) != 1 {
			err = fmt.Errorf("%d keys", len(keys))
		}
		return err
	}},
	{"update", func(ctx context.Context, c *client) error {
		_, err := c.m.Update(ctx, c.key.ID, apikey.Changes{Name: new("other")}, apikey.Reason("why"))
		return err
	}},
	{"disable", func(ctx context.Context, c *client) error {
		_, err := c.m.Disable(ctx, c.key.ID, apikey.Reason("why"))
		return err
	}},
	{"enable", func(ctx context.Context, c *client) error {
		_, err := c.m.Enable(ctx, c.key.ID, apikey.Reason("why"))
		return err
	}},
	{"disable owner", func(ctx context.Context, c *client) error {
		_, err := c.m.DisableOwner(ctx, c.owner, apikey.Reason("why"))
		return err
	}},
	{"owner", func(ctx context.Context, c *client) error {
		o, err := c.m.Owner(ctx, c.owner)
		if err == nil && o.DisabledAt.IsZero() {
			err = errors.New("the owner is not disabled")
		}
		return err
	}},
	{"enable owner", func(ctx context.Context, c *client) error {
		_, err := c.m.EnableOwner(ctx, c.owner, apikey.Reason("why"))
		return err
	}},
	{"validate", validateKey},
	{"flush", func(ctx context.Context, c *client) error { return c.m.Flush(ctx) }},
	{"daily usage", func(ctx context.Context, c *client) error {
		_, err := c.m.DailyUsage(ctx, c.key.ID, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		return err
	}},
	{"rotate", func(ctx context.Context, c *client) error {
		issued, err := c.m.Rotate(ctx, c.key.ID, time.Hour, apikey.Reason("why"))
		c.token = issued.Token
		return err
	}},
	{"validate", validateKey},
	{"extend rotation", func(ctx context.Context, c *client) error {
		_, err := c.m.ExtendRotation(ctx, c.key.ID, 2*time.Hour, apikey.Reason("why"))
		return err
	}},
	{"credentials", func(ctx context.Context, c *client) error { _, err := c.m.Credentials(ctx, c.key.ID); return err }},
	{"finish rotation", func(ctx context.Context, c *client) error {
		_, err := c.m.FinishRotation(ctx, c.key.ID, apikey.Reason("why"))
		return err
	}},
	{"regenerate", func(ctx context.Context, c *client) error {
		issued, err := c.m.Regenerate(ctx, c.key.ID, apikey.Reason("why"))
		c.token = issued.Token
		return err
	}},
	{"find", func(ctx context.Context, c *client) error { _, err := c.m.Find(ctx, c.key.AccessKey()); return err }},
	{"events", func(ctx context.Context, c *client) error {
		_, err := c.m.Events(ctx, apikey.EventQuery{KeyID: c.key.ID})
		return err
	}},
	{"pepper ids", func(ctx context.Context, c *client) error { _, err := c.store.PepperIDs(ctx); return err }},
	{"sweep", func(ctx context.Context, c *client) error { _, err := c.m.Sweep(ctx); return err }},
	{"validate", validateKey},
	{"remove credentials", func(ctx context.Context, c *client) error {
		r, err := c.store.Get(ctx, c.key.ID, "")
		if err != nil {
			return err
		}
		if len(r.Credentials) < 2 {
			return fmt.Errorf("%d credentials", len(r.Credentials))
		}
		r.Credentials = slices.DeleteFunc(r.Credentials, func(k apikey.Credential) bool { return k.ID != r.Key.CredentialID })
		_, err = c.store.Commit(ctx, apikey.Commit{Records: []apikey.Record{r}})
		return err
	}},
	{"delete", func(ctx context.Context, c *client) error {
		_, err := c.m.Delete(ctx, c.key.ID, apikey.Reason("why"))
		return err
	}},
	{"purge", func(ctx context.Context, c *client) error {
		r, err := c.store.Get(ctx, c.key.ID, "")
		if err != nil {
			return err
		}
		_, err = c.store.Commit(ctx, apikey.Commit{Purge: []apikey.RecordRef{{ID: r.Key.ID, Revision: r.Key.Revision}}})
		return err
	}},
}

func validateKey(ctx context.Context, c *client) error {
	_, err := c.m.Validate(ctx, c.token.Reveal(), apikey.Scope("orders:read"))
	return err
}

// program is one program: so many callers on one Store, each of which makes so
// many calls. It is also written as JSON for a process of its own.
type program struct {
	Driver, DSN, Dialect string
	Name                 string // part of the owners' names
	Callers, Calls       int
}

// run makes all calls. It returns the number of those that failed, and what is
// wrong with each name of call.
func (p program) run(ctx context.Context, db *sql.DB, each func()) (failed int, err error) {
	dialect := map[string]sqlstore.Dialect{"sqlite": sqlstore.SQLite, "postgres": sqlstore.PostgreSQL, "mysql": sqlstore.MySQL}[p.Dialect]
	store := sqlstore.New(db, dialect, nil)
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		return 0, err
	}
	var (
		mu    sync.Mutex
		wrong []error
		group sync.WaitGroup
	)
	for i := range p.Callers {
		group.Go(func() {
			c := &client{m: m, store: store, owner: fmt.Sprint(p.Name, " ", i)}
			for n := range p.Calls {
				call := cycle[n%len(cycle)]
				if err := call.run(ctx, c); err != nil {
					mu.Lock()
					wrong = append(wrong, fmt.Errorf("%s: %w", call.name, err))
					mu.Unlock()
				}
				each()
			}
		})
	}
	group.Wait()
	if len(wrong) > 0 {
		err = fmt.Errorf("%d of %d calls of %s failed: %w", len(wrong), p.Callers*p.Calls, p.Name, errors.Join(wrong[:min(len(wrong), 5)]...))
	}
	return len(wrong), err
}

// programVariable names the program that a process of the test's binary is.
const programVariable = "APIKEY_TEST_PROGRAM"

// runProgram is that process.
func runProgram(encoded string) error {
	var p program
	if err := json.Unmarshal([]byte(encoded), &p); err != nil {
		return err
	}
	db, err := sql.Open(p.Driver, p.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	_, err = p.run(context.Background(), db, func() {})
	return err
}

// runTwoPrograms lets two programs with 8 callers each make 1,600 calls of all
// operations, in the long form 16,000 and as processes. In the short form
// meanwhile runs twice.
func runTwoPrograms(t *testing.T, d *Database, dsn string, meanwhile func() error) {
	t.Helper()
	p := program{Driver: d.driver, DSN: dsn, Dialect: d.Dialect.String(), Callers: 8, Calls: 100}
	if long {
		p.Calls = 1000
	}
	var group sync.WaitGroup
	for _, name := range []string{"first", "second"} {
		p := p
		p.Name = name
		if long {
			group.Go(func() { startProgram(t, p) })
			continue
		}
		db := d.Pool(t)
		var calls atomic.Int64
		group.Go(func() {
			if _, err := p.run(t.Context(), db, func() {
				if n := calls.Add(1); name == "first" && (n == 300 || n == 600) {
					if err := meanwhile(); err != nil {
						t.Error(err)
					}
				}
			}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}

// startProgram runs a program as a process.
func startProgram(t *testing.T, p program) {
	encoded, err := json.Marshal(p)
	if err != nil {
		t.Error(err)
		return
	}
	process := exec.CommandContext(t.Context(), os.Args[0])
	process.Env = append(os.Environ(), programVariable+"="+string(encoded))
	if out, err := process.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
