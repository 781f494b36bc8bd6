package dbtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// sessionSetting is a setting of every connection under which everything works,
// or which Check reports under the name that follows " -> ".
type sessionSetting = string

// strict is a mode of MariaDB beside the one that Check asks for.
func strict(mode string) sessionSetting {
	return "sql_mode='STRICT_TRANS_TABLES," + mode + "'"
}

// sessionSettings are settings that an application, or its database, may have
// for reasons of its own.
var sessionSettings = map[sqlstore.Dialect][]sessionSetting{
	sqlstore.PostgreSQL: {
		"standard_conforming_strings=off", "escape_string_warning=off", "backslash_quote=off", "array_nulls=off",
		"transform_null_equals=on", "quote_all_identifiers=on", "DateStyle=SQL, DMY", "IntervalStyle=sql_standard",
		"TimeZone=Asia/Kathmandu", "bytea_output=escape", "extra_float_digits=-15", "xmloption=document",
		"client_min_messages=debug5", "default_transaction_isolation=serializable", "default_transaction_isolation=repeatable read",
		"default_transaction_deferrable=on", "default_transaction_read_only=on -> default_transaction_read_only",
		"lock_timeout=20000", "statement_timeout=20000", "idle_in_transaction_session_timeout=20000",
		"search_path=app",
		"row_security=off", "check_function_bodies=off", "plan_cache_mode=force_generic_plan", "plan_cache_mode=force_custom_plan",
		"enable_indexscan=off", "enable_seqscan=off", "enable_nestloop=off", "enable_sort=off", "enable_hashjoin=off", "enable_bitmapscan=off",
		"force_parallel_mode=on", "synchronize_seqscans=off", "join_collapse_limit=1", "from_collapse_limit=1", "geqo_threshold=2",
		"work_mem=64", "cursor_tuple_fraction=0", "jit=off", "constraint_exclusion=on", "default_toast_compression=lz4",
		"default_tablespace=pg_default", "timezone_abbreviations=India", "application_name=x",
		"synchronous_commit=remote_write", "commit_siblings=0", "stats_fetch_consistency=snapshot",
	},
	sqlstore.MySQL: {
		"sql_safe_updates=1", "sql_select_limit=1", "sql_select_limit=0 -> sql_select_limit",
		"sql_big_selects=0 -> sql_big_selects", "max_join_size=1 -> sql_big_selects",
		strict("ANSI_QUOTES"), strict("ANSI"), strict("NO_BACKSLASH_ESCAPES"), strict("PIPES_AS_CONCAT"), strict("IGNORE_SPACE"),
		strict("ONLY_FULL_GROUP_BY"), strict("HIGH_NOT_PRECEDENCE"), strict("NO_UNSIGNED_SUBTRACTION"), strict("PAD_CHAR_TO_FULL_LENGTH"),
		strict("EMPTY_STRING_IS_NULL") + " -> sql_mode", strict("SIMULTANEOUS_ASSIGNMENT"), strict("TIME_ROUND_FRACTIONAL"), strict("REAL_AS_FLOAT"),
		strict("NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO"), strict("NO_AUTO_VALUE_ON_ZERO"), strict("NO_ENGINE_SUBSTITUTION"),
		strict("ORACLE"), strict("MSSQL"), strict("DB2"), strict("MAXDB"), strict("TRADITIONAL"), strict("NO_DIR_IN_CREATE"), strict("IGNORE_BAD_TABLE_OPTIONS"),
		"sql_mode='NO_ENGINE_SUBSTITUTION' -> sql_mode", "autocommit=0 -> autocommit",
		"completion_type=1", "completion_type=2", "time_zone='+05:45'", "foreign_key_checks=0", "unique_checks=0", "check_constraint_checks=0",
		"innodb_lock_wait_timeout=20", "lock_wait_timeout=20", "max_statement_time=20", "group_concat_max_len=4",
		"charset=latin1", "charset=utf8mb3", "collation=utf8mb4_bin", "collation=utf8mb4_turkish_ci", "collation_connection=latin1_german2_ci -> character_set_connection", "character_set_results=NULL", "character_set_client=latin1 -> character_set_connection",
		"sql_auto_is_null=1", "sql_notes=0", "sql_warnings=1", "sql_buffer_result=1", "sql_quote_show_create=0", "big_tables=1", "low_priority_updates=1",
		"tx_isolation='SERIALIZABLE'", "tx_isolation='READ-COMMITTED'", "tx_isolation='READ-UNCOMMITTED' -> tx_isolation", "tx_read_only=1 -> tx_read_only",
		"default_storage_engine=MyISAM", "old_mode=''", "div_precision_increment=0", "max_error_count=0", "sql_if_exists=1", "innodb_strict_mode=0",
		"max_sort_length=64 -> max_sort_length", "max_sort_length=1024", "max_length_for_sort_data=4", "tmp_table_size=1024", "join_cache_level=8",
		"optimizer_switch='derived_merge=off'", "optimizer_switch='semijoin=off,materialization=off,subquery_cache=off'", "optimizer_use_condition_selectivity=1",
		"query_cache_type=0", "lc_messages='de_DE'", "lc_time_names='de_DE'", "updatable_views_with_limit=NO", "explicit_defaults_for_timestamp=0",
		"clientFoundRows=true", "parseTime=true", "columnsWithAlias=true", "multiStatements=true", "interpolateParams=true", "checkConnLiveness=false", "rejectReadOnly=true", "compress=true",
	},
	sqlstore.SQLite: {
		"case_sensitive_like(1)", "recursive_triggers(1)", "foreign_keys(1)", "query_only(1) -> query_only", "reverse_unordered_selects(1)",
		"count_changes(1)", "short_column_names(0)", "full_column_names(1)", "empty_result_callbacks(1)", "legacy_alter_table(1)", "legacy_file_format(1)",
		"ignore_check_constraints(1)", "trusted_schema(0)", "cell_size_check(1)", "secure_delete(1)", "temp_store(2)", "automatic_index(0)",
		"encoding('UTF-16le') -> encoding", "auto_vacuum(1)", "page_size(512)", "cache_size(1)", "mmap_size(65536)", "wal_autocheckpoint(1)", "journal_size_limit(0)",
		"locking_mode(EXCLUSIVE) -> locking_mode", "read_uncommitted(1) -> read_uncommitted", "defer_foreign_keys(1)", "writable_schema(1)", "threads(4)",
		"journal_mode(TRUNCATE)", "journal_mode(PERSIST)", "synchronous(EXTRA)", "checkpoint_fullfsync(1)", "cache_spill(0)",
	},
}

