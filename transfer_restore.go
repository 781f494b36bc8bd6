package apikey

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
)

// Restore writes what Export wrote into the Manager's store, which may be of
// another kind. It begins where r stands. It first reads all of it and checks
// everything; nothing is written before that. A file that is cut off, changed
// or not well-formed is an *ExportError that is an ErrExport, one of a newer
// version an *ExportError that is an ErrExportVersion, one under a pepper that
// is not in Options.Peppers an ErrPepper. While NoPepper is in Options.Peppers,
// a file that anyone could have made is accepted.
//
// Ids, times, digests, usage and the log are kept, so that the same tokens are
// valid afterwards. Revisions and positions are given anew, the nonces of
// events too: followers of the log notice, and start over. Uses have no day but
// the zero one. The log is written first, then the owners' states, then the
// keys, each with an event of the kind EventRestored or EventOwnerRestored by
// the actor of the context, so that a key never works while its owner should be
// disabled. No limit is applied. Nothing else should use the store before
// Restore has returned nil; run Check then.
//
// The store must be empty. Or it holds what a Restore of the same file wrote
// before it was interrupted: then Restore goes on from there, as often as is
// needed. The log in the store must begin with that of the file, and go on, if
// it does, with what a Restore of this file wrote and nothing else: a store that
// was changed since is refused before anything is written. Keys and owners that
// are there must be exactly as in the file, but for revision and usage; uses
// that are missing are added. Else the error is an ErrOtherData, which names the
// key if it is one that differs.
//
// After any other error, ErrOutcomeUnknown among them, call Restore again with
// the same file, once nothing of the first call can be under way any more. An
// answer of the store that was lost never leads to anything being written or
// counted twice, unless something of the first call arrives late; if that is an
// event, it shows as ErrOtherData.
//
// Restore reads r four times. If r changes meanwhile, that is an ErrExport, and
// nothing of what changed is written. It keeps in memory the ids of all keys and
// credentials, about 200 bytes for each key, the owners' states, and 500
// records; but nothing of a file before its HMAC was found to be right, except a
// thousandth of its length.
func (m *Manager) Restore(ctx context.Context, r io.ReadSeeker, options ...TransferOption) error {
	c, err := m.all.cause(ctx, nil)
	if err == nil {
		err = m.restore(ctx, r, c, reporter(options))
	}
	if err != nil {
		return transferFailed("restore", err)
	}
	return nil
}

func (m *Manager) restore(ctx context.Context, r io.ReadSeeker, c cause, report func(Progress)) error {
	file, err := openExport(m.peppers, r)
	if err != nil {
		return err
	}
	if err := file.verify(ctx, report); err != nil {
		return err
	}
	x := restorer{
		m: m, file: file, cause: c, report: report,
		progress: Progress{
			Step:         StepRestore,
			TotalRecords: file.records, TotalOwners: len(file.owners), TotalEvents: file.counts[kindEvent],
		},
	}
	if err := x.events(ctx); err != nil {
		return err
	}
	if err := x.owners(ctx); err != nil {
		return err
	}
	return x.records(ctx)
}

// restorer is the second part of a Restore under way.
type restorer struct {
	m        *Manager
	file     *exportFile
	cause    cause
	report   func(Progress)
	progress Progress
	resumed  bool // the store holds keys already
}

// events compares the log in the store with that of the file, and writes what
// is missing at its end.
func (x *restorer) events(ctx context.Context) error {
	records, err := x.m.store.List(ctx, Query{IncludeDeleted: true, Limit: 1})
	if err != nil {
		return err
	}
	x.resumed = len(records) > 0

	log := logReader{store: x.m.store}
	ended := false // the log in the store
	var missing Commit
	write := func() error {
		n := len(missing.Events)
		if n == 0 {
			return nil
		}
		if err := x.append(ctx, missing, log.position+int64(n)); err != nil {
			return err
		}
		log.position += int64(n)
		x.progress.Events += n
		x.report(x.progress)
		missing.Events, missing.Once = missing.Events[:0], missing.Once[:0]
		return nil
	}
	var ours, theirs lineEncoder
	err = x.file.pass(ctx, func(line int, kind lineKind, text []byte) error {
		e, ok := decodeEntry(kind, text)
		if !ok {
			return badLine(line, "was changed while it was read")
		}
		if kind == kindOnce {
			// A Commit never begins with a name, so that the names before an
			// event that is stored are stored too.
			if ended && !x.file.purged(e.once.KeyID) {
				missing.Once = append(missing.Once, e.once)
			}
			return nil
		}
		if len(missing.Events) >= transferBatch {
			if err := write(); err != nil {
				return err
			}
		}
		e.event.Position = Position{Nonce: x.eventNonce(e.event.Position.Seq)}
		if !ended {
			stored, there, err := log.next(ctx)
			if err != nil {
				return err
			}
			if there {
				stored.Position.Seq = 0
				if !bytes.Equal(ours.entry(e), theirs.entry(fileEntry{kind: kindEvent, event: stored})) {
					return fmt.Errorf("%w: another log", ErrOtherData)
				}
				x.progress.Events++
				return nil
			}
			ended = true
			if x.resumed {
				return fmt.Errorf("%w: keys without their log", ErrOtherData)
			}
		}
		missing.Events = append(missing.Events, e.event)
		return nil
	}, kindEvent, kindOnce)
	if err != nil {
		return err
	}
	if ended {
		return write()
	}
	x.report(x.progress)
	for {
		stored, there, err := log.next(ctx)
		if err != nil || !there {
			return err
		}
		if !x.wrote(stored) {
			return fmt.Errorf("%w: a longer log", ErrOtherData)
		}
	}
}

