package apikey

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
)

// TransferOption is an option of Export and Restore; see OnProgress.
type TransferOption struct {
	progress func(Progress)
}

// OnProgress lets Export or Restore call a function each time that it has read
// or written some more, up to a thousand lines; but not while Restore reads the
// file for the first time, as it looks at no line then. The function runs before
// they go on, and must not call the Manager's Export or Restore with the same
// file.
func OnProgress(report func(Progress)) TransferOption { return TransferOption{report} }

// Progress is how far an Export or a Restore is. Within one Step no number ever
// gets less.
type Progress struct {
	Step TransferStep

	// What was done so far. A key or owner that is changed during an Export
	// is written, and counted, once more for it.
	Records int // keys with their credentials
	Owners  int // states of owners
	Events  int

	// What there is to do in all. Known in the StepRestore only, else 0.
	TotalRecords int
	TotalOwners  int
	TotalEvents  int
}

// TransferStep is what an Export or a Restore is doing.
type TransferStep string

const (
	StepExport  TransferStep = "export"  // all of Export
	StepVerify  TransferStep = "verify"  // Restore reads the file; nothing is written
	StepRestore TransferStep = "restore" // Restore writes to the store
)

const (
	// transferBatch is how many records or events are read or written at once.
	transferBatch = 500

	// maxRounds bounds how often Export reads what was changed meanwhile. Each
	// round reads only what changed during the one before, so that even a busy
	// store needs only a few.
	maxRounds = 100
)

// Export writes all that the store holds to w: keys with their credentials,
// deleted ones too, the states of owners, usage totals and the event log. What
// it writes is one text of JSON Lines, for Restore. The last line is an
// HMAC-SHA-256 under the first of Options.Peppers; with NoPepper, which is
// public, it protects against accidents only. The text holds no token and
// nothing that can be turned into one, but digests, names and the log: keep it
// as you keep the database.
//
// Keys may be used and changed meanwhile. The text is the state of one moment,
// at which Export was about to end; usage is that of the moment when each key
// was read. Uses that are not flushed yet are not in it: see Flush.
//
// After an error what was written is incomplete, and Restore refuses it. A
// record that Restore would refuse is an error as well. Export keeps the names
// of all owners in memory, and a page of what it reads.
func (m *Manager) Export(ctx context.Context, w io.Writer, options ...TransferOption) error {
	now, err := m.now()
	if err != nil {
		return failed("export", "", err)
	}
	x := &exporter{
		m: m, out: bufio.NewWriterSize(w, 1<<16), mac: m.peppers[0].BackupMAC(),
		report: reporter(options), owners: map[string]bool{},
	}
	if err := x.run(ctx, header{pepper: m.peppers[0].ID, exportedAt: now}); err != nil {
		return transferFailed("export", err)
	}
	return nil
}

// exporter is one Export under way.
type exporter struct {
	m      *Manager
	out    *bufio.Writer
	mac    hash.Hash
	lines  lineEncoder
	counts lineCounts
	report func(Progress)
	owners map[string]bool // all that were named
	after  Position        // of the last event written

	names []OnceName // read, and not written yet
	name  OnceName   // the last one that was read

	damaged DamagedError
}

