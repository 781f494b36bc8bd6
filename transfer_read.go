package apikey

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/keyturn/apikey/internal/pepper"
)

var (
	// ErrExport means that what Restore was given is no complete and unchanged
	// export; see ExportError.
	ErrExport = errors.New("apikey: not a complete and unchanged export")

	// ErrExportVersion means that an export was made by a later version of
	// this package than can read it; see ExportError.
	ErrExportVersion = errors.New("apikey: export is of a newer version")

	// ErrOtherData means that the store that Restore was to write to holds
	// something that is not in the file.
	ErrOtherData = errors.New("apikey: store holds other data than the export")
)

// ExportError says where an export was refused and why. It never holds what
// stands there. It is an ErrExport or an ErrExportVersion.
type ExportError struct {
	Line    int    // counted from 1
	Problem string // for people: "is cut off"
	Err     error
}

func (e *ExportError) Error() string {
	return fmt.Sprintf("%v: line %d %s", e.Err, e.Line, e.Problem)
}

func (e *ExportError) Unwrap() error { return e.Err }

func badLine(line int, problem string) error { return &ExportError{line, problem, ErrExport} }

// exportFile is an export that is being read.
type exportFile struct {
	peppers pepper.Ring
	r       io.ReadSeeker
	begin   int64 // where the export begins in r
	in      *bufio.Reader
	long    []byte // a line that does not fit into the reader
	lines   lineEncoder

	// What the first pass found. Each later one uses no line before its block
	// was found to be the same: the mac at the end would tell too late.
	first string // line
	sums  [][sha256.Size]byte
	mac   []byte

	// What the second pass found. A key or owner may have several lines, of
	// which the last one counts.
	counts      lineCounts
	keys        map[[keyIDLen]byte]int // the line that counts; 0 = purged
	credentials map[[credentialIDLen]byte][keyIDLen]byte
	owners      map[string]Owner
	once        map[string]bool // names
	records     int             // that are not purged
}

// purged reports whether a key was purged by the end of the file.
func (f *exportFile) purged(keyID string) bool {
	if keyID == "" {
		return false
	}
	line, known := f.keys[[keyIDLen]byte([]byte(keyID))]
	return known && line == 0
}

func openExport(peppers pepper.Ring, r io.ReadSeeker) (*exportFile, error) {
	begin, err := r.Seek(0, io.SeekCurrent)
	return &exportFile{
		peppers: peppers, r: r, begin: begin, in: bufio.NewReaderSize(nil, 1<<16),
		keys:        map[[keyIDLen]byte]int{},
		credentials: map[[credentialIDLen]byte][keyIDLen]byte{},
		owners:      map[string]Owner{},
		once:        map[string]bool{},
	}, err
}

// block is some lines that follow one another: as many as it takes to have
// blockBytes. It is never less but at the end, however short the lines are, so
// that the sums of a file take less than a thousandth of its length.
type block struct {
	text  []byte
	lines []blockLine
}

type blockLine struct {
	number int
	kind   lineKind
	end    int // in the text
}

const blockBytes = 1 << 17

// pass reads the whole file once and calls visit with each line that is of a
// kind wanted. It is an error if the file is not whole and unchanged. In the
// first pass that shows only at its end, so that it wants no line; in each later
// one before a line of the block is visited.
func (f *exportFile) pass(ctx context.Context, visit func(line int, kind lineKind, text []byte) error, wanted ...lineKind) error {
	if _, err := f.r.Seek(f.begin, io.SeekStart); err != nil {
		return err
	}
	f.in.Reset(f.r)
	text, err := f.next(1)
	if err != nil {
		return err
	}
	first := f.mac == nil
	if first {
		f.first = string(text)
	} else if string(text) != f.first {
		return badLine(1, "was changed while it was read")
	}
	under, err := f.header(text)
	if err != nil {
		return err
	}
	var want [lineKinds]bool
	for _, kind := range wanted {
		want[kind] = true
	}
	var counts lineCounts
	mac := under.BackupMAC()
	mac.Write(text)
	var b block
	blocks := 0
	full := func() error {
		sum := sha256.Sum256(b.text)
		if first {
			f.sums = append(f.sums, sum)
		} else if len(b.lines) > 0 && (blocks >= len(f.sums) || f.sums[blocks] != sum) {
			return badLine(b.lines[0].number, "was changed while it was read, or one soon after it")
		}
		blocks++
		begin := 0
		for _, l := range b.lines {
			if want[l.kind] {
				if err := visit(l.number, l.kind, b.text[begin:l.end]); err != nil {
					return err
				}
			}
			begin = l.end
		}
		b.text, b.lines = b.text[:0], b.lines[:0]
		return nil
	}
	for line := 2; ; line++ {
		if line%transferBatch == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		text, err := f.next(line)
		if err != nil {
			return err
		}
		kind := kindOf(text)
		switch {
		case kind == lineKinds:
			return badLine(line, "is of no kind that is known")
		case kind == kindEnd:
			if err := full(); err != nil {
				return err
			}
			sum := mac.Sum(nil)
			if !hmac.Equal(text, f.lines.end(counts, sum)) || !first && !bytes.Equal(sum, f.mac) {
				return badLine(line, "does not fit the others: the file was changed")
			}
			if _, err := f.in.ReadByte(); err != io.EOF {
				if err == nil {
					err = badLine(line+1, "stands after the end")
				}
				return err
			}
			f.mac, f.counts = sum, counts
			return nil
		}
		counts[kind]++
		mac.Write(text)
		b.text = append(b.text, text...)
		b.lines = append(b.lines, blockLine{line, kind, len(b.text)})
		if len(b.text) >= blockBytes {
			if err := full(); err != nil {
				return err
			}
		}
	}
}

