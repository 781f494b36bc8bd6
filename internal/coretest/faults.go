package coretest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
)

var errLost = errors.New("connection lost")

// lossy loses answers of Commit: it acts as the next of its plan says, and
// then as the Store behind it.
type lossy struct {
	apikey.Store
	plan    []string
	get     error // of Get, once the plan is done
	between func()
}

func (l *lossy) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	if len(l.plan) == 0 {
		return l.Store.Commit(ctx, c)
	}
	step := l.plan[0]
	l.plan = l.plan[1:]
	switch step {
	case "done, answer lost":
		if _, err := l.Store.Commit(ctx, c); err != nil {
			return apikey.Position{}, err
		}
	case "limit":
		return apikey.Position{}, apikey.ErrLimit
	case "aborted":
		return apikey.Position{}, errors.Join(apikey.ErrAborted, errLost)
	}
	if l.between != nil {
		l.between()
		l.between = nil
	}
	return apikey.Position{}, errLost
}

func (l *lossy) Get(ctx context.Context, id, owner string) (apikey.Record, error) {
	if l.get != nil && len(l.plan) == 0 {
		return apikey.Record{}, l.get
	}
	return l.Store.Get(ctx, id, "")
}

func lostAnswers(t *testing.T, newStore NewStore) {
	shared := sharedStore(t, newStore)
	const done, notDone, aborted = "done, answer lost", "not done", "aborted"
	for _, test := range []struct {
		name  string
		plan  []string
		get   error
		err   error // of the call
		works bool  // the new token, in the end
	}{
		{"nothing lost", nil, nil, nil, true},
		{"lost, was done", []string{done}, nil, nil, true},
		{"lost, was not done", []string{notDone}, nil, nil, true},
		{"lost twice, was done", []string{done, notDone}, nil, nil, true},
		{"lost twice, done the second time", []string{notDone, done}, nil, nil, true},
		{"lost twice, was not done", []string{notDone, notDone}, nil, apikey.ErrOutcomeUnknown, false},
		{"lost, was done, then aborted", []string{done, aborted}, nil, nil, true},
		{"lost, was not done, then aborted", []string{notDone, aborted}, nil, apikey.ErrOutcomeUnknown, false},
		{"aborted", []string{aborted}, nil, apikey.ErrAborted, false},
		{"lost, was done, and cannot be read", []string{done}, errLost, apikey.ErrOutcomeUnknown, true},
	} {
		for _, op := range []string{"issue", "regenerate", "rotate", "disable", "purge", "disable owner"} {
			t.Run(op+", "+test.name, func(t *testing.T) {
				stores := shared
				if op == "purge" {
					stores = newStore // where nothing else is to be swept
				}
				f := newFixture(t, stores, apikey.Options{})
				key := f.issue(apikey.IssueParams{}).Key
				who := "owner of " + key.ID
				l := &lossy{Store: f.store}
				m, err := apikey.New(l, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: f.clock.Now})
				f.no(err)
				if op == "purge" {
					_, err = m.Delete(f.ctx, key.ID)
					f.no(err)
				}
				before := len(f.events(""))

				l.plan = test.plan
				var issued apikey.Issued
				l.get = test.get
				switch op {
				case "issue":
					issued, err = m.Issue(f.ctx, apikey.IssueParams{Owner: owner, Name: "test"})
				case "regenerate":
					issued, err = m.Regenerate(f.ctx, key.ID)
				case "rotate":
					issued, err = m.Rotate(f.ctx, key.ID, time.Hour)
				case "disable":
					_, err = m.Disable(f.ctx, key.ID)
				case "purge":
					f.clock.Add(91 * 24 * time.Hour)
					_, err = m.Sweep(f.ctx)
				case "disable owner":
					if test.get != nil {
						return // reads by Owner, not Get
					}
					_, err = m.DisableOwner(f.ctx, who)
				}
				l.get = nil
				if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
					t.Fatalf("error %v, want %v", err, test.err)
				}
				unknown := errors.Is(err, apikey.ErrOutcomeUnknown)
				if unknown && !errors.Is(err, errLost) {
					t.Errorf("%v does not wrap its cause", err)
				}
				want := 0
				if test.works {
					want = 1
				}
				if got := len(f.events("")) - before; got != want {
					t.Errorf("%d events were added, want %d", got, want)
				}
				switch op {
				case "issue", "regenerate", "rotate":
					if !test.works && !unknown {
						if !issued.Token.IsZero() {
							t.Error("a token with a definite error")
						}
						return
					}
					if got := f.validate(issued.Token) == nil; got != test.works {
						t.Errorf("the token works: %v, want %v", got, test.works)
					}
				case "disable":
					if got := f.get(key.ID).Status == disabled; got != test.works {
						t.Errorf("disabled: %v, want %v", got, test.works)
					}
				}
			})
		}
	}

	// The answer is lost and someone else comes before the question is asked
	// again.
	t.Run("superseded", func(t *testing.T) {
		f := newFixture(t, shared, apikey.Options{})
		key := f.issue(apikey.IssueParams{}).Key
		l := &lossy{Store: f.store, plan: []string{done}}
		l.between = func() { _, err := f.m.Rotate(f.ctx, key.ID, time.Hour); f.no(err) }
		m, err := apikey.New(l, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: f.clock.Now})
		f.no(err)
		issued, err := m.Regenerate(f.ctx, key.ID)
		f.no(err) // it was made, and rotated since
		f.no(f.validate(issued.Token))
		if issued.Key.Revision != 2 || f.get(key.ID).Revision != 3 {
			t.Errorf("revision %d", issued.Key.Revision)
		}
	})
	t.Run("someone else came first, to what may begin again", func(t *testing.T) {
		f := newFixture(t, shared, apikey.Options{})
		key := f.issue(apikey.IssueParams{}).Key
		l := &lossy{Store: f.store, plan: []string{notDone}}
		l.between = func() { _, err := f.m.Regenerate(f.ctx, key.ID); f.no(err) }
		m, err := apikey.New(l, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: f.clock.Now})
		f.no(err)
		disabled, err := m.Disable(f.ctx, key.ID)
		f.no(err)
		if disabled.Revision != 3 {
			t.Errorf("revision %d, want 3", disabled.Revision)
		}
	})
	t.Run("someone else came first", func(t *testing.T) {
		f := newFixture(t, shared, apikey.Options{})
		key := f.issue(apikey.IssueParams{}).Key
		l := &lossy{Store: f.store, plan: []string{notDone}}
		l.between = func() { _, err := f.m.Regenerate(f.ctx, key.ID); f.no(err) }
		m, err := apikey.New(l, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: f.clock.Now})
		f.no(err)
		if _, err := m.Regenerate(f.ctx, key.ID); !errors.Is(err, apikey.ErrConflict) {
			t.Errorf("error %v, want ErrConflict", err)
		}
	})
}

