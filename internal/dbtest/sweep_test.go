package dbtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"
	"go.uber.org/goleak"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// TestFaultSweep lets each statement of each operation fail in turn, in every
// way in which it can, until the operation is done before its turn has come.
// After each the state is the old or the new one, and that which the error
// says; nothing is left open; and the operation, repeated, succeeds.
func TestFaultSweep(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		all := faultsOf(t, e)
		for i, op := range operations {
			t.Run(op.name, func(t *testing.T) {
				faults := all
				if !long {
					faults = nil // each with some operations, each operation with one or two
					for j := i % shortly; j < len(all); j += shortly {
						faults = append(faults, all[j])
					}
				}
				before := goleak.IgnoreCurrent()
				t.Run("faults", func(t *testing.T) { newSweep(t, e, op).run(faults) })
				goleak.VerifyNone(t, before)
			})
		}
	})
}

// shortly is the part of the faults that the short form does with an operation:
// one in so many.
const shortly = 8

// fault is what happens to one statement.
type fault struct {
	name    string
	run     bool  // the statement is run, whatever is answered
	err     error // that is answered; nil: what the statement answers
	gaveUp  bool  // the database says so
	dead    bool  // the connection is closed
	ends    bool  // the context of the call ends
	lasting bool  // no statement works any more
}

func faultsOf(t *testing.T, e Engine) []fault {
	faults := []fault{
		{name: "an error, not run", err: errFault},
		{name: "an error, run", err: errFault, run: true},
		{name: "bad connection, not run", err: driver.ErrBadConn, dead: true},
		{name: "bad connection, run", err: driver.ErrBadConn, dead: true, run: true},
		{name: "context ended before", ends: true},
		{name: "context ended after", ends: true, run: true},
		{name: "errors for ever, not run", err: errFault, lasting: true},
		{name: "errors for ever, run", err: errFault, lasting: true, run: true},
		{name: "bad connections for ever, not run", err: driver.ErrBadConn, dead: true, lasting: true},
		{name: "bad connections for ever, run", err: driver.ErrBadConn, dead: true, lasting: true, run: true},
	}
	for _, err := range e.gaveUp(t) {
		faults = append(faults, fault{name: "given up: " + err.Error(), err: err, gaveUp: true})
	}
	return faults
}

// gaveUp returns the errors with which a database says that it has given up a
// transaction, as the driver reports them.
func (e Engine) gaveUp(t testing.TB) []error {
	t.Helper()
	switch e.Name {
	case PostgresPGX.Name:
		return []error{
			&pgconn.PgError{Severity: "ERROR", Code: "40001", Message: "could not serialize access due to concurrent update"},
			&pgconn.PgError{Severity: "ERROR", Code: "40P01", Message: "deadlock detected"},
		}
	case PostgresPQ.Name:
		return []error{
			&pq.Error{Severity: "ERROR", Code: "40001", Message: "could not serialize access due to concurrent update"},
			&pq.Error{Severity: "ERROR", Code: "40P01", Message: "deadlock detected"},
		}
	case MariaDB.Name:
		return []error{&mysql.MySQLError{Number: 1213, SQLState: [5]byte([]byte("40001")), Message: "Deadlock found when trying to get lock"}}
	default:
		return []error{busy(t)}
	}
}

// busy returns the error of SQLite for a writer that does not wait.
func busy(t testing.TB) error {
	t.Helper()
	db := SQLite.Database(t).Pool(t, "busy_timeout(0)")
	var err error
	for range 2 {
		conn, connErr := db.Conn(t.Context())
		if connErr != nil {
			t.Fatal(connErr)
		}
		defer conn.Close()
		_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	}
	if err == nil {
		t.Fatal("two write at once")
	}
	return err
}

// sweep is that of one operation, in a database of its own.
type sweep struct {
	*testing.T
	op    operation
	e     Engine
	spy   *spy
	db    *sql.DB // spied
	clean *sqlstore.Store
	now   time.Time

	subjects int
	seq      int64 // the last position of the log
	old, new state
	want     any // what an operation that only reads returns
}

// subject is what one run of an operation works on: an owner of its own.
type subject struct {
	*sweep
	owner string
	after int64           // positions of the log that came before
	m     *apikey.Manager // on the spied pool
	store *sqlstore.Store // that of m
	clean *apikey.Manager // on another pool
	set   set
	key   apikey.Key
	token apikey.Secret
}

