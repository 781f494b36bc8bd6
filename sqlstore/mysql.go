package sqlstore

import (
	"reflect"
	"slices"
)

// The columns of a key, a credential and an owner, in the order in which
// scan.go reads them: what a lookup needs comes first.
const (
	mysqlKey = `
		k.id, k.owner, k.name, k.scopes, k.networks, k.rate_requests, k.rate_period, k.metadata,
		k.created_at, k.disabled_at, k.locked, k.deleted_at,
		k.prefix, k.credential_id, k.issued_at, k.expires_at, k.retiring_id, k.revision`

	mysqlCredential = `
		c.id, c.prefix, c.created_at, c.expires_at, c.retire_before,
		c.scheme, c.pepper_id, c.digest, c.seal`

	mysqlOwner = `o.disabled_at, o.has_ceiling, o.ceiling`

	mysqlOwnerState = mysqlOwner + `, o.disabled_by, o.disabled_reason, o.tokens_until, o.revision, o.nonce, o.seal`

	mysqlEvent = `
		e.seq, e.nonce, e.at, e.kind, e.key_id, e.owner, e.credential_id, e.old_credential_id,
		e.old_expires_at, e.revision, e.actor, e.reason, e.data, e.seal`

	mysqlRecord = mysqlKey + `, k.disabled_by, k.disabled_reason, k.nonce, k.issue_hash, k.seal`

	// One statement reads a whole record, so that it sees it at one moment.
	mysqlGet = `
		SELECT ` + mysqlRecord + `, ` + mysqlCredential + `, u.last_used_at, u.uses
		FROM (SELECT * FROM apikey_keys WHERE `

	mysqlGetJoin = `) AS k
		LEFT JOIN apikey_credentials AS c ON c.key_id = k.id
		LEFT JOIN apikey_usage AS u ON u.credential_id = c.id
		ORDER BY k.id, c.created_at, c.id` + mysqlAll

	// mysqlAll ends each statement that may return several rows: a setting,
	// sql_select_limit, cuts all that have no limit of their own.
	mysqlAll = ` LIMIT 18446744073709551615`

	// A record of a list, with sums over its credentials. No Manager stores more
	// than 2^53 uses of a credential: more cannot make the sum overflow, which
	// would be an error of the whole list.
	mysqlList = `
		SELECT ` + mysqlRecord + `,
			(SELECT c.expires_at FROM apikey_credentials AS c WHERE c.id = k.retiring_id AND c.key_id = k.id) AS retiring_until,
			(SELECT MAX(u.last_used_at) FROM apikey_credentials AS c
				JOIN apikey_usage AS u ON u.credential_id = c.id WHERE c.key_id = k.id) AS last_used_at,
			(SELECT CAST(SUM(LEAST(GREATEST(u.uses, 0), 9007199254740992)) AS SIGNED) FROM apikey_credentials AS c
				JOIN apikey_usage AS u ON u.credential_id = c.id WHERE c.key_id = k.id) AS uses
		FROM (SELECT * FROM apikey_keys AS k WHERE `

	// Uses of credentials that are not stored find no partner. Rows are
	// written in one order, so that two batches cannot deadlock. The text is
	// UTF-8 whatever the character set of the connection is.
	mysqlUses = `
		FROM JSON_TABLE(CONVERT(CAST(? AS BINARY) USING utf8mb4), '$[*]' COLUMNS (
			id           VARCHAR(255) CHARACTER SET utf8mb4 PATH '$[0]',
			day          BIGINT                             PATH '$[1]',
			uses         BIGINT                             PATH '$[2]',
			last_used_at BIGINT                             PATH '$[3]')) AS j
		JOIN apikey_credentials AS c ON c.id = CAST(j.id AS BINARY)`
)