// wrote reports whether a Restore of this file wrote an event behind those of
// the file. After anyone else's, what is missing may have been removed on
// purpose.
func (x *restorer) wrote(e Event) bool {
	kind := EventRestored
	if e.KeyID == "" {
		kind = EventOwnerRestored
	}
	return e.Kind == kind && e.Position.Nonce == x.nonce(e.KeyID, e.Owner)
}

// append commits events, with the names that follow them in the file. Nothing
// in such a Commit would keep a second one from landing too, so it is never sent
// again: whether it was done shows when Restore is called again, in the log.
func (x *restorer) append(ctx context.Context, c Commit, last int64) error {
	position, err := x.m.store.Commit(ctx, c)
	switch {
	case errors.Is(err, ErrExists):
		return fmt.Errorf("%w: a name that can be committed once", ErrOtherData)
	case err == nil && position.Seq != last:
		return fmt.Errorf("%w: events that someone else wrote meanwhile", ErrOtherData)
	case err == nil || definite(err):
		return err
	}
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
}

// nonce returns the nonce of the event with which this file's record of a key,
// or, without a key, its owner is restored. It is the same each time, so that
// a repeat knows what was written by the call before.
func (x *restorer) nonce(keyID, owner string) (n Nonce) {
	if keyID != "" {
		return x.derive("key " + keyID)
	}
	return x.derive("owner " + owner)
}

// eventNonce returns the nonce under which an event of the file's log is
// restored. With its own one, a follower that had seen it would find it again
// in its place, and go on, although revisions begin anew.
func (x *restorer) eventNonce(seq int64) Nonce {
	return x.derive("event " + strconv.FormatInt(seq, 10))
}

func (x *restorer) derive(text string) (n Nonce) {
	h := hmac.New(sha256.New, x.file.mac)
	io.WriteString(h, text)
	copy(n[:], h.Sum(nil))
	return n
}

// owners writes the states of owners.
func (x *restorer) owners(ctx context.Context) error {
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(x.file.owners)), transferBatch) {
		var missing Commit
		for _, id := range ids {
			o := x.file.owners[id]
			stored, err := x.m.store.Owner(ctx, id)
			switch {
			case err != nil:
				return err
			case stored.Revision == 0:
				o.Nonce = x.nonce("", id)
				missing.Owners = append(missing.Owners, o)
				missing.Events = append(missing.Events, Event{
					Position: Position{Nonce: o.Nonce}, At: x.cause.at, Kind: EventOwnerRestored, Owner: id,
					Revision: 1, Actor: x.cause.actor,
				})
			case !sameLine(fileEntry{kind: kindOwner, owner: o}, fileEntry{kind: kindOwner, owner: stored}):
				return fmt.Errorf("%w: another state of an owner", ErrOtherData)
			}
		}
		if err := x.commit(ctx, missing); err != nil {
			return err
		}
		x.progress.Owners += len(ids)
		x.report(x.progress)
	}
	return nil
}

// records writes the keys with their usage, those of which the lines count.
func (x *restorer) records(ctx context.Context) error {
	var batch []Record
	write := func() error {
		if err := x.batch(ctx, batch); err != nil {
			return err
		}
		x.progress.Records += len(batch)
		x.report(x.progress)
		batch = batch[:0]
		return nil
	}
	err := x.file.pass(ctx, func(line int, kind lineKind, text []byte) error {
		e, ok := decodeEntry(kind, text)
		if !ok {
			return badLine(line, "was changed while it was read")
		}
		if x.file.keys[[keyIDLen]byte([]byte(e.record.Key.ID))] != line {
			return nil // a later line counts
		}
		if batch = append(batch, e.record); len(batch) < transferBatch {
			return nil
		}
		return write()
	}, kindRecord, kindChangedRecord)
	if err != nil {
		return err
	}
	return write()
}

