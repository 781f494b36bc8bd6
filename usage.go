package apikey

import (
	"context"
	"errors"
	"time"
)

const (
	flushBatch = 1000
	flushEvery = 10 * time.Second
	lastFlush  = 5 * time.Second
)

// Flush writes the uses counted since the last one to the store, in batches.
// Uses count forward only: a batch of which it is not known whether it was
// written is dropped, never written again; one that the store is sure not to
// have written, and those not tried, wait for the next Flush.
func (m *Manager) Flush(ctx context.Context) (err error) {
	defer wrap(&err, "flush", "")
	if err := m.ready(ctx); err != nil {
		return err // and nothing is lost
	}
	uses := m.usage.drain()
	for len(uses) > 0 {
		batch := uses[:min(flushBatch, len(uses))]
		if err := m.store.AddUsage(ctx, batch); err != nil {
			if !errors.Is(err, ErrAborted) {
				uses = uses[len(batch):]
			}
			m.usage.putBack(uses)
			return err
		}
		uses = uses[len(batch):]
	}
	return nil
}

// Run flushes every 10 seconds until the context ends, and then once more, for
// at most 5 seconds. The host starts it, and waits for it before it ends:
//
//	done := make(chan error, 1)
//	go func() { done <- m.Run(ctx) }()
//	...
//	cancel()
//	err := <-done
//
// An error of a flush does not end Run: it is handed to Options.Observe. That
// of the flush at the end is returned too. If an hour passes without a Flush
// while uses are counted, Options.Observe gets ErrNotFlushed, once per hour.
func (m *Manager) Run(ctx context.Context) error {
	if err := m.usable(); err != nil {
		return failed("run", "", err)
	}
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			m.observeFlush(ctx, m.Flush(ctx))
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			err := m.Flush(last)
			m.observeFlush(last, err)
			return err
		}
	}
}

func (m *Manager) observeFlush(ctx context.Context, err error) {
	if err != nil && m.options.Observe != nil {
		m.options.Observe(ctx, Observation{Flush: true, Err: err})
	}
}

// usage sums up the usage of a record's credentials.
func (r *Record) usage() (retiringUntil, lastUsed time.Time, uses int64) {
	for i := range r.Credentials {
		c := &r.Credentials[i]
		if c.ID == r.Key.RetiringID {
			retiringUntil = earlier(c.ExpiresAt, r.Key.ExpiresAt)
		}
		if c.LastUsedAt.After(lastUsed) {
			lastUsed = c.LastUsedAt
		}
		uses += c.Uses
	}
	return retiringUntil, lastUsed, uses
}