func newSweep(t *testing.T, e Engine, op operation) *sweep {
	t.Helper()
	s := &sweep{T: t, op: op, e: e}
	d := e.Database(t)
	// Nothing is to survive the end of the server.
	settings := map[string][]string{SQLite.Name: {"synchronous(OFF)"}, MariaDB.Name: nil}
	fast, ok := settings[e.Name]
	if !ok {
		fast = []string{"synchronous_commit=off"}
	}
	s.spy, s.db = d.spied(t, fast...)
	s.spy.preparing = true
	s.clean = sqlstore.New(d.Pool(t, fast...), e.Dialect, nil)
	t.Cleanup(func() {
		if opened, closed := s.spy.connections(); s.db.Stats().OpenConnections != opened-closed {
			t.Errorf("%d connections opened, %d closed, %d in the pool", opened, closed, s.db.Stats().OpenConnections)
		}
	})
	s.db.SetMaxOpenConns(1) // the next call gets what this one leaves
	return s
}

// run does all faults, each at every statement.
func (s *sweep) run(faults []fault) {
	of := s.subject()
	s.old = s.state(of)
	result, err := s.op.run(s.Context(), of)
	if err != nil {
		s.Fatal(err)
	}
	s.new, s.want = s.state(of), result
	statements := len(s.spy.all())
	if s.op.reads != (cmp.Equal(s.old, s.new)) {
		s.Fatalf("without faults: %s", cmp.Diff(s.old, s.new))
	}

	total := 0
	for _, f := range faults {
		for n := 1; ; n++ {
			if n > 200 {
				s.Fatal("there is no end to it")
			}
			if !s.op.reads {
				of = s.subject()
			}
			if !s.try(of, f, n) {
				break
			}
			total++
		}
	}
	s.Logf("%d faults in %d statements", total, statements)
	if total < len(faults)*statements {
		s.Errorf("%d faults in %d statements, each in %d ways, are too few", total, statements, len(faults))
	}
}

// try runs the operation with a fault at statement n. It reports whether there
// was such a statement.
func (s *sweep) try(of *subject, f fault, n int) (fired bool) {
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	var at call
	s.spy.intercept(func(c call, run func() error) error {
		last := c.n > n && f.lasting
		if c.n != n && !last {
			return run()
		}
		if !last {
			fired, at = true, c
		}
		if f.ends && !f.run {
			cancel()
		}
		var err error
		if f.err == nil || f.run && !last {
			err = run()
		}
		if f.ends {
			cancel()
		}
		if f.dead {
			c.conn.kill()
		}
		if f.err != nil {
			return f.err // as it is: database/sql compares driver.ErrBadConn
		}
		return err
	})
	result, err := s.op.run(ctx, of)
	s.spy.reset(nil, nil)
	where := fmt.Sprintf("%s, at statement %d: %s\nerror: %v\n", f.name, n, strings.Join(strings.Fields(at.statement), " "), err)
	if !fired && err != nil {
		s.Fatalf("%swithout a fault", where)
	}
	if fired {
		s.expect(f, at, where, err)
	}
	made := s.check(of, where, result, err)
	if at.statement == "COMMIT" && s.op.store && f.err == errFault && !f.lasting && made != f.run {
		s.Fatalf("%sCOMMIT was run: %v, the change was made: %v", where, f.run, made)
	}
	s.repeat(of, where, made || s.op.drops && !errors.Is(err, apikey.ErrAborted))
	return fired
}

// expect checks the error of a call in which a statement has failed.
func (s *sweep) expect(f fault, at call, where string, err error) {
	s.Helper()
	unknown := s.unknown(err)
	commit := at.statement == "COMMIT"
	switch {
	case f.lasting:
		if s.op.reads && err == nil {
			s.Fatalf("%swithout an answer", where)
		}
	case f.ends:
		if err != nil && (!errors.Is(err, context.Canceled) || unknown) || commit && err != nil && !s.op.steps {
			s.Fatalf("%sthe end of a context is known", where)
		}
	case strings.HasPrefix(at.statement, "SET autocommit = 1"):
		if err != nil {
			s.Fatalf("%safter COMMIT", where)
		}
	case commit && s.op.store && !f.gaveUp:
		if !unknown {
			s.Fatalf("%sthe outcome of COMMIT is not known", where)
		}
	case f.dead, commit, f.gaveUp && at.inside, begins(at.statement) && s.e.Name != SQLite.Name:
		if err != nil {
			s.Fatalf("%swhat can be tried again", where)
		}
	default:
		if !errors.Is(err, f.err) || unknown || at.inside && !errors.Is(err, apikey.ErrAborted) {
			s.Fatalf("%sthe cause is not told, or that nothing was done", where)
		}
	}
	if s.op.name == "validate" && err != nil && !errors.Is(err, apikey.ErrUnavailable) {
		s.Fatalf("%sthe key is refused", where)
	}
}

