package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
)

// checkMySQL reports settings of the server and the session, storage engines and
// collations with which the Store does not work.
func checkMySQL(ctx context.Context, conn *sql.Conn) error {
	if err := checkSelects(ctx, conn); err != nil {
		return err
	}
	settings, err := variables(ctx, conn)
	if err != nil {
		return err
	}
	var errs []error
	bad := func(setting, advice string) {
		errs = append(errs, &SettingError{Setting: setting, Value: settings[setting], Advice: advice})
	}
	if settings["innodb_flush_log_at_trx_commit"] != "1" {
		bad("innodb_flush_log_at_trx_commit", "set it to 1: else changes of the last second that were acknowledged are lost when the server or the machine ends")
	}
	if settings["innodb_doublewrite"] == "OFF" {
		bad("innodb_doublewrite", "set it to ON: else the database can be destroyed when power fails")
	}
	if settings["log_bin"] == "ON" && settings["sync_binlog"] != "1" {
		bad("sync_binlog", "set it to 1: else changes that were acknowledged can be lost when power fails")
	}
	if settings["log_bin"] == "ON" && settings["binlog_format"] == "STATEMENT" {
		bad("binlog_format", "set it to ROW or MIXED: else the server refuses every change at READ COMMITTED")
	}
	if mode := settings["sql_mode"]; !strings.Contains(mode, "STRICT_TRANS_TABLES") && !strings.Contains(mode, "STRICT_ALL_TABLES") {
		bad("sql_mode", "add STRICT_TRANS_TABLES, in the data source name if it is set there: else a text that is too long is cut instead of refused")
	}
	if strings.Contains(settings["sql_mode"], "EMPTY_STRING_IS_NULL") {
		bad("sql_mode", "remove EMPTY_STRING_IS_NULL: with it the database refuses to store empty texts")
	}
	if client, connection := settings["character_set_client"], settings["character_set_connection"]; client != connection {
		bad("character_set_connection", "set it to "+client+", as character_set_client is, with charset or collation in the data source name: otherwise the server changes the bytes that it is sent")
	}
	if n, err := strconv.Atoi(settings["max_sort_length"]); err == nil && n < 255 {
		bad("max_sort_length", "set it to 1024, the default: otherwise ids that begin alike are not sorted")
	}
	// What reads is not in a transaction of ours.
	if settings["autocommit"] != "ON" {
		bad("autocommit", "set it to 1: else a connection goes on to read what was when it first read, and keys that were stopped are accepted")
	}
	for _, level := range []string{"transaction_isolation", "tx_isolation"} { // as they are called, and were
		if settings[level] == "READ-UNCOMMITTED" {
			bad(level, "set it to READ-COMMITTED: else what is read may never be committed")
			break
		}
	}
	for _, setting := range mysqlReadOnly {
		if value, ok := settings[setting]; ok && !strings.EqualFold(value, "OFF") {
			bad(setting, onlyReadsAdvice)
		}
	}
	// Galera
	if n, err := strconv.Atoi(settings["wsrep_sync_wait"]); settings["wsrep_on"] == "ON" && (err != nil || n&1 == 0) { // 1 is for what reads
		bad("wsrep_sync_wait", "set it to 1, in the data source name: else a node of the cluster can read what another node has replaced")
	}

	engines, err := texts(ctx, conn, `
		SELECT CONCAT(table_name, ' ', engine) FROM information_schema.tables
		WHERE table_schema = DATABASE() AND `+mysqlTables+` AND engine <> 'InnoDB'
		ORDER BY 1`+mysqlAll)
	if err != nil {
		return err
	}
	errs = append(errs, columnErrors("engine", engines, "make it an InnoDB table: others have no transactions")...)
	collations, err := texts(ctx, conn, `
		SELECT CONCAT(table_name, '.', column_name, ' ', collation_name) FROM information_schema.columns
		WHERE table_schema = DATABASE() AND `+mysqlTables+` AND collation_name IS NOT NULL
		ORDER BY 1`+mysqlAll)
	if err != nil {
		return err
	}
	return errors.Join(append(errs, columnErrors("collation", collations,
		"make the column VARBINARY or BLOB: else other texts than those stored can match")...)...)
}

const mysqlTables = `table_name IN ('apikey_keys', 'apikey_credentials', 'apikey_owners', 'apikey_events',
			'apikey_usage', 'apikey_usage_days', 'apikey_once', 'apikey_counter', 'apikey_schema')`

// checkSelects reports settings that make the server refuse or cut what Check
// itself reads. It reads from no table.
func checkSelects(ctx context.Context, q querier) error {
	var none, big flag
	err := q.QueryRowContext(ctx, `SELECT @@sql_select_limit = 0, @@sql_big_selects LIMIT 1`).Scan(&none, &big)
	switch {
	case err != nil:
		return err
	case bool(none):
		return &SettingError{Setting: "sql_select_limit", Value: "0", Advice: "set it to DEFAULT: with it the server returns no rows"}
	case !bool(big):
		return &SettingError{
			Setting: "sql_big_selects", Value: "OFF",
			Advice: "set it to ON, or max_join_size to DEFAULT: otherwise the server refuses to read from tables once they have grown",
		}
	}
	return nil
}

// mysqlVariables are those of the session that Check looks at. Which there are
// depends on the server.
var mysqlVariables = append([]string{
	"innodb_flush_log_at_trx_commit", "innodb_doublewrite", "log_bin", "sync_binlog", "binlog_format", "sql_mode",
	"autocommit", "tx_isolation", "transaction_isolation", "wsrep_on", "wsrep_sync_wait",
	"character_set_client", "character_set_connection", "max_sort_length",
}, mysqlReadOnly...)

// variables returns the values of mysqlVariables. It asks for one at a time,
// because sql_select_limit also cuts what SHOW returns.
func variables(ctx context.Context, q querier) (map[string]string, error) {
	all := map[string]string{}
	for _, name := range mysqlVariables {
		var shown, value text
		err := q.QueryRowContext(ctx, `SHOW VARIABLES WHERE Variable_name = '`+name+`'`).Scan(&shown, &value)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all[name] = string(value)
	}
	return all, nil
}

// checkHostMySQL refuses, on a node of a Galera cluster, a driver that prepares
// statements: see dialect.begin for what can be lost then. The transaction of a
// host cannot be guarded as our own is, since it has begun.
func checkHostMySQL(ctx context.Context, tx querier) error {
	on, err := shown(ctx, tx, `SHOW VARIABLES LIKE 'wsrep_on'`)
	if err != nil || on != "ON" {
		return err
	}
	const count = `SHOW SESSION STATUS LIKE 'Com_stmt_prepare'`
	before, err := shown(ctx, tx, count)
	if err != nil {
		return err
	}
	var one number
	if err := tx.QueryRowContext(ctx, `SELECT ?`, 1).Scan(&one); err != nil {
		return err
	}
	after, err := shown(ctx, tx, count)
	if err != nil || after == before {
		return err
	}
	return &SettingError{
		Setting: "interpolateParams", Value: "false",
		Advice: "set it to true in the data source name: else a Galera cluster can give up a transaction, and commit the second half of it",
	}
}

// shown returns the value of a SHOW statement, "" if it shows none.
func shown(ctx context.Context, q querier, statement string) (string, error) {
	var name, value text
	err := q.QueryRowContext(ctx, statement).Scan(&name, &value)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return string(value), err
}
