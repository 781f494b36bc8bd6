package dbtest

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/sqlstore"
)

// TestPanics checks that a driver that panics leaves no transaction open, which
// would stop all others from writing.
func TestPanics(t *testing.T) {
	for _, write := range writes {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprint(write.name, ", run ", late), func(t *testing.T) {
				eachStatement(t, func(t *testing.T, n int, s *spy, db *sql.DB, store *sqlstore.Store) int {
					is := is.New(t)
					db.SetMaxOpenConns(0) // one is lost
					var at string
					fall := func(c call) {
						if c.n == n {
							at = c.statement
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
						write.run(t.Context(), t, store)
					}()
					s.reset(nil, nil)
					if !write.done(t.Context(), t, store) {
						is.NoErr(write.run(t.Context(), t, store))
					}
					checkLog(t, store, 0)
					if at == "COMMIT" {
						return n
					}
					return n + 1
				})
			})
		}
	}
}
