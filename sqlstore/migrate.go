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
// was interrupted stays half done, and Migrate completes it). It does nothing to
// a schema that is current. Programs that start at the same time may all call it.
//
// A newer schema is left alone. Each migration states whether older programs can
// go on: if so, an older program starts on the newer schema, for example after a
// deployment was rolled back. Otherwise Migrate returns a *SchemaError.
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
		var found schema
		err := s.read(ctx, func(ctx context.Context, db querier) (err error) {
			found, err = s.dialect.schemaVersion(ctx, db)
			return err
		})
		if err != nil {
			// SQLite does not wait while another program makes the file.
			if busy++; busy < s.attempts && s.dialect.gaveUp(err) {
				continue
			}
			return err
		}
		if err := found.fits(len(all)); found.version >= len(all) || found.minVersion > len(all) {
			return err
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
	found, err := s.dialect.schemaVersion(ctx, tx)
	if err != nil || found.version >= len(all) || found.minVersion > len(all) {
		return err
	}
	next := all[found.version]
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

// schema is what a database states about its tables.
type schema struct {
	version    int  // 0 if there are none
	minVersion int  // the lowest that a program must know
	half       bool // a first migration has begun and not ended
}

// fits returns nil if a program that knows the versions up to want can work with
// the schema.
func (s schema) fits(want int) error {
	if s.version >= want && s.minVersion <= want {
		return nil
	}
	return &SchemaError{Version: s.version, MinVersion: s.minVersion, Want: want, Half: s.half}
}

// schemaVersion returns what the database states.
func (d *dialect) schemaVersion(ctx context.Context, q querier) (schema, error) {
	var exists number
	if err := q.QueryRowContext(ctx, d.hasSchema).Scan(&exists); err != nil || exists == 0 {
		return schema{}, err
	}
	var version, minVersion integer
	err := q.QueryRowContext(ctx, d.version).Scan(&version, &minVersion)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return schema{half: true}, nil
	case err == nil && (version < 1 || minVersion < 1):
		err = errors.New("apikey_schema holds no version: the schema is damaged")
	}
	return schema{version: int(version), minVersion: int(minVersion)}, err
}

// migration is one file. That of version n is the n-th.
//
// Its last statement sets version to n. It also states min_version: the lowest
// version that a program must know to work with the new schema. A migration after
// which every statement of older programs works, with the same result, keeps the
// min_version of before; its columns have defaults. A migration after which an
// older program would accept what a newer one rejects, such as a new way to stop
// a key, sets min_version to n. So does one that older programs would damage. It
// does so in its first statement, because MariaDB and MySQL have no transactions
// for tables: programs that are already running are to be stopped before, since
// they look at the version only when they start.
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