// TestSessionSettings checks that Migrate, Check and every operation work under
// each setting of a session, or that Check reports this setting and no other.
func TestSessionSettings(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		if e.Name == PostgresPQ.Name && !long {
			return
		}
		for _, setting := range sessionSettings[e.Dialect] {
			setting, reported, unfit := strings.Cut(setting, " -> ")
			t.Run(setting, func(t *testing.T) {
				if e.server != nil {
					t.Parallel()
				}
				d := e.EmptyDatabase(t)
				if e.Dialect == sqlstore.PostgreSQL {
					mustExec(t, d.Pool(t), "CREATE SCHEMA app")
				}
				db := d.Pool(t, setting)
				db.SetMaxOpenConns(2)
				ctx := t.Context()
				// On connections of its own: a transaction sets autocommit.
				first := d.Pool(t, setting)
				err := sqlstore.Migrate(ctx, first, e.Dialect)
				first.Close()
				if err != nil {
					if !unfit {
						t.Fatal("migrate: ", err)
					}
					d.Migrate(t) // by an administrator
				}
				err = sqlstore.New(db, e.Dialect, nil).Check(ctx)
				if unfit {
					found := settingErrors(err)
					if len(found) == 0 || slices.ContainsFunc(found, func(e *sqlstore.SettingError) bool {
						return !strings.HasPrefix(e.Setting, reported)
					}) {
						t.Errorf("Check reports %v, and not only %s", err, reported)
					}
					return
				}
				if err != nil {
					t.Error("check: ", err)
				}
				p := program{Dialect: e.Dialect.String(), Name: "ö", Callers: 1, Calls: len(cycle)}
				if _, err := p.run(ctx, db, func() {}); err != nil {
					t.Error(err)
				}
				readAll(t, sqlstore.New(db, e.Dialect, nil))
			})
		}
	})
}

// TestAddUsageUnderCharset counts the use of a credential whose id is not ASCII, on
// connections with another character set.
func TestAddUsageUnderCharset(t *testing.T) {
	Each(t, func(t *testing.T, e Engine) {
		if e.Dialect != sqlstore.MySQL {
			return
		}
		for _, setting := range []string{"charset=latin1", "charset=utf8mb3", "charset=utf8mb4"} {
			t.Run(setting, func(t *testing.T) {
				for _, interpolate := range []string{"false", "true"} {
					store := sqlstore.New(e.Database(t).Pool(t, setting, "interpolateParams="+interpolate), e.Dialect, nil)
					r := newRecord(t, "acme", 1)
					r.Key.CredentialID, r.Credentials[0].ID = "x\u00e9\u2028", "x\u00e9\u2028"
					mustCommit(t, store, commitOf(r))
					u := apikey.Usage{KeyID: r.Key.ID, CredentialID: r.Key.CredentialID, Day: start, Uses: 1, LastUsedAt: start}
					if err := store.AddUsage(t.Context(), []apikey.Usage{u}); err != nil {
						t.Fatal(err)
					}
					got, err := store.Get(t.Context(), r.Key.ID, "")
					if err != nil || got.Credentials[0].Uses != 1 {
						t.Errorf("interpolateParams=%s: %d uses: %v", interpolate, got.Credentials[0].Uses, err)
					}
				}
			})
		}
	})
}

// readAll checks that each call which reads several rows returns all of them.
func readAll(t *testing.T, store *sqlstore.Store) {
	t.Helper()
	is := is.New(t)
	is.Helper()
	ctx := t.Context()
	before := len(checkLog(t, store, 0))
	var uses []apikey.Usage
	for n := range 3 {
		r := newRecord(t, "several", n)
		second := newRecord(t, "several", 100+n).Credentials[0]
		second.PepperID = fmt.Sprint("other ", n)
		r.Credentials = append(r.Credentials, second)
		mustCommit(t, store, commitOf(r))
		for _, c := range r.Credentials {
			for day := range 2 {
				at := start.AddDate(0, 0, day)
				uses = append(uses, apikey.Usage{KeyID: r.Key.ID, CredentialID: c.ID, Day: at, Uses: 1, LastUsedAt: at})
			}
		}
	}
	is.NoErr(store.AddUsage(ctx, uses))
	records, err := store.List(ctx, apikey.Query{Owner: "several", Limit: 100})
	is.NoErr(err)
	is.Equal(len(records), 3)
	got, err := store.Get(ctx, records[1].Key.ID, "")
	is.NoErr(err)
	is.Equal(len(got.Credentials), 2)
	days, err := store.DailyUsage(ctx, apikey.UsageQuery{KeyID: got.Key.ID, From: start, Until: start.AddDate(0, 0, 3)})
	is.NoErr(err)
	is.Equal(len(days), 4)
	peppers, err := store.PepperIDs(ctx)
	is.NoErr(err)
	is.True(len(peppers) > 3)
	is.Equal(len(checkLog(t, store, 0)), before+3)
}
