package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed migrations
var migrations embed.FS

// Migrations returns the migrations of a dialect as files 001_name.sql,
// 002_name.sql and so on in the root of a file system, for a host that runs
// them with a tool of its own instead of Migrate: each once, in their order,
// each in one transaction. They keep the version in the table apikey_schema by
// themselves. The file system of the zero Dialect is empty.
func Migrations(dialect Dialect) fs.FS {
	if dialect.d == nil {
		return embed.FS{}
	}
	files, err := fs.Sub(migrations, "migrations/"+dialect.d.name)
	if err != nil {
		return embed.FS{} // the name is no path
	}
	return files
}

// Migrate makes or completes the tables in a database, each migration in one
// transaction (MariaDB and MySQL have none for tables: there a migration that
// was interrupted stays half done, and Migrate completes it). It does nothing to a schema that is current, and refuses one
// that is newer than this package with a *SchemaError. Programs that start at
// the same time may all call it.
func Migrate(ctx context.Context, db *sql.DB, dialect Dialect) error {
	return failed(ctx, "migrate", New(db, dialect, nil).migrate(ctx))
}

func (s *Store) migrate(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	all, err := s.dialect.migrations()
	if err != nil {
		return err
	}
	for busy := 0; ; {
		// Asked outside of a transaction, so that a program that starts on a
		// current schema waits for no writer.
		var version int
		err := s.read(ctx, func(ctx context.Context, db querier) (err error) {
			version, _, err = s.dialect.schemaVersion(ctx, db)
			return err
		})
		if err != nil {
			// SQLite does not wait while another program makes the file.
			if busy++; busy < s.attempts && s.dialect.gaveUp(err) {
				continue
			}
			return err
		}
		if version >= len(all) {
			return schemaError(version, len(all), false)
		}
		if err := s.transact(ctx, func(tx querier) error { return s.step(ctx, tx, all) }); err != nil {
			return err
		}
	}
}

// step runs the migration that is next, if another program has not run it
// meanwhile.
func (s *Store) step(ctx context.Context, tx querier, all []migration) error {
	if lock := s.dialect.lockSchema; lock != "" {
		var locked number
		if err := tx.QueryRowContext(ctx, lock).Scan(&locked); err != nil {
			return err
		}
	}
	version, _, err := s.dialect.schemaVersion(ctx, tx)
	if err != nil || version >= len(all) {
		return err
	}
	next := all[version]
	for _, statement := range next.statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", next.name, err)
		}
	}
	// Where tables are made outside of transactions, a new one has begun.
	if mark := s.dialect.mark; mark != "" {
		if _, err := tx.ExecContext(ctx, mark); err != nil {
			return err
		}
	}
	return nil
}

// schemaVersion returns the version of the schema, 0 if there is none yet, and
// whether a first migration has begun and not ended.
func (d *dialect) schemaVersion(ctx context.Context, q querier) (version int, half bool, err error) {
	var exists number
	if err := q.QueryRowContext(ctx, d.hasSchema).Scan(&exists); err != nil || exists == 0 {
		return 0, false, err
	}
	var stored integer
	err = q.QueryRowContext(ctx, d.version).Scan(&stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, true, nil
	case err == nil && stored < 1:
		err = errors.New("apikey_schema holds no version: the schema is damaged")
	}
	return int(stored), false, err
}

// migration is one file. That of version n is the n-th.
type migration struct {
	name       string
	statements []string
}

func (d *dialect) migrations() ([]migration, error) {
	files := Migrations(Dialect{d})
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	var all []migration
	for i, name := range names {
		number, _, _ := strings.Cut(name, "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return nil, fmt.Errorf("%s is not migration %d", name, i+1)
		}
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		all = append(all, migration{name, statements(string(b))})
	}
	return all, nil
}

// statements cuts a file into its statements, each of which ends with a
// semicolon at the end of a line: not every driver takes several at once.
func statements(file string) []string {
	file = strings.ReplaceAll(file, "\r\n", "\n") // as git may have made it
	var all []string
	for part := range strings.SplitSeq(file, ";\n") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}
