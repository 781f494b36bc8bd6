package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"

	"github.com/keyturn/apikey"
)

// Check implements [apikey.Store]. It returns a *SchemaError if the tables
// are missing or older than this package, or so new that this package must not
// work with them, and a *SettingError for each
// setting of the database that endangers what is stored; errors.As finds them,
// several are joined. A server that only reads, such as a standby, is a
// *SettingError as well: what it answers may be stale, so it would accept tokens
// that the primary rejects. To see that every table is there and can be written
// to, it writes a row to each in a transaction that it rolls back. Settings
// belong to a connection, and Check sees one: set them in the data source name,
// so that all have them.
//
// Check also reports a driver that prepares statements although a pooler changes
// the session behind a connection. To find out, it runs the lookup on up to 16
// connections at once, if the pool has so many to spare.
func (s *Store) Check(ctx context.Context) error {
	return failed(ctx, "check", s.tryCheck(ctx))
}

func (s *Store) tryCheck(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	var settings error
	sent, cancel := outliving(ctx, s.timeout)
	defer cancel()
	err := s.onConnection(ctx, sent, call{run: func(conn *sql.Conn) error {
		// First, since with some settings nothing else can be read.
		settings = s.dialect.check(sent, conn)
		if setting := (*SettingError)(nil); settings != nil && !errors.As(settings, &setting) {
			err := settings // which may be that of a dead connection
			settings = nil
			return err
		}
		return s.checkSchema(sent, conn)
	}})
	wrong := (*SchemaError)(nil)
	if settings != nil && err != nil && !errors.As(err, &wrong) {
		return settings // which explain the error
	}
	if err != nil {
		return errors.Join(s.dialect.modeError(err), settings)
	}
	if err := s.checkSessions(ctx); err != nil {
		return errors.Join(settings, err)
	}
	if err := s.dialect.modeError(s.probe(ctx)); err != nil {
		return errors.Join(settings, err)
	}
	return settings
}

// checkSchema reports tables that this package does not work with.
func (s *Store) checkSchema(ctx context.Context, q querier) error {
	all, err := s.dialect.migrations()
	if err != nil {
		return err
	}
	found, err := s.dialect.schemaVersion(ctx, q)
	if err != nil {
		return err
	}
	return found.fits(len(all))
}

var errProbe = errors.New("rolled back")

// probe writes to every table, and rolls back.
func (s *Store) probe(ctx context.Context) error {
	err := s.transact(ctx, func(tx querier) error {
		w := writer{dialect: s.dialect, tx: tx, ctx: ctx}
		id := "check " + rand.Text()
		_, err := w.commit(apikey.Commit{
			Records: []apikey.Record{{
				Key:         apikey.Key{ID: id, Owner: id, CredentialID: id},
				Credentials: []apikey.Credential{{ID: id}},
			}},
			Owners: []apikey.Owner{{ID: id}},
			Events: []apikey.Event{{KeyID: id}},
			Once:   []apikey.OnceName{{Name: id, KeyID: id}},
			Limit:  1,
		})
		if err != nil {
			return err
		}
		if err := s.addUses(ctx, tx, []apikey.Usage{{CredentialID: id, Uses: 1}}); err != nil {
			return err
		}
		return errProbe
	})
	if errors.Is(err, errProbe) {
		return nil
	}
	return err
}

// SchemaError says that the tables in a database are not those that this
// package works with.
type SchemaError struct {
	Version    int  // of the schema; 0 if there is none
	MinVersion int  // the lowest version that a program must know to use the schema; 0 if there is none
	Want       int  // the version that this package knows
	Half       bool // the first migration has begun, and not ended
}

func (e *SchemaError) Error() string {
	switch {
	case e.Half:
		return "the schema is half migrated: run sqlstore.Migrate again"
	case e.Version == 0:
		return "the database has no schema: run sqlstore.Migrate"
	case e.MinVersion > e.Want:
		return fmt.Sprintf("the schema has version %d and works with programs that know version %d, this program knows %d: "+
			"update its github.com/keyturn/apikey", e.Version, e.MinVersion, e.Want)
	default:
		return fmt.Sprintf("the schema has version %d, this program needs %d: run sqlstore.Migrate", e.Version, e.Want)
	}
}

// SettingError says that a setting of the database endangers what is stored.
type SettingError struct {
	Setting string // its name, "synchronous"
	Value   string // what it is, "OFF"
	Advice  string // what to do, for people
}

func (e *SettingError) Error() string {
	value := e.Value
	if value == "" {
		value = "empty"
	}
	return e.Setting + " is " + value + ": " + e.Advice
}
