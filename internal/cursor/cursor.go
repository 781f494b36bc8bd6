// Package cursor encodes places in lists, for pages that begin behind them. A
// cursor is opaque to the client that gets it, and fits one list only.
package cursor

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// encoding accepts one spelling for each cursor.
var encoding = base64.RawURLEncoding.Strict()

// Seal encodes a position of a log that several owners share. Positions count
// the events of all of them, so the cursor must not reveal any. The secret is
// 16 random bytes that all nodes know and no client does. The names identify
// the list.
func Seal(position int64, secret [16]byte, names ...string) string {
	var block [aes.BlockSize]byte
	binary.BigEndian.PutUint64(block[8:], uint64(position))
	blockCipher(secret, names).Encrypt(block[:], block[:])
	return encoding.EncodeToString(block[:])
}

// Open decodes what Seal has returned for the same secret and names. It reports
// false for any other text, except with a probability of 2^-64.
func Open(text string, secret [16]byte, names ...string) (position int64, ok bool) {
	block, ok := decode(text, aes.BlockSize)
	if !ok {
		return 0, false
	}
	blockCipher(secret, names).Decrypt(block, block)
	position = int64(binary.BigEndian.Uint64(block[8:]))
	return position, bytes.Equal(block[:8], make([]byte, 8)) && position > 0
}

// IsSealed reports whether a text has the form of what Seal returns.
func IsSealed(text string) bool {
	_, ok := decode(text, aes.BlockSize)
	return ok
}

// blockCipher encrypts one block. The half of it that is zero authenticates
// the other half, because no part of a block can be changed by itself.
func blockCipher(secret [16]byte, names []string) cipher.Block {
	sum := digest("apikey position 1", append([]string{string(secret[:])}, names...))
	block, _ := aes.NewCipher(sum[:]) // accepts every key of 32 bytes
	return block
}

const checkLen = 7

// Encode encodes an id of the list that the names identify. It hides nothing:
// an id that is encoded must be known to the client.
func Encode(id string, names ...string) string {
	return encoding.EncodeToString(append(check(id, names), id...))
}

// Decode decodes what Encode has returned for the same names, and an id of so
// many bytes.
func Decode(text string, length int, names ...string) (id string, ok bool) {
	raw, ok := decode(text, checkLen+length)
	if !ok {
		return "", false
	}
	id = string(raw[checkLen:])
	return id, bytes.Equal(raw[:checkLen], check(id, names))
}

func check(id string, names []string) []byte {
	sum := digest("apikey id 1", append([]string{id}, names...))
	return sum[:checkLen:checkLen]
}

func decode(text string, length int) ([]byte, bool) {
	if len(text) != encoding.EncodedLen(length) || strings.ContainsAny(text, "\r\n") {
		return nil, false // DecodeString ignores line breaks
	}
	raw, err := encoding.DecodeString(text)
	return raw, err == nil
}

// digest hashes texts so that no two lists of them are one.
func digest(label string, texts []string) [sha256.Size]byte {
	b := []byte(label)
	for _, text := range texts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(text)))
		b = append(b, text...)
	}
	return sha256.Sum256(b)
}
