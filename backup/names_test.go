package backup_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/backup"
)

// TestRestoreOfNames checks that names survive an export while the log grows,
// and that those of purged keys do not return.
func TestRestoreOfNames(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := newSystem(t)
	id := keys.MustIssue(t, apikey.IssueParams{}).Key.ID
	gone := keys.MustIssue(t, apikey.IssueParams{}).Key.ID
	commit := func(names ...apikey.OnceName) {
		t.Helper()
		_, err := keys.Store.Commit(ctx, apikey.Commit{
			Once:   names,
			Events: []apikey.Event{{At: keys.Now(), Kind: "key.reminded", KeyID: id, Owner: "acme", Position: apikey.Position{Nonce: apikey.Nonce{1}}}},
		})
		is.NoErr(err)
	}
	want := map[string]string{"permanent": "", "of a key": id}
	commit(apikey.OnceName{Name: "permanent"}, apikey.OnceName{Name: "of a key", KeyID: id}, apikey.OnceName{Name: "of one purged", KeyID: gone})
	for n := range 1200 {
		name := "name " + string(rune('a'+n%26)) + time.Duration(n).String()
		want[name] = ""
		commit(apikey.OnceName{Name: name})
	}
	var file bytes.Buffer
	during := false
	is.NoErr(keys.Export(ctx, &file, func(p backup.Progress) {
		if !during && (p.Done.Owners > 0 || p.Done.Keys > 0) {
			during = true // what was read before is read again
			want["during"] = ""
			commit(apikey.OnceName{Name: "during"})
			record, err := keys.Store.Get(ctx, gone, "")
			is.NoErr(err)
			_, err = keys.Store.Commit(ctx, apikey.Commit{
				Purge:  []apikey.RecordRef{{ID: gone, Revision: record.Key.Revision}},
				Events: []apikey.Event{{At: keys.Now(), Kind: apikey.EventPurged, KeyID: gone, Owner: "acme", Position: apikey.Position{Nonce: apikey.Nonce{2}}}},
			})
			is.NoErr(err)
		}
	}))
	is.True(during)

	to := newSystem(t)
	to.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Nth: 2, Done: true}) // and Restore continues after it
	is.True(to.Restore(ctx, bytes.NewReader(file.Bytes())) != nil)
	is.NoErr(to.Restore(ctx, bytes.NewReader(file.Bytes())))
	names, err := to.Store.OnceNames(ctx, apikey.OnceQuery{Limit: 10_000})
	is.NoErr(err)
	got := map[string]string{}
	for _, n := range names {
		got[n.Name] = n.KeyID
	}
	is.Equal(got, want)
}

// TestRestoreOfUsedIdempotencyKeys checks that an idempotency key of a purged key
// stays used in a Store that was restored, also after a repeat.
func TestRestoreOfUsedIdempotencyKeys(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	keys := newSystem(t)
	p := apikey.IssueParams{Owner: "acme", Name: "deploy", IdempotencyKey: "order 7"}
	first, err := keys.Issue(ctx, p)
	is.NoErr(err)
	_, err = keys.Delete(ctx, first.Key.ID)
	is.NoErr(err)
	keys.Advance(100 * 24 * time.Hour)
	swept, err := keys.Sweep(ctx)
	is.NoErr(err)
	is.Equal(swept.Keys, 1)

	to := newSystem(t)
	for range 2 {
		is.NoErr(to.Restore(ctx, bytes.NewReader([]byte(exported(t, keys)))))
		again, err := to.Issue(ctx, p)
		is.True(errors.Is(err, apikey.ErrDeleted))
		is.Equal(again, apikey.Issued{})
	}
}