var mysql = dialect{
	name: "mysql",

	// A node of a Galera cluster that gives up a transaction in favour of one
	// of another node may say so in answer to the preparing or closing of a
	// statement, where nobody hears it (MariaDB 10.11 does). What follows is
	// outside of the transaction: without autocommit it begins a new one, and
	// the savepoint, which went with the old one, tells before COMMIT.
	begin: []string{
		"SET autocommit = 0",
		"SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
		"START TRANSACTION",
	},
	mark:    "SAVEPOINT apikey",
	unmark:  "RELEASE SAVEPOINT apikey",
	restore: "SET autocommit = 1",

	gaveUp: func(err error) bool {
		n := mysqlNumber(err)
		// Deadlock, or on Galera a lost certification; the same in Group
		// Replication; no such savepoint.
		return n == 1213 || n == 3101 || n == 1305
	},
	dead:       func(err error) bool { return slices.Contains(mysqlEnds, mysqlNumber(err)) },
	unfit:      func(err error) bool { return slices.Contains(mysqlUnfit, mysqlNumber(err)) },
	onlyReads:  mysqlOnlyReads,
	taken:      func(err error) bool { return mysqlNumber(err) == 1062 }, // duplicate entry
	impossible: never,
	check:      checkMySQL,
	checkHost:  checkHostMySQL,

	modeAdvice: "the server session behind a connection changes, as behind a proxy that shares sessions; " +
		"set interpolateParams=true in the data source name",

	hasSchema: `SELECT COUNT(*) FROM information_schema.tables
		WHERE table_schema = DATABASE() AND table_name = 'apikey_schema'`,
	version: `SELECT version, min_version FROM apikey_schema WHERE id = 1`,

	lookup: `
		SELECT ` + mysqlKey + `, ` + mysqlCredential + `, ` + mysqlOwner + `
		FROM apikey_credentials AS c
		JOIN apikey_keys AS k ON k.id = c.key_id
		LEFT JOIN apikey_owners AS o ON o.id = k.owner
		WHERE c.id = ?`,

	get:      mysqlGet + `id = ?` + mysqlGetJoin,
	getOwned: mysqlGet + `id = ? AND owner = ?` + mysqlGetJoin,

	listHead: mysqlList,
	listTail: ` ORDER BY k.id LIMIT ?) AS k ORDER BY k.id` + mysqlAll,

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

	owner: `SELECT ` + mysqlOwnerState + ` FROM apikey_owners AS o WHERE o.id = ?`,

	events: `SELECT ` + mysqlEvent + ` FROM apikey_events AS e
		WHERE e.seq > ? AND e.seq < ? ORDER BY e.seq LIMIT ?`,
	newestEvents: `SELECT ` + mysqlEvent + ` FROM apikey_events AS e
		WHERE e.seq > ? AND e.seq < ? ORDER BY e.seq DESC LIMIT ?`,
	keyEvents: `SELECT ` + mysqlEvent + ` FROM apikey_events AS e
		WHERE e.key_id = ? AND e.seq > ? AND e.seq < ? ORDER BY e.seq LIMIT ?`,
	newestKeyEvents: `SELECT ` + mysqlEvent + ` FROM apikey_events AS e
		WHERE e.key_id = ? AND e.seq > ? AND e.seq < ? ORDER BY e.seq DESC LIMIT ?`,

	onceNames: `SELECT name, key_id, seq FROM apikey_once
		WHERE seq >= ? AND (seq > ? OR name > ?) ORDER BY seq, name LIMIT ?`,
	onceName: `SELECT name, key_id, seq FROM apikey_once WHERE name = ?`,

	peppers: `SELECT DISTINCT pepper_id FROM apikey_credentials` + mysqlAll,

	// By way of the credentials: theirs is the index, and what AddUsage may have
	// left of one that is gone is not found.
	days: `SELECT d.credential_id, d.day, d.uses, d.last_used_at
		FROM apikey_credentials AS c
		JOIN apikey_usage_days AS d ON d.credential_id = c.id
		WHERE c.key_id = ? AND d.day >= ? AND d.day < ? AND d.day <> 0
		ORDER BY d.day, d.credential_id` + mysqlAll,

	// A row that is there is locked by a change: a lock alone would not reach
	// the other nodes of a Galera cluster, and two of them would each count
	// the keys of an owner without that of the other.
	addOwners: insert{
		`INSERT INTO apikey_owners (id) VALUES `, `(?)`,
		` ON DUPLICATE KEY UPDATE locked = apikey_owners.locked + 1`,
	},
	changeOwner: `
		UPDATE apikey_owners
		SET disabled_at = ?, disabled_by = ?, disabled_reason = ?, has_ceiling = ?, ceiling = ?, tokens_until = ?,
			nonce = ?, seal = ?,
			revision = revision + 1
		WHERE id = ? AND revision = ?`,

	// A row that is there is an error: INSERT IGNORE would also ignore a text
	// that is too long, and cut it.
	addKeys: insert{`
		INSERT INTO apikey_keys (
			id, owner, name, scopes, networks, rate_requests, rate_period, metadata,
			created_at, disabled_at, disabled_by, disabled_reason, locked, deleted_at,
			prefix, credential_id, issued_at, expires_at, retiring_id, nonce, issue_hash, seal, revision)
		VALUES `,
		`(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
		``,
	},
	changeKey: `
		UPDATE apikey_keys
		SET name = ?, scopes = ?, networks = ?, rate_requests = ?, rate_period = ?, metadata = ?,
			created_at = ?, disabled_at = ?, disabled_by = ?, disabled_reason = ?, locked = ?, deleted_at = ?,
			prefix = ?, credential_id = ?, issued_at = ?, expires_at = ?, retiring_id = ?,
			nonce = ?, issue_hash = ?, seal = ?, revision = revision + 1
		WHERE id = ? AND revision = ?`,

	// Reads with a lock see what is committed, not what was when the
	// transaction began, at whichever level a transaction of the host runs.
	countKeys: `SELECT COUNT(*) FROM apikey_keys WHERE owner = ? AND deleted_at = 0 LOCK IN SHARE MODE`,
	removeKey: `DELETE FROM apikey_keys WHERE id = ? AND revision = ?`,

	// As with owners, a row that is required is locked by a change: a lock
	// alone would not reach the other nodes of a Galera cluster.
	ownerRevision: `SELECT revision FROM apikey_owners WHERE id = ? LOCK IN SHARE MODE`,
	lockKey:       `UPDATE apikey_keys SET required = required + 1 WHERE id = ?`,
	keyRevision:   `SELECT revision FROM apikey_keys WHERE id = ? LOCK IN SHARE MODE`,

	credentials: `SELECT ` + mysqlCredential + `, c.is_current FROM apikey_credentials AS c
		WHERE c.key_id = ?` + mysqlAll + ` LOCK IN SHARE MODE`,
	addCredentials: insert{`
		INSERT INTO apikey_credentials (
			id, key_id, prefix, created_at, expires_at, retire_before,
			scheme, pepper_id, digest, seal, is_current)
		VALUES `,
		`(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		``,
	},
	changeCredential: `
		UPDATE apikey_credentials
		SET prefix = ?, created_at = ?, expires_at = ?, retire_before = ?,
			scheme = ?, pepper_id = ?, digest = ?, seal = ?, is_current = ?
		WHERE id = ?`,
	removeCredential: []string{
		`DELETE FROM apikey_usage WHERE credential_id = ?`,
		`DELETE FROM apikey_usage_days WHERE credential_id = ?`,
		`DELETE FROM apikey_credentials WHERE id = ?`,
	},
	// With IN (SELECT ...) MariaDB reads, and locks, all that is used. With
	// sql_safe_updates it refuses a join that does not use these indexes, and
	// of small tables it would rather read all.
	removeCredentials: []string{
		`DELETE u FROM apikey_credentials AS c FORCE INDEX (apikey_credentials_by_key)
			STRAIGHT_JOIN apikey_usage AS u FORCE INDEX (PRIMARY) ON u.credential_id = c.id WHERE c.key_id = ?`,
		`DELETE d FROM apikey_credentials AS c FORCE INDEX (apikey_credentials_by_key)
			STRAIGHT_JOIN apikey_usage_days AS d FORCE INDEX (PRIMARY) ON d.credential_id = c.id WHERE c.key_id = ?`,
		`DELETE FROM apikey_credentials WHERE key_id = ?`,
	},

	addSeq: `UPDATE apikey_counter SET seq = seq + ? WHERE id = 1`,
	seq:    `SELECT seq FROM apikey_counter WHERE id = 1 LOCK IN SHARE MODE`,
	addEvents: insert{`
		INSERT INTO apikey_events (
			seq, nonce, at, kind, key_id, owner, credential_id, old_credential_id,
			old_expires_at, revision, actor, reason, data, seal)
		VALUES `,
		`(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		``,
	},

	addOnce:    insert{`INSERT INTO apikey_once (name, key_id, seq) VALUES `, `(?, ?, ?)`, ``},
	removeOnce: `DELETE FROM apikey_once WHERE key_id = ?`,

	addUsage: []string{`
		INSERT INTO apikey_usage (credential_id, uses, last_used_at)
		SELECT c.id, SUM(j.uses), MAX(j.last_used_at)` + mysqlUses + `
		GROUP BY c.id
		ORDER BY c.id
		ON DUPLICATE KEY UPDATE
			uses = apikey_usage.uses + VALUES(uses),
			last_used_at = GREATEST(apikey_usage.last_used_at, VALUES(last_used_at))`,
		`
		INSERT INTO apikey_usage_days (credential_id, day, key_id, uses, last_used_at)
		SELECT c.id, j.day, c.key_id, SUM(j.uses), MAX(j.last_used_at)` + mysqlUses + `
		GROUP BY c.id, j.day, c.key_id
		ORDER BY c.id, j.day
		ON DUPLICATE KEY UPDATE
			uses = apikey_usage_days.uses + VALUES(uses),
			last_used_at = GREATEST(apikey_usage_days.last_used_at, VALUES(last_used_at))`},
}

// mysqlNumber returns the server's number of an error, 0 if it has none: an
// error that the server did not report. The driver has no method that tells
// it, and to know its type this package would have to import it.
func mysqlNumber(err error) uint16 {
	switch wrapper := err.(type) {
	case nil:
		return 0
	case interface{ Unwrap() error }:
		return mysqlNumber(wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range wrapper.Unwrap() {
			if n := mysqlNumber(e); n != 0 {
				return n
			}
		}
		return 0
	}
	v := reflect.Indirect(reflect.ValueOf(err))
	if v.Kind() != reflect.Struct {
		return 0
	}
	if n := v.FieldByName("Number"); n.IsValid() && n.Kind() == reflect.Uint16 {
		return uint16(n.Uint())
	}
	return 0
}

// mysqlEnds are errors with which a server, or a proxy in front of it, ends a
// connection.
var mysqlEnds = []uint16{
	1053, 1080, // shut down
	1158, 1159, 1160, 1161, 1184, // a packet could not be read or written, in time or at all
	1927, 3169, 4031, // killed, on MariaDB and on MySQL; idle for too long
	2006, 2013, 2055, // of the client's library, which a proxy passes on
}

// mysqlUnfit are errors of a server that is a replica now, and of a Galera
// node that has lost the others.
var mysqlUnfit = []uint16{
	1290, 1836, // --read-only and --super-read-only; the storage engine only reads
	1792, // a transaction that only reads
	1047, // a Galera node that serves nobody
}
