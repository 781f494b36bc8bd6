package dbtest

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/sqlstore"
)

// The benchmarks below each run sqlstore beside the same work done by hand on
// the same driver and report how many times as long it takes. Both sides take
// turns, so that what else the machine does falls on both.

const benchKeys = 1000

func fill(b *testing.B, db *sql.DB, dialect sqlstore.Dialect) (store *sqlstore.Store, ids []string) {
	b.Helper()
	store = sqlstore.New(db, dialect, nil)
	m, err := apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		b.Fatal(err)
	}
	for i := range benchKeys {
		issued, err := m.Issue(b.Context(), apikey.IssueParams{
			Owner: fmt.Sprint("owner ", i%10), Name: "benchmark", Scopes: []string{"orders:read", "orders:write"},
		})
		if err != nil {
			b.Fatal(err)
		}
		ids = append(ids, issued.Key.CredentialID)
	}
	return store, ids
}

const lookupByHand = `
	SELECT k.id, k.owner, k.name, k.scopes, k.networks, k.rate_requests, k.rate_period, k.metadata,
		k.created_at, k.disabled_at, k.locked, k.deleted_at,
		k.prefix, k.credential_id, k.issued_at, k.expires_at, k.retiring_id, k.revision,
		c.id, c.prefix, c.created_at, c.expires_at, c.retire_before, c.scheme, c.pepper_id, c.digest, c.seal,
		o.disabled_at, o.has_ceiling, o.ceiling
	FROM apikey_credentials AS c
	JOIN apikey_keys AS k ON k.id = c.key_id
	LEFT JOIN apikey_owners AS o ON o.id = k.owner
	WHERE c.id = ?`

type rowByHand struct {
	id, owner, name, scopes, networks, metadata, prefix, credential, retiring string
	cID, cPrefix, oCeiling                                                    string
	pepper, digest, seal                                                      []byte
	n                                                                         [15]int64
}

func (r *rowByHand) columns() []any {
	n := &r.n
	return []any{
		&r.id, &r.owner, &r.name, &r.scopes, &r.networks, &n[0], &n[1], &r.metadata,
		&n[2], &n[3], &n[4], &n[5],
		&r.prefix, &r.credential, &n[6], &n[7], &r.retiring, &n[8],
		&r.cID, &r.cPrefix, &n[9], &n[10], &n[11], &n[12], &r.pepper, &r.digest, &r.seal,
		&n[13], &n[14], &r.oCeiling,
	}
}

// bestModes returns each engine in the mode in which its driver sends a statement
// in one round trip.
func bestModes(b *testing.B) []Engine {
	b.Helper()
	all := []Engine{SQLite}
	for _, e := range Modes(b) {
		switch e.Name {
		case "postgres-pgx-cache_statement", "postgres-pgx-exec", "postgres-pq-binary_parameters", "mariadb-interpolateParams":
			all = append(all, e)
		}
	}
	return all
}

// BenchmarkLookup compares the lookup with the same SELECT by hand, prepared
// where the Store prepares it.
func BenchmarkLookup(b *testing.B) {
	for _, e := range bestModes(b) {
		b.Run(e.Name, func(b *testing.B) {
			db := e.Database(b).Pool(b)
			store, ids := fill(b, db, e.Dialect)
			statement := lookupByHand
			if e.Dialect == sqlstore.PostgreSQL {
				statement = strings.ReplaceAll(statement, "?", "$1")
			}
			ctx := b.Context()
			byHand := func(id string) *sql.Row { return db.QueryRowContext(ctx, statement, id) }
			if e.Dialect == sqlstore.SQLite {
				stmt, err := db.PrepareContext(ctx, statement)
				if err != nil {
					b.Fatal(err)
				}
				defer stmt.Close()
				byHand = func(id string) *sql.Row { return stmt.QueryRowContext(ctx, id) }
			}
			compare(b,
				func(i int) {
					if _, err := store.Lookup(ctx, ids[i%len(ids)]); err != nil {
						b.Fatal(err)
					}
				},
				func(i int) {
					var row rowByHand
					if err := byHand(ids[i%len(ids)]).Scan(row.columns()...); err != nil {
						b.Fatal(err)
					}
				})
		})
	}
}

