package dbtest

import (
	"context"
	"errors"
	"time"

	"github.com/keyturn/apikey"
)

// operation is one that TestFaultSweep lets fail.
type operation struct {
	name    string
	limit   int // Options.MaxKeysPerOwner
	prepare func(context.Context, *subject) error
	run     func(context.Context, *subject) (any, error)

	reads bool  // changes nothing, and returns the same again
	store bool  // of the Store itself: it does not find out what has become of a COMMIT
	steps bool  // an error may come after what was to be done
	drops bool  // what may have been written is not written again
	again error // what it may return once it was done
}

// operations are all that a Manager has which use the Store, and the writes of
// the Store itself.
var operations = append(managed(), stored()...)

// issue makes the key that an operation works on.
func issue(ctx context.Context, s *subject) error {
	issued, err := s.clean.Issue(ctx, params(s, "first"), apikey.Reason("why"))
	s.key, s.token = issued.Key, issued.Token
	return err
}

func params(s *subject, name string) apikey.IssueParams {
	return apikey.IssueParams{
		Owner: s.owner, Name: name, Scopes: []string{"orders:read"}, Metadata: map[string]string{"tier": "gold"},
	}
}

// after does more to the key that was issued.
func after(more func(context.Context, *subject) error) func(context.Context, *subject) error {
	return func(ctx context.Context, s *subject) error {
		return errors.Join(issue(ctx, s), more(ctx, s))
	}
}

var rotating = after(func(ctx context.Context, s *subject) error {
	s.now = s.now.Add(time.Hour)
	_, err := s.clean.Rotate(ctx, s.key.ID, time.Hour, apikey.Reason("why"))
	return err
})

// used makes a key that was used before and after a rotation.
var used = after(func(ctx context.Context, s *subject) error {
	_, first := s.clean.Validate(ctx, s.token.Reveal())
	s.now = s.now.Add(24 * time.Hour)
	fresh, err := s.clean.Rotate(ctx, s.key.ID, time.Hour, apikey.Reason("why"))
	_, second := s.clean.Validate(ctx, s.token.Reveal())
	_, third := s.clean.Validate(ctx, fresh.Token.Reveal())
	return errors.Join(first, err, second, third, s.clean.Flush(ctx))
})

