package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/examples/internal/sqlitefile"
)

// TestBackup exports keys, verifies the file, restores it into another SQLite
// file, and validates a token there.
func TestBackup(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	dir := t.TempDir()
	file, copied, other := filepath.Join(dir, "keys.db"), filepath.Join(dir, "keys.jsonl"), filepath.Join(dir, "other.db")
	pepper, err := sqlitefile.Pepper(file + ".pepper")
	is.NoErr(err)
	manager := func(store apikey.Store) *apikey.Manager {
		keys, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{pepper}})
		is.NoErr(err)
		return keys
	}
	var issued apikey.Issued
	is.NoErr(withStore(ctx, file, func(store apikey.Store) (err error) {
		issued, err = manager(store).Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing"})
		return err
	}))

	var out bytes.Buffer
	is.NoErr(run(ctx, file, []string{"export"}, &out))
	is.NoErr(os.WriteFile(copied, out.Bytes(), 0o600))
	out.Reset()
	is.NoErr(run(ctx, file, []string{"verify", copied}, &out))
	is.True(strings.Contains(out.String(), ": 1 keys, 0 owners, 1 events, missing peppers: []"))
	is.NoErr(run(ctx, file, []string{"restore", copied, other}, &out))
	is.NoErr(withStore(ctx, other, func(store apikey.Store) error {
		_, err := manager(store).Validate(ctx, issued.Token.Reveal())
		return err
	}))
	for _, args := range [][]string{{}, {"export", "x"}, {"verify"}, {"restore", copied}, {"verify", filepath.Join(dir, "none")}} {
		is.True(run(ctx, file, args, &out) != nil)
	}
}
