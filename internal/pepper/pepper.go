// Package pepper computes what depends on a pepper: its id, the digests of
// secrets, and the key of the MAC of a backup.
package pepper

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"strconv"
	"sync"
)

// The digest of an access secret is
//
//	HMAC-SHA-256(pepper, 0x01 || credential id || 32 secret characters)
//
// (RFC 2104, FIPS 180-4). The 49 bytes fill one block of SHA-256. The
// credential id binds the digest to its row: moved to another, it fits
// nothing. The first byte keeps this use of the pepper apart from any other. A
// slow password hash would add nothing: the secret has 190 random bits.
const (
	Scheme    = 0 // what Credential.Scheme is for this digest
	DigestLen = sha256.Size
	IDLen     = 8

	CredentialIDLen = 16
	SecretLen       = 32 // log2(62^32) = 190.5 bits

	domain = 0x01
	minLen = 32
)

// Pepper computes digests with one pepper. It is safe for concurrent use.
type Pepper struct {
	ID string // 8 bytes

	hashers   sync.Pool // of *hasher
	backupKey []byte
}

// hasher is one HMAC with its scratch space: what the hash is given through an
// interface would go to the heap each time if it were not in here.
type hasher struct {
	mac hash.Hash
	in  [1 + CredentialIDLen + SecretLen]byte
	sum [DigestLen]byte
}

// New returns the Pepper of a secret.
func New(secret string) *Pepper {
	text := []byte(secret)
	p := &Pepper{
		ID:        string(mac(text, "apikey pepper id 1")[:IDLen]),
		backupKey: mac(text, "apikey backup 1"),
	}
	p.hashers.New = func() any { return &hasher{mac: hmac.New(sha256.New, text)} }
	return p
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// BackupMAC returns a new HMAC for the last line of a backup, under a key that
// is used for nothing else.
func (p *Pepper) BackupMAC() hash.Hash { return hmac.New(sha256.New, p.backupKey) }

// Digest returns the digest of a secret.
func (p *Pepper) Digest(credentialID, secret string) string {
	h := p.hash(credentialID, secret)
	defer p.hashers.Put(h)
	return string(h.sum[:])
}

// Verify reports whether a digest is the secret's. The time that it takes does
// not depend on where the two differ.
func (p *Pepper) Verify(credentialID, secret, digest string) bool {
	h := p.hash(credentialID, secret)
	ok := h.equals(digest)
	p.hashers.Put(h)
	return ok
}

// equals compares all bytes, as subtle.ConstantTimeCompare does: the words that
// differ add up to a word that is not 0. It takes a fifth of the time.
func (h *hasher) equals(digest string) bool {
	if len(digest) != DigestLen {
		return false
	}
	var other [DigestLen]byte
	copy(other[:], digest)
	var differences uint64
	for i := 0; i < DigestLen; i += 8 {
		differences |= binary.LittleEndian.Uint64(h.sum[i:]) ^ binary.LittleEndian.Uint64(other[i:])
	}
	return differences == 0
}

// hash leaves the digest in sum. The caller puts the hasher back.
func (p *Pepper) hash(credentialID, secret string) *hasher {
	h := p.hashers.Get().(*hasher)
	h.mac.Reset()
	h.in[0] = domain
	copy(h.in[1:], credentialID)
	copy(h.in[1+CredentialIDLen:], secret)
	h.mac.Write(h.in[:])
	h.mac.Sum(h.sum[:0])
	clear(h.in[:])
	return h
}

// Name returns the id of a pepper as it appears in errors and files.
func Name(id string) string { return hex.EncodeToString([]byte(id)) }

// Ring is a list of peppers. The first one hashes, all of them verify.
type Ring []*Pepper

// Problem says which of the secrets of a Ring is rejected, and why.
type Problem struct {
	Field string // "peppers" or "peppers[1]"
	Code  string // as in apikey.FieldError
	Text  string
}

// NewRing returns a Ring, or what is wrong with the secrets: there must be at
// least one, each with 32 bytes or more, and none twice.
func NewRing(secrets []string) (Ring, *Problem) {
	if len(secrets) == 0 {
		return nil, &Problem{"peppers", "required", "must not be empty; to run without a pepper, list NoPepper()"}
	}
	var r Ring
	for i, secret := range secrets {
		field := "peppers[" + strconv.Itoa(i) + "]"
		if secret == "" {
			return nil, &Problem{field, "required", "must not be empty"}
		}
		if len(secret) < minLen {
			return nil, &Problem{field, "too_short", "must have at least 32 bytes"}
		}
		p := New(secret)
		if r.Find(p.ID) != nil {
			return nil, &Problem{field, "duplicate", "is listed twice"}
		}
		r = append(r, p)
	}
	return r, nil
}

// Find returns the Pepper with an id, or nil.
func (r Ring) Find(id string) *Pepper {
	for _, p := range r {
		if p.ID == id {
			return p
		}
	}
	return nil
}
