//go:build linux

package dbtest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/coretest"
	"github.com/keyturn/apikey/internal/dbtest/servers"
	"github.com/keyturn/apikey/sqlstore"
	"github.com/keyturn/apikey/storetest"
)

// cluster is a Galera cluster of three nodes, each of which takes changes.
type cluster struct {
	nodes []*servers.Server
	first Engine       // on the first node
	lost  atomic.Int64 // transactions that another node was in the way of
}

// stores returns a Store on each node, on one database. A spy sees to it that
// no COMMIT follows an error. When the test ends all nodes hold the same log,
// without a gap.
func (c *cluster) stores(t testing.TB) []apikey.Store {
	t.Helper()
	first := c.first.Database(t)
	var all []apikey.Store
	for _, node := range c.nodes {
		s, db := first.At(node.DSN()).spied(t, "wsrep_sync_wait=1")
		s.reset(nil, func(_ call, err error) error {
			var known *mysql.MySQLError
			if errors.As(err, &known) && known.Number == 1213 {
				c.lost.Add(1)
			}
			return err
		})
		all = append(all, sqlstore.New(db, sqlstore.MySQL, nil))
	}
	t.Cleanup(func() {
		var want []apikey.Event
		for i, store := range all {
			got := checkLog(ended{t}, store, 0)
			if i == 0 {
				want = got
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("node %d has another log than node 1:\n%s", i+1, diff)
			}
		}
	})
	return all
}

// ended is a test whose context has ended, in its cleanup.
type ended struct{ testing.TB }

func (ended) Context() context.Context { return context.Background() }

// turns is a Store each of whose calls goes to the next node.
type turns struct {
	nodes []apikey.Store
	calls atomic.Uint64
}

func (s *turns) next() apikey.Store { return s.nodes[s.calls.Add(1)%uint64(len(s.nodes))] }

func (s *turns) Lookup(ctx context.Context, id string) (apikey.LookupResult, error) {
	return s.next().Lookup(ctx, id)
}

func (s *turns) Get(ctx context.Context, id, owner string) (apikey.Record, error) {
	return s.next().Get(ctx, id, owner)
}

func (s *turns) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	return s.next().List(ctx, q)
}

func (s *turns) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	return s.next().Owner(ctx, id)
}

func (s *turns) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	return s.next().Commit(ctx, c)
}

func (s *turns) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	return s.next().Events(ctx, q)
}

func (s *turns) OnceNames(ctx context.Context, q apikey.OnceQuery) ([]apikey.OnceName, error) {
	return s.next().OnceNames(ctx, q)
}

func (s *turns) AddUsage(ctx context.Context, uses []apikey.Usage) error {
	return s.next().AddUsage(ctx, uses)
}

func (s *turns) DailyUsage(ctx context.Context, q apikey.UsageQuery) ([]apikey.Usage, error) {
	return s.next().DailyUsage(ctx, q)
}

func (s *turns) PepperIDs(ctx context.Context) ([]string, error) { return s.next().PepperIDs(ctx) }

func (s *turns) Check(ctx context.Context) error { return s.next().Check(ctx) }

// TestGalera runs the contract, with each call on another node, and the tests of
// the core, with the racing calls on all nodes.
func TestGalera(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	nodes := servers.StartGalera(t, 3)
	c := &cluster{nodes: nodes, first: MariaDB.At(nodes[0].DSN())}
	t.Run("Conformance", func(t *testing.T) {
		storetest.Run(t, func(t testing.TB) apikey.Store { return &turns{nodes: c.stores(t)} })
	})
	t.Run("Core", func(t *testing.T) { coretest.RunShared(t, c.stores) })
	lost := c.lost.Load()
	t.Logf("%d transactions were given up by the cluster, and run again", lost)
	if lost == 0 {
		t.Error("no node was ever in the way of another: nothing was tested")
	}
}

// TestGaleraTx: in a transaction of the host a driver that prepares statements
// is refused, and one that does not is not.
func TestGaleraTx(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	node := servers.StartGalera(t, 1)[0]
	d := MariaDB.At(node.DSN()).EmptyDatabase(t)
	d.Migrate(t)
	for _, test := range []struct {
		name     string
		settings []string
		refused  bool
	}{
		{"prepares", nil, true},
		{"interpolates", []string{"interpolateParams=true"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			db := d.Pool(t, test.settings...)
			store := sqlstore.New(db, sqlstore.MySQL, nil)
			m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
			is.NoErr(err)
			tx, err := db.BeginTx(t.Context(), d.level())
			is.NoErr(err)
			defer tx.Rollback()
			_, err = m.WithStore(store.Tx(tx)).Issue(t.Context(), apikey.IssueParams{Owner: "acme", Name: "n"})
			var refused *sqlstore.SettingError
			is.Equal(errors.As(err, &refused), test.refused)
			if test.refused {
				is.Equal(refused.Setting, "interpolateParams")
				is.True(errors.Is(err, apikey.ErrAborted))
				return
			}
			is.NoErr(err)
			is.NoErr(tx.Commit())
		})
	}

	// And what Check says of a node as it is by default.
	is := is.New(t)
	err := d.Store(t).Check(t.Context())
	var refused *sqlstore.SettingError
	is.True(errors.As(err, &refused))
	is.Equal(refused.Setting, "wsrep_sync_wait")
	is.NoErr(sqlstore.New(d.Pool(t, "wsrep_sync_wait=1"), sqlstore.MySQL, nil).Check(t.Context()))
}
