package apikey

import (
	"crypto/sha256"
	"time"

	"github.com/keyturn/apikey/internal/pepper"
)

// What a stored row may contain is decided here, by the rules that apply to
// what a Manager is given. A backup asks before it writes a row to a file, and
// again before it restores one.

const (
	maxEventKindLen = 64
	maxEventDataLen = 1 << 20 // bytes of one name or value
	maxOnceLen      = 255     // of a name in Commit.Once
	maxOpaqueLen    = 255     // of a digest and a pepper's id
	maxSealLen      = 1000    // what a column of sqlstore takes in MySQL, so that every Store can hold it
	maxUses         = 1 << 53 // far from where adding to it would overflow
)

// Check returns a *FieldError for the first field of the Record, or of one of
// its Credentials, that contains what a Manager never writes. It checks texts,
// times, lengths and counts, and that the Key names Credentials of the Record.
// It does not look at Key.Revision, the Nonce and Err, nor at what a Store
// computes: Key.RetiringUntil, Key.LastUsedAt and Key.Uses.
func (r Record) Check() error {
	k := &r.Key
	if err := checkID(k.ID); err != nil {
		return err
	}
	if err := checkOwner(k.Owner); err != nil {
		return err
	}
	if err := checkName(k.Name); err != nil {
		return err
	}
	if err := checkRate(k.Rate); err != nil {
		return err
	}
	if err := checkMetadata(k.Metadata.Map()); err != nil {
		return err
	}
	if err := checkDisabled(k.DisabledAt, k.DisabledBy, k.DisabledReason); err != nil {
		return err
	}
	if k.Locked && k.DisabledAt.IsZero() {
		return &FieldError{Field: "locked", Code: "inconsistent", Problem: "must not be set without disabled_at"}
	}
	if err := checkTimes([]timeField{
		{"created_at", k.CreatedAt, true}, {"deleted_at", k.DeletedAt, false},
	}); err != nil {
		return err
	}
	if len(r.Credentials) > maxHistory {
		return &FieldError{Field: "credentials", Code: "too_many", Problem: "must be at most 100"}
	}
	for i := range r.Credentials {
		if err := r.Credentials[i].check(); err != nil {
			return err
		}
		for j := range i {
			if r.Credentials[i].ID == r.Credentials[j].ID {
				return &FieldError{Field: "credentials", Code: "duplicate", Problem: "must each have an id of its own"}
			}
		}
	}
	current := r.credential(k.CredentialID)
	switch {
	case current == nil:
		return &FieldError{Field: "credential_id", Code: "inconsistent", Problem: "must be that of a credential"}
	case current.Prefix != k.Prefix || !current.CreatedAt.Equal(k.IssuedAt) || !current.ExpiresAt.Equal(k.ExpiresAt):
		return &FieldError{Field: "credential_id", Code: "inconsistent", Problem: "must have the prefix and the times of its credential"}
	case k.RetiringID != "" && (k.RetiringID == k.CredentialID || r.credential(k.RetiringID) == nil):
		return &FieldError{Field: "retiring_id", Code: "inconsistent", Problem: "must be that of another credential"}
	}
	if len(r.IssueHash) != 0 && len(r.IssueHash) != sha256.Size {
		return &FieldError{Field: "issue_hash", Code: "malformed", Problem: "must have the length of a hash"}
	}
	return checkSeal(r.Seal)
}

// Check returns a *FieldError if the Name is not 1 to 255 bytes of printable
// text, or if KeyID is neither empty nor the id of a key.
func (n OnceName) Check() error {
	if n.KeyID != "" {
		if err := checkID(n.KeyID); err != nil {
			return err
		}
	}
	return checkRequired("name", n.Name, maxOnceLen)
}