// managed are those of the Manager.
func managed() []operation {
	const day = 24 * time.Hour
	return []operation{
		{name: "issue", prepare: issue, run: func(ctx context.Context, s *subject) (any, error) {
			return s.m.Issue(ctx, params(s, "second"), apikey.Reason("why"))
		}},
		{name: "issue, limited", limit: 2, prepare: issue, again: apikey.ErrLimit,
			run: func(ctx context.Context, s *subject) (any, error) {
				return s.m.Issue(ctx, params(s, "second"), apikey.Reason("why"))
			}},
		{name: "issue once", limit: 2, prepare: issue, again: apikey.ErrExists,
			run: func(ctx context.Context, s *subject) (any, error) {
				p := params(s, "second")
				p.IdempotencyKey = "order 7"
				return s.m.Issue(ctx, p, apikey.Reason("why"))
			}},
		{name: "update", prepare: issue, run: func(ctx context.Context, s *subject) (any, error) {
			return s.m.Update(ctx, s.key.ID, apikey.Changes{Name: new("other"), ExpiresAt: new(s.now.Add(day))}, apikey.Reason("why"))
		}},
		{name: "disable", prepare: issue, run: func(ctx context.Context, s *subject) (any, error) {
			return s.m.Disable(ctx, s.key.ID, apikey.Reason("why"))
		}},
		{name: "enable", prepare: after(func(ctx context.Context, s *subject) error {
			_, err := s.clean.Disable(ctx, s.key.ID)
			return err
		}), run: func(ctx context.Context, s *subject) (any, error) {
			return s.m.Enable(ctx, s.key.ID, apikey.Reason("why"))
		}},
		{name: "regenerate", prepare: rotating, run: func(ctx context.Context, s *subject) (any, error) {
			s.now = start.Add(90 * time.Minute) // a new credential comes after the others
			return s.m.Regenerate(ctx, s.key.ID, apikey.Reason("why"))
		}},
		{name: "rotate", prepare: rotating, run: func(ctx context.Context, s *subject) (any, error) {
			s.now = start.Add(90 * time.Minute)
			return s.m.Rotate(ctx, s.key.ID, time.Hour, apikey.Reason("why"))
		}},
		{name: "finish rotation", prepare: rotating, again: apikey.ErrNotRotating,
			run: func(ctx context.Context, s *subject) (any, error) {
				return s.m.FinishRotation(ctx, s.key.ID, apikey.Reason("why"))
			}},
		{name: "extend rotation", prepare: rotating, run: func(ctx context.Context, s *subject) (any, error) {
			return s.m.ExtendRotation(ctx, s.key.ID, 2*time.Hour, apikey.Reason("why"))
		}},
		{name: "delete", prepare: rotating, run: func(ctx context.Context, s *subject) (any, error) {
			return s.m.Delete(ctx, s.key.ID, apikey.Reason("why"))
		}},
		{name: "disable owner", prepare: issue, run: func(ctx context.Context, s *subject) (any, error) {
			return s.m.DisableOwner(ctx, s.owner, apikey.Reason("why"))
		}},
		{name: "enable owner", prepare: after(func(ctx context.Context, s *subject) error {
			_, err := s.clean.DisableOwner(ctx, s.owner)
			return err
		}), run: func(ctx context.Context, s *subject) (any, error) {
			return s.m.EnableOwner(ctx, s.owner, apikey.Reason("why"))
		}},
		{name: "sweep a key", steps: true, prepare: after(func(ctx context.Context, s *subject) error {
			_, err := s.clean.Delete(ctx, s.key.ID)
			return err
		}), run: func(ctx context.Context, s *subject) (any, error) {
			s.now = start.Add(100 * day)
			return s.m.Sweep(ctx)
		}},
		{name: "sweep a credential", steps: true, prepare: rotating, run: func(ctx context.Context, s *subject) (any, error) {
			s.now = start.Add(100 * day)
			return s.m.Sweep(ctx)
		}},
		{name: "flush", store: true, drops: true, prepare: after(func(ctx context.Context, s *subject) error {
			_, err := s.m.Validate(ctx, s.token.Reveal())
			return err
		}), run: func(ctx context.Context, s *subject) (any, error) {
			return nil, s.m.Flush(ctx)
		}},

		{name: "validate", reads: true, prepare: issue, run: func(ctx context.Context, s *subject) (any, error) {
			return s.fresh().Validate(ctx, s.token.Reveal(), apikey.Scope("orders:read"))
		}},
		{name: "get", reads: true, prepare: issue, run: func(ctx context.Context, s *subject) (any, error) {
			return s.fresh().Get(ctx, s.key.ID)
		}},
		{name: "credentials", reads: true, prepare: rotating, run: func(ctx context.Context, s *subject) (any, error) {
			return s.fresh().Credentials(ctx, s.key.ID)
		}},
		{name: "find", reads: true, prepare: issue, run: func(ctx context.Context, s *subject) (any, error) {
			return s.fresh().Find(ctx, s.key.AccessKey())
		}},
		{name: "list", reads: true, prepare: issue, run: func(ctx context.Context, s *subject) (any, error) {
			return s.m.List(ctx, apikey.Query{Owner: s.owner})
		}},
		{name: "rotation due", reads: true, prepare: issue, run: func(ctx context.Context, s *subject) (any, error) {
			s.now = start.Add(100 * day)
			return s.m.RotationDue(ctx, apikey.Query{Owner: s.owner})
		}},
		{name: "expiring", reads: true, prepare: issue, run: func(ctx context.Context, s *subject) (any, error) {
			return s.m.Expiring(ctx, 1000*day, apikey.Query{Owner: s.owner})
		}},
		{name: "owner", reads: true, prepare: issue, run: func(ctx context.Context, s *subject) (any, error) {
			return s.fresh().Owner(ctx, s.owner)
		}},
		{name: "events", reads: true, prepare: rotating, run: func(ctx context.Context, s *subject) (any, error) {
			return s.m.Events(ctx, apikey.EventQuery{KeyID: s.key.ID})
		}},
		{name: "log", reads: true, prepare: rotating, run: func(ctx context.Context, s *subject) (any, error) {
			return s.m.Events(ctx, apikey.EventQuery{After: apikey.Position{Seq: s.after}, Limit: 2})
		}},
		{name: "daily usage", reads: true, prepare: used, run: func(ctx context.Context, s *subject) (any, error) {
			return s.fresh().DailyUsage(ctx, s.key.ID, start, start.Add(2*day))
		}},
		{name: "pepper ids", reads: true, prepare: issue, run: func(ctx context.Context, s *subject) (any, error) {
			return s.store.PepperIDs(ctx)
		}},
	}
}

// stored are the writes of a Store.
func stored() []operation {
	var all []operation
	for _, w := range writes {
		again := apikey.ErrConflict
		if w.name == "issue" || w.name == "issue many" {
			again = apikey.ErrExists
		}
		all = append(all, operation{
			name: "store: " + w.name, store: true, again: again,
			prepare: func(ctx context.Context, s *subject) error {
				_, err := s.sweep.clean.Commit(ctx, commitOf(s.set.record(s, 1)))
				return err
			},
			run: func(ctx context.Context, s *subject) (any, error) {
				return nil, w.run(ctx, s, s.store, s.set)
			},
		})
	}
	return all
}
