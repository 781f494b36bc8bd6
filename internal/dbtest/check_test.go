package dbtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
	"github.com/keyturn/apikey/sqlstore"
)

// settings returns the names of all settings that an error complains about.
func settings(err error) (names []string) {
	for _, e := range settingErrors(err) {
		names = append(names, e.Setting)
	}
	return names
}

// settingErrors returns all parts of an error that are about a setting.
func settingErrors(err error) (all []*sqlstore.SettingError) {
	switch e := err.(type) {
	case *sqlstore.SettingError:
		return []*sqlstore.SettingError{e}
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			all = append(all, settingErrors(part)...)
		}
	case interface{ Unwrap() error }:
		return settingErrors(e.Unwrap())
	}
	return all
}

// checkSettings runs Check and compares the settings that it complains about
// with those wanted, in the form "name is value".
func checkSettings(t *testing.T, db *sql.DB, dialect sqlstore.Dialect, want ...string) {
	t.Helper()
	is := is.New(t)
	is.Helper()
	err := sqlstore.New(db, dialect, nil).Check(t.Context())
	var got []string
	for _, e := range settingErrors(err) {
		is.True(e.Advice != "")
		is.True(strings.Contains(err.Error(), e.Setting+" is "+shownValue(e)+": "+e.Advice))
		got = append(got, e.Setting+" is "+e.Value)
	}
	is.Equal(cmp.Diff(want, got), "")
	var first *sqlstore.SettingError
	is.Equal(errors.As(err, &first), len(want) > 0) // as a host finds it
	if len(want) == 0 {
		is.NoErr(err)
	}
	is.Equal(db.Stats().InUse, 0)
}

// TestCheckSchema checks what is said of a schema that is missing, and that
// settings are complained about besides.
func TestCheckSchema(t *testing.T) {
	unsafe := map[sqlstore.Dialect][2]string{
		sqlstore.SQLite:     {"synchronous(OFF)", "synchronous"},
		sqlstore.PostgreSQL: {"synchronous_commit=off", "synchronous_commit"},
		sqlstore.MySQL:      {"sql_mode=''", "sql_mode"},
	}
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		err := sqlstore.New(e.EmptyDatabase(t).Pool(t, unsafe[e.Dialect][0]), e.Dialect, nil).Check(t.Context())
		var wrong *sqlstore.SchemaError
		is.True(errors.As(err, &wrong))
		is.Equal(*wrong, sqlstore.SchemaError{Version: 0, Want: 1})
		is.True(strings.Contains(err.Error(), "the database has no schema: run sqlstore.Migrate"))
		is.Equal(settings(err), []string{unsafe[e.Dialect][1]})
	})
}

