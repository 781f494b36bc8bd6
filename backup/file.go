package backup

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/micros"
	"github.com/keyturn/apikey/internal/pepper"
)

// A file is lines of JSON, each of them one object and a line feed:
//
//	{"format":"apikey-backup","version":2,"pepper":"...","exported_at":...}
//	{"event":{...}}                 the log, in its order
//	{"once":{...}}                  names that were committed once, each after the event of its Commit
//	{"record":{...}}                every key, in ascending order of ids
//	{"owner":{...}}                 owners' states, in ascending order of ids
//	{"event":{...}}                 what changed while these were read, in any
//	{"changed_record":{...}}        order; a later line replaces an earlier one
//	{"changed_owner":{...}}
//	{"purged":"..."}
//	{"end":{...,"mac":"..."}}
//
// Times are Unix microseconds, and 0 or omitted if unset. Bytes are in base64,
// the pepper's id and the mac in hex. The mac is
//
//	HMAC-SHA-256(HMAC-SHA-256(pepper, "apikey backup 1"), all bytes before the last line)
//
// There is one way to write each value, with one order of fields and no space.
// A line is rejected unless it is exactly what Export would write for the value
// read from it. That rule covers unknown, repeated and misspelled fields, and
// every number and string that was altered.
const (
	fileFormat  = "apikey-backup"
	fileVersion = 2
	maxLine     = 1 << 20 // bytes, with the line feed
)

// lineKind is what a line contains.
type lineKind int

const (
	kindEvent lineKind = iota
	kindRecord
	kindOwner
	kindChangedRecord
	kindChangedOwner
	kindPurged
	kindOnce
	kindEnd
	lineKinds
)

// linePrefix is the beginning of the lines of each kind.
var linePrefix = [lineKinds][]byte{
	[]byte(`{"event":`), []byte(`{"record":`), []byte(`{"owner":`),
	[]byte(`{"changed_record":`), []byte(`{"changed_owner":`), []byte(`{"purged":`), []byte(`{"once":`), []byte(`{"end":`),
}

func (k lineKind) name() string {
	prefix := linePrefix[k]
	return string(prefix[2 : len(prefix)-2])
}

// kindOf returns the kind of a line, lineKinds for none.
func kindOf(text []byte) lineKind {
	for kind, prefix := range linePrefix {
		if bytes.HasPrefix(text, prefix) {
			return lineKind(kind)
		}
	}
	return lineKinds
}

// lineCounts is how many lines of each kind there are.
type lineCounts [lineKinds]int

// counts counts a key or owner once per line.
func (c lineCounts) counts() Counts {
	return Counts{
		Keys: c[kindRecord] + c[kindChangedRecord], Owners: c[kindOwner] + c[kindChangedOwner], Events: c[kindEvent],
	}
}

// header is the first line.
type header struct {
	pepper     string // id
	exportedAt time.Time
}

type fileHeader struct {
	Format     string `json:"format"`
	Version    int    `json:"version"`
	Pepper     string `json:"pepper"`
	ExportedAt int64  `json:"exported_at"`
}

type fileEnd struct {
	Events         int    `json:"events"`
	Records        int    `json:"records"`
	Owners         int    `json:"owners"`
	ChangedRecords int    `json:"changed_records"`
	ChangedOwners  int    `json:"changed_owners"`
	Purged         int    `json:"purged"`
	Once           int    `json:"once"`
	MAC            string `json:"mac"`
}

// fileLine is every other line; one of its fields is set.
type fileLine struct {
	Event         *fileEvent  `json:"event,omitempty"`
	Record        *fileRecord `json:"record,omitempty"`
	Owner         *fileOwner  `json:"owner,omitempty"`
	ChangedRecord *fileRecord `json:"changed_record,omitempty"`
	ChangedOwner  *fileOwner  `json:"changed_owner,omitempty"`
	Purged        string      `json:"purged,omitempty"`
	Once          *fileOnce   `json:"once,omitempty"`
	End           *fileEnd    `json:"end,omitempty"`
}

// entry is what a line says; kind tells which field is set.
type entry struct {
	kind  lineKind
	event apikey.Event
	key   keyState
	owner apikey.Owner
	once  apikey.OnceName
	id    string // of a purged key
}

// check rejects what no Manager would have written.
func (e *entry) check() error {
	switch e.kind {
	case kindEvent:
		return e.event.Check()
	case kindRecord, kindChangedRecord:
		return e.key.check()
	case kindOwner, kindChangedOwner:
		return e.owner.Check()
	case kindOnce:
		return e.once.Check()
	}
	return checkKeyID(e.id)
}

// lineEncoder writes lines. What it returns is valid until its next call.
type lineEncoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

func (l *lineEncoder) encode(line any) []byte {
	if l.enc == nil {
		l.enc = json.NewEncoder(&l.buf)
		l.enc.SetEscapeHTML(false)
	}
	l.buf.Reset()
	l.enc.Encode(line) // strings, numbers and bytes: it cannot fail
	return l.buf.Bytes()
}

func (l *lineEncoder) header(h header) []byte {
	return l.encode(fileHeader{fileFormat, fileVersion, pepper.Name(h.pepper), micros.Of(h.exportedAt)})
}

func (l *lineEncoder) end(c lineCounts, mac []byte) []byte {
	return l.encode(fileLine{End: &fileEnd{
		c[kindEvent], c[kindRecord], c[kindOwner], c[kindChangedRecord], c[kindChangedOwner], c[kindPurged], c[kindOnce],
		hex.EncodeToString(mac),
	}})
}

func (l *lineEncoder) entry(e entry) []byte {
	var line fileLine
	switch e.kind {
	case kindEvent:
		line.Event = eventToFile(e.event)
	case kindRecord:
		line.Record = keyToFile(e.key)
	case kindChangedRecord:
		line.ChangedRecord = keyToFile(e.key)
	case kindOwner:
		line.Owner = ownerToFile(e.owner)
	case kindChangedOwner:
		line.ChangedOwner = ownerToFile(e.owner)
	case kindPurged:
		line.Purged = e.id
	case kindOnce:
		line.Once = &fileOnce{e.once.Name, e.once.KeyID}
	}
	return l.encode(line)
}

// decodeEntry reads a line of a known kind. It checks neither how the line is
// written nor what it says.
func decodeEntry(kind lineKind, text []byte) (entry, bool) {
	var line fileLine
	if json.Unmarshal(text, &line) != nil {
		return entry{}, false
	}
	e, ok := entry{kind: kind}, false
	switch {
	case kind == kindEvent && line.Event != nil:
		e.event, ok = line.Event.event(), true
	case kind == kindRecord && line.Record != nil:
		e.key, ok = line.Record.key()
	case kind == kindChangedRecord && line.ChangedRecord != nil:
		e.key, ok = line.ChangedRecord.key()
	case kind == kindOwner && line.Owner != nil:
		e.owner, ok = line.Owner.owner()
	case kind == kindChangedOwner && line.ChangedOwner != nil:
		e.owner, ok = line.ChangedOwner.owner()
	case kind == kindPurged:
		e.id, ok = line.Purged, true
	case kind == kindOnce && line.Once != nil:
		e.once, ok = apikey.OnceName{Name: line.Once.Name, KeyID: line.Once.KeyID}, true
	}
	return e, ok
}
