package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// failedOver is a driver for PostgreSQL whose server rejects changes in the
// first sessions, as after a failover.
type failedOver struct {
	readOnly int64 // how many sessions only read
	opened   atomic.Int64
}

func (f *failedOver) Connect(context.Context) (driver.Conn, error) {
	return session{readOnly: f.opened.Add(1) <= f.readOnly}, nil
}

func (f *failedOver) Driver() driver.Driver { return nil }

type session struct{ readOnly bool }

type readOnlyError struct{}

func (readOnlyError) Error() string    { return "cannot execute INSERT in a read-only transaction" }
func (readOnlyError) SQLState() string { return "25006" }

func (s session) ExecContext(_ context.Context, _ string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) > 0 {
		time.Sleep(time.Millisecond)
		if s.readOnly {
			return nil, readOnlyError{}
		}
	}
	return driver.RowsAffected(1), nil
}

func (session) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not prepared") }
func (session) Begin() (driver.Tx, error)           { return nil, errors.New("not begun") }
func (session) Close() error                        { return nil }

// TestReadOnlySessions checks that calls end whose sessions only read, with
// more callers than the pool has connections. A caller that waits for another
// one to find a better server must not keep the connection which that one needs.
func TestReadOnlySessions(t *testing.T) {
	const most, callers, calls = 3, 16, 20
	for name, test := range map[string]struct {
		readOnly int64
		want     error
	}{
		"after a failover": {readOnly: most},
		"only a standby":   {readOnly: math.MaxInt64, want: apikey.ErrAborted},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			server := &failedOver{readOnly: test.readOnly}
			db := sql.OpenDB(server)
			defer db.Close()
			db.SetMaxOpenConns(most)
			db.SetMaxIdleConns(most)
			store := sqlstore.New(db, sqlstore.PostgreSQL, nil)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()

			var wait sync.WaitGroup
			errs := make(chan error, callers*calls)
			for range callers {
				wait.Go(func() {
					for range calls {
						errs <- store.Touch(ctx, []apikey.Usage{{CredentialID: "id", Uses: 1}})
					}
				})
			}
			wait.Wait()
			is.NoErr(ctx.Err())
			close(errs)
			for err := range errs {
				is.True(errors.Is(err, test.want))
			}
			is.True(server.opened.Load() < callers*calls) // no storm
			is.Equal(db.Stats().InUse, 0)
		})
	}
}
