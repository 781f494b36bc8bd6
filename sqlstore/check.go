package sqlstore

import (
	"context"
	"errors"
	"fmt"
)

// Check implements [apikey.Checker]. It returns a *SchemaError if the tables
// are missing, older or newer than this package, and a *SettingError for each
// setting of the database that endangers what is stored; errors.As finds them,
// several are joined. Settings belong to a connection, and Check sees one: set
// them in the data source name, so that all have them.
func (s *Store) Check(ctx context.Context) error {
	return failed(ctx, "check", s.tryCheck(ctx))
}

func (s *Store) tryCheck(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	all, err := s.dialect.migrations()
	if err != nil {
		return err
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	version, half, err := s.dialect.schemaVersion(ctx, conn)
	if err != nil {
		return err
	}
	return errors.Join(schemaError(version, len(all), half), s.dialect.check(ctx, conn))
}

// SchemaError says that the tables in a database are not those that this
// package works with.
type SchemaError struct {
	Version int  // of the schema; 0 if there is none
	Want    int  // by this package
	Half    bool // the first migration has begun, and not ended
}

func (e *SchemaError) Error() string {
	switch {
	case e.Half:
		return "the schema is half migrated: run sqlstore.Migrate again"
	case e.Version == 0:
		return "the database has no schema: run sqlstore.Migrate"
	case e.Version < e.Want:
		return fmt.Sprintf("the schema has version %d, this program needs %d: run sqlstore.Migrate", e.Version, e.Want)
	default:
		return fmt.Sprintf("the schema has version %d, this program knows %d: use a newer program", e.Version, e.Want)
	}
}

func schemaError(version, want int, half bool) error {
	if version == want {
		return nil
	}
	return &SchemaError{Version: version, Want: want, Half: half}
}

// SettingError says that a setting of the database endangers what is stored.
type SettingError struct {
	Setting string // its name, "synchronous"
	Value   string // what it is, "OFF"
	Advice  string // what to do, for people
}

func (e *SettingError) Error() string { return e.Setting + " is " + e.Value + ": " + e.Advice }
