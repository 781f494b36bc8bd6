package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/micros"
)

// Commit implements [apikey.Store] in one transaction. An error before the
// database was told to commit is an [apikey.ErrAborted], or one of those of the
// contract; one of the commit itself is not: its outcome is unknown.
func (s *Store) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	var last apikey.Position
	err := s.transact(ctx, func(tx querier) error {
		w := writer{dialect: s.dialect, tx: tx, ctx: ctx}
		var err error
		last, err = w.commit(c)
		return err
	})
	if err != nil {
		return apikey.Position{}, failed(ctx, "commit", err)
	}
	return last, nil
}

// writer writes one Commit, in one run of a transaction.
type writer struct {
	*dialect
	tx  querier
	ctx context.Context

	// Credentials go after all others have come, so that one that a Commit
	// takes from a Record is not free for another in the same Commit.
	removed []string // credentials
	purged  []string // keys, with all their credentials
}

// commit takes the locks in the order that apikey.Commit names, and the row of
// the counter last: from there on all others wait until the transaction has
// ended, so that the order of positions is that in which they become visible.
func (w *writer) commit(c apikey.Commit) (apikey.Position, error) {
	limited, err := w.owners(c)
	if err != nil {
		return apikey.Position{}, err
	}
	if err := w.records(c); err != nil {
		return apikey.Position{}, err
	}
	if c.Limit > 0 {
		for _, owner := range limited {
			var have number
			if err := w.tx.QueryRowContext(w.ctx, w.countKeys, owner).Scan(&have); err != nil {
				return apikey.Position{}, err
			}
			if int64(have) > int64(c.Limit) {
				return apikey.Position{}, apikey.ErrLimit
			}
		}
	}
	return w.log(c)
}

// owners makes a row for each owner of the Commit, locks it, which the limit
// and what is required need, and changes those that are to be changed. It
// returns the owners of new Records.
func (w *writer) owners(c apikey.Commit) (ofNew []string, err error) {
	for i := range c.Records {
		if k := &c.Records[i].Key; k.Revision == 0 {
			ofNew = append(ofNew, k.Owner)
		}
	}
	slices.Sort(ofNew)
	ofNew = slices.Compact(ofNew)

	changed := map[string]*apikey.Owner{}
	all := slices.Clone(ofNew)
	for i := range c.Owners {
		changed[c.Owners[i].ID] = &c.Owners[i]
		all = append(all, c.Owners[i].ID)
	}
	required := map[string]int64{}
	for _, ref := range c.RequireOwners {
		required[ref.ID] = ref.Revision
		all = append(all, ref.ID)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	var rows [][]any
	for _, id := range all {
		rows = append(rows, []any{id})
	}
	if _, err := w.add(w.addOwners, rows); err != nil {
		return nil, err
	}
	for _, id := range all {
		if revision, ok := required[id]; ok {
			if err := w.require(w.ownerRevision, id, revision); err != nil {
				return nil, err
			}
		}
		o := changed[id]
		if o == nil {
			continue
		}
		n, err := w.exec(w.changeOwner, append(ownerValues(o), id, o.Revision)...)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, apikey.ErrConflict
		}
	}
	return ofNew, nil
}

// require returns ErrConflict unless a row, which is locked, has a revision.
func (w *writer) require(statement, id string, want int64) error {
	var revision number
	err := w.tx.QueryRowContext(w.ctx, statement, id).Scan(&revision)
	if errors.Is(err, sql.ErrNoRows) || err == nil && int64(revision) != want {
		return apikey.ErrConflict
	}
	return err
}

// requireRecord locks a row of a key and compares its revision.
func (w *writer) requireRecord(ref apikey.RecordRef) error {
	if w.lockKey != "" {
		if _, err := w.exec(w.lockKey, ref.ID); err != nil {
			return err
		}
	}
	return w.require(w.keyRevision, ref.ID, ref.Revision)
}

