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
	sqliteKey = `
		k.id, k.owner, k.name, k.scopes, k.networks, k.rate_requests, k.rate_period, k.metadata,
		k.created_at, k.disabled_at, k.locked, k.deleted_at,
		k.prefix, k.credential_id, k.issued_at, k.expires_at, k.retiring_id, k.revision`

	sqliteCredential = `
		c.id, c.prefix, c.created_at, c.expires_at, c.retire_before,
		c.scheme, c.pepper_id, c.digest, c.seal`

	sqliteOwner = `o.disabled_at, o.has_ceiling, o.ceiling`

	sqliteOwnerState = sqliteOwner + `, o.disabled_by, o.disabled_reason, o.tokens_until, o.revision, o.nonce, o.seal`

	sqliteEvent = `
		e.seq, e.nonce, e.at, e.kind, e.key_id, e.owner, e.credential_id, e.old_credential_id,
		e.old_expires_at, e.revision, e.actor, e.reason, e.data, e.seal`

	sqliteRecord = sqliteKey + `, k.disabled_by, k.disabled_reason, k.nonce, k.issue_hash, k.seal`

	// One statement reads a whole record, so that it sees it at one moment.
	sqliteGet = `
		SELECT ` + sqliteRecord + `, ` + sqliteCredential + `, u.last_used_at, u.uses
		FROM (SELECT * FROM apikey_keys WHERE `

	sqliteGetJoin = `) AS k
		LEFT JOIN apikey_credentials AS c ON c.key_id = k.id
		LEFT JOIN apikey_usage AS u ON u.credential_id = c.id
		ORDER BY k.id, c.created_at, c.id`

	// A record of a list, with sums over its credentials. No Manager stores more
	// than 2^53 uses of a credential: more cannot make the sum overflow, which
	// would be an error of the whole list.
	sqliteList = `
		SELECT ` + sqliteRecord + `,
			(SELECT c.expires_at FROM apikey_credentials AS c WHERE c.id = k.retiring_id AND c.key_id = k.id) AS retiring_until,
			(SELECT MAX(u.last_used_at) FROM apikey_credentials AS c
				JOIN apikey_usage AS u ON u.credential_id = c.id WHERE c.key_id = k.id) AS last_used_at,
			(SELECT SUM(MIN(MAX(u.uses, 0), 9007199254740992)) FROM apikey_credentials AS c
				JOIN apikey_usage AS u ON u.credential_id = c.id WHERE c.key_id = k.id) AS uses
		FROM (SELECT * FROM apikey_keys AS k WHERE `

	// Uses of credentials that are not stored find no partner; those of one
	// credential are added one after the other. CROSS keeps the order of the
	// join; WHERE true tells ON CONFLICT from the ON of a join.
	sqliteUses = `
		FROM json_each(?) AS j
		CROSS JOIN apikey_credentials AS c ON c.id = j.value ->> 0
		WHERE true`
)

