package backup

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

	"github.com/keyturn/apikey"
)

// Restore writes a file of Export into a Store, which can be of another kind.
// It begins at the current position of r. It first reads the whole file and
// checks everything, and writes nothing before that. A *FileError that is an
// ErrFile reports a file that is cut off, changed or malformed, one that is an
// ErrVersion another format, and [apikey.ErrPepper] a file that is signed with
// a pepper that is not in Options.Peppers. While NoPepper is in Options.Peppers,
// Restore accepts a file that anyone could have made.
//
// Ids, times, digests, usage and the log are kept, so that the same tokens are
// valid afterwards. Revisions, positions and the nonces of events are new, so
// that followers of the log notice and start over. Restore writes the log first,
// then the owners' states, then the keys, so that a key never works while its
// owner should be disabled. Each key and owner gets an event of the kind
// EventRestored or EventOwnerRestored by the actor of the context, see
// [apikey.WithActor]. No limit is applied. Nothing else should use the Store
// until Restore has returned nil. Then run [apikey.Manager.Check].
//
// The Store must be empty, or contain what an interrupted Restore of the same
// file wrote: then Restore continues there, as often as needed. The log in the
// Store must begin with the log of the file, and may continue only with events
// of a Restore of this file. Keys and owners in the Store must be as in the
// file, except for revision and usage; missing usage is added. Otherwise the
// error is an ErrOtherData, which names the key if one differs. A Store that has
// changed since is rejected before anything is written.
//
// After any other error, call Restore again with the same file, once no write
// of the first call can still be in progress. Restore sends each write once. If
// the response is lost, the error is an [apikey.ErrOutcomeUnknown]; the next call
// finds out what was written. Nothing is written or counted twice, unless a write
// of the first call arrives late. A late event is reported as ErrOtherData.
//
// A bad option, actor or nil argument is a *[apikey.FieldError], a clock that is
// wrong an [apikey.ErrClock].
//
// Restore reads r four times. If r changes meanwhile, that is an ErrFile, and
// nothing of what changed is written. Restore keeps in memory the ids of all
// keys and credentials, the names that can be committed once, the owners' states
// and 500 records. Until the HMAC is known to be right, it keeps one line and a
// thousandth of the length of the file.
func Restore(ctx context.Context, store apikey.Store, r io.ReadSeeker, options *Options) (err error) {
	defer wrap(&err, "restore")
	if err := checkNotNil("store", store); err != nil {
		return err
	}
	s, err := newSetup(options)
	if err != nil {
		return err
	}
	x := restorer{store: store, setup: s, actor: apikey.ActorFrom(ctx)}
	if err := x.event("", "owner").Check(); err != nil {
		return err // of the actor
	}
	if x.file, err = open(s.peppers, r); err != nil {
		return err
	}
	if err := x.file.verify(ctx, s.report); err != nil {
		return err
	}
	x.progress = Progress{Step: StepRestore, Total: x.file.total()}
	if err := x.log(ctx); err != nil {
		return err
	}
	if err := x.owners(ctx); err != nil {
		return err
	}
	return x.keys(ctx)
}

// restorer is the second part of a Restore.
type restorer struct {
	setup
	store    apikey.Store
	file     *file
	actor    string
	progress Progress
	resumed  bool // the Store contains keys already
}

