package main

import (
	"context"

	"github.com/keyturn/apikey"
)

// allKeys returns every key, page by page, with the deleted ones.
func allKeys(ctx context.Context, manager *apikey.Manager) ([]apikey.Key, error) {
	var keys []apikey.Key
	q := apikey.Query{IncludeDeleted: true}
	for {
		page, err := manager.List(ctx, q)
		if err != nil || len(page) == 0 {
			return keys, err
		}
		keys = append(keys, page...)
		q.After = page[len(page)-1].ID
	}
}

// allEvents returns the log from the event after a position on.
func allEvents(ctx context.Context, manager *apikey.Manager, after apikey.Position) ([]apikey.Event, error) {
	var events []apikey.Event
	for {
		page, err := manager.Events(ctx, apikey.EventQuery{After: after})
		if err != nil || len(page) == 0 {
			return events, err
		}
		events = append(events, page...)
		after = page[len(page)-1].Position
	}
}
