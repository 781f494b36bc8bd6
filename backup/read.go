package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/micros"
	"github.com/keyturn/apikey/internal/pepper"
)

// file is a backup that is being read, several times.
type file struct {
	peppers pepper.Ring
	r       io.ReadSeeker
	begin   int64 // where the file begins in r
	in      *bufio.Reader
	long    []byte // a line that does not fit into the reader
	lines   lineEncoder

	// What the first pass found. A later pass uses a line only once its block is
	// known to be unchanged, because the mac at the end comes too late.
	first string // line
	header
	sums [][sha256.Size]byte
	mac  []byte

	// What the second pass found. A key or owner may have several lines, of
	// which the last one counts.
	counts      lineCounts
	keys        map[string]int // the line that counts; 0 = purged
	credentials map[string]string
	owners      map[string]apikey.Owner
	once        map[string]bool // names
	live        int             // keys that are not purged
}

// purged reports whether a key was purged by the end of the file.
func (f *file) purged(keyID string) bool {
	if keyID == "" {
		return false
	}
	line, known := f.keys[keyID]
	return known && line == 0
}

func open(peppers pepper.Ring, r io.ReadSeeker) (*file, error) {
	if err := checkNotNil("reader", r); err != nil {
		return nil, err
	}
	begin, err := r.Seek(0, io.SeekCurrent)
	return &file{
		peppers: peppers, r: r, begin: begin, in: bufio.NewReaderSize(nil, 1<<16),
		keys:        map[string]int{},
		credentials: map[string]string{},
		owners:      map[string]apikey.Owner{},
		once:        map[string]bool{},
	}, err
}

// block is consecutive lines that have blockBytes together, or fewer at the end
// of the file. The sums of a file therefore take less than a thousandth of its
// length, however short its lines are.
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

// pass reads the whole file once and calls visit with each line of a wanted
// kind. It fails if the file is not complete and unchanged. The first pass knows
// that only at its end, so it wants no lines. Each later one knows it before it
// visits a line of a block.
func (f *file) pass(ctx context.Context, visit func(line int, kind lineKind, text []byte) error, wanted ...lineKind) error {
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
	under, err := f.readHeader(text)
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
		if line%batchSize == 0 {
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
			return badLine(line, "is of no known kind")
		case kind == kindEnd:
			if err := full(); err != nil {
				return err
			}
			sum := mac.Sum(nil)
			if !hmac.Equal(text, f.lines.end(counts, sum)) || !first && !bytes.Equal(sum, f.mac) {
				return badLine(line, "does not match the others: the file was changed")
			}
			if _, err := f.in.ReadByte(); err != io.EOF {
				if err == nil {
					err = badLine(line+1, "follows the end")
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

// next returns the next line with its line feed. It is valid until the next
// call.
func (f *file) next(line int) ([]byte, error) {
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
		err = badLine(line, "is cut off or missing")
	}
	return text, err
}

// readHeader reads the first line and returns the pepper that signed the file.
// Of another version it reads the first two fields only.
func (f *file) readHeader(text []byte) (*pepper.Pepper, error) {
	var h fileHeader
	var version struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if json.Unmarshal(text, &version) != nil || version.Format != fileFormat {
		return nil, badLine(1, "is not the header of a backup")
	}
	if version.Version > 0 && version.Version != fileVersion {
		return nil, &FileError{1, fmt.Sprintf("says version %d, this package reads version %d", version.Version, fileVersion), ErrVersion}
	}
	if json.Unmarshal(text, &h) != nil {
		return nil, badLine(1, "is not the header of a backup")
	}
	id, err := hex.DecodeString(h.Pepper)
	read := header{string(id), micros.Time(h.ExportedAt)}
	if err != nil || len(id) != pepper.IDLen || !micros.Storable(read.exportedAt) ||
		!bytes.Equal(text, f.lines.header(read)) {
		return nil, badLine(1, "is not the header of a backup")
	}
	f.header = read
	found := f.peppers.Find(read.pepper)
	if found == nil {
		return nil, fmt.Errorf("%w: the file is signed with %s", apikey.ErrPepper, pepper.Name(read.pepper))
	}
	return found, nil
}
