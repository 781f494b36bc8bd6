package memstore

import (
	"cmp"
	"slices"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/micros"
)

// key is an apikey.Record in less memory: a time is 8 bytes instead of 24, and
// what belongs to the current credential stands there alone.
type key struct {
	id          string
	owner       *owner
	name        string
	scopes      apikey.Scopes
	networks    apikey.Networks
	rate        apikey.Rate
	metadata    apikey.Metadata
	createdAt   int64 // Unix microseconds, as all times here; 0 = unset
	disabled    *disabled
	deletedAt   int64
	current     *credential // prefix, id, times and all
	retiring    string
	revision    int64
	nonce       apikey.Nonce
	issueHash   string
	seal        string
	locked      bool
	credentials []*credential
}

// disabled is when, by whom and why a key was disabled, which most are not.
type disabled struct {
	at         int64
	by, reason string
}

type credential struct {
	key          *key
	id           string
	prefix       string
	createdAt    int64
	expiresAt    int64
	retireBefore int64
	pepperID     string
	digest       apikey.Digest
	seal         string
	scheme       uint8
	kept         bool // during Commit
	lastUsedAt   int64
	uses         int64
	days         map[int64]dayUse // by day

	// found is what Lookup returns while the owner is at revision foundAt.
	found   apikey.LookupResult
	foundAt int64
	tally   apikey.Tally
}

// notFound is no revision of an owner.
const notFound = -1

type dayUse struct {
	uses, last int64
}

type owner struct {
	state apikey.Owner
	live  int // keys that are not deleted
}

func (k *key) set(r *apikey.Record) {
	from := &r.Key
	k.name, k.scopes, k.networks = from.Name, from.Scopes, from.Networks
	k.rate, k.metadata = from.Rate, from.Metadata
	k.createdAt = micros.Of(from.CreatedAt)
	k.disabled = nil
	if d := (disabled{micros.Of(from.DisabledAt), from.DisabledBy, from.DisabledReason}); d != (disabled{}) {
		k.disabled = &d
	}
	k.locked, k.deletedAt = from.Locked, micros.Of(from.DeletedAt)
	k.retiring = from.RetiringID
	k.revision = from.Revision + 1
	k.nonce, k.issueHash, k.seal = r.Nonce, r.IssueHash, r.Seal
}

func (k *key) copyTo(to *apikey.Key) {
	to.ID, to.Owner, to.Name = k.id, k.owner.state.ID, k.name
	to.Scopes, to.Networks, to.Rate, to.Metadata = k.scopes, k.networks, k.rate, k.metadata
	to.CreatedAt = micros.Time(k.createdAt)
	if d := k.disabled; d != nil {
		to.DisabledAt, to.DisabledBy, to.DisabledReason = micros.Time(d.at), d.by, d.reason
	}
	to.Locked, to.DeletedAt = k.locked, micros.Time(k.deletedAt)
	to.Prefix, to.CredentialID, to.RetiringID = k.current.prefix, k.current.id, k.retiring
	to.IssuedAt, to.ExpiresAt = to.CreatedAt, micros.Time(k.current.expiresAt)
	if k.current.createdAt != k.createdAt {
		to.IssuedAt = micros.Time(k.current.createdAt)
	}
	to.Revision = k.revision
}

// record returns what Get returns.
func (k *key) record() apikey.Record {
	r := apikey.Record{
		Nonce: k.nonce, IssueHash: k.issueHash, Seal: k.seal,
		Credentials: make([]apikey.Credential, len(k.credentials)),
	}
	k.copyTo(&r.Key)
	for i, c := range k.credentials {
		c.copyTo(&r.Credentials[i])
	}
	return r
}

// summary returns what List returns.
func (k *key) summary() apikey.Record {
	r := apikey.Record{Nonce: k.nonce, IssueHash: k.issueHash, Seal: k.seal}
	k.copyTo(&r.Key)
	var last int64
	for _, c := range k.credentials {
		last = max(last, c.lastUsedAt)
		r.Key.Uses += c.uses
		if c.id == k.retiring {
			r.Key.RetiringUntil = micros.Time(min(c.expiresAt, k.current.expiresAt))
		}
	}
	r.Key.LastUsedAt = micros.Time(last)
	return r
}

func (c *credential) set(from *apikey.Credential) {
	c.found, c.foundAt = apikey.LookupResult{}, notFound
	c.id, c.prefix = from.ID, from.Prefix
	c.createdAt, c.expiresAt, c.retireBefore = micros.Of(from.CreatedAt), micros.Of(from.ExpiresAt), micros.Of(from.RetireBefore)
	c.scheme, c.pepperID, c.digest, c.seal = from.Scheme, from.PepperID, from.Digest, from.Seal
}

func (c *credential) copyTo(to *apikey.Credential) {
	to.ID, to.Prefix = c.id, c.prefix
	to.CreatedAt, to.ExpiresAt, to.RetireBefore = micros.Time(c.createdAt), micros.Time(c.expiresAt), micros.Time(c.retireBefore)
	to.Scheme, to.PepperID, to.Digest, to.Seal = c.scheme, c.pepperID, c.digest, c.seal
	to.LastUsedAt, to.Uses = micros.Time(c.lastUsedAt), c.uses
}

// find makes what Lookup returns.
func (c *credential) find() (apikey.LookupResult, apikey.Key, apikey.Owner) {
	var (
		found apikey.Credential
		key   apikey.Key
		owner = c.key.owner.state
	)
	c.copyTo(&found)
	found.LastUsedAt, found.Uses = time.Time{}, 0
	c.key.copyTo(&key)
	key.DisabledBy, key.DisabledReason = "", ""
	return apikey.NewLookupResult(found, key, apikey.Owner{
		ID: owner.ID, DisabledAt: owner.DisabledAt, HasCeiling: owner.HasCeiling, Ceiling: owner.Ceiling,
	}, &c.tally), key, owner
}

func sortCredentials(list []*credential) {
	slices.SortFunc(list, func(a, b *credential) int {
		return cmp.Or(cmp.Compare(a.createdAt, b.createdAt), cmp.Compare(a.id, b.id))
	})
}
