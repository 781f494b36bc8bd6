// Package eventpage reads the history of a key in pages, newest first. A page
// costs the same wherever in the history it is.
package eventpage

import (
	"context"
	"errors"
	"slices"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/cursor"
)

// ErrCursor means that a cursor does not belong to the history.
var ErrCursor = errors.New("eventpage: not a cursor of this history")

// Reader reads events, as *apikey.OwnerManager does.
type Reader interface {
	Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error)
}

// Read returns the events of a key before those that the cursor names, newest
// first, at most limit, and the cursor of the next page, empty on the last
// one. An empty cursor names the first page. Read returns ErrCursor for
// anything else that it has not returned for this owner and key.
//
// Positions count the events of all owners, and one owner must not learn how
// many others have. The cursor is therefore encrypted. The secret is the nonce
// of the oldest event of the key that has one, which every node reads from the
// log and no client sees.
func Read(ctx context.Context, keys Reader, owner, keyID, after string, limit int) (events []apikey.Event, next string, err error) {
	q := apikey.EventQuery{KeyID: keyID, Newest: true, Limit: limit}
	names := []string{"events", owner, keyID}
	var oldest *apikey.Event
	if after != "" {
		if !cursor.IsSealed(after) {
			return nil, "", ErrCursor
		}
		if oldest, err = oldestEvent(ctx, keys, keyID); err != nil {
			return nil, "", err
		}
		ok := oldest != nil
		if ok {
			q.Before.Seq, ok = cursor.Open(after, oldest.Position.Nonce, names...)
		}
		if !ok {
			return nil, "", ErrCursor
		}
	}
	if events, err = keys.Events(ctx, q); err != nil {
		return nil, "", err
	}
	slices.Reverse(events)
	if len(events) < limit {
		return events, "", nil
	}
	if oldest == nil {
		if oldest, err = oldestEvent(ctx, keys, keyID); err != nil {
			return nil, "", err
		}
	}
	last := events[len(events)-1].Position.Seq
	if oldest != nil && oldest.Position.Seq < last {
		next = cursor.Seal(last, oldest.Position.Nonce, names...)
	}
	return events, next, nil
}

// oldestEvent returns the oldest event whose nonce can be read, of the first
// hundred at most, or nil.
func oldestEvent(ctx context.Context, keys Reader, keyID string) (*apikey.Event, error) {
	for _, limit := range []int{1, 100} {
		events, err := keys.Events(ctx, apikey.EventQuery{KeyID: keyID, Limit: limit})
		if err != nil {
			return nil, err
		}
		for i := range events {
			if events[i].Position.Nonce != (apikey.Nonce{}) {
				return &events[i], nil
			}
		}
	}
	return nil, nil
}
