package apikeytest

import (
	"context"
	"testing"

	"github.com/keyturn/apikey"
)

// EventLog is what Events reads: an [apikey.Manager], or a Manager from New.
type EventLog interface {
	Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error)
}

// Events returns the whole log, oldest first, and ends the test if it cannot
// be read.
func Events(t testing.TB, log EventLog) []apikey.Event {
	t.Helper()
	var events []apikey.Event
	for {
		var q apikey.EventQuery
		if len(events) > 0 {
			q.After = events[len(events)-1].Position
		}
		page, err := log.Events(context.Background(), q)
		if err != nil {
			t.Fatalf("apikeytest: %v", err)
		}
		if len(page) == 0 {
			return events
		}
		events = append(events, page...)
	}
}

// Kinds returns what happened, in the order of the events.
func Kinds(events []apikey.Event) []apikey.EventKind {
	kinds := make([]apikey.EventKind, len(events))
	for i, e := range events {
		kinds[i] = e.Kind
	}
	return kinds
}
