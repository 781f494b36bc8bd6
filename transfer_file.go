package apikey

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/keyturn/apikey/internal/pepper"
)

// An export is lines of JSON, each of them one object and a line feed:
//
//	{"format":"apikey-export","version":1,"pepper":"...","exported_at":...}
//	{"event":{...}}                 the log, in its order
//	{"once":{...}}                  names that can be committed once, each behind the event with which it was
//	{"record":{...}}                every key, in ascending order of ids
//	{"owner":{...}}                 owners' states, in ascending order of ids
//	{"event":{...}}                 what was changed while these were read,
//	{"changed_record":{...}}        in any order; a later line takes the place
//	{"changed_owner":{...}}         of an earlier one
//	{"purged":"..."}
//	{"end":{...,"mac":"..."}}
//
// Times are Unix microseconds and 0 or left out if unset, bytes are in base64,
// the pepper's id and the mac in hex. The mac is
//
//	HMAC-SHA-256(HMAC-SHA-256(pepper, "apikey export 1"), all bytes before the last line)
//
// There is one way to write each value, with one order of fields and no space:
// a line which is not exactly what Export would write for the value read from
// it is refused. That takes care of unknown, repeated and misspelt fields, and
// of every number and text that did not come through whole.
const (
	fileFormat  = "apikey-export"
	fileVersion = 1
	maxLine     = 1 << 20 // bytes, with the line feed
)

// lineKind is what a line holds.
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

// linePrefix is how the lines of each kind begin.
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

func (c lineCounts) records() int { return c[kindRecord] + c[kindChangedRecord] }
func (c lineCounts) owners() int  { return c[kindOwner] + c[kindChangedOwner] }

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

// fileRecord is a Record without its Nonce and Revision, which a Store that it
// is restored into gives anew. The names are those of the columns of sqlstore.
type fileRecord struct {
	ID             string            `json:"id"`
	Owner          string            `json:"owner"`
	Name           string            `json:"name"`
	Scopes         string            `json:"scopes,omitempty"`
	Networks       string            `json:"networks,omitempty"`
	RateRequests   int               `json:"rate_requests,omitempty"`
	RatePeriod     int64             `json:"rate_period,omitempty"` // microseconds
	Metadata       map[string]string `json:"metadata,omitempty"`
	CreatedAt      int64             `json:"created_at"`
	DisabledAt     int64             `json:"disabled_at,omitempty"`
	DisabledBy     string            `json:"disabled_by,omitempty"`
	DisabledReason string            `json:"disabled_reason,omitempty"`
	Locked         bool              `json:"locked,omitempty"`
	DeletedAt      int64             `json:"deleted_at,omitempty"`
	Prefix         string            `json:"prefix"`
	CredentialID   string            `json:"credential_id"`
	IssuedAt       int64             `json:"issued_at"`
	ExpiresAt      int64             `json:"expires_at"`
	RetiringID     string            `json:"retiring_id,omitempty"`
	IssueHash      []byte            `json:"issue_hash,omitempty"`
	Seal           []byte            `json:"seal,omitempty"`
	Credentials    []fileCredential  `json:"credentials"`
}

type fileCredential struct {
	ID           string `json:"id"`
	Prefix       string `json:"prefix"`
	CreatedAt    int64  `json:"created_at"`
	ExpiresAt    int64  `json:"expires_at"`
	RetireBefore int64  `json:"retire_before,omitempty"`
	Scheme       uint8  `json:"scheme,omitempty"`
	PepperID     []byte `json:"pepper_id"`
	Digest       []byte `json:"digest"`
	Seal         []byte `json:"seal,omitempty"`
	LastUsedAt   int64  `json:"last_used_at,omitempty"`
	Uses         int64  `json:"uses,omitempty"`
}

type fileOnce struct {
	Name  string `json:"name"`
	KeyID string `json:"key_id,omitempty"`
}

type fileOwner struct {
	ID             string `json:"id"`
	DisabledAt     int64  `json:"disabled_at,omitempty"`
	DisabledBy     string `json:"disabled_by,omitempty"`
	DisabledReason string `json:"disabled_reason,omitempty"`
	HasCeiling     bool   `json:"has_ceiling,omitempty"`
	Ceiling        string `json:"ceiling,omitempty"`
	TokensUntil    int64  `json:"tokens_until,omitempty"`
	Seal           []byte `json:"seal,omitempty"`
}

