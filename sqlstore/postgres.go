package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// The columns of a key, a credential and an owner, in the order in which
// scan.go reads them: what a lookup needs comes first.
const (
	postgresKey = `
		k.id, k.owner, k.name, k.scopes, k.networks, k.rate_requests, k.rate_period, k.metadata,
		k.created_at, k.disabled_at, k.locked, k.deleted_at,
		k.prefix, k.credential_id, k.issued_at, k.expires_at, k.retiring_id, k.revision`

	postgresCredential = `
		c.id, c.prefix, c.created_at, c.expires_at, c.retire_before,
		c.scheme, c.pepper_id, c.digest, c.seal`

	postgresOwner = `o.disabled_at, o.has_ceiling, o.ceiling`

	postgresOwnerState = postgresOwner + `, o.disabled_by, o.disabled_reason, o.tokens_until, o.revision, o.nonce, o.seal`

	postgresEvent = `
		e.seq, e.nonce, e.at, e.kind, e.key_id, e.owner, e.credential_id, e.old_credential_id,
		e.old_expires_at, e.revision, e.actor, e.reason, e.data, e.seal`

	postgresRecord = postgresKey + `, k.disabled_by, k.disabled_reason, k.nonce, k.issue_hash, k.seal`

	// One statement reads a whole record, so that it sees it at one moment.
	postgresGet = `
		SELECT ` + postgresRecord + `, ` + postgresCredential + `, u.last_used_at, u.uses
		FROM (SELECT * FROM apikey_keys WHERE `

	postgresGetJoin = `) AS k
		LEFT JOIN apikey_credentials AS c ON c.key_id = k.id
		LEFT JOIN apikey_usage AS u ON u.credential_id = c.id
		ORDER BY k.id, c.created_at, c.id`

	// A record of a list, with sums over its credentials. No Manager stores more
	// than 2^53 uses of a credential: more cannot make the sum overflow, which
	// would be an error of the whole list.
	postgresList = `
		SELECT ` + postgresRecord + `,
			(SELECT c.expires_at FROM apikey_credentials AS c WHERE c.id = k.retiring_id AND c.key_id = k.id) AS retiring_until,
			(SELECT MAX(u.last_used_at) FROM apikey_credentials AS c
				JOIN apikey_usage AS u ON u.credential_id = c.id WHERE c.key_id = k.id) AS last_used_at,
			(SELECT SUM(LEAST(GREATEST(u.uses, 0), 9007199254740992))::bigint FROM apikey_credentials AS c
				JOIN apikey_usage AS u ON u.credential_id = c.id WHERE c.key_id = k.id) AS uses
		FROM (SELECT * FROM apikey_keys AS k WHERE `
)

