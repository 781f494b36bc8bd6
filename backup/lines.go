package backup

import (
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/micros"
)

// fileRecord is a Record without its Nonce and Revision, which Restore sets. The
// names are those of the columns of sqlstore.
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

	// Uses are those of no known day, LastUsedAt is the last use of all if there
	// are such. The total of a credential is the sum of Uses and Days, so that a
	// file cannot contradict itself.
	LastUsedAt int64     `json:"last_used_at,omitempty"`
	Uses       int64     `json:"uses,omitempty"`
	Days       []fileDay `json:"days,omitempty"`
}

type fileDay struct {
	Day        int64 `json:"day"` // its first instant, in UTC
	Uses       int64 `json:"uses"`
	LastUsedAt int64 `json:"last_used_at"`
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
	Kind            apikey.EventKind  `json:"kind"`
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

// keyState is a Record with its usage per day.
type keyState struct {
	apikey.Record
	days map[string][]apikey.Usage // by credential id, in ascending order of Day
}

// check rejects what no Manager would have written.
func (k *keyState) check() error {
	if err := k.Record.Check(); err != nil {
		return err
	}
	for _, days := range k.days {
		for i, u := range days {
			switch {
			case !micros.Storable(u.Day) || !u.Day.Equal(u.Day.UTC().Truncate(24*time.Hour)):
				return &apikey.FieldError{Field: "day", Code: "malformed", Problem: "must be the first instant of a day"}
			case i > 0 && !days[i-1].Day.Before(u.Day):
				return &apikey.FieldError{Field: "days", Code: "inconsistent", Problem: "must ascend"}
			case u.Uses < 1:
				return &apikey.FieldError{Field: "uses", Code: "not_positive", Problem: "must be positive on each day"}
			case !micros.Storable(u.LastUsedAt):
				return &apikey.FieldError{Field: "last_used_at", Code: "required", Problem: "must be set on each day"}
			}
		}
	}
	return nil
}

// undated returns the uses of a credential that belong to no known day.
func (k *keyState) undated(c *apikey.Credential) int64 {
	uses := c.Uses
	for _, u := range k.days[c.ID] {
		uses -= u.Uses
	}
	return max(uses, 0)
}

func keyToFile(state keyState) *fileRecord {
	k := &state.Key
	f := &fileRecord{
		ID: k.ID, Owner: k.Owner, Name: k.Name,
		Scopes: k.Scopes.String(), Networks: k.Networks.String(),
		RateRequests: k.Rate.Requests, RatePeriod: k.Rate.Period.Microseconds(), Metadata: metadataToFile(k.Metadata),
		CreatedAt:  micros.Of(k.CreatedAt),
		DisabledAt: micros.Of(k.DisabledAt), DisabledBy: k.DisabledBy, DisabledReason: k.DisabledReason, Locked: k.Locked,
		DeletedAt: micros.Of(k.DeletedAt),
		Prefix:    k.Prefix, CredentialID: k.CredentialID, IssuedAt: micros.Of(k.IssuedAt), ExpiresAt: micros.Of(k.ExpiresAt),
		RetiringID: k.RetiringID, IssueHash: []byte(state.IssueHash), Seal: []byte(state.Seal),
		Credentials: make([]fileCredential, len(state.Credentials)),
	}
	for i := range state.Credentials {
		c := &state.Credentials[i]
		f.Credentials[i] = fileCredential{
			ID: c.ID, Prefix: c.Prefix,
			CreatedAt: micros.Of(c.CreatedAt), ExpiresAt: micros.Of(c.ExpiresAt), RetireBefore: micros.Of(c.RetireBefore),
			Scheme: c.Scheme, PepperID: []byte(c.PepperID), Digest: []byte(c.Digest), Seal: []byte(c.Seal),
		}
		if uses := state.undated(c); uses > 0 {
			f.Credentials[i].Uses, f.Credentials[i].LastUsedAt = uses, micros.Of(c.LastUsedAt)
		}
		for _, u := range state.days[c.ID] {
			f.Credentials[i].Days = append(f.Credentials[i].Days, fileDay{micros.Of(u.Day), u.Uses, micros.Of(u.LastUsedAt)})
		}
	}
	return f
}

func (f *fileRecord) key() (keyState, bool) {
	scopes, err := apikey.ParseScopes(f.Scopes)
	if err != nil {
		return keyState{}, false
	}
	networks, err := apikey.ParseNetworks(f.Networks)
	if err != nil {
		return keyState{}, false
	}
	k := keyState{Record: apikey.Record{
		Key: apikey.Key{
			ID: f.ID, Owner: f.Owner, Name: f.Name, Scopes: scopes, Networks: networks,
			Rate:     apikey.Rate{Requests: f.RateRequests, Period: time.Duration(f.RatePeriod) * time.Microsecond},
			Metadata: apikey.NewMetadata(f.Metadata), CreatedAt: micros.Time(f.CreatedAt),
			DisabledAt: micros.Time(f.DisabledAt), DisabledBy: f.DisabledBy, DisabledReason: f.DisabledReason, Locked: f.Locked,
			DeletedAt: micros.Time(f.DeletedAt),
			Prefix:    f.Prefix, CredentialID: f.CredentialID, IssuedAt: micros.Time(f.IssuedAt), ExpiresAt: micros.Time(f.ExpiresAt),
			RetiringID: f.RetiringID,
		},
		Credentials: make([]apikey.Credential, len(f.Credentials)),
		IssueHash:   string(f.IssueHash),
		Seal:        string(f.Seal),
	}}
	for i := range f.Credentials {
		c := &f.Credentials[i]
		uses, last := c.Uses, c.LastUsedAt
		for _, d := range c.Days {
			if d.Uses < 0 || uses < 0 { // also a sum that overflowed
				return keyState{}, false
			}
			uses, last = uses+d.Uses, max(last, d.LastUsedAt)
			if k.days == nil {
				k.days = map[string][]apikey.Usage{}
			}
			k.days[c.ID] = append(k.days[c.ID], apikey.Usage{
				KeyID: f.ID, CredentialID: c.ID, Day: micros.Time(d.Day), Uses: d.Uses, LastUsedAt: micros.Time(d.LastUsedAt),
			})
		}
		k.Credentials[i] = apikey.Credential{
			ID: c.ID, Prefix: c.Prefix,
			CreatedAt: micros.Time(c.CreatedAt), ExpiresAt: micros.Time(c.ExpiresAt), RetireBefore: micros.Time(c.RetireBefore),
			Scheme: c.Scheme, PepperID: string(c.PepperID), Digest: apikey.Digest(c.Digest), Seal: string(c.Seal),
			LastUsedAt: micros.Time(last), Uses: uses,
		}
	}
	return k, true
}

func ownerToFile(o apikey.Owner) *fileOwner {
	return &fileOwner{
		o.ID, micros.Of(o.DisabledAt), o.DisabledBy, o.DisabledReason,
		o.HasCeiling, o.Ceiling.String(), micros.Of(o.TokensUntil), []byte(o.Seal),
	}
}

func (f *fileOwner) owner() (apikey.Owner, bool) {
	ceiling, err := apikey.ParseScopes(f.Ceiling)
	return apikey.Owner{
		ID: f.ID, DisabledAt: micros.Time(f.DisabledAt), DisabledBy: f.DisabledBy, DisabledReason: f.DisabledReason,
		HasCeiling: f.HasCeiling, Ceiling: ceiling, TokensUntil: micros.Time(f.TokensUntil), Seal: string(f.Seal),
	}, err == nil
}

func eventToFile(e apikey.Event) *fileEvent {
	return &fileEvent{
		Seq: e.Position.Seq, Nonce: e.Position.Nonce[:], At: micros.Of(e.At), Kind: e.Kind, KeyID: e.KeyID, Owner: e.Owner,
		CredentialID: e.CredentialID, OldCredentialID: e.OldCredentialID, OldExpiresAt: micros.Of(e.OldExpiresAt),
		Revision: e.Revision, Actor: e.Actor, Reason: e.Reason, Data: metadataToFile(e.Data), Seal: []byte(e.Seal),
	}
}

func (f *fileEvent) event() apikey.Event {
	e := apikey.Event{
		Position: apikey.Position{Seq: f.Seq}, At: micros.Time(f.At), Kind: f.Kind, KeyID: f.KeyID, Owner: f.Owner,
		CredentialID: f.CredentialID, OldCredentialID: f.OldCredentialID, OldExpiresAt: micros.Time(f.OldExpiresAt),
		Revision: f.Revision, Actor: f.Actor, Reason: f.Reason, Data: apikey.NewMetadata(f.Data), Seal: string(f.Seal),
	}
	copy(e.Position.Nonce[:], f.Nonce)
	return e
}

func metadataToFile(m apikey.Metadata) map[string]string {
	if m.Len() == 0 {
		return nil
	}
	return m.Map()
}