func (c *Credential) check() error {
	if err := checkCredentialID("credentials", c.ID); err != nil {
		return err
	}
	if problem := prefixProblem(c.Prefix); problem != "" {
		return &FieldError{Field: "prefix", Code: "malformed", Problem: problem}
	}
	if err := checkTimes([]timeField{
		{"created_at", c.CreatedAt, true}, {"expires_at", c.ExpiresAt, true},
		{"retire_before", c.RetireBefore, false}, {"last_used_at", c.LastUsedAt, false},
	}); err != nil {
		return err
	}
	switch {
	case len(c.PepperID) > maxOpaqueLen || c.Scheme == pepper.Scheme && len(c.PepperID) != pepper.IDLen:
		return &FieldError{Field: "pepper_id", Code: "malformed", Problem: "must be that of a pepper"}
	case len(c.Digest) > maxOpaqueLen || c.Scheme == pepper.Scheme && len(c.Digest) != pepper.DigestLen:
		return &FieldError{Field: "digest", Code: "malformed", Problem: "must have the length of a digest"}
	case c.Uses < 0 || c.Uses > maxUses || c.Uses == 0 && !c.LastUsedAt.IsZero():
		return &FieldError{Field: "uses", Code: "out_of_range", Problem: "must not be negative, more than 2^53, nor 0 with last_used_at"}
	}
	return checkSeal(c.Seal)
}

func checkSeal(seal string) error {
	if len(seal) > maxSealLen {
		return &FieldError{Field: "seal", Code: "too_long", Problem: "must have at most 1000 bytes"}
	}
	return nil
}

// Check returns a *FieldError for the first field of the Owner that contains
// what a Manager never writes. It does not look at the Revision and the Nonce.
func (o Owner) Check() error {
	if err := checkOwner(o.ID); err != nil {
		return err
	}
	if !o.HasCeiling && o.Ceiling.Len() > 0 {
		return &FieldError{Field: "ceiling", Code: "inconsistent", Problem: "must not be set without has_ceiling"}
	}
	if err := checkTimes([]timeField{{"tokens_until", o.TokensUntil, false}}); err != nil {
		return err
	}
	if err := checkDisabled(o.DisabledAt, o.DisabledBy, o.DisabledReason); err != nil {
		return err
	}
	return checkSeal(o.Seal)
}

// Check returns a *FieldError for the first field of the Event that contains
// what a Manager never writes. It accepts kinds that this version does not
// know. It does not look at the Position and Err.
func (e Event) Check() error {
	if e.Revision < 0 {
		return &FieldError{Field: "revision", Code: "negative", Problem: "must not be negative"}
	}
	if e.KeyID != "" {
		if err := checkID(e.KeyID); err != nil {
			return err
		}
	}
	if err := checkOwner(e.Owner); err != nil {
		return err
	}
	if err := checkRequired("kind", string(e.Kind), maxEventKindLen); err != nil {
		return err
	}
	if err := checkTimes([]timeField{{"at", e.At, true}, {"old_expires_at", e.OldExpiresAt, false}}); err != nil {
		return err
	}
	for _, id := range []string{e.CredentialID, e.OldCredentialID} {
		if id != "" {
			if err := checkCredentialID("credential_id", id); err != nil {
				return err
			}
		}
	}
	if err := checkActor("actor", e.Actor); err != nil {
		return err
	}
	if err := checkText("reason", e.Reason, maxReasonLen); err != nil {
		return err
	}
	for key, value := range e.Data.All() {
		if err := checkRequired("data", key, maxEventDataLen); err != nil {
			return err
		}
		if err := checkText("data", value, maxEventDataLen); err != nil {
			return err
		}
	}
	return checkSeal(e.Seal)
}

// checkDisabled checks the three fields that say when, by whom and why.
func checkDisabled(at time.Time, by, reason string) error {
	if err := checkTimes([]timeField{{"disabled_at", at, false}}); err != nil {
		return err
	}
	if at.IsZero() && (by != "" || reason != "") {
		return &FieldError{Field: "disabled_at", Code: "inconsistent", Problem: "must be set with disabled_by and disabled_reason"}
	}
	if err := checkActor("disabled_by", by); err != nil {
		return err
	}
	return checkText("disabled_reason", reason, maxReasonLen)
}

func checkCredentialID(field, id string) error {
	if len(id) != credentialIDLen || !allBase62(id) {
		return &FieldError{Field: field, Code: "malformed", Problem: "must have ids of 16 letters and digits"}
	}
	return nil
}

type timeField struct {
	field    string
	at       time.Time
	required bool
}

func checkTimes(times []timeField) error {
	for _, t := range times {
		if t.at.IsZero() && !t.required {
			continue
		}
		if !storable(t.at) {
			return &FieldError{Field: t.field, Code: "out_of_range", Problem: "must be a time of the years 1970 to 9999"}
		}
	}
	return nil
}