type fileEvent struct {
	Seq             int64             `json:"seq"`
	Nonce           []byte            `json:"nonce"`
	At              int64             `json:"at"`
	Kind            EventKind         `json:"kind"`
	KeyID           string            `json:"key_id,omitempty"`
	Owner           string            `json:"owner"`
	CredentialID    string            `json:"credential_id,omitempty"`
	OldCredentialID string            `json:"old_credential_id,omitempty"`
	OldExpiresAt    int64             `json:"old_expires_at,omitempty"`
	Revision        int64             `json:"revision,omitempty"`
	Actor           string            `json:"actor,omitempty"`
	Reason          string            `json:"reason,omitempty"`
	Data            map[string]string `json:"data,omitempty"`
	Seal            []byte            `json:"seal,omitempty"`
}

// fileEntry is what a line stands for.
type fileEntry struct {
	kind   lineKind
	event  Event
	record Record
	owner  Owner
	once   OnceName
	id     string // of a purged key
}

// check refuses what no Manager would have written.
func (e *fileEntry) check() error {
	switch e.kind {
	case kindEvent:
		return e.event.Check()
	case kindRecord, kindChangedRecord:
		return e.record.Check()
	case kindOwner, kindChangedOwner:
		return e.owner.Check()
	case kindOnce:
		return e.once.Check()
	}
	return checkID(e.id)
}

// keyID returns the key that the line is of, if it is a key's.
func (e *fileEntry) keyID() string {
	if e.kind == kindPurged {
		return e.id
	}
	return e.record.Key.ID
}

// lineEncoder writes lines. What it returns is good until its next call.
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
	l.enc.Encode(line) // of texts, numbers and bytes: it cannot fail
	return l.buf.Bytes()
}

func (l *lineEncoder) header(h header) []byte {
	return l.encode(fileHeader{fileFormat, fileVersion, pepper.Name(h.pepper), toMicros(h.exportedAt)})
}

func (l *lineEncoder) end(c lineCounts, mac []byte) []byte {
	return l.encode(fileLine{End: &fileEnd{
		c[kindEvent], c[kindRecord], c[kindOwner], c[kindChangedRecord], c[kindChangedOwner], c[kindPurged], c[kindOnce],
		hex.EncodeToString(mac),
	}})
}

