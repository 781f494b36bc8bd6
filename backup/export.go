package backup

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"github.com/keyturn/apikey"
)

// maxRounds bounds how often Export reads what changed meanwhile. Each round
// reads only what changed during the previous one, so a few are enough even on
// a busy Store.
const maxRounds = 100

// Export writes everything that the Store contains to w, as one file for
// Restore: keys with their credentials, deleted ones included, the states of
// owners, usage per day, names that were committed once, and the event log. The
// file is signed with the first of Options.Peppers.
//
// Keys can be used and changed meanwhile. The file is the state of one moment
// shortly before Export returns; the usage of a key is that of the moment when
// the key was read. Usage that no Manager has flushed yet is not included, see
// [apikey.Manager.Flush].
//
// After an error the file is incomplete, and Restore rejects it. Export returns
// an [apikey.DamagedError] that names everything that cannot be read or that
// Restore would reject, a *[apikey.FieldError] for a bad option or a nil
// argument, [apikey.ErrClock], an error if the Store changes faster than Export
// can read, and those of the Store, the context and w.
//
// Export keeps the names of all owners in memory, and one page of what it reads.
func Export(ctx context.Context, store apikey.Store, w io.Writer, options *Options) (err error) {
	defer wrap(&err, "export")
	if err := errors.Join(checkNotNil("store", store), checkNotNil("writer", w)); err != nil {
		return err
	}
	s, err := newSetup(options)
	if err != nil {
		return err
	}
	signer := s.peppers[0]
	x := &exporter{
		store: store, out: bufio.NewWriterSize(w, 1<<16), mac: signer.BackupMAC(),
		report: s.report, owners: map[string]bool{},
	}
	return x.run(ctx, header{pepper: signer.ID, exportedAt: s.now})
}

// exporter is one Export.
type exporter struct {
	store  apikey.Store
	out    *bufio.Writer
	mac    hash.Hash
	lines  lineEncoder
	counts lineCounts
	report func(Progress)
	owners map[string]bool // all that were named
	after  apikey.Position // of the last event written

	names []apikey.OnceName // read, and not written yet
	name  apikey.OnceName   // the last one that was read

	damage damage
}

func (x *exporter) run(ctx context.Context, h header) error {
	if err := x.put(x.lines.header(h)); err != nil {
		return err
	}
	if err := x.events(ctx, func(apikey.Event) {}); err != nil {
		return err
	}
	if err := x.records(ctx); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(x.owners)) {
		if err := x.owner(ctx, kindOwner, id); err != nil {
			return err
		}
	}
	x.progress()
	if err := x.changes(ctx); err != nil {
		return err
	}
	if err := x.damage.err(); err != nil {
		return err
	}
	if _, err := x.out.Write(x.lines.end(x.counts, x.mac.Sum(nil))); err != nil {
		return err
	}
	return x.out.Flush()
}

// events writes the log from the last event written to its end.
func (x *exporter) events(ctx context.Context, seen func(apikey.Event)) error {
	q := apikey.EventQuery{After: x.after, Limit: batchSize}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := x.store.Events(ctx, q)
		if err != nil {
			return err
		}
		for _, e := range page {
			x.after, q.After = e.Position, e.Position
			if e.Err != nil {
				x.damage.event(e.Position.Seq, e.Err)
				continue
			}
			if err := x.write(entry{kind: kindEvent, event: e}); err != nil {
				return err
			}
			x.owners[e.Owner] = true
			seen(e)
		}
		if err := x.once(ctx); err != nil {
			return err
		}
		x.progress()
		if len(page) < q.Limit {
			return nil
		}
	}
}

// once writes the names that were committed up to the last event written.
func (x *exporter) once(ctx context.Context) error {
	for {
		if len(x.names) == 0 {
			page, err := x.store.OnceNames(ctx, apikey.OnceQuery{After: x.name, Limit: batchSize})
			if err != nil || len(page) == 0 {
				return err
			}
			x.names = page
		}
		if x.names[0].Seq > x.after.Seq {
			return nil
		}
		x.name = x.names[0]
		x.names = x.names[1:]
		if err := x.write(entry{kind: kindOnce, once: x.name}); err != nil {
			return err
		}
	}
}