var sqlite = dialect{
	name:      "sqlite",
	oneWriter: true,
	embedded:  true,

	keepsLookup: true,

	// One that first reads and then writes could find that another has written
	// in between: this is the only writer from its beginning.
	begin:      []string{"BEGIN IMMEDIATE"},
	gaveUp:     sqliteGaveUp,
	dead:       never,
	unfit:      never,
	onlyReads:  func(context.Context, querier) (bool, error) { return false, nil },
	taken:      never,
	impossible: never,
	check:      checkSQLite,
	checkHost:  func(context.Context, querier) error { return nil },

	hasSchema: `SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'apikey_schema'`,
	version:   `SELECT version, min_version FROM apikey_schema WHERE id = 1`,

	lookup: `
		SELECT ` + sqliteKey + `, ` + sqliteCredential + `, ` + sqliteOwner + `
		FROM apikey_credentials AS c
		JOIN apikey_keys AS k ON k.id = c.key_id
		LEFT JOIN apikey_owners AS o ON o.id = k.owner
		WHERE c.id = ?`,

	get:      sqliteGet + `id = ?` + sqliteGetJoin,
	getOwned: sqliteGet + `id = ? AND owner = ?` + sqliteGetJoin,

	listHead: sqliteList,
	listTail: ` ORDER BY k.id LIMIT ?) AS k ORDER BY k.id`,

	// SQLite takes the index of expires_at for two bounds; for one, which may
	// leave nearly all keys, it reads in the order of ids instead of sorting.
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

	owner: `SELECT ` + sqliteOwnerState + ` FROM apikey_owners AS o WHERE o.id = ?`,

	events: `SELECT ` + sqliteEvent + ` FROM apikey_events AS e
		WHERE e.seq > ? AND e.seq < ? ORDER BY e.seq LIMIT ?`,
	newestEvents: `SELECT ` + sqliteEvent + ` FROM apikey_events AS e
		WHERE e.seq > ? AND e.seq < ? ORDER BY e.seq DESC LIMIT ?`,
	keyEvents: `SELECT ` + sqliteEvent + ` FROM apikey_events AS e
		WHERE e.key_id = ? AND e.seq > ? AND e.seq < ? ORDER BY e.seq LIMIT ?`,
	newestKeyEvents: `SELECT ` + sqliteEvent + ` FROM apikey_events AS e
		WHERE e.key_id = ? AND e.seq > ? AND e.seq < ? ORDER BY e.seq DESC LIMIT ?`,

	onceNames: `SELECT name, key_id, seq FROM apikey_once
		WHERE seq >= ? AND (seq > ? OR name > ?) ORDER BY seq, name LIMIT ?`,
	onceName: `SELECT name, key_id, seq FROM apikey_once WHERE name = ?`,

	peppers: `SELECT DISTINCT pepper_id FROM apikey_credentials`,

	// By way of the credentials: theirs is the index, and what AddUsage may have
	// left of one that is gone is not found.
	days: `SELECT d.credential_id, d.day, d.uses, d.last_used_at
		FROM apikey_credentials AS c
		JOIN apikey_usage_days AS d ON d.credential_id = c.id
		WHERE c.key_id = ? AND d.day >= ? AND d.day < ? AND d.day <> 0
		ORDER BY d.day, d.credential_id`,

	addOwners: insert{`INSERT INTO apikey_owners (id) VALUES `, `(?)`, ` ON CONFLICT DO NOTHING`},
	changeOwner: `
		UPDATE apikey_owners
		SET disabled_at = ?, disabled_by = ?, disabled_reason = ?, has_ceiling = ?, ceiling = ?, tokens_until = ?,
			nonce = ?, seal = ?,
			revision = revision + 1
		WHERE id = ? AND revision = ?`,

	addKeys: insert{`
		INSERT INTO apikey_keys (
			id, owner, name, scopes, networks, rate_requests, rate_period, metadata,
			created_at, disabled_at, disabled_by, disabled_reason, locked, deleted_at,
			prefix, credential_id, issued_at, expires_at, retiring_id, nonce, issue_hash, seal, revision)
		VALUES `,
		`(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
		` ON CONFLICT DO NOTHING`},
	changeKey: `
		UPDATE apikey_keys
		SET name = ?, scopes = ?, networks = ?, rate_requests = ?, rate_period = ?, metadata = ?,
			created_at = ?, disabled_at = ?, disabled_by = ?, disabled_reason = ?, locked = ?, deleted_at = ?,
			prefix = ?, credential_id = ?, issued_at = ?, expires_at = ?, retiring_id = ?, nonce = ?, issue_hash = ?, seal = ?,
			revision = revision + 1
		WHERE id = ? AND revision = ?`,
	countKeys: `SELECT COUNT(*) FROM apikey_keys WHERE owner = ? AND deleted_at = 0`,
	removeKey: `DELETE FROM apikey_keys WHERE id = ? AND revision = ?`,

	// In a transaction of the host this may be the first statement: one that
	// writes makes it the only writer before it reads.
	ownerRevision: `SELECT revision FROM apikey_owners WHERE id = ?`,
	lockKey:       `UPDATE apikey_keys SET revision = revision WHERE id = ?`,
	keyRevision:   `SELECT revision FROM apikey_keys WHERE id = ?`,

	credentials: `SELECT ` + sqliteCredential + `, c.is_current FROM apikey_credentials AS c WHERE c.key_id = ?`,
	addCredentials: insert{`
		INSERT INTO apikey_credentials (
			id, key_id, prefix, created_at, expires_at, retire_before,
			scheme, pepper_id, digest, seal, is_current)
		VALUES `,
		`(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		` ON CONFLICT DO NOTHING`},
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
	removeCredentials: []string{
		`DELETE FROM apikey_usage WHERE credential_id IN (SELECT id FROM apikey_credentials WHERE key_id = ?)`,
		`DELETE FROM apikey_usage_days WHERE credential_id IN (SELECT id FROM apikey_credentials WHERE key_id = ?)`,
		`DELETE FROM apikey_credentials WHERE key_id = ?`,
	},

	addSeq: `UPDATE apikey_counter SET seq = seq + ? WHERE id = 1 RETURNING seq`,
	addEvents: insert{`
		INSERT INTO apikey_events (
			seq, nonce, at, kind, key_id, owner, credential_id, old_credential_id,
			old_expires_at, revision, actor, reason, data, seal)
		VALUES `,
		`(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		``},

	addOnce:    insert{`INSERT INTO apikey_once (name, key_id, seq) VALUES `, `(?, ?, ?)`, ` ON CONFLICT DO NOTHING`},
	removeOnce: `DELETE FROM apikey_once WHERE key_id = ? AND key_id <> ''`,

	addUsage: []string{`
		INSERT INTO apikey_usage (credential_id, uses, last_used_at)
		SELECT c.id, j.value ->> 2, j.value ->> 3` + sqliteUses + `
		ON CONFLICT (credential_id) DO UPDATE SET
			uses = uses + excluded.uses,
			last_used_at = MAX(last_used_at, excluded.last_used_at)`,
		`
		INSERT INTO apikey_usage_days (credential_id, day, key_id, uses, last_used_at)
		SELECT c.id, j.value ->> 1, c.key_id, j.value ->> 2, j.value ->> 3` + sqliteUses + `
		ON CONFLICT (credential_id, day) DO UPDATE SET
			uses = uses + excluded.uses,
			last_used_at = MAX(last_used_at, excluded.last_used_at)`},
}

// sqliteGaveUp reports whether an error is SQLITE_BUSY or SQLITE_LOCKED, the
// codes 5 and 6, or one of their extended codes.
func sqliteGaveUp(err error) bool {
	var coded interface{ Code() int }
	if !errors.As(err, &coded) {
		return false
	}
	const busy, locked = 5, 6
	code := coded.Code() & 0xff
	return code == busy || code == locked
}

func never(error) bool { return false }

func checkSQLite(ctx context.Context, conn *sql.Conn) error {
	var synchronous, timeout number
	if err := conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
		return err
	}
	if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&timeout); err != nil {
		return err
	}
	var journal, file string
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&journal); err != nil {
		return err
	}
	if err := conn.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&file); err != nil {
		return err
	}
	errs, err := checkPragmas(ctx, conn)
	if err != nil {
		return err
	}
	if journal == "off" || journal == "memory" && file != "" { // without a file it is always memory
		errs = append(errs, &SettingError{
			Setting: "journal_mode", Value: strings.ToUpper(journal),
			Advice: "set it to WAL, in the data source name: else the file is destroyed when a transaction is rolled back, or when the program ends in the middle of one",
		})
	}
	if synchronous == 0 {
		errs = append(errs, &SettingError{
			Setting: "synchronous", Value: "OFF",
			Advice: "set it to FULL, or NORMAL with journal_mode WAL, in the data source name: else the file can be destroyed when power fails",
		})
	}
	if timeout == 0 {
		errs = append(errs, &SettingError{
			Setting: "busy_timeout", Value: "0",
			Advice: "set it to some seconds, in the data source name: else two programs that write at once fail instead of waiting",
		})
	}
	// The collation of a column is told for the indexes that it is in; those of
	// the ids and owners are.
	folded, err := texts(ctx, conn, `
		SELECT DISTINCT t.name || '.' || c.name || ' ' || c.coll
		FROM sqlite_schema AS t, pragma_index_list(t.name) AS i, pragma_index_xinfo(i.name) AS c
		WHERE t.type = 'table' AND t.name IN ('apikey_keys', 'apikey_credentials', 'apikey_owners', 'apikey_events',
				'apikey_usage', 'apikey_usage_days', 'apikey_once')
			AND c.name IS NOT NULL AND c.coll <> 'BINARY'
		ORDER BY 1`)
	if err != nil {
		return err
	}
	return errors.Join(append(errs, columnErrors("collation", folded,
		"give the column the collation BINARY: else other texts than those stored can match")...)...)
}

// sqlitePragmas are settings with which SQLite does not do what is asked.
var sqlitePragmas = []struct {
	name   string
	bad    func(value string) bool
	advice string
}{
	{"query_only", is("1"), "set it to 0: with it nothing can be written"},
	{"encoding", func(v string) bool { return v != "UTF-8" },
		"make the database with the encoding UTF-8: otherwise ids are sorted in another order"},
	{"locking_mode", is("exclusive"), "set it to NORMAL: with it one connection locks out all others, also those of its own pool"},
	{"read_uncommitted", is("1"), "set it to 0: otherwise what is read may never be committed"},
}

func checkPragmas(ctx context.Context, conn *sql.Conn) (errs []error, err error) {
	for _, pragma := range sqlitePragmas {
		var value string
		if err := conn.QueryRowContext(ctx, "PRAGMA "+pragma.name).Scan(&value); err != nil {
			return nil, err
		}
		if pragma.bad(value) {
			errs = append(errs, &SettingError{Setting: pragma.name, Value: value, Advice: pragma.advice})
		}
	}
	return errs, nil
}
