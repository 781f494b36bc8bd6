package dbtest

import (
	"fmt"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/sqlstore"
)

// TestPanics checks that a driver that panics leaves no transaction open, which
// would stop all others from writing.
func TestPanics(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		s, db := e.EmptyDatabase(t).migrated(t).spied(t)
		of := set(0)
		for _, write := range writes {
			for _, late := range []bool{false, true} {
				t.Run(fmt.Sprint(write.name, ", run ", late), func(t *testing.T) {
					for n, last := 1, false; !last; n++ {
						is := is.New(t)
						is.True(n < 50)
						db.SetMaxOpenConns(0) // one is lost each time
						store := sqlstore.New(db, e.Dialect, nil)
						of++
						mustCommit(t, store, commitOf(of.record(t, 1)))
						fall := func(c call) {
							if c.n == n {
								last = c.statement == "COMMIT"
								panic(errFault)
							}
						}
						if late {
							s.reset(nil, func(c call, err error) error { fall(c); return err })
						} else {
							s.reset(func(c call) error { fall(c); return nil }, nil)
						}
						func() {
							defer func() { is.Equal(recover(), errFault) }()
							write.run(t.Context(), t, store, of)
						}()
						s.reset(nil, nil)
						if !write.done(t.Context(), t, store, of) {
							is.NoErr(write.run(t.Context(), t, store, of))
						}
					}
					checkLog(t, sqlstore.New(db, e.Dialect, nil), 0)
				})
			}
		}
	})
}

// migrated makes the tables.
func (d *Database) migrated(t testing.TB) *Database {
	t.Helper()
	d.Migrate(t)
	return d
}
