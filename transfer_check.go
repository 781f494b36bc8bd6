package apikey

import (
	"crypto/sha256"
	"time"

	"github.com/keyturn/apikey/internal/pepper"
)

// This file says what a line of an export may hold: what a Manager writes and
// nothing else. Export and Restore ask the same, so that no file is made that
// cannot be restored.

// check refuses what no Manager would have written.
func (e *fileEntry) check() error {
	switch e.kind {
	case kindEvent:
		return e.event.check()
	case kindRecord, kindChangedRecord:
		return e.record.check()
	case kindOwner, kindChangedOwner:
		return e.owner.check()
	case kindOnce:
		return e.once.check()
	}
	return checkID(e.id)
}

func (r *Record) check() error {
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
		return &FieldError{Field: "locked", Problem: "must not be set without disabled_at"}
	}
	if err := checkTimes([]timeField{
		{"created_at", k.CreatedAt, true}, {"deleted_at", k.DeletedAt, false},
	}); err != nil {
		return err
	}
	if len(r.Credentials) > maxHistory {
		return &FieldError{Field: "credentials", Problem: "must be at most 100"}
	}
	for i := range r.Credentials {
		if err := r.Credentials[i].check(); err != nil {
			return err
		}
		for j := range i {
			if r.Credentials[i].ID == r.Credentials[j].ID {
				return &FieldError{Field: "credentials", Problem: "must each have an id of its own"}
			}
		}
	}
	current := r.credential(k.CredentialID)
	switch {
	case current == nil:
		return &FieldError{Field: "credential_id", Problem: "must be that of a credential"}
	case current.Prefix != k.Prefix || !current.CreatedAt.Equal(k.IssuedAt) || !current.ExpiresAt.Equal(k.ExpiresAt):
		return &FieldError{Field: "credential_id", Problem: "must have the prefix and the times of its credential"}
	case k.RetiringID != "" && (k.RetiringID == k.CredentialID || r.credential(k.RetiringID) == nil):
		return &FieldError{Field: "retiring_id", Problem: "must be that of another credential"}
	}
	if len(r.IssueHash) != 0 && len(r.IssueHash) != sha256.Size {
		return &FieldError{Field: "issue_hash", Problem: "must have the length of a hash"}
	}
	return checkSeal(r.Seal)
}

func (n *OnceName) check() error {
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
		return &FieldError{Field: "prefix", Problem: problem}
	}
	if err := checkTimes([]timeField{
		{"created_at", c.CreatedAt, true}, {"expires_at", c.ExpiresAt, true},
		{"retire_before", c.RetireBefore, false}, {"last_used_at", c.LastUsedAt, false},
	}); err != nil {
		return err
	}
	switch {
	case len(c.PepperID) > maxOpaqueLen || c.Scheme == pepper.Scheme && len(c.PepperID) != pepper.IDLen:
		return &FieldError{Field: "pepper_id", Problem: "must be that of a pepper"}
	case len(c.Digest) > maxOpaqueLen || c.Scheme == pepper.Scheme && len(c.Digest) != pepper.DigestLen:
		return &FieldError{Field: "digest", Problem: "must have the length of a digest"}
	case c.Uses < 0 || c.Uses > maxUses || c.Uses == 0 && !c.LastUsedAt.IsZero():
		return &FieldError{Field: "uses", Problem: "must not be negative, more than 2^53, nor 0 with last_used_at"}
	}
	return checkSeal(c.Seal)
}

func checkSeal(seal string) error {
	if len(seal) > maxSealLen {
		return &FieldError{Field: "seal", Problem: "must have at most 1000 bytes"}
	}
	return nil
}

func (o *Owner) check() error {
	if err := checkOwner(o.ID); err != nil {
		return err
	}
	if !o.HasCeiling && o.Ceiling.Len() > 0 {
		return &FieldError{Field: "ceiling", Problem: "must not be set without has_ceiling"}
	}
	if err := checkTimes([]timeField{{"tokens_until", o.TokensUntil, false}}); err != nil {
		return err
	}
	if err := checkDisabled(o.DisabledAt, o.DisabledBy, o.DisabledReason); err != nil {
		return err
	}
	return checkSeal(o.Seal)
}

// check accepts kinds that this version does not know.
func (e *Event) check() error {
	if e.Revision < 0 {
		return &FieldError{Field: "revision", Problem: "must not be negative"}
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
	for key, value := range e.Data.All() { // as long as the line allows
		if err := checkRequired("data", key, maxLine); err != nil {
			return err
		}
		if err := checkText("data", value, maxLine); err != nil {
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
		return &FieldError{Field: "disabled_at", Problem: "must be set with disabled_by and disabled_reason"}
	}
	if err := checkActor("disabled_by", by); err != nil {
		return err
	}
	return checkText("disabled_reason", reason, maxReasonLen)
}

func checkCredentialID(field, id string) error {
	if len(id) != credentialIDLen || !allBase62(id) {
		return &FieldError{Field: field, Problem: "must have ids of 16 letters and digits"}
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
			return &FieldError{Field: t.field, Problem: "must be a time of the years 1970 to 9999"}
		}
	}
	return nil
}