func TestCheckSettings(t *testing.T) {
	const name = "NAME" // stands for the name of the test's own
	for _, test := range []struct {
		name     string
		dialect  sqlstore.Dialect
		settings []string // of each connection
		change   string   // statement
		want     []string
	}{
		{name: "good", dialect: sqlstore.SQLite},
		{name: "NORMAL is good", dialect: sqlstore.SQLite, settings: []string{"synchronous(NORMAL)"}},
		{name: "a journal in a file is good", dialect: sqlstore.SQLite, settings: []string{"journal_mode(DELETE)"}},
		{name: "no journal", dialect: sqlstore.SQLite, settings: []string{"journal_mode(OFF)"}, want: []string{"journal_mode is OFF"}},
		{name: "journal in memory", dialect: sqlstore.SQLite, settings: []string{"journal_mode(MEMORY)"}, want: []string{"journal_mode is MEMORY"}},
		{name: "synchronous", dialect: sqlstore.SQLite, settings: []string{"synchronous(OFF)"}, want: []string{"synchronous is OFF"}},
		{name: "busy timeout", dialect: sqlstore.SQLite, settings: []string{"busy_timeout(0)"}, want: []string{"busy_timeout is 0"}},
		{
			name: "two", dialect: sqlstore.SQLite, settings: []string{"synchronous(OFF)", "busy_timeout(0)"},
			want: []string{"synchronous is OFF", "busy_timeout is 0"},
		},

		{name: "good", dialect: sqlstore.PostgreSQL},
		{name: "local is good", dialect: sqlstore.PostgreSQL, settings: []string{"synchronous_commit=local"}},
		{
			name: "synchronous commit of a connection", dialect: sqlstore.PostgreSQL,
			settings: []string{"synchronous_commit=off"}, want: []string{"synchronous_commit is off"},
		},
		{
			name: "synchronous commit of the database", dialect: sqlstore.PostgreSQL,
			change: "ALTER DATABASE " + name + " SET synchronous_commit = off", want: []string{"synchronous_commit is off"},
		},
		{
			name: "collation of a table's primary key", dialect: sqlstore.PostgreSQL,
			change: `ALTER TABLE apikey_keys ALTER COLUMN id TYPE TEXT COLLATE "default"`, want: []string{"collation of apikey_keys.id is default"},
		},
		{
			name: "collations", dialect: sqlstore.PostgreSQL,
			change: `ALTER TABLE apikey_events ALTER COLUMN key_id TYPE TEXT COLLATE "default", ALTER COLUMN owner TYPE TEXT COLLATE "ucs_basic"`,
			want:   []string{"collation of apikey_events.key_id is default", "collation of apikey_events.owner is ucs_basic"},
		},
		{
			name: "a table that a crash empties", dialect: sqlstore.PostgreSQL,
			change: "ALTER TABLE apikey_keys SET UNLOGGED", want: []string{"persistence of apikey_keys is UNLOGGED"},
		},
		{
			name: "POSIX is good", dialect: sqlstore.PostgreSQL,
			change: `ALTER TABLE apikey_usage ALTER COLUMN credential_id TYPE TEXT COLLATE "POSIX"`,
		},
		{
			name: "tables of others", dialect: sqlstore.PostgreSQL, change: `CREATE TABLE customers (name TEXT COLLATE "default")`,
		},

		{name: "good", dialect: sqlstore.MySQL},
		{name: "cuts texts", dialect: sqlstore.MySQL, settings: []string{"sql_mode='ANSI_QUOTES'"}, want: []string{"sql_mode is ANSI_QUOTES"}},
		{name: "no mode", dialect: sqlstore.MySQL, settings: []string{"sql_mode=''"}, want: []string{"sql_mode is "}},
		{name: "reads go on", dialect: sqlstore.MySQL, settings: []string{"autocommit=0"}, want: []string{"autocommit is OFF"}},
		{
			name: "dirty reads", dialect: sqlstore.MySQL, settings: []string{"tx_isolation='READ-UNCOMMITTED'"},
			want: []string{"tx_isolation is READ-UNCOMMITTED"},
		},
		{name: "all strict is good", dialect: sqlstore.MySQL, settings: []string{"sql_mode='STRICT_ALL_TABLES'"}},
		{
			name: "collation of a table's primary key", dialect: sqlstore.MySQL,
			change: "ALTER TABLE apikey_keys MODIFY id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL",
			want:   []string{"collation of apikey_keys.id is utf8mb4_general_ci"},
		},
		{
			name: "a collation that pads", dialect: sqlstore.MySQL,
			change: "ALTER TABLE apikey_owners MODIFY id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL",
			want:   []string{"collation of apikey_owners.id is utf8mb4_bin"},
		},
		{
			name: "a table without transactions", dialect: sqlstore.MySQL,
			change: "ALTER TABLE apikey_usage ENGINE = MyISAM", want: []string{"engine of apikey_usage is MyISAM"},
		},
		{
			name: "tables of others", dialect: sqlstore.MySQL,
			change: "CREATE TABLE apikey_customers (name VARCHAR(20) COLLATE utf8mb4_general_ci) ENGINE = MyISAM",
		},
	} {
		t.Run(test.dialect.String()+", "+test.name, func(t *testing.T) {
			for _, e := range Engines(t) {
				if e.Dialect != test.dialect {
					continue
				}
				t.Run(e.Name, func(t *testing.T) {
					d := e.EmptyDatabase(t)
					d.Migrate(t)
					if test.change != "" {
						mustExec(t, d.Pool(t), strings.ReplaceAll(test.change, name, d.Name))
					}
					checkSettings(t, d.Pool(t, test.settings...), e.Dialect, test.want...)
				})
			}
		})
	}
}