// unknown reports whether an error leaves open what was done.
func (s *sweep) unknown(err error) bool {
	if s.op.store {
		return err != nil && !slices.ContainsFunc(
			[]error{apikey.ErrAborted, apikey.ErrConflict, apikey.ErrExists, apikey.ErrLimit},
			func(definite error) bool { return errors.Is(err, definite) })
	}
	return errors.Is(err, apikey.ErrOutcomeUnknown)
}

// check compares the state with what a call has returned, and reports whether
// its change was made.
func (s *sweep) check(of *subject, where string, result any, err error) (made bool) {
	s.Helper()
	if n := s.db.Stats().InUse; n != 0 {
		s.Fatalf("%s%d connections are in use", where, n)
	}
	is := s.state(of)
	made = cmp.Equal(is, s.new)
	if !made && !cmp.Equal(is, s.old) {
		s.Fatalf("%sthe state is neither the old one:\n%s\nnor the new one:\n%s", where, cmp.Diff(s.old, is), cmp.Diff(s.new, is))
	}
	unknown := s.unknown(err)
	if s.op.reads {
		if err == nil && !cmp.Equal(result, s.want, cmpopts.EquateEmpty()) {
			s.Fatalf("%swrong answer:\n%s", where, cmp.Diff(s.want, result))
		}
	} else if made != (err == nil) && !unknown && !(made && s.op.steps) {
		s.Fatalf("%sthe change was made: %v", where, made)
	}
	if issued, ok := result.(apikey.Issued); ok {
		if issued.Token.IsZero() != (err != nil && !unknown) {
			s.Fatalf("%sa token came: %v", where, !issued.Token.IsZero())
		}
		if _, err := of.clean.Validate(s.Context(), issued.Token.Reveal()); (err == nil) != made {
			s.Fatalf("%sthe new token: %v; the change was made: %v", where, err, made)
		}
	}
	return made
}

// repeat calls again: what is sure not to have been done is done now.
func (s *sweep) repeat(of *subject, where string, done bool) {
	s.Helper()
	result, err := s.op.run(s.Context(), of)
	where = fmt.Sprintf("%srepeated: %v\n", where, err)
	switch {
	case !done || s.op.reads:
		s.check(of, where, result, err)
		if err != nil {
			s.Fatalf("%swithout a fault", where)
		}
	case err != nil && !errors.Is(err, s.op.again):
		s.Fatalf("%sit had been done", where)
	default:
		s.state(of) // for the log
	}
}

// subject makes one.
func (s *sweep) subject() *subject {
	s.Helper()
	s.subjects++
	s.now = start
	of := &subject{sweep: s, set: set(s.subjects), after: s.seq}
	of.owner = of.set.owner()
	of.clean = s.manager(s.clean)
	of.store = sqlstore.New(s.db, s.e.Dialect, &sqlstore.Options{Attempts: 2})
	of.m = s.manager(of.store)
	s.spy.reset(nil, nil)
	if err := s.op.prepare(s.Context(), of); err != nil {
		s.Fatalf("prepare: %v", err)
	}
	s.spy.reset(nil, nil)
	return of
}

// fresh returns a Manager on a Store that has prepared nothing yet.
func (of *subject) fresh() *apikey.Manager {
	of.Helper()
	return of.manager(sqlstore.New(of.db, of.e.Dialect, nil))
}

func (s *sweep) manager(store apikey.Store) *apikey.Manager {
	s.Helper()
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: func() time.Time { return s.now }, MaxKeysPerOwner: s.op.limit})
	if err != nil {
		s.Fatal(err)
	}
	return m
}
