package apikey_test

import (
	"context"
	"errors"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// lossyStore loses the response to the first Commit, after which others may
// change the store.
type lossyStore struct {
	apikey.Store
	made   bool // whether the first Commit is made
	others func()
}

func (s *lossyStore) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	if others := s.others; others != nil {
		s.others = nil
		if s.made {
			s.Store.Commit(ctx, c)
		}
		others()
		return apikey.Position{}, errors.New("connection lost")
	}
	return s.Store.Commit(ctx, c)
}

// TestOutcomeOfAnOwnersChange checks what a change of an owner returns if the
// response of the store was lost and others changed the owner meanwhile. After
// two changes nobody can say whether the first Commit was made in between.
func TestOutcomeOfAnOwnersChange(t *testing.T) {
	for _, test := range []struct {
		name   string
		others int
		want   error
	}{
		{"no other change", 0, nil},
		{"one other change", 1, nil}, // which is seen to be none of ours, so that ours runs again
		{"two other changes", 2, apikey.ErrOutcomeUnknown},
		{"three other changes", 3, apikey.ErrOutcomeUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			ctx := t.Context()
			inner := memstore.New()
			store := &lossyStore{Store: inner}
			m, other := newOn(t, store), newOn(t, inner)
			store.others = func() {
				for i := range test.others {
					_, err := other.SetOwnerScopes(ctx, "acme", []string{"a", "b", "c"}[:i+1])
					is.NoErr(err)
				}
			}
			owner, err := m.DisableOwner(ctx, "acme")
			is.True(errors.Is(err, test.want))
			stored, getErr := other.Owner(ctx, "acme")
			is.NoErr(getErr)
			is.Equal(stored.Disabled(), test.want == nil)
			if test.want == nil {
				is.Equal(owner, stored)
			} else {
				is.True(!errors.Is(err, apikey.ErrConflict)) // which would mean that nothing was written
			}
		})
	}
}

// TestOutcomeOfAnOwnersChangeThatWasMade checks that a change whose response was
// lost is recognized, also if it cannot be made a second time.
func TestOutcomeOfAnOwnersChangeThatWasMade(t *testing.T) {
	is := is.New(t)
	inner := memstore.New()
	m := newOn(t, &lossyStore{Store: inner, made: true, others: func() {}})
	owner, err := m.DisableOwner(t.Context(), "acme", apikey.IfRevision(0))
	is.NoErr(err)
	is.Equal(owner.Revision, int64(1))
	events, err := m.Events(t.Context(), apikey.EventQuery{})
	is.NoErr(err)
	is.Equal(len(events), 1)
}