// log compares the log in the Store with that of the file, and writes what is
// missing at its end.
func (x *restorer) log(ctx context.Context) error {
	records, err := x.store.List(ctx, apikey.Query{IncludeDeleted: true, Limit: 1})
	if err != nil {
		return err
	}
	x.resumed = len(records) > 0

	log := logReader{store: x.store}
	ended := false // the log in the Store
	var missing apikey.Commit
	write := func() error {
		n := len(missing.Events)
		if n == 0 {
			return nil
		}
		position, err := x.commit(ctx, missing)
		switch {
		case errors.Is(err, apikey.ErrExists):
			return fmt.Errorf("%w: a name that can be committed once", ErrOtherData)
		case err != nil:
			return err
		case position.Seq != log.position+int64(n):
			return fmt.Errorf("%w: events that someone else wrote meanwhile", ErrOtherData)
		}
		log.position = position.Seq
		x.progress.Done.Events += n
		x.report(x.progress)
		missing.Events, missing.Once = missing.Events[:0], missing.Once[:0]
		return nil
	}
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
		if len(missing.Events) >= batchSize {
			if err := write(); err != nil {
				return err
			}
		}
		e.event.Position = apikey.Position{Nonce: x.logNonce(e.event.Position.Seq)}
		if !ended {
			stored, found, err := log.next(ctx)
			if err != nil {
				return err
			}
			if found {
				stored.Position.Seq = 0
				if !sameLine(e, entry{kind: kindEvent, event: stored}) {
					return fmt.Errorf("%w: another log", ErrOtherData)
				}
				x.progress.Done.Events++
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
		stored, found, err := log.next(ctx)
		if err != nil || !found {
			return err
		}
		if !x.wrote(stored) {
			return fmt.Errorf("%w: a longer log", ErrOtherData)
		}
	}
}

// event returns the event with which this Restore writes a key or, without a
// key, an owner.
func (x *restorer) event(keyID, owner string) apikey.Event {
	kind := apikey.EventRestored
	if keyID == "" {
		kind = apikey.EventOwnerRestored
	}
	return apikey.Event{At: x.now, Kind: kind, KeyID: keyID, Owner: owner, Revision: 1, Actor: x.actor}
}

// wrote reports whether a Restore of this file wrote an event after those of
// the file. After anyone else's event, what is missing may have been removed on
// purpose.
func (x *restorer) wrote(e apikey.Event) bool {
	return e.Kind == x.event(e.KeyID, e.Owner).Kind && e.Position.Nonce == x.nonce(e.KeyID, e.Owner)
}

// commit sends a Commit once. Nothing in a Commit of events alone would keep a
// second one from landing too, so a repeat is left to the next Restore, which
// reads first.
func (x *restorer) commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	position, err := x.store.Commit(ctx, c)
	switch {
	case err == nil:
		return position, nil
	case errors.Is(err, apikey.ErrAborted), errors.Is(err, apikey.ErrConflict), errors.Is(err, apikey.ErrExists):
		return apikey.Position{}, err // nothing was written
	}
	return apikey.Position{}, fmt.Errorf("%w: %w", apikey.ErrOutcomeUnknown, err)
}

// nonce returns the nonce of the event with which the key or, without a key,
// the owner is restored. It is the same for each Restore of the file, so that
// a repeat knows what an earlier call wrote.
func (x *restorer) nonce(keyID, owner string) apikey.Nonce {
	if keyID != "" {
		return x.derive("key " + keyID)
	}
	return x.derive("owner " + owner)
}

// logNonce returns the nonce under which an event of the file's log is
// restored. With the original nonce, a follower that had seen the event would
// find it again and go on, although revisions begin again.
func (x *restorer) logNonce(seq int64) apikey.Nonce {
	return x.derive("event " + strconv.FormatInt(seq, 10))
}

func (x *restorer) derive(text string) (n apikey.Nonce) {
	h := hmac.New(sha256.New, x.file.mac)
	io.WriteString(h, text)
	copy(n[:], h.Sum(nil))
	return n
}

// owners writes the states of owners.
func (x *restorer) owners(ctx context.Context) error {
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(x.file.owners)), batchSize) {
		var missing apikey.Commit
		for _, id := range ids {
			o := x.file.owners[id]
			stored, err := x.store.Owner(ctx, id)
			switch {
			case err != nil:
				return err
			case stored.Revision == 0:
				e := x.event("", id)
				e.Position.Nonce = x.nonce("", id)
				o.Nonce = e.Position.Nonce
				missing.Owners = append(missing.Owners, o)
				missing.Events = append(missing.Events, e)
			case !sameLine(entry{kind: kindOwner, owner: o}, entry{kind: kindOwner, owner: stored}):
				return fmt.Errorf("%w: another state of an owner", ErrOtherData)
			}
		}
		if err := x.write(ctx, missing); err != nil {
			return err
		}
		x.progress.Done.Owners += len(ids)
		x.report(x.progress)
	}
	return nil
}

