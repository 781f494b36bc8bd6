package backup

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/pepper"
)

// Summary describes what is in a file.
type Summary struct {
	ExportedAt time.Time // by the clock of the Export

	// Counts are those of a Store into which the file is restored. Restore adds
	// one event for each key and each owner.
	Counts

	// MissingPeppers are the ids, in ascending order, of the peppers that the
	// file's credentials need and that Verify was not given. They appear in the
	// error of [apikey.Manager.Check] as well. A restored key whose pepper is
	// missing cannot be validated.
	MissingPeppers []string
}

// Verify reads a file to its end, checks everything that Restore checks before
// it writes, and returns what is in the file. It begins at the current position
// of r, and needs no Store. Its errors are those of Restore for a file that is
// rejected, a *[apikey.FieldError] for peppers or a nil reader, and those of r.
//
// Verify reads r three times, and keeps in memory what Restore does.
func Verify(r io.ReadSeeker, peppers []apikey.Secret) (s Summary, err error) {
	defer wrap(&err, "verify")
	ring, err := newRing(peppers)
	if err != nil {
		return Summary{}, err
	}
	ctx := context.Background()
	f, err := open(ring, r)
	if err == nil {
		err = f.verify(ctx, func(Progress) {})
	}
	if err != nil {
		return Summary{}, err
	}
	missing := map[string]bool{}
	err = f.records(ctx, func(k keyState) error {
		for i := range k.Credentials {
			if id := k.Credentials[i].PepperID; ring.Find(id) == nil {
				missing[pepper.Name(id)] = true
			}
		}
		return nil
	})
	if err != nil {
		return Summary{}, err
	}
	return Summary{f.exportedAt, f.total(), slices.Sorted(maps.Keys(missing))}, nil
}

// verify is the first two passes. The first one keeps nothing of a file that
// anyone could have made. After the second one every line is known to be valid.
func (f *file) verify(ctx context.Context, report func(Progress)) error {
	if err := f.pass(ctx, nil); err != nil {
		return err
	}
	v := verifier{file: f, progress: Progress{Step: StepVerify}, report: report}
	err := f.pass(ctx, v.line, kindEvent, kindRecord, kindOwner, kindChangedRecord, kindChangedOwner, kindPurged, kindOnce)
	if err != nil {
		return err
	}
	for _, line := range f.keys {
		if line != 0 {
			f.live++
		}
	}
	f.credentials, f.once = nil, nil // no longer needed
	v.report(v.progress)
	return nil
}

// records visits the state of each key that is not purged.
func (f *file) records(ctx context.Context, visit func(keyState) error) error {
	return f.pass(ctx, func(line int, kind lineKind, text []byte) error {
		e, ok := decodeEntry(kind, text)
		if !ok {
			return badLine(line, "was changed while it was read")
		}
		if f.keys[e.key.Key.ID] != line {
			return nil // a later line replaces it
		}
		return visit(e.key)
	}, kindRecord, kindChangedRecord)
}

// total returns what a Store contains after a Restore of the file, without the
// events that Restore adds.
func (f *file) total() Counts {
	return Counts{Keys: f.live, Owners: len(f.owners), Events: f.counts[kindEvent]}
}

// verifier is the second pass.
type verifier struct {
	*file
	progress Progress
	report   func(Progress)

	part      lineKind // kindEvent, kindRecord, kindOwner, and then kindChangedRecord
	lastSeq   int64
	lastKey   string
	lastOwner string
}

// line checks a line on its own and against the lines before it.
func (v *verifier) line(line int, kind lineKind, written []byte) error {
	e, ok := decodeEntry(kind, written)
	if !ok || !bytes.Equal(written, v.lines.entry(e)) {
		return badLine(line, "is not written as Export writes it")
	}
	if err := e.check(); err != nil {
		return badLine(line, "is rejected: "+text(err))
	}
	if problem := v.order(e); problem != "" {
		return badLine(line, problem)
	}
	switch kind {
	case kindEvent:
		v.lastSeq = e.event.Position.Seq
		v.progress.Done.Events++
	case kindRecord, kindChangedRecord:
		id := e.key.Key.ID
		for i := range e.key.Credentials {
			credential := e.key.Credentials[i].ID
			if of, taken := v.credentials[credential]; taken && of != id {
				return badLine(line, "has a credential of another key")
			}
			v.credentials[credential] = id
		}
		v.keys[id] = line
		v.lastKey = id
		v.progress.Done.Keys++
	case kindOwner, kindChangedOwner:
		v.owners[e.owner.ID] = e.owner
		v.lastOwner = e.owner.ID
		v.progress.Done.Owners++
	case kindPurged:
		v.keys[e.id] = 0
	case kindOnce:
		if v.once[e.once.Name] {
			return badLine(line, "repeats a name")
		}
		v.once[e.once.Name] = true
	}
	if line%batchSize == 0 {
		v.report(v.progress)
	}
	return nil
}

// order returns what is wrong with the position of a line, or "". Events ascend
// throughout the file. Records and owners ascend in their own part, so that none
// is repeated.
func (v *verifier) order(e entry) string {
	part := e.kind
	switch e.kind {
	case kindEvent:
		if e.event.Position.Seq <= v.lastSeq {
			return "is an event out of order"
		}
		if part = v.part; part > kindEvent {
			part = kindChangedRecord
		}
	case kindOnce:
		if v.lastSeq == 0 {
			return "is a name before the first event"
		}
		if part = v.part; part > kindEvent {
			part = kindChangedRecord
		}
	case kindRecord:
		if e.key.Key.ID <= v.lastKey {
			return "is a record out of order"
		}
	case kindOwner:
		if e.owner.ID <= v.lastOwner {
			return "is an owner out of order"
		}
	default:
		part = kindChangedRecord
	}
	if part < v.part {
		return "is in the wrong part of the file"
	}
	v.part = part
	return ""
}