func (l *lineEncoder) entry(e fileEntry) []byte {
	var line fileLine
	switch e.kind {
	case kindEvent:
		line.Event = eventToFile(e.event)
	case kindRecord:
		line.Record = recordToFile(e.record)
	case kindChangedRecord:
		line.ChangedRecord = recordToFile(e.record)
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

// decodeEntry reads a line of a known kind. Whether it was written as it should
// be, and whether what it says is good, is not looked at.
func decodeEntry(kind lineKind, text []byte) (fileEntry, bool) {
	var line fileLine
	if json.Unmarshal(text, &line) != nil {
		return fileEntry{}, false
	}
	e, ok := fileEntry{kind: kind}, false
	switch {
	case kind == kindEvent && line.Event != nil:
		e.event, ok = line.Event.event(), true
	case kind == kindRecord && line.Record != nil:
		e.record, ok = line.Record.record()
	case kind == kindChangedRecord && line.ChangedRecord != nil:
		e.record, ok = line.ChangedRecord.record()
	case kind == kindOwner && line.Owner != nil:
		e.owner, ok = line.Owner.owner()
	case kind == kindChangedOwner && line.ChangedOwner != nil:
		e.owner, ok = line.ChangedOwner.owner()
	case kind == kindPurged:
		e.id, ok = line.Purged, true
	case kind == kindOnce && line.Once != nil:
		e.once, ok = OnceName{Name: line.Once.Name, KeyID: line.Once.KeyID}, true
	}
	return e, ok
}

func recordToFile(r Record) *fileRecord {
	k := &r.Key
	f := &fileRecord{
		ID: k.ID, Owner: k.Owner, Name: k.Name,
		Scopes: k.Scopes.String(), Networks: k.Networks.String(),
		RateRequests: k.Rate.Requests, RatePeriod: k.Rate.Period.Microseconds(), Metadata: metadataToFile(k.Metadata),
		CreatedAt:  toMicros(k.CreatedAt),
		DisabledAt: toMicros(k.DisabledAt), DisabledBy: k.DisabledBy, DisabledReason: k.DisabledReason, Locked: k.Locked,
		DeletedAt: toMicros(k.DeletedAt),
		Prefix:    k.Prefix, CredentialID: k.CredentialID, IssuedAt: toMicros(k.IssuedAt), ExpiresAt: toMicros(k.ExpiresAt),
		RetiringID: k.RetiringID, IssueHash: []byte(r.IssueHash), Seal: []byte(r.Seal),
		Credentials: make([]fileCredential, len(r.Credentials)),
	}
	for i := range r.Credentials {
		c := &r.Credentials[i]
		f.Credentials[i] = fileCredential{
			ID: c.ID, Prefix: c.Prefix,
			CreatedAt: toMicros(c.CreatedAt), ExpiresAt: toMicros(c.ExpiresAt), RetireBefore: toMicros(c.RetireBefore),
			Scheme: c.Scheme, PepperID: []byte(c.PepperID), Digest: []byte(c.Digest), Seal: []byte(c.Seal),
			LastUsedAt: toMicros(c.LastUsedAt), Uses: c.Uses,
		}
	}
	return f
}

func (f *fileRecord) record() (Record, bool) {
	scopes, err := ParseScopes(f.Scopes)
	if err != nil {
		return Record{}, false
	}
	networks, err := ParseNetworks(f.Networks)
	if err != nil {
		return Record{}, false
	}
	r := Record{
		Key: Key{
			ID: f.ID, Owner: f.Owner, Name: f.Name, Scopes: scopes, Networks: networks,
			Rate:     Rate{f.RateRequests, time.Duration(f.RatePeriod) * time.Microsecond},
			Metadata: NewMetadata(f.Metadata), CreatedAt: fromMicros(f.CreatedAt),
			DisabledAt: fromMicros(f.DisabledAt), DisabledBy: f.DisabledBy, DisabledReason: f.DisabledReason, Locked: f.Locked,
			DeletedAt: fromMicros(f.DeletedAt),
			Prefix:    f.Prefix, CredentialID: f.CredentialID, IssuedAt: fromMicros(f.IssuedAt), ExpiresAt: fromMicros(f.ExpiresAt),
			RetiringID: f.RetiringID,
		},
		Credentials: make([]Credential, len(f.Credentials)),
		IssueHash:   string(f.IssueHash),
		Seal:        string(f.Seal),
	}
	for i := range f.Credentials {
		c := &f.Credentials[i]
		r.Credentials[i] = Credential{
			ID: c.ID, Prefix: c.Prefix,
			CreatedAt: fromMicros(c.CreatedAt), ExpiresAt: fromMicros(c.ExpiresAt), RetireBefore: fromMicros(c.RetireBefore),
			Scheme: c.Scheme, PepperID: string(c.PepperID), Digest: Digest(c.Digest), Seal: string(c.Seal),
			LastUsedAt: fromMicros(c.LastUsedAt), Uses: c.Uses,
		}
	}
	return r, true
}

func ownerToFile(o Owner) *fileOwner {
	return &fileOwner{
		o.ID, toMicros(o.DisabledAt), o.DisabledBy, o.DisabledReason,
		o.HasCeiling, o.Ceiling.String(), toMicros(o.TokensUntil), []byte(o.Seal),
	}
}

func (f *fileOwner) owner() (Owner, bool) {
	ceiling, err := ParseScopes(f.Ceiling)
	return Owner{
		ID: f.ID, DisabledAt: fromMicros(f.DisabledAt), DisabledBy: f.DisabledBy, DisabledReason: f.DisabledReason,
		HasCeiling: f.HasCeiling, Ceiling: ceiling, TokensUntil: fromMicros(f.TokensUntil), Seal: string(f.Seal),
	}, err == nil
}

func eventToFile(e Event) *fileEvent {
	return &fileEvent{
		Seq: e.Position.Seq, Nonce: e.Position.Nonce[:], At: toMicros(e.At), Kind: e.Kind, KeyID: e.KeyID, Owner: e.Owner,
		CredentialID: e.CredentialID, OldCredentialID: e.OldCredentialID, OldExpiresAt: toMicros(e.OldExpiresAt),
		Revision: e.Revision, Actor: e.Actor, Reason: e.Reason, Data: metadataToFile(e.Data), Seal: []byte(e.Seal),
	}
}

func (f *fileEvent) event() Event {
	e := Event{
		Position: Position{Seq: f.Seq}, At: fromMicros(f.At), Kind: f.Kind, KeyID: f.KeyID, Owner: f.Owner,
		CredentialID: f.CredentialID, OldCredentialID: f.OldCredentialID, OldExpiresAt: fromMicros(f.OldExpiresAt),
		Revision: f.Revision, Actor: f.Actor, Reason: f.Reason, Data: NewMetadata(f.Data), Seal: string(f.Seal),
	}
	copy(e.Position.Nonce[:], f.Nonce)
	return e
}

func metadataToFile(m Metadata) map[string]string {
	if m.Len() == 0 {
		return nil
	}
	return m.Map()
}

func toMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
