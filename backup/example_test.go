package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/backup"
	"github.com/keyturn/apikey/memstore"
)

var (
	ctx     = context.Background()
	peppers = []apikey.Secret{apikey.EphemeralPepper()}
)

// exampleStore returns a Store with a key, and the key's token.
func exampleStore() (apikey.Store, apikey.Secret) {
	store := memstore.New()
	keys, err := apikey.New(store, &apikey.Options{Peppers: peppers})
	check(err)
	issued, err := keys.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing"})
	check(err)
	return store, issued.Token
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Write a backup to a new file that only you can read.
func ExampleExport() {
	store, _ := exampleStore()
	dir, err := os.MkdirTemp("", "")
	check(err)
	defer os.RemoveAll(dir)

	file, err := os.OpenFile(filepath.Join(dir, "keys.jsonl"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	check(err)
	check(backup.Export(ctx, store, file, &backup.Options{Peppers: peppers}))
	check(file.Sync())
	check(file.Close())
	fmt.Println("exported")
	// Output: exported
}

// Show how far an Export is.
func ExampleOptions() {
	store, _ := exampleStore()
	var last backup.Progress
	var file bytes.Buffer
	check(backup.Export(ctx, store, &file, &backup.Options{
		Peppers:    peppers,
		OnProgress: func(p backup.Progress) { last = p },
	}))
	fmt.Println(last.Step, last.Done.Keys, "key,", last.Done.Events, "event")
	// Output: export 1 key, 1 event
}

// Check a file, and whether you have the peppers that it needs.
func ExampleVerify() {
	store, _ := exampleStore()
	var file bytes.Buffer
	check(backup.Export(ctx, store, &file, &backup.Options{Peppers: peppers}))

	summary, err := backup.Verify(bytes.NewReader(file.Bytes()), peppers)
	check(err)
	fmt.Println(summary.Keys, "key,", summary.Events, "event, missing peppers:", len(summary.MissingPeppers))

	changed := bytes.Replace(file.Bytes(), []byte("billing"), []byte("Billing"), 1)
	_, err = backup.Verify(bytes.NewReader(changed), peppers)
	fmt.Println(err)
	// Output:
	// 1 key, 1 event, missing peppers: 0
	// backup: verify: not a complete and unchanged backup: line 4 does not match the others: the file was changed
}

// Move to another Store. The same tokens are valid there.
func ExampleRestore() {
	from, token := exampleStore()
	options := &backup.Options{Peppers: peppers}
	var file bytes.Buffer
	check(backup.Export(ctx, from, &file, options))

	to := memstore.New() // or a sqlstore on an empty database
	check(backup.Restore(apikey.WithActor(ctx, "ada"), to, bytes.NewReader(file.Bytes()), options))

	keys, err := apikey.New(to, &apikey.Options{Peppers: peppers})
	check(err)
	check(keys.Check(ctx))
	key, err := keys.Validate(ctx, token.Reveal())
	fmt.Println(key.Name, err)
	// Output: billing <nil>
}

// Rehearse a restore in memory: verify the file, restore it, check the peppers,
// and look at a key that you know.
func ExampleRestore_rehearsal() {
	store, _ := exampleStore()
	var file bytes.Buffer
	check(backup.Export(ctx, store, &file, &backup.Options{Peppers: peppers}))

	r := bytes.NewReader(file.Bytes())
	summary, err := backup.Verify(r, peppers)
	check(err)
	if age := time.Since(summary.ExportedAt); age > 24*time.Hour {
		fmt.Println("the backup is too old:", age)
	}
	r.Reset(file.Bytes()) // an os.File: Seek(0, io.SeekStart)
	rehearsal := memstore.New()
	check(backup.Restore(ctx, rehearsal, r, &backup.Options{Peppers: peppers}))

	keys, err := apikey.New(rehearsal, &apikey.Options{Peppers: peppers})
	check(err)
	check(keys.Check(ctx)) // fails if a pepper is missing
	list, err := keys.List(ctx, apikey.Query{Owner: "acme"})
	check(err)
	fmt.Println(summary.Keys == 1, list[0].Name)
	// Output: true billing
}