func (x *exporter) records(ctx context.Context) error {
	q := apikey.Query{IncludeDeleted: true, Limit: batchSize}
	for {
		page, err := x.store.List(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page {
			q.After = r.Key.ID
			err := r.Err
			if err == nil {
				err = checkKeyID(r.Key.ID)
			}
			if err != nil {
				x.damage.key(r.Key.ID, err)
				continue
			}
			x.owners[r.Key.Owner] = true
			k, found, err := x.key(ctx, r.Key.ID)
			if err != nil {
				return err
			}
			if !found {
				continue // purged since, as the log says
			}
			if err := x.write(entry{kind: kindRecord, key: k}); err != nil {
				return err
			}
		}
		x.progress()
		if len(page) < q.Limit {
			return nil
		}
	}
}

// key reads a key, unless it is damaged or purged.
func (x *exporter) key(ctx context.Context, id string) (k keyState, found bool, err error) {
	if err := ctx.Err(); err != nil {
		return keyState{}, false, err
	}
	k, err = readKey(ctx, x.store, id)
	switch {
	case errors.Is(err, apikey.ErrNotFound):
		return keyState{}, false, nil
	case errors.Is(err, apikey.ErrDamaged):
		x.damage.key(id, err)
		return keyState{}, false, nil
	}
	return k, err == nil, err
}

// owner writes the state of an owner that has one.
func (x *exporter) owner(ctx context.Context, kind lineKind, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o, err := x.store.Owner(ctx, id)
	if errors.Is(err, apikey.ErrDamaged) {
		x.damage.owner(id, err)
		return nil
	}
	if err != nil || o.Revision == 0 {
		return err
	}
	return x.write(entry{kind: kind, owner: o})
}

// changes makes the file the state of one moment without a snapshot, which not
// every Store has. A change and its event become visible together. Everything
// that changed after it was read therefore has an event in the log after the
// last one read, and is read again. Once there are no new events, every line is
// as it was when the log was read last.
func (x *exporter) changes(ctx context.Context) error {
	for range maxRounds {
		keys, owners := map[string]bool{}, map[string]bool{}
		before := x.after
		err := x.events(ctx, func(e apikey.Event) {
			if e.KeyID != "" {
				keys[e.KeyID] = true
			}
			switch e.Kind {
			case apikey.EventIssued, apikey.EventRegenerated, apikey.EventRotated:
				owners[e.Owner] = true // counts the token, if the owner got it
			default:
				if e.KeyID == "" {
					owners[e.Owner] = true
				}
			}
		})
		if err != nil {
			return err
		}
		if x.after == before {
			return nil
		}
		for _, id := range slices.Sorted(maps.Keys(keys)) {
			if err := x.again(ctx, id); err != nil {
				return err
			}
		}
		for _, id := range slices.Sorted(maps.Keys(owners)) {
			if err := x.owner(ctx, kindChangedOwner, id); err != nil {
				return err
			}
		}
		x.progress()
	}
	return fmt.Errorf("the store changes faster than it can be read: gave up after %d rounds", maxRounds)
}

// again writes what became of a key since it was read.
func (x *exporter) again(ctx context.Context, id string) error {
	k, found, err := x.key(ctx, id)
	if err != nil {
		return err
	}
	if !found { // or it is damaged, and then the file gets no end
		return x.write(entry{kind: kindPurged, id: id})
	}
	return x.write(entry{kind: kindChangedRecord, key: k})
}

// write writes a line that Restore accepts. It notes a line that Restore would
// reject, so that the error at the end names all of them.
func (x *exporter) write(e entry) error {
	line := x.lines.entry(e)
	err := e.check()
	if err == nil && len(line) > maxLine {
		err = errors.New("is too long for a line of the file")
	}
	if err == nil {
		x.counts[e.kind]++
		return x.put(line)
	}
	err = fmt.Errorf("%s: %w", e.kind.name(), err)
	switch e.kind {
	case kindEvent:
		x.damage.event(e.event.Position.Seq, err)
	case kindOwner, kindChangedOwner:
		x.damage.owner(e.owner.ID, err)
	case kindRecord, kindChangedRecord:
		x.damage.key(e.key.Key.ID, err)
	case kindPurged:
		x.damage.key(e.id, err)
	default:
		return err
	}
	return nil
}

func (x *exporter) put(line []byte) error {
	x.mac.Write(line)
	_, err := x.out.Write(line)
	return err
}

func (x *exporter) progress() { x.report(Progress{Step: StepExport, Done: x.counts.counts()}) }

// damage collects what cannot be exported.
type damage struct {
	found apikey.DamagedError
}

func (d *damage) key(id string, err error) {
	if checkKeyID(id) != nil {
		id = "unknown" // it could be any string, also a token
	}
	d.found.IDs = append(d.found.IDs, id)
	d.because(err)
}

func (d *damage) owner(id string, err error) {
	d.found.Owners = append(d.found.Owners, id)
	d.because(err)
}

func (d *damage) event(seq int64, err error) {
	d.found.Events = append(d.found.Events, seq)
	d.because(err)
}

func (d *damage) because(err error) {
	if d.found.Err == nil {
		d.found.Err = err
	}
}

// err returns a *DamagedError, or nil if nothing is damaged.
func (d *damage) err() error {
	if d.found.Err == nil {
		return nil
	}
	d.found.IDs = sortedSet(d.found.IDs)
	d.found.Owners = sortedSet(d.found.Owners)
	d.found.Events = sortedSet(d.found.Events)
	return &d.found
}

func sortedSet[T cmp.Ordered](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}
