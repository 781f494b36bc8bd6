package dbtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/coretest"
	"github.com/keyturn/apikey/memstore"
	"github.com/keyturn/apikey/sqlstore"
)

// modelKey is what the life cycle makes of a key, said once more and simpler.
type modelKey struct {
	deleted, disabled, locked bool
	tokens                    []modelToken // the last one is current, the one before may be retiring
	retiring                  bool
}

type modelToken struct {
	end    time.Time // refused from then on
	ownEnd time.Time // what end was before a rotation, past which it must never move
}

// accepts returns the tokens that should validate.
func (k *modelKey) accepts(now time.Time, ownerDisabled bool) (all []int) {
	current := len(k.tokens) - 1
	if k.deleted || k.disabled || ownerDisabled || !now.Before(k.tokens[current].end) {
		return nil
	}
	if k.rotating(now) {
		all = append(all, current-1)
	}
	return append(all, current)
}

func (k *modelKey) rotating(now time.Time) bool {
	current := len(k.tokens) - 1
	return k.retiring && now.Before(k.tokens[current-1].end) && now.Before(k.tokens[current].end)
}

func (k *modelKey) reissue(now, end time.Time) {
	k.tokens = append(k.tokens, modelToken{end: end, ownEnd: end})
}

// machine runs one sequence on a memstore, a database and the model.
type machine struct {
	t        *rapid.T
	ctx      context.Context
	now      time.Time
	managers []*apikey.Manager
	owner    string
	disabled bool // the owner
	keys     []*modelKey
	ids      [][]string   // by key, for each manager
	tokens   [][][]string // by key and token, for each manager
}

// TestModel runs random sequences of operations with moves of the clock against
// a simple model: the same answers on both stores, never more than two
// credentials accepted, no older one past the end of its own, nothing deleted
// revived.
func TestModel(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		sequences := 4
		if e.Dialect == sqlstore.SQLite {
			sequences = 15
		}
		if coretest.Long() {
			sequences *= 20
		}
		setChecks(t, sequences)
		unsafe := map[sqlstore.Dialect][]string{
			sqlstore.SQLite: {"synchronous(OFF)"}, sqlstore.PostgreSQL: {"synchronous_commit=off"},
		}[e.Dialect]
		store := sqlstore.New(e.Database(t).Pool(t, unsafe...), e.Dialect, nil)
		owners := 0
		rapid.Check(t, func(rt *rapid.T) {
			owners++
			runMachine(t.Context(), rt, store, fmt.Sprint("owner ", owners))
		})
	})
}