func (x *exporter) run(ctx context.Context, h header) error {
	if err := x.put(x.lines.header(h)); err != nil {
		return err
	}
	if err := x.events(ctx, func(Event) {}); err != nil {
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
	if err := x.damaged.with(nil); err != nil {
		return err
	}
	if _, err := x.out.Write(x.lines.end(x.counts, x.mac.Sum(nil))); err != nil {
		return err
	}
	return x.out.Flush()
}

// events writes the log from where it was read last to its end.
func (x *exporter) events(ctx context.Context, seen func(Event)) error {
	q := EventQuery{After: x.after, Limit: transferBatch}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := x.m.store.Events(ctx, q)
		if err != nil {
			return err
		}
		for _, e := range page {
			x.after, q.After = e.Position, e.Position
			if e.Err != nil {
				x.damaged.event(e.Position.Seq, e.Err)
				continue
			}
			if err := x.write(fileEntry{kind: kindEvent, event: e}); err != nil {
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
			page, err := x.m.store.OnceNames(ctx, OnceQuery{After: x.name, Limit: transferBatch})
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
		if err := x.write(fileEntry{kind: kindOnce, once: x.name}); err != nil {
			return err
		}
	}
}

func (x *exporter) records(ctx context.Context) error {
	q := Query{IncludeDeleted: true, Limit: transferBatch}
	for {
		page, err := x.m.store.List(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page {
			q.After = r.Key.ID
			if err := r.readable(); err != nil {
				x.damaged.key(r.Key.ID, err)
				continue
			}
			x.owners[r.Key.Owner] = true
			r, there, err := x.record(ctx, r.Key.ID)
			if err != nil {
				return err
			}
			if !there {
				continue // purged since, which the log says
			}
			if err := x.write(fileEntry{kind: kindRecord, record: r}); err != nil {
				return err
			}
		}
		x.progress()
		if len(page) < q.Limit {
			return nil
		}
	}
}

// record reads a key, unless it is damaged or purged.
func (x *exporter) record(ctx context.Context, id string) (r Record, there bool, err error) {
	if err := ctx.Err(); err != nil {
		return Record{}, false, err
	}
	r, err = x.m.store.Get(ctx, id, "")
	switch {
	case errors.Is(err, ErrNotFound):
		return Record{}, false, nil
	case errors.Is(err, ErrDamaged):
		x.damaged.key(id, err)
		return Record{}, false, nil
	}
	return r, err == nil, err
}

// owner writes the state of an owner that has one.
func (x *exporter) owner(ctx context.Context, kind lineKind, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o, err := x.m.store.Owner(ctx, id)
	if errors.Is(err, ErrDamaged) {
		x.damaged.owner(id, err)
		return nil
	}
	if err != nil || o.Revision == 0 {
		return err
	}
	return x.write(fileEntry{kind: kind, owner: o})
}

// changes makes the text the state of one moment without a snapshot, which not
// every Store has. A change and its event become visible together, so all that
// was changed after it was read stands in the log behind what was read of it.
// What is named there is read again. Once nothing new stands there, every line
// is as it was when the log was read last.
func (x *exporter) changes(ctx context.Context) error {
	for range maxRounds {
		keys, owners := map[string]bool{}, map[string]bool{}
		before := x.after
		err := x.events(ctx, func(e Event) {
			if e.KeyID != "" {
				keys[e.KeyID] = true
			}
			switch e.Kind {
			case EventIssued, EventRegenerated, EventRotated:
				owners[e.Owner] = true // counts the token, if the owner made it
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
	return fmt.Errorf("the store is changed faster than it can be read: gave up after %d rounds", maxRounds)
}

// again writes what became of a key since it was read.
func (x *exporter) again(ctx context.Context, id string) error {
	r, there, err := x.record(ctx, id)
	if err != nil {
		return err
	}
	if !there { // or damaged, and then the file gets no end
		return x.write(fileEntry{kind: kindPurged, id: id})
	}
	return x.write(fileEntry{kind: kindChangedRecord, record: r})
}

// write writes a line that Restore will accept. Of one that it would not accept
// it makes a note, so that the error at the end names all of them.
func (x *exporter) write(e fileEntry) error {
	text := x.lines.entry(e)
	err := e.check()
	if err == nil && len(text) > maxLine {
		err = errors.New("is too long for a line of the file")
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", e.kind.name(), err)
		switch e.kind {
		case kindEvent:
			x.damaged.event(e.event.Position.Seq, err)
		case kindOwner, kindChangedOwner:
			x.damaged.owner(e.owner.ID, err)
		case kindOnce:
			return err
		default:
			x.damaged.key(e.keyID(), err)
		}
		return nil
	}
	x.counts[e.kind]++
	return x.put(text)
}

func (x *exporter) put(text []byte) error {
	x.mac.Write(text)
	_, err := x.out.Write(text)
	return err
}

func (x *exporter) progress() {
	x.report(Progress{Step: StepExport, Records: x.counts.records(), Owners: x.counts.owners(), Events: x.counts[kindEvent]})
}

// reporter returns what tells all that want to know.
func reporter(options []TransferOption) func(Progress) {
	return func(p Progress) {
		for _, o := range options {
			if o.progress != nil {
				o.progress(p)
			}
		}
	}
}

// transferFailed names the operation, unless the error does already, with the
// key.
func transferFailed(operation string, err error) error {
	if _, named := err.(*operationError); named {
		return err
	}
	return failed(operation, "", err)
}
