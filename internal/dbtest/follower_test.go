package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/coretest"
	"github.com/keyturn/apikey/sqlstore"
)

const (
	followedWriters = 16
	followedCommit  = 10 // events at most
)

// followedEvents is how many events are written while a log is followed.
func followedEvents() int64 {
	switch {
	case !coretest.Long():
		return 2_000
	case raceDetector:
		return 10_000
	default:
		return 100_000
	}
}

// writeAtOnce lets writers, half of them on another pool than the others, write
// events in commits of 1 to 10. Events have the numbers from 0.
func writeAtOnce(ctx context.Context, events int64, commit func(ctx context.Context, pool int, first, n int64) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for writer := range followedWriters {
		group.Go(func() {
			for size := int64(writer); ctx.Err() == nil; size++ {
				n := size%followedCommit + 1
				first := next.Add(n) - n
				if n = min(n, events-first); n <= 0 {
					return
				}
				if err := commit(ctx, writer%2, first, n); err != nil {
					fail(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// followed runs a function until the writers have ended, and once more.
func followed(write func() error, read func() error) error {
	done := make(chan error, 1)
	go func() { done <- write() }()
	for {
		select {
		case err := <-done:
			if err == nil {
				err = read()
			}
			return err
		default:
		}
		if err := read(); err != nil {
			<-done
			return err
		}
	}
}

// TestFollower follows the log while 16 writers commit: each position comes
// once, in order, none is left out, and holds what was committed there.
func TestFollower(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		d := e.Database(t)
		stores := [2]*sqlstore.Store{d.Store(t), d.Store(t)}
		follower := d.Store(t)
		total := followedEvents()
		at := make([]int64, total) // where each event was committed
		var seen []apikey.Nonce    // by position, the first is 1
		began := time.Now()
		var commits atomic.Int64
		err := followed(
			func() error {
				return writeAtOnce(t.Context(), total, func(ctx context.Context, pool int, first, n int64) error {
					r := newRecord(t, fmt.Sprint("owner ", first%7), int(first))
					c := apikey.Commit{Records: []apikey.Record{r}}
					for i := range n {
						of := event(r)
						of.Position.Nonce = nonceOf(int(first + i))
						c.Events = append(c.Events, of)
					}
					last, err := stores[pool].Commit(ctx, c)
					for i := range n {
						at[first+i] = last.Seq - n + 1 + i
					}
					commits.Add(1)
					return err
				})
			},
			func() error {
				for {
					// Pages end in the middle of commits.
					q := apikey.EventQuery{After: apikey.Position{Seq: int64(len(seen))}, Limit: 97}
					page, err := follower.Events(t.Context(), q)
					if err != nil {
						return err
					}
					for _, e := range page {
						seen = append(seen, e.Position.Nonce)
						if e.Position.Seq != int64(len(seen)) {
							return fmt.Errorf("position %d follows %d", e.Position.Seq, len(seen)-1)
						}
					}
					if len(page) < q.Limit {
						return nil
					}
				}
			})
		is.NoErr(err)
		is.Equal(int64(len(seen)), total)
		for n, position := range at {
			if seen[position-1] != nonceOf(n) {
				t.Fatalf("event %d was committed as position %d, where another was seen", n, position)
			}
		}
		spent := time.Since(began)
		t.Logf("%d events in %d commits followed in %v: %.0f events/s", total, commits.Load(), spent.Round(time.Millisecond), float64(total)/spent.Seconds())
	})
}

// TestNaiveFollower is the control: a log whose positions are those that the
// database gives to new rows, followed in the same way, loses events. A number
// is given before its transaction is committed, so that a lower one can become
// visible after a higher one was seen. In SQLite nothing is lost, since it has
// one writer at a time.
func TestNaiveFollower(t *testing.T) {
	for _, e := range Engines(t) {
		number := map[sqlstore.Dialect]string{
			sqlstore.PostgreSQL: "BIGSERIAL", sqlstore.MySQL: "BIGINT AUTO_INCREMENT",
		}[e.Dialect]
		if number == "" {
			continue
		}
		t.Run(e.Name, func(t *testing.T) {
			is := is.New(t)
			d := e.EmptyDatabase(t)
			db := d.Pool(t)
			mustExec(t, db, "CREATE TABLE naive_keys (id BIGINT PRIMARY KEY)")
			mustExec(t, db, "CREATE TABLE naive_log (id "+number+" PRIMARY KEY, event BIGINT NOT NULL)")
			events := followedEvents()
			var missed int64
			for round := range int64(10) { // chance decides, but not ten times
				if missed = naive(t, d, events, round*events); missed > 0 {
					break
				}
			}
			is.True(missed > 0) // or else TestFollower shows nothing
			t.Logf("the naive follower missed %d of %d events", missed, events)
		})
	}
}

// naive writes events with the numbers after a last one and returns how many of
// them were not seen.
func naive(t *testing.T, d *Database, events, after int64) (missed int64) {
	pools := [2]*sql.DB{d.Pool(t), d.Pool(t)}
	follower := d.Pool(t)
	last, seen := after, int64(0)
	err := followed(
		func() error {
			return writeAtOnce(t.Context(), events, func(ctx context.Context, pool int, first, n int64) error {
				tx, err := pools[pool].BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
				if err != nil {
					return err
				}
				defer tx.Rollback()
				if _, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO naive_keys (id) VALUES (%d)", after+first)); err != nil {
					return err
				}
				rows := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("(%d),", first), int(n)), ",")
				if _, err := tx.ExecContext(ctx, "INSERT INTO naive_log (event) VALUES "+rows); err != nil {
					return err
				}
				return tx.Commit()
			})
		},
		func() error {
			rows, err := follower.QueryContext(t.Context(), fmt.Sprintf("SELECT id FROM naive_log WHERE id > %d ORDER BY id", last))
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				seen++
				if err := rows.Scan(&last); err != nil {
					return err
				}
			}
			return rows.Err()
		})
	if err != nil {
		t.Fatal(err)
	}
	return events - seen
}