func runMachine(ctx context.Context, t *rapid.T, database apikey.Store, owner string) {
	x := &machine{t: t, ctx: ctx, owner: owner, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	for _, store := range []apikey.Store{memstore.New(), database} {
		m, err := apikey.New(store, &apikey.Options{
			Peppers: []apikey.Secret{apikey.NoPepper()},
			Now:     func() time.Time { return x.now }, ReissueLimit: &apikey.ReissueLimit{},
		})
		if err != nil {
			t.Fatal(err)
		}
		x.managers = append(x.managers, m)
	}
	x.issue()
	for range rapid.IntRange(100, 130).Draw(t, "operations") {
		x.step()
		x.check()
	}
}

// both runs a call on both managers and compares their errors with the model's.
func (x *machine) both(what string, want error, call func(side int, m *apikey.Manager, o *apikey.OwnerManager) error) bool {
	for side, m := range x.managers {
		if err := call(side, m, m.ForOwner(x.owner, nil)); !errors.Is(err, want) || (err == nil) != (want == nil) {
			x.t.Fatalf("%s on store %d: %v, want %v", what, side, err, want)
		}
	}
	return want == nil
}

func (x *machine) issue() {
	var want error
	if x.disabled {
		want = apikey.ErrOwnerDisabled
	}
	ids, tokens := make([]string, 2), make([]string, 2)
	if x.both("issue", want, func(side int, m *apikey.Manager, _ *apikey.OwnerManager) error {
		issued, err := m.Issue(x.ctx, apikey.IssueParams{Owner: x.owner, Name: "test"})
		ids[side], tokens[side] = issued.Key.ID, issued.Token.Reveal()
		return err
	}) {
		x.ids, x.tokens = append(x.ids, ids), append(x.tokens, [][]string{tokens})
		k := &modelKey{}
		k.reissue(x.now, x.now.AddDate(1, 0, 0))
		x.keys = append(x.keys, k)
	}
}

func (x *machine) step() {
	op := rapid.SampledFrom([]string{
		"issue", "clock", "clock", "clock", "disable", "enable", "enable", "regenerate", "rotate", "rotate", "rotate",
		"finish", "extend", "expire", "delete", "disable owner", "enable owner", "enable owner",
	}).Draw(x.t, "operation")
	hours := time.Duration(rapid.IntRange(1, 2000).Draw(x.t, "hours")) * time.Hour
	byOwner := rapid.Bool().Draw(x.t, "by owner")
	i := rapid.IntRange(0, len(x.keys)-1).Draw(x.t, "key")
	k := x.keys[i]
	current := len(k.tokens) - 1
	expired := !x.now.Before(k.tokens[current].end)

	// refusal is what all changes of a key have in common.
	refusal := func(lockStops bool) error {
		switch {
		case byOwner && x.disabled:
			return apikey.ErrOwnerDisabled
		case k.deleted:
			return apikey.ErrDeleted
		case byOwner && k.locked && lockStops:
			return apikey.ErrLocked
		}
		return nil
	}
	fresh := make([]string, 2)
	reissue := func(call func(m *apikey.Manager, o *apikey.OwnerManager, id string) (apikey.Issued, error)) func(int, *apikey.Manager, *apikey.OwnerManager) error {
		return func(side int, m *apikey.Manager, o *apikey.OwnerManager) error {
			issued, err := call(m, o, x.ids[i][side])
			fresh[side] = issued.Token.Reveal()
			return err
		}
	}
	change := func(call func(m *apikey.Manager, o *apikey.OwnerManager, id string) (apikey.Key, error)) func(int, *apikey.Manager, *apikey.OwnerManager) error {
		return func(side int, m *apikey.Manager, o *apikey.OwnerManager) error {
			_, err := call(m, o, x.ids[i][side])
			return err
		}
	}
	switch op {
	case "issue":
		if len(x.keys) < 4 {
			x.issue()
		}
	case "clock":
		x.now = x.now.Add(hours)
	case "disable":
		if x.both(op, refusal(false), change(func(m *apikey.Manager, o *apikey.OwnerManager, id string) (apikey.Key, error) {
			if byOwner {
				return o.Disable(x.ctx, id)
			}
			return m.Disable(x.ctx, id)
		})) {
			k.disabled, k.locked = true, k.locked || !byOwner
		}
	case "enable":
		want := refusal(true)
		if want == nil && expired {
			want = apikey.ErrExpired
		}
		if x.both(op, want, change(func(m *apikey.Manager, o *apikey.OwnerManager, id string) (apikey.Key, error) {
			if byOwner {
				return o.Enable(x.ctx, id)
			}
			return m.Enable(x.ctx, id)
		})) {
			k.disabled, k.locked = false, false
		}
	case "regenerate":
		if x.both(op, refusal(true), reissue(func(m *apikey.Manager, o *apikey.OwnerManager, id string) (apikey.Issued, error) {
			if byOwner {
				return o.Regenerate(x.ctx, id)
			}
			return m.Regenerate(x.ctx, id)
		})) {
			k.disabled, k.locked, k.retiring = false, false, false
			k.reissue(x.now, x.now.AddDate(1, 0, 0))
			x.tokens[i] = append(x.tokens[i], fresh)
		}
	case "rotate":
		want := refusal(true)
		if want == nil && k.disabled {
			want = apikey.ErrDisabled
		}
		if want == nil && expired {
			want = apikey.ErrExpired
		}
		if x.both(op, want, reissue(func(m *apikey.Manager, o *apikey.OwnerManager, id string) (apikey.Issued, error) {
			if byOwner {
				return o.Rotate(x.ctx, id, hours)
			}
			return m.Rotate(x.ctx, id, hours)
		})) {
			old := &k.tokens[current]
			if end := x.now.Add(hours); end.Before(old.end) {
				old.end = end
			}
			k.retiring = true
			k.reissue(x.now, x.now.AddDate(1, 0, 0))
			x.tokens[i] = append(x.tokens[i], fresh)
		}
	case "finish", "extend":
		want := refusal(true)
		if want == nil && !k.rotating(x.now) {
			want = apikey.ErrNotRotating
		}
		if x.both(op, want, change(func(m *apikey.Manager, o *apikey.OwnerManager, id string) (apikey.Key, error) {
			switch {
			case op == "finish" && byOwner:
				return o.FinishRotation(x.ctx, id)
			case op == "finish":
				return m.FinishRotation(x.ctx, id)
			case byOwner:
				return o.ExtendRotation(x.ctx, id, hours)
			}
			return m.ExtendRotation(x.ctx, id, hours)
		})) {
			old := &k.tokens[current-1]
			if op == "finish" {
				k.retiring = false
			} else if old.end = x.now.Add(hours); old.ownEnd.Before(old.end) {
				old.end = old.ownEnd
			}
		}
	case "expire": // move the end of the current credential
		end := x.now.Add(hours)
		want := refusal(true)
		// Token n was made a year before its first end.
		if want == nil && end.After(x.firstEnd(i, current)) {
			want = &apikey.FieldError{}
		}
		if _, bad := want.(*apikey.FieldError); bad {
			for side, m := range x.managers {
				var field *apikey.FieldError
				if _, err := m.Update(x.ctx, x.ids[i][side], apikey.Changes{ExpiresAt: &end}); !errors.As(err, &field) {
					x.t.Fatalf("past the longest lifetime: %v", err)
				}
			}
			return
		}
		if x.both(op, want, change(func(m *apikey.Manager, o *apikey.OwnerManager, id string) (apikey.Key, error) {
			if byOwner {
				return o.Update(x.ctx, id, apikey.Changes{ExpiresAt: &end})
			}
			return m.Update(x.ctx, id, apikey.Changes{ExpiresAt: &end})
		})) {
			k.tokens[current].end, k.tokens[current].ownEnd = end, end
			if expired {
				k.retiring = false // the overlap ended with the key
			}
		}
	case "delete":
		want := refusal(false)
		if errors.Is(want, apikey.ErrDeleted) {
			want = nil
		}
		if x.both(op, want, change(func(m *apikey.Manager, o *apikey.OwnerManager, id string) (apikey.Key, error) {
			if byOwner {
				return o.Delete(x.ctx, id)
			}
			return m.Delete(x.ctx, id)
		})) {
			k.deleted = true
		}
	case "disable owner", "enable owner":
		x.both(op, nil, func(_ int, m *apikey.Manager, _ *apikey.OwnerManager) error {
			var err error
			if op == "disable owner" {
				_, err = m.DisableOwner(x.ctx, x.owner)
			} else {
				_, err = m.EnableOwner(x.ctx, x.owner)
			}
			return err
		})
		x.disabled = op == "disable owner"
	}
}

// firstEnd is the latest end that Update may give to a token.
func (x *machine) firstEnd(key, token int) time.Time {
	credentials, err := x.managers[0].Credentials(x.ctx, x.ids[key][0])
	if err != nil {
		x.t.Fatal(err)
	}
	current, err := x.managers[0].Get(x.ctx, x.ids[key][0])
	if err != nil {
		x.t.Fatal(err)
	}
	for _, c := range credentials {
		if c.ID == current.CredentialID {
			return c.CreatedAt.AddDate(1, 0, 0)
		}
	}
	x.t.Fatal("no current credential")
	return time.Time{}
}

// check compares everything that can be seen.
func (x *machine) check() {
	for i, k := range x.keys {
		want := k.accepts(x.now, x.disabled)
		for side, m := range x.managers {
			var got []int
			for n, tokens := range x.tokens[i] {
				if _, err := m.Validate(x.ctx, tokens[side]); err == nil {
					got = append(got, n)
					if !x.now.Before(k.tokens[n].ownEnd) {
						x.t.Fatalf("token %d of key %d lives longer than it would have", n, i)
					}
				}
			}
			if !slices.Equal(got, want) || len(got) > 2 {
				x.t.Fatalf("key %d on store %d accepts tokens %v, want %v", i, side, got, want)
			}
		}
		var keys [2]apikey.Key
		for side, m := range x.managers {
			var err error
			if keys[side], err = m.Get(x.ctx, x.ids[i][side]); err != nil {
				x.t.Fatal(err)
			}
		}
		random := cmpopts.IgnoreFields(apikey.Key{}, "ID", "CredentialID", "RetiringID")
		if diff := cmp.Diff(keys[0], keys[1], random); diff != "" {
			x.t.Fatalf("the stores differ:\n%s", diff)
		}
		status := apikey.StatusActive
		switch {
		case k.deleted:
			status = apikey.StatusDeleted
		case k.disabled:
			status = apikey.StatusDisabled
		case !x.now.Before(k.tokens[len(k.tokens)-1].end):
			status = apikey.StatusExpired
		}
		if got := keys[0].Status; got != status || keys[0].Locked != (k.locked) || keys[0].Rotating != k.rotating(x.now) {
			x.t.Fatalf("key %d is %s, locked %v, want %s, %v", i, got, keys[0].Locked, status, k.locked)
		}
	}
}
