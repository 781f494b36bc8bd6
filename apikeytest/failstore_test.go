package apikeytest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/memstore"
	"github.com/matryer/is"
)

// methodCalls calls each method of a Store once.
var methodCalls = map[apikeytest.Method]func(apikey.Store) error{
	apikeytest.Lookup: func(s apikey.Store) error { _, err := s.Lookup(context.Background(), "x"); return err },
	apikeytest.Get:    func(s apikey.Store) error { _, err := s.Get(context.Background(), "x", ""); return err },
	apikeytest.List: func(s apikey.Store) error {
		_, err := s.List(context.Background(), apikey.Query{Limit: 1})
		return err
	},
	apikeytest.OwnerState: func(s apikey.Store) error { _, err := s.Owner(context.Background(), "x"); return err },
	apikeytest.Commit: func(s apikey.Store) error {
		_, err := s.Commit(context.Background(), apikey.Commit{})
		return err
	},
	apikeytest.ReadEvents: func(s apikey.Store) error {
		_, err := s.Events(context.Background(), apikey.EventQuery{Limit: 1})
		return err
	},
	apikeytest.AddUsage: func(s apikey.Store) error { return s.AddUsage(context.Background(), nil) },
	apikeytest.DailyUsage: func(s apikey.Store) error {
		_, err := s.DailyUsage(context.Background(), apikey.UsageQuery{KeyID: "x"})
		return err
	},
	apikeytest.OnceNames: func(s apikey.Store) error {
		_, err := s.OnceNames(context.Background(), apikey.OnceQuery{Limit: 1})
		return err
	},
	apikeytest.PepperIDs: func(s apikey.Store) error { _, err := s.PepperIDs(context.Background()); return err },
	apikeytest.Check:     func(s apikey.Store) error { return s.Check(context.Background()) },
}

// TestFailStoreFailsEveryMethod compares the Methods with those of the
// interface, and calls each by its name.
func TestFailStoreFailsEveryMethod(t *testing.T) {
	is := is.New(t)
	store := reflect.TypeFor[apikey.Store]()
	var all []string
	for i := range store.NumMethod() {
		all = append(all, store.Method(i).Name)
	}
	var names []string
	for m := apikeytest.Any + 1; m.String() != "unknown"; m++ {
		names = append(names, m.String())
		method, found := store.MethodByName(m.String())
		is.True(found) // a method of the interface
		_, tested := methodCalls[m]
		is.True(tested) // in methodCalls

		s := apikeytest.NewFailStore(memstore.New())
		s.Fail(apikeytest.Failure{Method: m})
		args := []reflect.Value{reflect.ValueOf(t.Context())}
		for i := 1; i < method.Type.NumIn(); i++ {
			args = append(args, reflect.Zero(method.Type.In(i)))
		}
		results := reflect.ValueOf(s).MethodByName(m.String()).Call(args)
		is.Equal(results[len(results)-1].Interface(), apikeytest.ErrStore)
		is.Equal(s.Calls(m), 1)
	}
	slices.Sort(names)
	if diff := cmp.Diff(all, names); diff != "" {
		t.Error(diff)
	}
}

func TestFailStoreMethods(t *testing.T) {
	for method, do := range methodCalls {
		t.Run(method.String(), func(t *testing.T) {
			is := is.New(t)
			s := apikeytest.NewFailStore(memstore.New())
			s.Fail(apikeytest.Failure{Method: method})
			for other, doOther := range methodCalls {
				if other != method {
					is.True(!errors.Is(doOther(s), apikeytest.ErrStore))
				}
			}
			is.Equal(s.Calls(method), 0)
			is.Equal(do(s), apikeytest.ErrStore)
			is.True(!errors.Is(do(s), apikeytest.ErrStore)) // once
			is.Equal(s.Calls(method), 2)
			is.Equal(s.Calls(apikeytest.Any), len(methodCalls)+1)

			s.Fail(apikeytest.Failure{Err: io.ErrUnexpectedEOF})
			is.Equal(do(s), io.ErrUnexpectedEOF) // any method
		})
	}
}

func TestFailStoreWhich(t *testing.T) {
	tests := []struct {
		name     string
		failures []apikeytest.Failure
		want     string // of 5 calls: "." passed, else the error
	}{
		{"none", nil, "....."},
		{"next", []apikeytest.Failure{{}}, "S...."},
		{"first", []apikeytest.Failure{{Nth: 1}}, "S...."},
		{"negative", []apikeytest.Failure{{Nth: -3}}, "S...."},
		{"third", []apikeytest.Failure{{Nth: 3}}, "..S.."},
		{"forever", []apikeytest.Failure{{Forever: true}}, "SSSSS"},
		{"forever from the second", []apikeytest.Failure{{Nth: 2, Forever: true}}, ".SSSS"},
		{"two", []apikeytest.Failure{{Nth: 2}, {Nth: 4, Err: io.EOF}}, ".S.E."},
		{"first one wins", []apikeytest.Failure{{Nth: 2, Err: io.EOF}, {Forever: true}}, "SESSS"},
		{"other method", []apikeytest.Failure{{Method: apikeytest.Commit, Forever: true}}, "....."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			s := apikeytest.NewFailStore(memstore.New())
			for _, f := range test.failures {
				s.Fail(f)
			}
			got := ""
			for range 5 {
				switch _, err := s.Owner(t.Context(), "ada"); err {
				case nil:
					got += "."
				case apikeytest.ErrStore:
					got += "S"
				case io.EOF:
					got += "E"
				}
			}
			is.Equal(got, test.want)
			s.Recover()
			_, err := s.Owner(t.Context(), "ada")
			is.NoErr(err)
		})
	}
}

