package dbtest

import (
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/sqlstore"
)

// TestNoGapLocks checks that a Commit that has counted the keys of an owner
// blocks no Commit for another owner. At a level above READ COMMITTED the count
// would lock the gap beside the owner in the index.
func TestNoGapLocks(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		if e.Dialect != sqlstore.MySQL {
			t.Skip("no other engine locks gaps")
		}
		is := is.New(t)
		d := e.Database(t)
		s, db := d.spied(t)
		store := sqlstore.New(db, e.Dialect, nil)
		other := sqlstore.New(d.Pool(t, "innodb_lock_wait_timeout=1"), e.Dialect, &sqlstore.Options{Attempts: 1})
		counted := 0
		s.intercept(func(c call, run func() error) error {
			err := run()
			if !c.prepare && strings.Contains(c.statement, "COUNT(*) FROM apikey_keys") {
				counted++
				_, err := other.Commit(t.Context(), commitOf(newRecord(t, "acme 2", counted)))
				is.NoErr(err)
			}
			return err
		})
		c := commitOf(newRecord(t, "acme", 10))
		c.Limit = 5
		mustCommit(t, store, c)
		is.Equal(counted, 1)
	})
}
