// Backup exports the keys of a SQLite file to standard output, verifies a
// backup, and restores one into another SQLite file. The pepper is read from
// the file next to the keys, as the other examples keep it:
//
//	go run ./examples/backup -file apikeys.db export > keys.jsonl
//	go run ./examples/backup -file apikeys.db verify keys.jsonl
//	go run ./examples/backup -file apikeys.db restore keys.jsonl other.db
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/backup"
	"github.com/keyturn/apikey/examples/internal/sqlitefile"
	"github.com/keyturn/apikey/sqlstore"
)

func main() {
	file := flag.String("file", "apikeys.db", "the SQLite file")
	flag.Parse()
	if err := run(context.Background(), *file, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file string, args []string, out io.Writer) error {
	pepper, err := sqlitefile.Pepper(file + ".pepper")
	if err != nil {
		return err
	}
	options := &backup.Options{Peppers: []apikey.Secret{pepper}}
	switch {
	case len(args) == 1 && args[0] == "export":
		return withStore(ctx, file, func(store apikey.Store) error {
			return backup.Export(ctx, store, out, options)
		})
	case len(args) == 2 && args[0] == "verify":
		return withFile(args[1], func(r io.ReadSeeker) error {
			s, err := backup.Verify(r, options.Peppers)
			if err == nil {
				fmt.Fprintf(out, "%s: %d keys, %d owners, %d events, missing peppers: %v\n",
					s.ExportedAt.Format(time.RFC3339), s.Keys, s.Owners, s.Events, s.MissingPeppers)
			}
			return err
		})
	case len(args) == 3 && args[0] == "restore":
		return withFile(args[1], func(r io.ReadSeeker) error {
			return withStore(ctx, args[2], func(store apikey.Store) error {
				if err := backup.Restore(ctx, store, r, options); err != nil {
					return err
				}
				keys, err := apikey.New(store, &apikey.Options{Peppers: options.Peppers})
				if err == nil {
					err = keys.Check(ctx)
				}
				return err
			})
		})
	}
	return fmt.Errorf("usage: backup [-file apikeys.db] export | verify <backup> | restore <backup> <new SQLite file>")
}

func withStore(ctx context.Context, file string, do func(apikey.Store) error) error {
	db, err := sqlitefile.Open(ctx, file)
	if err != nil {
		return err
	}
	defer db.Close()
	return do(sqlstore.New(db, sqlstore.SQLite, nil))
}

func withFile(name string, do func(io.ReadSeeker) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return do(file)
}