// servant answers as a server would whose settings no test may change. What is
// not in it has the safe value.
type servant map[string]string

func (s servant) Connect(context.Context) (driver.Conn, error) { return servantConn{answers: s}, nil }

func (s servant) Driver() driver.Driver { return nil }

type servantConn struct {
	driver.Conn
	answers servant
}

func (servantConn) Close() error { return nil }

func (c servantConn) QueryContext(_ context.Context, statement string, args []driver.NamedValue) (driver.Rows, error) {
	switch {
	case strings.Contains(statement, "pg_is_in_recovery"):
		return c.setting("recovery"), nil
	case strings.Contains(statement, "pg_") || strings.Contains(statement, "information_schema.columns"),
		strings.Contains(statement, "engine <>"):
		if strings.Contains(statement, "relname = 'apikey_schema'") {
			return &servantRows{rows: []driver.Value{int64(1)}}, nil
		}
		return &servantRows{}, nil // no column and no table is wrong
	case strings.Contains(statement, "min_version"):
		return &servantRows{names: []string{"1"}, rows: []driver.Value{int64(1)}}, nil
	case strings.Contains(statement, "apikey_"): // the schema has version 1, the owner 1 key, the log 1 event
		return &servantRows{rows: []driver.Value{int64(1)}}, nil
	case len(args) == 1: // PostgreSQL: the name of a setting
		return c.setting(args[0].Value.(string)), nil
	case strings.HasPrefix(statement, "SELECT @@sql_select_limit"):
		return &servantRows{names: []string{"0"}, rows: []driver.Value{int64(1)}}, nil
	case strings.HasPrefix(statement, "SHOW VARIABLES"):
		all := &servantRows{}
		for i, name := range strings.Split(statement, "'") {
			if i%2 == 0 {
				continue
			}
			if row := c.setting(name).rows; row != nil {
				all.names, all.rows = append(all.names, name), append(all.rows, row[0])
			}
		}
		return all, nil
	}
	return &servantRows{}, nil
}

func (servantConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), nil
}

func (c servantConn) setting(name string) *servantRows {
	value, ok := c.answers[name]
	if !ok {
		value, ok = map[string]string{
			"synchronous_commit": "on", "fsync": "on", "full_page_writes": "on", "server_encoding": "UTF8", "transaction_read_only": "off",
			"innodb_flush_log_at_trx_commit": "1", "innodb_doublewrite": "ON", "log_bin": "OFF", "sync_binlog": "0",
			"binlog_format": "MIXED", "sql_mode": "STRICT_TRANS_TABLES", "autocommit": "ON", "tx_isolation": "REPEATABLE-READ",
		}[name]
	}
	if !ok {
		return &servantRows{}
	}
	return &servantRows{rows: []driver.Value{value}}
}

// servantRows are rows of one column, after one of names if there are any.
type servantRows struct {
	names []string
	rows  []driver.Value
}

func (r *servantRows) Columns() []string {
	if r.names != nil {
		return []string{"Variable_name", "Value"}
	}
	return []string{"value"}
}

func (*servantRows) Close() error { return nil }

func (r *servantRows) Next(to []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	to[len(to)-1], r.rows = r.rows[0], r.rows[1:]
	if len(to) > 1 {
		to[0], r.names = []byte(r.names[0]), r.names[1:]
	}
	return nil
}