// keys writes the keys with their usage.
func (x *restorer) keys(ctx context.Context) error {
	var batch []keyState
	write := func() error {
		if err := x.batch(ctx, batch); err != nil {
			return err
		}
		x.progress.Done.Keys += len(batch)
		x.report(x.progress)
		batch = batch[:0]
		return nil
	}
	err := x.file.records(ctx, func(k keyState) error {
		if batch = append(batch, k); len(batch) < batchSize {
			return nil
		}
		return write()
	})
	if err != nil {
		return err
	}
	return write()
}

// batch writes the keys that the Store does not contain, and then the usage
// that it lacks. An earlier call may have added some or all of the usage of a
// key that is there.
func (x *restorer) batch(ctx context.Context, keys []keyState) error {
	var missing apikey.Commit
	var uses []apikey.Usage
	for i := range keys {
		k := &keys[i]
		id := k.Key.ID
		var stored keyState
		if x.resumed {
			var err error
			stored, err = readKey(ctx, x.store, id)
			if err != nil && !errors.Is(err, apikey.ErrNotFound) {
				return &keyError{id, err}
			}
			if err == nil && !sameKey(*k, stored) {
				return &keyError{id, fmt.Errorf("%w: another record of this key", ErrOtherData)}
			}
		}
		uses = append(uses, missingUses(k, &stored)...)
		if stored.Key.ID != "" {
			continue
		}
		e := x.event(id, k.Key.Owner)
		e.CredentialID = k.Key.CredentialID
		e.Position.Nonce = x.nonce(id, k.Key.Owner)
		r := k.Record
		r.Nonce = e.Position.Nonce
		missing.Records = append(missing.Records, r)
		missing.Events = append(missing.Events, e)
	}
	if err := x.write(ctx, missing); err != nil {
		return err
	}
	return addUses(ctx, x.store, uses)
}

// write commits keys or owners, if there are any.
func (x *restorer) write(ctx context.Context, c apikey.Commit) error {
	if len(c.Events) == 0 {
		return ctx.Err()
	}
	_, err := x.commit(ctx, c)
	return err
}

// sameKey compares everything that a file contains of a key except its usage.
func sameKey(a, b keyState) bool {
	return sameLine(entry{kind: kindRecord, key: a.withoutUsage()}, entry{kind: kindRecord, key: b.withoutUsage()})
}

// sameLine reports whether two entries would be the same line of a file.
func sameLine(a, b entry) bool {
	var left, right lineEncoder
	return bytes.Equal(left.entry(a), right.entry(b))
}

// logReader reads the log of a Store from its beginning.
type logReader struct {
	store    apikey.Store
	page     []apikey.Event
	position int64 // of the last event read
	last     bool  // there is no further page
}

func (l *logReader) next(ctx context.Context) (apikey.Event, bool, error) {
	if len(l.page) == 0 && !l.last {
		page, err := l.store.Events(ctx, apikey.EventQuery{After: apikey.Position{Seq: l.position}, Limit: batchSize})
		if err != nil {
			return apikey.Event{}, false, err
		}
		l.page, l.last = page, len(page) < batchSize
	}
	if len(l.page) == 0 {
		return apikey.Event{}, false, nil
	}
	e := l.page[0]
	if e.Err != nil {
		var damage damage
		damage.event(e.Position.Seq, e.Err)
		return apikey.Event{}, false, damage.err()
	}
	l.page, l.position = l.page[1:], e.Position.Seq
	return e, true, nil
}