// batch writes those records that the store does not hold, and then the uses
// that it lacks. The uses of a record that is there may have been added by a
// call before, all or some.
func (x *restorer) batch(ctx context.Context, records []Record) error {
	var missing Commit
	var uses []Usage
	for _, r := range records {
		var stored Record
		if x.resumed {
			var err error
			stored, err = x.m.store.Get(ctx, r.Key.ID, "")
			if err != nil && !errors.Is(err, ErrNotFound) {
				return failed("restore", r.Key.ID, err)
			}
			if err == nil && !sameRecord(r, stored) {
				return failed("restore", r.Key.ID, fmt.Errorf("%w: another record of this key", ErrOtherData))
			}
		}
		uses = append(uses, missingUses(r, stored)...)
		if stored.Key.ID != "" {
			continue
		}
		e := r.event(EventRestored, x.cause)
		e.Position.Nonce = x.nonce(r.Key.ID, r.Key.Owner)
		r.Nonce = e.Position.Nonce
		missing.Records = append(missing.Records, r)
		missing.Events = append(missing.Events, e)
	}
	if err := x.commit(ctx, missing); err != nil {
		return err
	}
	slices.SortFunc(uses, compareUsage)
	for some := range slices.Chunk(uses, flushBatch) {
		// Not added again by this call: a repeat reads what there is.
		if err := x.m.store.AddUsage(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// commit writes what was not there when it was looked. If the answer is lost,
// the nonces tell whether it is there now.
func (x *restorer) commit(ctx context.Context, c Commit) error {
	if len(c.Events) == 0 {
		return ctx.Err()
	}
	return x.m.commit(ctx, c, func() (verdict, error) {
		for _, r := range c.Records {
			switch stored, err := x.m.store.Get(ctx, r.Key.ID, ""); {
			case errors.Is(err, ErrNotFound):
				return notMade, nil
			case err != nil:
				return unclear, err
			case stored.Nonce != r.Nonce:
				return notMade, nil
			}
		}
		for _, o := range c.Owners {
			switch stored, err := x.m.store.Owner(ctx, o.ID); {
			case err != nil:
				return unclear, err
			case stored.Nonce != o.Nonce:
				return notMade, nil
			}
		}
		return made, nil
	})
}

// missingUses returns by how much the usage of a record's credentials exceeds
// the stored one.
func missingUses(r, stored Record) []Usage {
	var uses []Usage
	for i := range r.Credentials {
		c := &r.Credentials[i]
		n := c.Uses
		if there := stored.credential(c.ID); there != nil {
			n -= there.Uses
		}
		if n > 0 {
			uses = append(uses, Usage{KeyID: r.Key.ID, CredentialID: c.ID, Uses: n, LastUsedAt: c.LastUsedAt})
		}
	}
	return uses
}

// sameRecord compares all that an export holds of a record, but for its usage.
func sameRecord(a, b Record) bool {
	for _, r := range []*Record{&a, &b} {
		r.Credentials = slices.Clone(r.Credentials)
		for i := range r.Credentials {
			r.Credentials[i].LastUsedAt, r.Credentials[i].Uses = fromMicros(0), 0
		}
	}
	return sameLine(fileEntry{kind: kindRecord, record: a}, fileEntry{kind: kindRecord, record: b})
}

// sameLine reports whether two would be one in an export.
func sameLine(a, b fileEntry) bool {
	var left, right lineEncoder
	return bytes.Equal(left.entry(a), right.entry(b))
}

// logReader reads the log of a store from its beginning.
type logReader struct {
	store    Store
	page     []Event
	position int64 // of the last event read
	last     bool  // there is no further page
}

func (l *logReader) next(ctx context.Context) (Event, bool, error) {
	if len(l.page) == 0 && !l.last {
		page, err := l.store.Events(ctx, EventQuery{After: Position{Seq: l.position}, Limit: transferBatch})
		if err != nil {
			return Event{}, false, err
		}
		l.page, l.last = page, len(page) < transferBatch
	}
	if len(l.page) == 0 {
		return Event{}, false, nil
	}
	e := l.page[0]
	if e.Err != nil {
		var damaged DamagedError
		damaged.event(e.Position.Seq, e.Err)
		return Event{}, false, &damaged
	}
	l.page, l.position = l.page[1:], e.Position.Seq
	return e, true, nil
}