// TestCheckServer checks settings that are those of a whole server.
func TestCheckServer(t *testing.T) {
	for _, test := range []struct {
		name    string
		dialect sqlstore.Dialect
		server  servant
		want    []string
	}{
		{"good", sqlstore.PostgreSQL, servant{}, nil},
		{"fsync", sqlstore.PostgreSQL, servant{"fsync": "off"}, []string{"fsync is off"}},
		{"full pages", sqlstore.PostgreSQL, servant{"full_page_writes": "off"}, []string{"full_page_writes is off"}},
		{"encoding", sqlstore.PostgreSQL, servant{"server_encoding": "SQL_ASCII"}, []string{"server_encoding is SQL_ASCII"}},
		{"remote apply is good", sqlstore.PostgreSQL, servant{"synchronous_commit": "remote_apply"}, nil},
		{
			"all", sqlstore.PostgreSQL,
			servant{"synchronous_commit": "off", "fsync": "off", "full_page_writes": "off", "server_encoding": "LATIN1"},
			[]string{"synchronous_commit is off", "fsync is off", "full_page_writes is off", "server_encoding is LATIN1"},
		},

		{
			"read-only session", sqlstore.PostgreSQL,
			servant{"transaction_read_only": "on", "recovery": "f"}, []string{"default_transaction_read_only is on"},
		},
		{"standby", sqlstore.PostgreSQL, servant{"transaction_read_only": "on", "recovery": "t"}, []string{"pg_is_in_recovery is true"}},

		{"good", sqlstore.MySQL, servant{}, nil},
		{"read-only", sqlstore.MySQL, servant{"read_only": "ON"}, []string{"read_only is ON"}},
		{"read-only, without locks", sqlstore.MySQL, servant{"read_only": "NO_LOCK"}, []string{"read_only is NO_LOCK"}},
		{"super read-only", sqlstore.MySQL, servant{"super_read_only": "ON"}, []string{"super_read_only is ON"}},
		{"engine read-only", sqlstore.MySQL, servant{"innodb_read_only": "ON"}, []string{"innodb_read_only is ON"}},
		{"read-only session", sqlstore.MySQL, servant{"tx_read_only": "ON"}, []string{"tx_read_only is ON"}},
		{"read-only session of MySQL", sqlstore.MySQL, servant{"transaction_read_only": "ON"}, []string{"transaction_read_only is ON"}},
		{"log once a second", sqlstore.MySQL, servant{"innodb_flush_log_at_trx_commit": "0"}, []string{"innodb_flush_log_at_trx_commit is 0"}},
		{"log to the system", sqlstore.MySQL, servant{"innodb_flush_log_at_trx_commit": "2"}, []string{"innodb_flush_log_at_trx_commit is 2"}},
		{"binary log", sqlstore.MySQL, servant{"log_bin": "ON"}, []string{"sync_binlog is 0"}},
		{"binary log, now and then", sqlstore.MySQL, servant{"log_bin": "ON", "sync_binlog": "1000"}, []string{"sync_binlog is 1000"}},
		{"binary log is good", sqlstore.MySQL, servant{"log_bin": "ON", "sync_binlog": "1"}, nil},
		{
			"binary log of statements", sqlstore.MySQL,
			servant{"log_bin": "ON", "sync_binlog": "1", "binlog_format": "STATEMENT"}, []string{"binlog_format is STATEMENT"},
		},
		{"statements without a log are good", sqlstore.MySQL, servant{"binlog_format": "STATEMENT"}, nil},
		{"pages written once", sqlstore.MySQL, servant{"innodb_doublewrite": "OFF"}, []string{"innodb_doublewrite is OFF"}},
		{"the level of MySQL", sqlstore.MySQL, servant{"transaction_isolation": "READ-UNCOMMITTED"}, []string{"transaction_isolation is READ-UNCOMMITTED"}},
		{"cluster", sqlstore.MySQL, servant{"wsrep_on": "ON", "wsrep_sync_wait": "0"}, []string{"wsrep_sync_wait is 0"}},
		{"cluster, not for reads", sqlstore.MySQL, servant{"wsrep_on": "ON", "wsrep_sync_wait": "6"}, []string{"wsrep_sync_wait is 6"}},
		{"cluster is good", sqlstore.MySQL, servant{"wsrep_on": "ON", "wsrep_sync_wait": "1"}, nil},
		{"cluster, more is good", sqlstore.MySQL, servant{"wsrep_on": "ON", "wsrep_sync_wait": "7"}, nil},
		{"no cluster is good", sqlstore.MySQL, servant{"wsrep_on": "OFF", "wsrep_sync_wait": "0"}, nil},
	} {
		t.Run(test.dialect.String()+", "+test.name, func(t *testing.T) {
			db := sql.OpenDB(test.server)
			defer db.Close()
			checkSettings(t, db, test.dialect, test.want...)
		})
	}
}

