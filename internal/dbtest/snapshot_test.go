package dbtest

import (
	"database/sql"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// TestTxOnAnOlderSnapshot checks that a change works on the credentials as they
// are, and not as they were when the transaction of the application began.
func TestTxOnAnOlderSnapshot(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		if e.Dialect != sqlstore.MySQL {
			t.Skip("the other dialects reject a transaction of this level or have no other")
		}
		h := newHosted(t, e, nil)
		issued, err := h.m.Issue(h.ctx, apikey.IssueParams{Owner: "acme", Name: "n"})
		h.NoErr(err)
		tx, err := h.db.BeginTx(h.ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
		h.NoErr(err)
		defer tx.Rollback()
		var n int
		h.NoErr(tx.QueryRowContext(h.ctx, "SELECT COUNT(*) FROM apikey_credentials").Scan(&n)) // from now on a snapshot
		h.Equal(n, 1)

		_, err = h.m.Rotate(h.ctx, issued.Key.ID, time.Hour)
		h.NoErr(err)
		record, err := h.store.Get(h.ctx, issued.Key.ID, "")
		h.NoErr(err)
		record.Key.Name, record.Nonce = "changed", nonceOf(1)
		_, err = h.store.Tx(tx).Commit(h.ctx, commitOf(record))
		h.NoErr(err)
		h.NoErr(tx.Commit())

		record.Key.Revision++
		stored, err := h.store.Get(h.ctx, issued.Key.ID, "")
		h.NoErr(err)
		h.Equal(cmp.Diff(record, stored, cmpopts.EquateComparable(apikey.Scopes{})), "")
	})
}
