package apikey

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
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
	digestScheme = 0
	digestDomain = 0x01
	minPepperLen = 32
	pepperIDLen  = 8
)

const noPepper = "github.com/keyturn/apikey: no pepper configured"

// NoPepper returns a fixed, public pepper. List it in Options.Peppers to run
// without a secret one. A copy of the database still contains no usable token,
// because nobody can guess 190 random bits, but anyone who can write to the
// database can create working keys. If you add a pepper later, list NoPepper()
// after it for as long as older keys are in use; until you remove it, anyone
// who can write to the database can still create keys.
func NoPepper() Secret { return NewSecret(noPepper) }

// EphemeralPepper returns a new random pepper of more than 256 bits. Use it
// for stores that end with the process, such as a memstore: nothing has to be
// kept. On a store that outlives the process every key is unusable after a
// restart, and Check reports ErrPepper.
func EphemeralPepper() Secret { return NewSecret(rand.Text() + rand.Text()) }

// pepper hashes under one pepper.
type pepper struct {
	id      string    // 8 bytes
	hashers sync.Pool // of *hasher

	// export returns a new HMAC for the last line of an export, under a key
	// that is used for nothing else.
	export func() hash.Hash
}

// hasher is one HMAC with its scratch space: what the hash is given through an
// interface would go to the heap each time if it were not in here.
type hasher struct {
	mac hash.Hash
	in  [1 + credentialIDLen + secretLen]byte
	sum [sha256.Size]byte
}

func newPepper(secret Secret) *pepper {
	text := []byte(secret.Reveal())
	id := hmac.New(sha256.New, text)
	id.Write([]byte("apikey pepper id 1"))
	key := hmac.New(sha256.New, text)
	key.Write([]byte("apikey export 1"))
	exportKey := key.Sum(nil)
	p := &pepper{id: string(id.Sum(nil)[:pepperIDLen])}
	p.export = func() hash.Hash { return hmac.New(sha256.New, exportKey) }
	p.hashers.New = func() any { return &hasher{mac: hmac.New(sha256.New, text)} }
	return p
}

// digest returns the digest of a secret.
func (p *pepper) digest(credentialID, secret string) Digest {
	h := p.hash(credentialID, secret)
	defer p.hashers.Put(h)
	return Digest(h.sum[:])
}

// verify reports whether a digest is the secret's, in a time that does not
// depend on where they differ.
func (p *pepper) verify(credentialID, secret string, d Digest) bool {
	h := p.hash(credentialID, secret)
	ok := hmac.Equal(h.sum[:], []byte(d))
	p.hashers.Put(h)
	return ok
}

// hash leaves the digest in sum. The caller puts the hasher back.
func (p *pepper) hash(credentialID, secret string) *hasher {
	h := p.hashers.Get().(*hasher)
	h.mac.Reset()
	h.in[0] = digestDomain
	copy(h.in[1:], credentialID)
	copy(h.in[1+credentialIDLen:], secret)
	h.mac.Write(h.in[:])
	h.mac.Sum(h.sum[:0])
	clear(h.in[:])
	return h
}

// ring is the peppers of a Manager. The first hashes, all verify.
type ring []*pepper

func newRing(peppers []Secret) (ring, error) {
	if len(peppers) == 0 {
		return nil, &FieldError{Field: "peppers", Problem: "must not be empty; to run without a pepper, list NoPepper()"}
	}
	var r ring
	for i, secret := range peppers {
		field := "peppers[" + strconv.Itoa(i) + "]"
		if secret.IsZero() {
			return nil, &FieldError{Field: field, Problem: "must not be empty"}
		}
		if len(secret.Reveal()) < minPepperLen {
			return nil, &FieldError{Field: field, Problem: "must have at least 32 bytes"}
		}
		p := newPepper(secret)
		if r.find(p.id) != nil {
			return nil, &FieldError{Field: field, Problem: "is listed twice"}
		}
		r = append(r, p)
	}
	return r, nil
}

// find returns the pepper with an id, or nil.
func (r ring) find(id string) *pepper {
	for _, p := range r {
		if p.id == id {
			return p
		}
	}
	return nil
}

// fixedDigest is compared where there is no credential, so that an unknown
// access key costs the work of a known one. It is the digest of nothing.
var fixedDigest = Digest(make([]byte, sha256.Size))

func newNonce() (n Nonce) {
	rand.Read(n[:]) // never fails: it ends the program instead
	return n
}

func pepperName(id string) string { return hex.EncodeToString([]byte(id)) }