// TestManagerChecks checks that Manager.Check finds the Store's Check and its
// list of peppers.
func TestManagerChecks(t *testing.T) {
	inMemory := memstore.New()
	mustCommit(t, inMemory, commitOf(newRecord(t, "acme", 1), newRecord(t, "acme", 2)))
	want, err := inMemory.PepperIDs(t.Context())
	is.New(t).NoErr(err)
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		setting := map[sqlstore.Dialect][2]string{
			sqlstore.SQLite:     {"synchronous(OFF)", "synchronous"},
			sqlstore.PostgreSQL: {"synchronous_commit=off", "synchronous_commit"},
			sqlstore.MySQL:      {"sql_mode=''", "sql_mode"},
		}[e.Dialect]
		store := sqlstore.New(e.Database(t).Pool(t, setting[0]), e.Dialect, nil)
		mustCommit(t, store, commitOf(newRecord(t, "acme", 1), newRecord(t, "acme", 2)))
		m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
		is.NoErr(err)
		err = m.Check(t.Context())
		is.Equal(settings(err), []string{setting[1]})
		is.True(errors.Is(err, apikey.ErrPepper))
		is.True(strings.Contains(err.Error(), "7065707065722031")) // "pepper 1"

		ids, err := store.PepperIDs(t.Context())
		is.NoErr(err)
		is.Equal(ids, want)
	})
}

// TestCheckCollationSQLite checks a file whose tables were made by hand.
func TestCheckCollationSQLite(t *testing.T) {
	is := is.New(t)
	file, err := fs.ReadFile(sqlstore.Migrations(sqlstore.SQLite), "001_keys.sql")
	is.NoErr(err)
	db := SQLite.EmptyDatabase(t).Pool(t)
	mustExec(t, db, strings.Replace(string(file), "owner           TEXT    NOT NULL", "owner TEXT COLLATE NOCASE NOT NULL", 1))
	checkSettings(t, db, sqlstore.SQLite, "collation of apikey_keys.owner is NOCASE")
}

// TestCheckWrites checks that a Store which could not write is not fit for use,
// and that Check leaves nothing behind.
func TestCheckWrites(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		is := is.New(t)
		d := e.EmptyDatabase(t)
		d.Migrate(t)
		store := d.Store(t)
		mustCommit(t, store, commitOf(newRecord(t, "acme", 1)))
		is.NoErr(store.Check(t.Context()))
		is.NoErr(store.Check(t.Context()))
		db := d.Pool(t)
		for table, want := range map[string]int{
			"owners": 1, "keys": 1, "credentials": 1, "events": 1, "usage": 0, "usage_days": 0,
		} {
			var n int
			is.NoErr(db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM apikey_"+table).Scan(&n))
			is.Equal(n, want)
		}
		mustCommit(t, store, commitOf(newRecord(t, "acme", 2)))
		is.Equal(len(checkLog(t, store, 0)), 2) // without a gap
		for _, table := range []string{"usage_days", "usage", "events", "credentials", "keys", "owners"} {
			mustExec(t, db, "ALTER TABLE apikey_"+table+" RENAME TO gone")
			is.True(store.Check(t.Context()) != nil)
			mustExec(t, db, "ALTER TABLE gone RENAME TO apikey_"+table)
			is.NoErr(store.Check(t.Context()))
		}
		mustExec(t, db, "DELETE FROM apikey_counter")
		is.True(store.Check(t.Context()) != nil)
	})
}

func shownValue(e *sqlstore.SettingError) string {
	if e.Value == "" {
		return "empty"
	}
	return e.Value
}