// records writes, purges and requires, in the order of the ids. New Records that
// follow one another are added together.
func (w *writer) records(c apikey.Commit) error {
	type step struct {
		id     string
		record *apikey.Record
		run    func() error // if there is no record
	}
	var steps []step
	for i := range c.Records {
		steps = append(steps, step{id: c.Records[i].Key.ID, record: &c.Records[i]})
	}
	for _, ref := range c.Purge {
		steps = append(steps, step{id: ref.ID, run: func() error { return w.purge(ref) }})
	}
	for _, ref := range c.RequireRecords {
		steps = append(steps, step{id: ref.ID, run: func() error { return w.requireRecord(ref) }})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.id, b.id) })
	for len(steps) > 0 {
		var added []*apikey.Record
		for len(steps) > 0 && steps[0].record != nil && steps[0].record.Key.Revision == 0 {
			added = append(added, steps[0].record)
			steps = steps[1:]
		}
		if err := w.addRecords(added); err != nil {
			return err
		}
		if len(steps) == 0 {
			break
		}
		var err error
		if step := steps[0]; step.record != nil {
			err = w.change(step.record)
		} else {
			err = step.run()
		}
		if err != nil {
			return err
		}
		steps = steps[1:]
	}
	slices.Sort(w.removed)
	if err := w.execEach(w.removeCredential, w.removed); err != nil {
		return err
	}
	return w.execEach(w.removeCredentials, w.purged)
}

func (w *writer) addRecords(records []*apikey.Record) error {
	var keys, credentials [][]any
	for _, r := range records {
		k := &r.Key
		values, err := keyValues(r)
		if err != nil {
			return err
		}
		keys = append(keys, append([]any{k.ID, k.Owner}, values...))
		for i := range r.Credentials {
			credentials = append(credentials, newCredential(k, &r.Credentials[i]))
		}
	}
	if err := w.addNew(w.addKeys, keys); err != nil {
		return err
	}
	return w.addCredentials(credentials)
}

func (w *writer) change(r *apikey.Record) error {
	values, err := keyValues(r)
	if err != nil {
		return err
	}
	n, err := w.exec(w.changeKey, append(values, r.Key.ID, r.Key.Revision)...)
	if err == nil && n == 0 {
		err = apikey.ErrConflict
	}
	if err != nil {
		return err
	}
	return w.replaceCredentials(r)
}

// replaceCredentials writes the credentials that differ from what is stored,
// and marks those that are not given for removal.
func (w *writer) replaceCredentials(r *apikey.Record) error {
	stored, err := w.stored(&r.Key)
	if err != nil {
		return err
	}
	var added [][]any
	for i := range r.Credentials {
		given := &r.Credentials[i]
		old, ok := stored[given.ID]
		if !ok {
			added = append(added, newCredential(&r.Key, given))
			continue
		}
		delete(stored, given.ID)
		current := isCurrent(&r.Key, given)
		if old == (storedCredential{kept(given), current}) {
			continue
		}
		if _, err := w.exec(w.changeCredential, append(credentialValues(given, current), given.ID)...); err != nil {
			return withoutDigest(err)
		}
	}
	for id := range stored {
		w.removed = append(w.removed, id)
	}
	return w.addCredentials(added)
}

func (w *writer) addCredentials(rows [][]any) error {
	err := w.addNew(w.dialect.addCredentials, rows)
	if err == apikey.ErrExists {
		return err
	}
	return withoutDigest(err)
}

// storedCredential is all that is stored of a credential besides its usage.
type storedCredential struct {
	apikey.Credential
	current bool
}

// stored reads the credentials of a key.
func (w *writer) stored(k *apikey.Key) (map[string]storedCredential, error) {
	rows, err := w.tx.QueryContext(w.ctx, w.credentials, k.ID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]storedCredential{}
	var c storedCredential
	columns := append(credentialColumns(nil, &c.Credential), (*flag)(&c.current))
	for rows.Next() {
		if err := rows.Scan(columns...); err != nil {
			return nil, ofKey(k, err)
		}
		all[c.ID] = c
	}
	return all, rows.Err()
}

// newCredential are the columns of a credential that is to be added.
func newCredential(k *apikey.Key, c *apikey.Credential) []any {
	return append([]any{c.ID, k.ID}, credentialValues(c, isCurrent(k, c))...)
}

