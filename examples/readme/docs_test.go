//lint:file-ignore SA4006 the pages leave out what to do about errors

package readme

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/backup"
	"github.com/keyturn/apikey/memstore"
	"github.com/keyturn/apikey/storetest"
)

func export(ctx context.Context, store apikey.Store, file *os.File, peppers []apikey.Secret) (backup.Summary, error) {
	err := backup.Export(ctx, store, file, &backup.Options{Peppers: peppers})

	file.Seek(0, io.SeekStart)
	summary, err := backup.Verify(file, peppers)

	file.Seek(0, io.SeekStart)
	err = backup.Restore(ctx, store, file, &backup.Options{Peppers: peppers})
	return summary, err
}

func rotate(ctx context.Context, m *apikey.Manager) (apikey.Key, error) {
	// 1. Which keys are due? Older than Options.RotateAfter (90 days), Active, not rotating.
	due, err := m.RotationDue(ctx, apikey.Query{Limit: 100})

	// 2. A new token. The old one works for 7 more days.
	issued, err := m.Rotate(ctx, due[0].ID, 7*24*time.Hour, apikey.Reason("rotation of the quarter"))
	// Hand issued.Token to whoever runs the client, once.

	// 3. Is the old one still in use?
	key, err := m.Get(ctx, issued.Key.ID)
	credentials, err := m.Credentials(ctx, key.ID)
	for _, c := range credentials {
		if c.ID == key.RetiringID {
			fmt.Println(c.AccessKey(), "was last used at", c.LastUsedAt, "in all", c.Uses)
		}
	}

	// 4a. No: end it now.
	key, err = m.FinishRotation(ctx, key.ID, apikey.Reason("all clients moved"))
	// 4b. Yes: find the client (its requests carry that access key) and give it more time.
	key, err = m.ExtendRotation(ctx, key.ID, 14*24*time.Hour, apikey.Reason("the report job is left"))
	return key, err
}

func pool(db *sql.DB) {
	db.SetMaxOpenConns(16)                  // bounds what one process takes from the server
	db.SetMaxIdleConns(16)                  // the same number
	db.SetConnMaxLifetime(30 * time.Minute) // after a failover old sessions end by themselves
}

func serverless(keys *apikey.Manager, r *http.Request) {
	defer func() {
		if err := keys.Flush(context.WithoutCancel(r.Context())); err != nil {
			log.Print(err)
		}
	}()
}

func upkeep(ctx context.Context, m *apikey.Manager) (apikey.Swept, error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx) // flushes every 10 seconds, and once more when ctx ends
	}()
	// ... serve until ctx ends ...
	<-done

	swept, err := m.Sweep(apikey.WithActor(ctx, "nightly sweep"))
	return swept, err
}

func follow(ctx context.Context, m *apikey.Manager, last apikey.Position, handle func(apikey.Event) error) (apikey.Position, error) {
	for {
		from := apikey.Position{Seq: max(last.Seq-1, 0)}
		events, err := m.Events(ctx, apikey.EventQuery{After: from, Limit: 1000})
		if err != nil {
			return last, err
		}
		if last.Seq > 0 {
			if len(events) == 0 || events[0].Position != last {
				return last, errors.New("the log was replaced")
			}
			events = events[1:]
		}
		if len(events) == 0 {
			return last, nil
		}
		for _, e := range events {
			if err := handle(e); err != nil {
				return last, err
			}
			last = e.Position // store it with what handle did
		}
	}
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) apikey.Store { return newStore(t) })
}

type metered struct {
	apikey.Store
	lookups atomic.Int64
}

func (s *metered) Lookup(ctx context.Context, credentialID string) (apikey.LookupResult, error) {
	s.lookups.Add(1)
	return s.Store.Lookup(ctx, credentialID)
}

func newStore(testing.TB) apikey.Store { return memstore.New() }

var _ = []any{export, rotate, pool, serverless, upkeep, follow, (*metered).Lookup}