// next returns the next line with its line feed. It is good until the next
// call.
func (f *exportFile) next(line int) ([]byte, error) {
	text, err := f.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		f.long = f.long[:0]
		for err == bufio.ErrBufferFull && len(f.long) <= maxLine {
			f.long = append(f.long, text...)
			text, err = f.in.ReadSlice('\n')
		}
		f.long = append(f.long, text...)
		text = f.long
	}
	switch {
	case len(text) > maxLine:
		err = badLine(line, "is too long")
	case err == io.EOF:
		err = badLine(line, "is cut off, or not there")
	}
	return text, err
}

// header reads the first line and returns the pepper that the file is under.
// Of a later version it needs no more than the first two fields.
func (f *exportFile) header(text []byte) (*pepper.Pepper, error) {
	var h fileHeader
	var version struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if json.Unmarshal(text, &version) != nil || version.Format != fileFormat {
		return nil, badLine(1, "is not the header of an export")
	}
	if version.Version > fileVersion {
		return nil, &ExportError{1, fmt.Sprintf("says version %d, this package reads version %d", version.Version, fileVersion), ErrExportVersion}
	}
	if json.Unmarshal(text, &h) != nil {
		return nil, badLine(1, "is not the header of an export")
	}
	id, err := hex.DecodeString(h.Pepper)
	read := header{string(id), fromMicros(h.ExportedAt)}
	if err != nil || len(id) != pepper.IDLen || !storable(read.exportedAt) ||
		!bytes.Equal(text, f.lines.header(read)) {
		return nil, badLine(1, "is not the header of an export")
	}
	found := f.peppers.Find(read.pepper)
	if found == nil {
		return nil, fmt.Errorf("%w: the export was made under %s", ErrPepper, pepper.Name(read.pepper))
	}
	return found, nil
}

// verify is the first two passes. The first one keeps nothing of what could be
// anyone's; after the second every line is known to be good.
func (f *exportFile) verify(ctx context.Context, report func(Progress)) error {
	if err := f.pass(ctx, nil); err != nil {
		return err
	}
	v := verifier{exportFile: f, progress: Progress{Step: StepVerify}, report: report}
	err := f.pass(ctx, v.line, kindEvent, kindRecord, kindOwner, kindChangedRecord, kindChangedOwner, kindPurged, kindOnce)
	if err != nil {
		return err
	}
	for _, line := range f.keys {
		if line != 0 {
			f.records++
		}
	}
	f.credentials, f.once = nil, nil // needed no more
	v.report(v.progress)
	return nil
}

// verifier is the second pass under way.
type verifier struct {
	*exportFile
	progress Progress
	report   func(Progress)

	part      lineKind // kindEvent, kindRecord, kindOwner, and then kindChangedRecord
	lastSeq   int64
	lastKey   string
	lastOwner string
}

// line checks a line for itself and against those before it.
func (v *verifier) line(line int, kind lineKind, text []byte) error {
	e, ok := decodeEntry(kind, text)
	if !ok || !bytes.Equal(text, v.lines.entry(e)) {
		return badLine(line, "is not written as Export writes it")
	}
	if err := e.check(); err != nil {
		return badLine(line, "is refused: "+strings.TrimPrefix(err.Error(), "apikey: "))
	}
	if problem := v.order(e); problem != "" {
		return badLine(line, problem)
	}
	switch kind {
	case kindEvent:
		v.lastSeq = e.event.Position.Seq
		v.progress.Events++
	case kindRecord, kindChangedRecord:
		id := [keyIDLen]byte([]byte(e.record.Key.ID))
		for i := range e.record.Credentials {
			credential := [credentialIDLen]byte([]byte(e.record.Credentials[i].ID))
			if of, taken := v.credentials[credential]; taken && of != id {
				return badLine(line, "has a credential of another key")
			}
			v.credentials[credential] = id
		}
		v.keys[id] = line
		v.lastKey = e.record.Key.ID
		v.progress.Records++
	case kindOwner, kindChangedOwner:
		v.owners[e.owner.ID] = e.owner
		v.lastOwner = e.owner.ID
		v.progress.Owners++
	case kindPurged:
		v.keys[[keyIDLen]byte([]byte(e.id))] = 0
	case kindOnce:
		if v.once[e.once.Name] {
			return badLine(line, "is a name that was there before")
		}
		v.once[e.once.Name] = true
	}
	if line%transferBatch == 0 {
		v.report(v.progress)
	}
	return nil
}

// order says what is wrong with the place of a line, or nothing. Events ascend
// through all of the file; records and owners in their part, so that none
// comes twice.
func (v *verifier) order(e fileEntry) string {
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
		if e.record.Key.ID <= v.lastKey {
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
		return "stands in the wrong part of the file"
	}
	v.part = part
	return ""
}
