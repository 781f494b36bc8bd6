package apikey_test

import (
	"bytes"
	"fmt"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// Moving to another store: the same tokens are valid there.
func ExampleManager_Export() {
	options := &apikey.Options{Peppers: []apikey.Secret{apikey.EphemeralPepper()}}
	from, err := apikey.New(memstore.New(), options)
	if err != nil {
		panic(err)
	}
	issued, err := from.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing"})
	if err != nil {
		panic(err)
	}
	var file bytes.Buffer
	if err := from.Export(ctx, &file); err != nil {
		panic(err)
	}

	to, err := apikey.New(memstore.New(), options) // with the same Peppers
	if err != nil {
		panic(err)
	}
	if err := to.Restore(ctx, bytes.NewReader(file.Bytes())); err != nil {
		panic(err)
	}
	check(to, "token", issued.Token)
	key, err := to.Get(ctx, issued.Key.ID)
	fmt.Println(key.Name, err)

	changed := bytes.Replace(file.Bytes(), []byte("billing"), []byte("Billing"), 1)
	empty, err := apikey.New(memstore.New(), options)
	if err != nil {
		panic(err)
	}
	fmt.Println(empty.Restore(ctx, bytes.NewReader(changed)))
	// Output:
	// token: <nil>
	// billing <nil>
	// apikey: restore: not a complete and unchanged export: line 4 does not fit the others: the file was changed
}

func ExampleOnProgress() {
	m, _ := exampleManager()
	for range 3 {
		if _, err := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing"}); err != nil {
			panic(err)
		}
	}
	var last apikey.Progress
	var file bytes.Buffer
	if err := m.Export(ctx, &file, apikey.OnProgress(func(p apikey.Progress) { last = p })); err != nil {
		panic(err)
	}
	fmt.Println(last.Step, last.Records, "keys,", last.Events, "events")
	// Output: export 3 keys, 3 events
}