func TestFailStoreLostAnswers(t *testing.T) {
	issue := func(keys *apikeytest.Manager) (apikey.Issued, error) {
		return keys.Issue(t.Context(), apikey.IssueParams{Owner: "ada", Name: "billing"})
	}
	tests := []struct {
		name    string
		failure apikeytest.Failure
		err     error
		events  int
		commits int
	}{
		{"lost, then found", apikeytest.Failure{Method: apikeytest.Commit, Done: true}, nil, 1, 2},
		{"lost for good", apikeytest.Failure{Method: apikeytest.Commit, Done: true, Forever: true}, nil, 1, 2},
		{"not made, made again", apikeytest.Failure{Method: apikeytest.Commit}, nil, 1, 2},
		{"not made at all", apikeytest.Failure{Method: apikeytest.Commit, Forever: true}, apikey.ErrOutcomeUnknown, 0, 2},
		{"aborted", apikeytest.Failure{Method: apikeytest.Commit, Err: fmt.Errorf("disk full: %w", apikey.ErrAborted)}, apikey.ErrAborted, 0, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			keys := apikeytest.New(t)
			keys.Store.Fail(test.failure)
			_, err := issue(keys)
			is.True(errors.Is(err, test.err))
			is.Equal(len(apikeytest.Events(t, keys)), test.events)
			is.Equal(keys.Store.Calls(apikeytest.Commit), test.commits)
		})
	}
}

func TestFailStoreCounts(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	before := keys.Store.Calls(apikeytest.Any)
	is.True(before > 0)

	wrong := []byte(issued.Token.Reveal())
	wrong[len(wrong)-1] ^= 1
	_, err := keys.Validate(t.Context(), string(wrong))
	is.Equal(err, apikey.ErrInvalid)
	is.Equal(keys.Store.Calls(apikeytest.Any), before) // a wrong checksum costs no call

	keys.Store.Fail(apikeytest.Failure{})
	_, err = keys.Validate(t.Context(), issued.Token.Reveal())
	is.True(errors.Is(err, apikey.ErrUnavailable))
	is.True(errors.Is(err, apikeytest.ErrStore))
	is.Equal(keys.Store.Calls(apikeytest.Lookup), 1)

	is.Equal(keys.Store.Calls(apikeytest.Method(-1)), 0)
	is.Equal(keys.Store.Calls(apikeytest.Method(99)), 0)
	is.Equal(apikeytest.Method(99).String(), "unknown")
}

func TestFailStoreCheck(t *testing.T) {
	for _, method := range []apikeytest.Method{apikeytest.Check, apikeytest.PepperIDs} {
		t.Run(method.String(), func(t *testing.T) {
			is := is.New(t)
			keys := apikeytest.New(t)
			is.NoErr(keys.Check(t.Context()))
			keys.Store.Fail(apikeytest.Failure{Method: method})
			is.True(errors.Is(keys.Check(t.Context()), apikeytest.ErrStore))
			is.NoErr(keys.Check(t.Context()))
		})
	}
}

func TestFailStoreDailyUsage(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	_, err := keys.Validate(t.Context(), issued.Token.Reveal())
	is.NoErr(err)
	is.NoErr(keys.Flush(t.Context()))
	today := keys.Now()
	days, err := keys.DailyUsage(t.Context(), issued.Key.ID, today, today.Add(time.Hour))
	is.NoErr(err)
	is.Equal(days[0].Uses, int64(1))
	keys.Store.Fail(apikeytest.Failure{Method: apikeytest.DailyUsage})
	_, err = keys.DailyUsage(t.Context(), issued.Key.ID, today, today.Add(time.Hour))
	is.True(errors.Is(err, apikeytest.ErrStore))
}

func TestFailStoreConcurrent(t *testing.T) {
	is := is.New(t)
	s := apikeytest.NewFailStore(memstore.New())
	const goroutines, calls, due = 8, 200, 100
	for i := range due {
		s.Fail(apikeytest.Failure{Method: apikeytest.OwnerState, Nth: i + 1})
	}
	var wg sync.WaitGroup
	failed := make([]int, goroutines)
	for i := range goroutines {
		wg.Go(func() {
			for range calls {
				if _, err := s.Owner(context.Background(), "ada"); err != nil {
					failed[i]++
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range failed {
		sum += n
	}
	is.Equal(sum, due)
	is.Equal(s.Calls(apikeytest.OwnerState), goroutines*calls)
}

// TestFailStoreRecover checks that Recover removes failures and repairs damage.
func TestFailStoreRecover(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	calls := func() []error {
		_, get := keys.Get(t.Context(), issued.Key.ID)
		_, list := keys.List(t.Context(), apikey.Query{})
		_, validate := keys.Validate(t.Context(), issued.Token.Reveal())
		events, log := keys.Events(t.Context(), apikey.EventQuery{})
		for _, e := range events {
			log = errors.Join(log, e.Err)
		}
		return []error{get, list, validate, log}
	}
	keys.Store.Damage(issued.Key.ID)
	keys.Store.DamageEvent(1)
	for _, err := range calls() {
		is.True(errors.Is(err, apikey.ErrDamaged))
	}
	keys.Store.Fail(apikeytest.Failure{Forever: true})
	for _, err := range calls() {
		is.True(errors.Is(err, apikeytest.ErrStore))
	}
	keys.Store.Recover()
	for _, err := range calls() {
		is.NoErr(err)
	}
}