func isCurrent(k *apikey.Key, c *apikey.Credential) bool { return c.ID == k.CredentialID }

// kept returns a credential as it comes back from the database.
func kept(c *apikey.Credential) apikey.Credential {
	k := *c
	for _, t := range []*time.Time{&k.CreatedAt, &k.ExpiresAt, &k.RetireBefore} {
		*t = micros.Time(micros.Of(*t))
	}
	k.LastUsedAt, k.Uses = time.Time{}, 0
	return k
}

func (w *writer) purge(ref apikey.RecordRef) error {
	n, err := w.exec(w.removeKey, ref.ID, ref.Revision)
	if err == nil && n == 0 {
		err = apikey.ErrConflict
	}
	if err != nil {
		return err
	}
	w.purged = append(w.purged, ref.ID)
	return nil
}

var errCounter = errors.New("apikey_counter holds no position: the schema is damaged")

// log takes the next positions and writes the events there. While it has the
// row of the counter, no other Commit reads or writes names, so that they are
// exact and no two Commits wait for each other.
func (w *writer) log(c apikey.Commit) (last apikey.Position, err error) {
	events := c.Events
	if len(events) == 0 {
		return last, nil
	}
	if last.Seq, err = w.takeSeq(int64(len(events))); err != nil {
		return last, err
	}
	if err := w.names(c.Once, last.Seq); err != nil {
		return last, err
	}
	first := last.Seq - int64(len(events)) + 1
	var rows [][]any
	for i := range events {
		values, err := eventValues(&events[i], first+int64(i))
		if err != nil {
			return last, err
		}
		rows = append(rows, values)
		last.Nonce = events[i].Position.Nonce
	}
	_, err = w.add(w.addEvents, rows)
	return last, err
}

// names removes the names of purged keys and adds new ones.
func (w *writer) names(once []apikey.OnceName, seq int64) error {
	if err := w.execEach([]string{w.removeOnce}, w.purged); err != nil {
		return err
	}
	var rows [][]any
	for _, n := range once {
		rows = append(rows, []any{n.Name, n.KeyID, seq})
	}
	return w.addNew(w.addOnce, rows)
}

// takeSeq takes the next n positions and returns the last.
func (w *writer) takeSeq(n int64) (last int64, err error) {
	row := func() *sql.Row { return w.tx.QueryRowContext(w.ctx, w.addSeq, n) }
	if w.seq != "" {
		if changed, err := w.exec(w.addSeq, n); err != nil {
			return 0, err
		} else if changed == 0 {
			return 0, errCounter
		}
		row = func() *sql.Row { return w.tx.QueryRowContext(w.ctx, w.seq) }
	}
	err = row().Scan((*number)(&last))
	if errors.Is(err, sql.ErrNoRows) {
		err = errCounter
	}
	return last, err
}

// addNew adds rows, none of which may be there.
func (w *writer) addNew(i insert, rows [][]any) error {
	added, err := w.add(i, rows)
	if err == nil && added < int64(len(rows)) || err != nil && w.taken(err) {
		return apikey.ErrExists
	}
	return err
}

// add adds rows, many with one statement. There are few different statements,
// so that a driver can keep them prepared.
func (w *writer) add(i insert, rows [][]any) (added int64, err error) {
	for len(rows) > 0 {
		n := 1
		for _, many := range []int{8, 64} {
			if len(rows) >= many {
				n = many
			}
		}
		changed, err := w.exec(w.rows(i, n), slices.Concat(rows[:n]...)...)
		if err != nil {
			return added, err
		}
		added += changed
		rows = rows[n:]
	}
	return added, nil
}

// exec returns how many rows were changed.
func (w *writer) exec(statement string, args ...any) (int64, error) {
	result, err := w.tx.ExecContext(w.ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("rows affected: %w", err)
	}
	return n, nil
}

// execEach runs statements for ids, each for all of them before the next: table
// by table in ascending order, as a AddUsage writes.
func (w *writer) execEach(statements, ids []string) error {
	for _, statement := range statements {
		for _, id := range ids {
			if _, err := w.exec(statement, id); err != nil {
				return err
			}
		}
	}
	return nil
}