func idempotency(t *testing.T, newStore NewStore) {
	f := newFixture(t, newStore, apikey.Options{MaxKeysPerOwner: 2})
	first, err := f.m.Issue(f.ctx, apikey.IssueParams{Owner: owner, Name: "test", IdempotencyKey: "order 7"})
	f.no(err)
	for _, reason := range []string{"", "again"} {
		again, err := f.m.Issue(f.ctx, apikey.IssueParams{Owner: owner, Name: "test", IdempotencyKey: "order 7"}, apikey.Reason(reason))
		if !errors.Is(err, apikey.ErrExists) || !strings.Contains(err.Error(), first.Key.ID) {
			t.Errorf("a repeat: %v", err)
		}
		if diff := cmp.Diff(first.Key, again.Key); diff != "" || !again.Token.IsZero() {
			t.Errorf("a repeat returned another key, or a token:\n%s", diff)
		}
	}
	f.no(f.validate(first.Token))
	f.issue(apikey.IssueParams{IdempotencyKey: "order 8"})
	if _, err := f.m.Issue(f.ctx, apikey.IssueParams{Owner: owner, Name: "test", IdempotencyKey: "order 7"}); !errors.Is(err, apikey.ErrExists) {
		t.Errorf("a repeat at the limit: %v", err)
	}
	if _, err := f.m.Issue(f.ctx, apikey.IssueParams{Owner: owner, Name: "x", IdempotencyKey: "order 9"}); !errors.Is(err, apikey.ErrLimit) {
		t.Errorf("a third at the limit: %v", err)
	}
	first7 := apikey.IssueParams{Owner: owner, Name: "test", IdempotencyKey: "order 7"}
	limited, err := apikey.New(&lossy{Store: f.store, plan: []string{"limit"}}, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: f.clock.Now})
	f.no(err)
	if _, err := limited.Issue(f.ctx, first7); !errors.Is(err, apikey.ErrExists) {
		t.Errorf("a repeat at the limit, of which the store tells the limit first: %v", err)
	}
	other := f.issue(apikey.IssueParams{Owner: "b", IdempotencyKey: "order 7"})
	split := f.issue(apikey.IssueParams{Owner: "bo", IdempotencyKey: "rder 7"})
	if other.Key.ID == first.Key.ID || other.Key.ID == split.Key.ID {
		t.Error("two owners share an id")
	}
	// A deleted key stays made.
	_, err = f.m.Delete(f.ctx, other.Key.ID)
	f.no(err)
	if _, err := f.m.Issue(f.ctx, apikey.IssueParams{Owner: "b", Name: "test", IdempotencyKey: "order 7"}); !errors.Is(err, apikey.ErrExists) {
		t.Errorf("a repeat after delete: %v", err)
	}
}