var postgres = dialect{
	name:     "postgres",
	numbered: true,

	begin:      []string{"BEGIN ISOLATION LEVEL READ COMMITTED"},
	gaveUp:     func(err error) bool { s := sqlState(err); return s == "40001" || s == "40P01" }, // serialization failure, deadlock
	dead:       func(err error) bool { return postgresEnds(sqlState(err)) },
	unfit:      func(err error) bool { return sqlState(err) == "25006" }, // a transaction that only reads
	onlyReads:  postgresOnlyReads,
	taken:      never,
	impossible: func(err error) bool { return sqlState(err) == "22021" }, // not in the repertoire: NUL, or no UTF-8
	check:      checkPostgres,
	checkHost:  checkHostPostgres,

	modeAdvice: "the server session behind a connection changes, as behind a pooler in transaction mode; " +
		"with pgx set default_query_exec_mode=exec, with lib/pq set binary_parameters=yes, in the data source name",
	session: `SELECT pg_backend_pid()`,
	transactionID: `SELECT virtualtransaction FROM pg_catalog.pg_locks
		WHERE pid = pg_backend_pid() AND locktype = $1 LIMIT 1`,

	// The number is any that no other program uses.
	lockSchema: `SELECT COUNT(pg_advisory_xact_lock(7022084271526539361))`,
	// Asked of the table and not of to_regclass, which inside of a transaction
	// still answers what it did before another program made the schema.
	hasSchema: `SELECT COUNT(*) FROM pg_catalog.pg_class
		WHERE relname = 'apikey_schema' AND pg_catalog.pg_table_is_visible(oid)`,
	version: `SELECT version, min_version FROM apikey_schema WHERE id = 1`,

	lookup: `
		SELECT ` + postgresKey + `, ` + postgresCredential + `, ` + postgresOwner + `
		FROM apikey_credentials AS c
		JOIN apikey_keys AS k ON k.id = c.key_id
		LEFT JOIN apikey_owners AS o ON o.id = k.owner
		WHERE c.id = $1`,

	get:      postgresGet + `id = $1` + postgresGetJoin,
	getOwned: postgresGet + `id = $1 AND owner = $2` + postgresGetJoin,

	listHead: postgresList,
	listTail: ` ORDER BY k.id LIMIT ?) AS k ORDER BY k.id`,

	owned:           `k.owner = ?`,
	after:           `k.id > ?`,
	notDeleted:      `k.deleted_at = 0`,
	ofCredential:    `k.id = (SELECT c.key_id FROM apikey_credentials AS c WHERE c.id = ?)`,
	expiresFrom:     `k.expires_at >= ?`,
	expiresBefore:   `k.expires_at < ?`,
	expiresFromTill: `k.expires_at >= ? AND k.expires_at < ?`,
	issuedBefore:    `k.issued_at < ?`,
	deletedBefore:   `k.deleted_at > 0 AND k.deleted_at < ?`,
	retiredBefore: `k.id IN (SELECT c.key_id FROM apikey_credentials AS c
		WHERE c.is_current = 0 AND c.expires_at < ?)`,

	owner: `SELECT ` + postgresOwnerState + ` FROM apikey_owners AS o WHERE o.id = $1`,

	events: `SELECT ` + postgresEvent + ` FROM apikey_events AS e
		WHERE e.seq > $1 AND e.seq < $2 ORDER BY e.seq LIMIT $3`,
	newestEvents: `SELECT ` + postgresEvent + ` FROM apikey_events AS e
		WHERE e.seq > $1 AND e.seq < $2 ORDER BY e.seq DESC LIMIT $3`,
	keyEvents: `SELECT ` + postgresEvent + ` FROM apikey_events AS e
		WHERE e.key_id = $1 AND e.seq > $2 AND e.seq < $3 ORDER BY e.seq LIMIT $4`,
	newestKeyEvents: `SELECT ` + postgresEvent + ` FROM apikey_events AS e
		WHERE e.key_id = $1 AND e.seq > $2 AND e.seq < $3 ORDER BY e.seq DESC LIMIT $4`,

	onceNames: `SELECT name, key_id, seq FROM apikey_once
		WHERE seq >= $1 AND (seq > $2 OR name > $3) ORDER BY seq, name LIMIT $4`,
	onceName: `SELECT name, key_id, seq FROM apikey_once WHERE name = $1`,

	peppers: `SELECT DISTINCT pepper_id FROM apikey_credentials`,

	// By way of the credentials: theirs is the index, and what AddUsage may have
	// left of one that is gone is not found.
	days: `SELECT d.credential_id, d.day, d.uses, d.last_used_at
		FROM apikey_credentials AS c
		JOIN apikey_usage_days AS d ON d.credential_id = c.id
		WHERE c.key_id = $1 AND d.day >= $2 AND d.day < $3 AND d.day <> 0
		ORDER BY d.day, d.credential_id`,

	// A row that is there is locked, and not changed: the condition is looked
	// at once it is locked.
	addOwners: insert{
		`INSERT INTO apikey_owners (id) VALUES `, `(?)`,
		` ON CONFLICT (id) DO UPDATE SET id = excluded.id WHERE false`,
	},
	changeOwner: `
		UPDATE apikey_owners
		SET disabled_at = $1, disabled_by = $2, disabled_reason = $3, has_ceiling = $4, ceiling = $5, tokens_until = $6,
			nonce = $7, seal = $8,
			revision = revision + 1
		WHERE id = $9 AND revision = $10`,

	addKeys: insert{`
		INSERT INTO apikey_keys (
			id, owner, name, scopes, networks, rate_requests, rate_period, metadata,
			created_at, disabled_at, disabled_by, disabled_reason, locked, deleted_at,
			prefix, credential_id, issued_at, expires_at, retiring_id, nonce, issue_hash, seal, revision)
		VALUES `,
		`(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
		` ON CONFLICT DO NOTHING`,
	},
	changeKey: `
		UPDATE apikey_keys
		SET name = $1, scopes = $2, networks = $3, rate_requests = $4, rate_period = $5, metadata = $6,
			created_at = $7, disabled_at = $8, disabled_by = $9, disabled_reason = $10, locked = $11, deleted_at = $12,
			prefix = $13, credential_id = $14, issued_at = $15, expires_at = $16, retiring_id = $17,
			nonce = $18, issue_hash = $19, seal = $20, revision = revision + 1
		WHERE id = $21 AND revision = $22`,
	countKeys: `SELECT COUNT(*) FROM apikey_keys WHERE owner = $1 AND deleted_at = 0`,
	removeKey: `DELETE FROM apikey_keys WHERE id = $1 AND revision = $2`,

	// The row of the owner is locked by addOwners.
	ownerRevision: `SELECT revision FROM apikey_owners WHERE id = $1`,
	keyRevision:   `SELECT revision FROM apikey_keys WHERE id = $1 FOR UPDATE`,

	credentials: `SELECT ` + postgresCredential + `, c.is_current FROM apikey_credentials AS c WHERE c.key_id = $1`,
	addCredentials: insert{`
		INSERT INTO apikey_credentials (
			id, key_id, prefix, created_at, expires_at, retire_before,
			scheme, pepper_id, digest, seal, is_current)
		VALUES `,
		`(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		` ON CONFLICT DO NOTHING`,
	},
	changeCredential: `
		UPDATE apikey_credentials
		SET prefix = $1, created_at = $2, expires_at = $3, retire_before = $4,
			scheme = $5, pepper_id = $6, digest = $7, seal = $8, is_current = $9
		WHERE id = $10`,
	removeCredential: []string{
		`DELETE FROM apikey_usage WHERE credential_id = $1`,
		`DELETE FROM apikey_usage_days WHERE credential_id = $1`,
		`DELETE FROM apikey_credentials WHERE id = $1`,
	},
	removeCredentials: []string{
		`DELETE FROM apikey_usage WHERE credential_id IN (SELECT id FROM apikey_credentials WHERE key_id = $1)`,
		`DELETE FROM apikey_usage_days WHERE credential_id IN (SELECT id FROM apikey_credentials WHERE key_id = $1)`,
		`DELETE FROM apikey_credentials WHERE key_id = $1`,
	},

	addSeq: `UPDATE apikey_counter SET seq = seq + $1 WHERE id = 1 RETURNING seq`,
	addEvents: insert{`
		INSERT INTO apikey_events (
			seq, nonce, at, kind, key_id, owner, credential_id, old_credential_id,
			old_expires_at, revision, actor, reason, data, seal)
		VALUES `,
		`(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		``,
	},

	// Both tables by one statement, which reads the uses once. Those of
	// credentials that are not stored find no partner. Rows are written in one
	// order, so that two batches cannot deadlock; the totals, which the main
	// statement writes, come before the days, as where they are removed.
	addOnce:    insert{`INSERT INTO apikey_once (name, key_id, seq) VALUES `, `(?, ?, ?)`, ` ON CONFLICT DO NOTHING`},
	removeOnce: `DELETE FROM apikey_once WHERE key_id = $1 AND key_id <> ''`,

	addUsage: []string{`
		WITH uses AS MATERIALIZED (
			SELECT c.id, (j.value ->> 1)::bigint AS day, c.key_id,
				SUM((j.value ->> 2)::bigint) AS uses, MAX((j.value ->> 3)::bigint) AS last_used_at
			FROM json_array_elements($1::text::json) AS j (value)
			JOIN apikey_credentials AS c ON c.id = j.value ->> 0
			GROUP BY 1, 2, 3
			ORDER BY 1, 2
		), days AS (
			INSERT INTO apikey_usage_days AS u (credential_id, day, key_id, uses, last_used_at)
			SELECT id, day, key_id, uses, last_used_at FROM uses
			ORDER BY id, day
			ON CONFLICT (credential_id, day) DO UPDATE SET
				uses = u.uses + excluded.uses,
				last_used_at = GREATEST(u.last_used_at, excluded.last_used_at)
		)
		INSERT INTO apikey_usage AS u (credential_id, uses, last_used_at)
		SELECT id, SUM(uses), MAX(last_used_at) FROM uses
		GROUP BY id
		ORDER BY id
		ON CONFLICT (credential_id) DO UPDATE SET
			uses = u.uses + excluded.uses,
			last_used_at = GREATEST(u.last_used_at, excluded.last_used_at)`},
}

// sqlState returns the SQLSTATE of an error, "" if it has none: an error that
// the server did not report.
func sqlState(err error) string {
	var coded interface{ SQLState() string }
	if !errors.As(err, &coded) {
		return ""
	}
	return coded.SQLState()
}

// postgresEnds reports whether an error is one with which a server, or a pooler
// in front of it, ends a connection.
func postgresEnds(state string) bool {
	switch state {
	case "57P01", "57P02", "57P03", "57P04", "57P05", // shut down, crashed, not ready, database dropped, idle for too long
		"25P03", "25P04": // a transaction that was idle for too long, or took too long
		return true
	}
	return strings.HasPrefix(state, "08")
}

// postgresSettings are settings with which what was acknowledged can be lost,
// or cannot be stored.
var postgresSettings = []struct {
	name   string
	bad    func(value string) bool
	advice string
}{
	{"synchronous_commit", is("off"),
		"set it to on, in the data source name if it stands there, else for this program's role or database: without it a change that was acknowledged is lost when the server ends in the next moment"},
	{"fsync", is("off"), "set it to on: else the whole database can be destroyed when power fails"},
	{"full_page_writes", is("off"), "set it to on: else the database can be destroyed when power fails"},
	{"server_encoding", func(v string) bool { return v != "UTF8" },
		"make the database with the encoding UTF8: else there are names that it cannot hold"},
}

func is(value string) func(string) bool { return func(v string) bool { return v == value } }

func checkPostgres(ctx context.Context, conn *sql.Conn) error {
	var errs []error
	for _, setting := range postgresSettings {
		var value string
		if err := conn.QueryRowContext(ctx, `SELECT current_setting($1)`, setting.name).Scan(&value); err != nil {
			return err
		}
		if setting.bad(value) {
			errs = append(errs, &SettingError{Setting: setting.name, Value: value, Advice: setting.advice})
		}
	}
	if err := checkPostgresWrites(ctx, conn); err != nil {
		errs = append(errs, err)
	}
	// A column has the database's own collation, "default", unless its table
	// says otherwise.
	foreign, err := texts(ctx, conn, `
		SELECT c.relname || '.' || a.attname || ' ' || l.collname
		FROM pg_attribute AS a
		JOIN pg_class AS c ON c.oid = a.attrelid
		JOIN pg_collation AS l ON l.oid = a.attcollation
		WHERE c.oid IN (`+postgresTables+`)
			AND l.collname NOT IN ('C', 'POSIX')
		ORDER BY 1`)
	if err != nil {
		return err
	}
	unlogged, err := texts(ctx, conn, `
		SELECT relname || ' ' || CASE relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'TEMPORARY' END
		FROM pg_class
		WHERE oid IN (`+postgresTables+`) AND relpersistence <> 'p'
		ORDER BY 1`)
	if err != nil {
		return err
	}
	errs = append(errs, columnErrors("persistence", unlogged, "make it a table that is logged: else it is emptied when the server ends")...)
	return errors.Join(append(errs, columnErrors("collation", foreign,
		`give the column the collation "C": else other texts than those stored can match, and pages of a list can leave out keys`)...)...)
}

// checkPostgresWrites reports a session that only reads, as all are on a
// standby.
func checkPostgresWrites(ctx context.Context, conn *sql.Conn) error {
	onlyReads, err := postgresOnlyReads(ctx, conn)
	if err != nil || !onlyReads {
		return err
	}
	var standby bool
	if err := conn.QueryRowContext(ctx, `SELECT pg_is_in_recovery()`).Scan(&standby); err != nil {
		return err
	}
	if standby {
		return &SettingError{Setting: "pg_is_in_recovery", Value: "true", Advice: onlyReadsAdvice}
	}
	return &SettingError{Setting: "default_transaction_read_only", Value: "on", Advice: onlyReadsAdvice}
}

const postgresTables = `
				to_regclass('apikey_keys'), to_regclass('apikey_credentials'), to_regclass('apikey_owners'),
				to_regclass('apikey_events'), to_regclass('apikey_usage'), to_regclass('apikey_usage_days'),
				to_regclass('apikey_once'), to_regclass('apikey_counter'), to_regclass('apikey_schema')`

// checkHostPostgres refuses a level at which the transaction does not see what
// others commit: the limit of an owner would count too few.
func checkHostPostgres(ctx context.Context, tx querier) error {
	var level text
	if err := tx.QueryRowContext(ctx, `SELECT current_setting('transaction_isolation')`).Scan(&level); err != nil {
		return err
	}
	if level != "read committed" && level != "read uncommitted" { // which PostgreSQL takes for the same
		return &SettingError{
			Setting: "transaction_isolation", Value: strings.ToUpper(string(level)),
			Advice: "begin the transaction with sql.LevelReadCommitted: another does not see the keys that others have made",
		}
	}
	return nil
}

// texts returns the rows of one column.
func texts(ctx context.Context, q querier, statement string) ([]string, error) {
	rows, err := q.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var t text
		if err := rows.Scan(&t); err != nil {
			return nil, err
		}
		all = append(all, string(t))
	}
	return all, rows.Err()
}

// columnErrors returns a SettingError for each row "table.column value".
func columnErrors(what string, rows []string, advice string) []error {
	var errs []error
	for _, row := range rows {
		column, value, _ := strings.Cut(row, " ")
		errs = append(errs, &SettingError{Setting: what + " of " + column, Value: value, Advice: advice})
	}
	return errs
}