// addUsageByHand is the fastest found of several ways to count in both tables:
// one statement for each, in a transaction.
func addUsageByHand(b *testing.B, db *sql.DB, dialect sqlstore.Dialect, uses []apikey.Usage) {
	ctx := b.Context()
	conn, err := db.Conn(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	exec := func(statement string, args ...any) {
		if _, err := conn.ExecContext(ctx, statement, args...); err != nil {
			b.Fatal(err)
		}
	}
	exec(map[sqlstore.Dialect]string{sqlstore.SQLite: "BEGIN IMMEDIATE", sqlstore.PostgreSQL: "BEGIN", sqlstore.MySQL: "BEGIN"}[dialect])
	switch dialect {
	case sqlstore.PostgreSQL: // arrays, written as texts, which every driver takes
		var arrays [4]strings.Builder
		for i, u := range uses {
			for n, v := range []any{u.CredentialID, u.Day.UnixMicro(), u.Uses, u.LastUsedAt.UnixMicro()} {
				fmt.Fprint(&arrays[n], []string{"{", ","}[min(i, 1)], v)
			}
		}
		var args []any
		for i := range arrays {
			args = append(args, arrays[i].String()+"}")
		}
		exec(postgresTotalsByHand, args[0], args[2], args[3])
		exec(postgresDaysByHand, args...)
	default:
		var text strings.Builder
		for i, u := range uses {
			fmt.Fprintf(&text, `%s["%s",%d,%d,%d]`, []string{"[", ","}[min(i, 1)], u.CredentialID, u.Day.UnixMicro(), u.Uses, u.LastUsedAt.UnixMicro())
		}
		text.WriteByte(']')
		if dialect == sqlstore.SQLite {
			exec(sqliteTotalsByHand, text.String())
			exec(sqliteDaysByHand, text.String())
		} else {
			exec(mysqlTotalsByHand, text.String())
			exec(mysqlDaysByHand, text.String())
		}
	}
	exec("COMMIT")
}

const sqliteTotalsByHand = `
	INSERT INTO apikey_usage (credential_id, uses, last_used_at)
	SELECT value ->> 0, value ->> 2, value ->> 3 FROM json_each(?) WHERE true
	ON CONFLICT DO UPDATE SET uses = uses + excluded.uses, last_used_at = MAX(last_used_at, excluded.last_used_at)`

const sqliteDaysByHand = `
	INSERT INTO apikey_usage_days (credential_id, day, key_id, uses, last_used_at)
	SELECT c.id, value ->> 1, c.key_id, value ->> 2, value ->> 3
	FROM json_each(?) CROSS JOIN apikey_credentials AS c ON c.id = value ->> 0 WHERE true
	ON CONFLICT DO UPDATE SET uses = uses + excluded.uses, last_used_at = MAX(last_used_at, excluded.last_used_at)`

const postgresTotalsByHand = `
	INSERT INTO apikey_usage AS u (credential_id, uses, last_used_at)
	SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
	ON CONFLICT (credential_id) DO UPDATE SET uses = u.uses + excluded.uses, last_used_at = GREATEST(u.last_used_at, excluded.last_used_at)`

const postgresDaysByHand = `
	INSERT INTO apikey_usage_days AS u (credential_id, day, key_id, uses, last_used_at)
	SELECT c.id, j.day, c.key_id, j.uses, j.last
	FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS j (id, day, uses, last)
	JOIN apikey_credentials AS c ON c.id = j.id
	ON CONFLICT (credential_id, day) DO UPDATE SET uses = u.uses + excluded.uses, last_used_at = GREATEST(u.last_used_at, excluded.last_used_at)`

const mysqlUsesByHand = `
	FROM JSON_TABLE(?, '$[*]' COLUMNS (
		id VARCHAR(255) PATH '$[0]', day BIGINT PATH '$[1]', uses BIGINT PATH '$[2]', last BIGINT PATH '$[3]')) AS j`

const mysqlTotalsByHand = `
	INSERT INTO apikey_usage (credential_id, uses, last_used_at)
	SELECT j.id, j.uses, j.last` + mysqlUsesByHand + `
	ON DUPLICATE KEY UPDATE uses = apikey_usage.uses + VALUES(uses), last_used_at = GREATEST(apikey_usage.last_used_at, VALUES(last_used_at))`

const mysqlDaysByHand = `
	INSERT INTO apikey_usage_days (credential_id, day, key_id, uses, last_used_at)
	SELECT c.id, j.day, c.key_id, j.uses, j.last` + mysqlUsesByHand + `
	JOIN apikey_credentials AS c ON c.id = CAST(j.id AS BINARY)
	ON DUPLICATE KEY UPDATE uses = apikey_usage_days.uses + VALUES(uses), last_used_at = GREATEST(apikey_usage_days.last_used_at, VALUES(last_used_at))`

func BenchmarkAddUsage(b *testing.B) {
	for _, e := range Engines(b) {
		b.Run(e.Name, func(b *testing.B) {
			db := e.Database(b).Pool(b)
			store, ids := fill(b, db, e.Dialect)
			now := time.Now()
			var uses []apikey.Usage
			for _, id := range ids {
				uses = append(uses, apikey.Usage{CredentialID: id, Day: now.UTC().Truncate(24 * time.Hour), Uses: 3, LastUsedAt: now})
			}
			compare(b,
				func(int) {
					if err := store.AddUsage(b.Context(), uses); err != nil {
						b.Fatal(err)
					}
				},
				func(int) { addUsageByHand(b, db, e.Dialect, uses) })
		})
	}
}

// compare runs both in turns and reports the time of each and their ratio.
func compare(b *testing.B, ours, byHand func(i int)) {
	b.Helper()
	compareAs(b, "ours", ours, "by-hand", byHand)
}

// compareAs is compare of two things with names of their own. It compares
// medians, because a pause of the machine would fall on one side.
func compareAs(b *testing.B, name string, do func(i int), otherName string, other func(i int)) {
	b.Helper()
	var spent [2][]time.Duration
	sides := [2]func(int){do, other}
	for i := 0; b.Loop(); i++ {
		for turn := range sides {
			side := (i + turn) % 2 // who comes second finds the pages read
			begin := time.Now()
			sides[side](i)
			spent[side] = append(spent[side], time.Since(begin))
		}
	}
	var median [2]float64
	for side := range sides {
		slices.Sort(spent[side])
		median[side] = float64(spent[side][len(spent[side])/2].Nanoseconds())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median[0], "ns/"+name)
	b.ReportMetric(median[1], "ns/"+otherName)
	b.ReportMetric(median[0]/median[1], "ratio")
}
