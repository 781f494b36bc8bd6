package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
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

	reading chan struct{} // if set, a query says that it waits, and fails once it is told to
	silent  bool          // the server accepts two connections only
}

func (f *failedOver) Connect(ctx context.Context) (driver.Conn, error) {
	n := f.opened.Add(1)
	if f.silent && n > 2 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &session{readOnly: n <= f.readOnly, reading: f.reading}, nil
}

func (f *failedOver) Driver() driver.Driver { return nil }

type session struct {
	readOnly bool
	reading  chan struct{}
}

type readOnlyError struct{}

func (readOnlyError) Error() string    { return "cannot execute INSERT in a read-only transaction" }
func (readOnlyError) SQLState() string { return "25006" }

func (s *session) ExecContext(_ context.Context, _ string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) > 0 {
		time.Sleep(time.Millisecond)
		if s.readOnly {
			return nil, readOnlyError{}
		}
	}
	return driver.RowsAffected(1), nil
}

func (s *session) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	if s.reading == nil { // the question whether the session only reads
		return &setting{map[bool]string{false: "off", true: "on"}[s.readOnly]}, nil
	}
	s.reading <- struct{}{}
	<-s.reading
	return nil, readOnlyError{}
}

// setting is one row with a value, until it is read.
type setting struct{ value string }

func (*setting) Columns() []string { return []string{"setting"} }
func (*setting) Close() error      { return nil }

func (s *setting) Next(to []driver.Value) error {
	if s.value == "" {
		return io.EOF
	}
	to[0], s.value = s.value, ""
	return nil
}

func (*session) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not prepared") }
func (*session) Begin() (driver.Tx, error)           { return nil, errors.New("not begun") }
func (*session) Close() error                        { return nil }

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

			// The sessions of before the failover.
			var pooled []*sql.Conn
			for range most {
				conn, err := db.Conn(ctx)
				is.NoErr(err)
				pooled = append(pooled, conn)
			}
			for _, conn := range pooled {
				is.NoErr(conn.Close())
			}

			var wait sync.WaitGroup
			errs := make(chan error, callers*calls)
			for range callers {
				wait.Go(func() {
					for range calls {
						errs <- store.AddUsage(ctx, []apikey.Usage{{CredentialID: "id", Uses: 1}})
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

// TestLookupWaitsForHealing checks that Options.Timeout also bounds a lookup
// that waits for another call to find a better server.
func TestLookupWaitsForHealing(t *testing.T) {
	is := is.New(t)
	server := &failedOver{readOnly: math.MaxInt64, reading: make(chan struct{}), silent: true}
	db := sql.OpenDB(server)
	defer db.Close()
	store := sqlstore.New(db, sqlstore.PostgreSQL, &sqlstore.Options{Timeout: time.Second})

	found := make(chan error, 1)
	go func() {
		_, err := store.Lookup(context.Background(), "id")
		found <- err
	}()
	<-server.reading
	ctx, cancel := context.WithCancel(context.Background())
	searched := make(chan error, 1)
	go func() { searched <- store.AddUsage(ctx, []apikey.Usage{{CredentialID: "id", Uses: 1}}) }()
	for server.opened.Load() < 3 { // until AddUsage looks for a better server
		time.Sleep(time.Millisecond)
	}
	server.reading <- struct{}{}
	select {
	case err := <-found:
		is.True(err != nil)
	case <-time.After(10 * time.Second):
		t.Error("the lookup still waits")
	}
	cancel()
	<-searched
}
