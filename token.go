package apikey

import (
	"crypto/rand"
	"hash/crc32"
	"strings"

	"github.com/keyturn/apikey/internal/pepper"
)

// A token is prefix + "_" + credential id + "_" + secret + checksum. It is
// read from the right by these fixed lengths, so a prefix may hold an
// underscore, and tokens with an earlier Options.Prefix still parse.
//
// The checksum is CRC-32 (IEEE 802.3, as in package hash/crc32) over all that
// stands before it, in base62, most significant digit first, padded with zeros
// to 6. It lets scanners tell a token from a random text offline and spares
// the store look-ups of mistyped ones; it protects nothing. The construction
// is the one of GitHub's tokens.
const (
	keyIDLen        = 20
	credentialIDLen = pepper.CredentialIDLen
	secretLen       = pepper.SecretLen
	checksumLen     = 6 // 62^6 > 2^32
	maxPrefixLen    = 20

	// tailLen is what follows the prefix.
	tailLen = 1 + credentialIDLen + 1 + secretLen + checksumLen
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// base62Value is what each byte counts as a digit; that of a byte which is none
// has the bits of notBase62, which no digit has.
var base62Value = func() (value [256]uint8) {
	for i := range value {
		value[i] = notBase62
	}
	for i := range len(base62) {
		value[base62[i]] = uint8(i)
	}
	return value
}()

const notBase62 = 0xc0

// token is a token taken apart; its strings share the memory of the whole.
type token struct {
	prefix       string
	credentialID string
	secret       string // without the checksum
}

// parseToken takes a token apart. It accepts exactly the texts that
// formatToken makes.
func parseToken(text string) (token, bool) {
	n := len(text) - tailLen
	if n < 1 || n > maxPrefixLen {
		return token{}, false
	}
	id, secret := text[n+1:n+1+credentialIDLen], text[n+2+credentialIDLen:]
	if text[n] != '_' || text[n+1+credentialIDLen] != '_' ||
		!allBase62(id) || !allBase62(secret) || prefixProblem(text[:n]) != "" {
		return token{}, false
	}
	if parseChecksum(secret[secretLen:]) != uint64(checksum(text[:len(text)-checksumLen])) {
		return token{}, false
	}
	return token{text[:n], id, secret[:secretLen]}, true
}

// formatToken is the inverse of parseToken.
func formatToken(t token) string {
	body := accessKey(t.prefix, t.credentialID) + "_" + t.secret
	var digits [checksumLen]byte
	for i, sum := checksumLen-1, checksum(body); i >= 0; i-- {
		digits[i] = base62[sum%62]
		sum /= 62
	}
	return body + string(digits[:])
}

// checksum is crc32.ChecksumIEEE of a string. That function takes bytes and
// calls through a variable, so the conversion would copy the text to the heap.
// It reads 8 bytes at a time, each by the table for its distance from the end.
func checksum(text string) uint32 {
	sum := ^uint32(0)
	for len(text) >= 8 {
		sum ^= uint32(text[0]) | uint32(text[1])<<8 | uint32(text[2])<<16 | uint32(text[3])<<24
		sum = crcTables[7][byte(sum)] ^ crcTables[6][byte(sum>>8)] ^ crcTables[5][byte(sum>>16)] ^ crcTables[4][sum>>24] ^
			crcTables[3][text[4]] ^ crcTables[2][text[5]] ^ crcTables[1][text[6]] ^ crcTables[0][text[7]]
		text = text[8:]
	}
	for i := range len(text) {
		sum = crcTables[0][byte(sum)^text[i]] ^ sum>>8
	}
	return ^sum
}

// crcTables[n] has the sum of each byte with n zero bytes after it.
var crcTables = func() (tables [8]crc32.Table) {
	tables[0] = *crc32.IEEETable
	for n := 1; n < len(tables); n++ {
		for i, sum := range tables[n-1] {
			tables[n][i] = tables[0][byte(sum)] ^ sum>>8
		}
	}
	return tables
}()

// parseChecksum reads base62 digits; more than 32 bits equal no checksum.
func parseChecksum(digits string) uint64 {
	var sum uint64
	for i := range len(digits) {
		sum = sum*62 + uint64(base62Value[digits[i]])
	}
	return sum
}

// allBase62 looks at every byte without a branch on any.
func allBase62(text string) bool {
	var bits uint8
	for i := range len(text) {
		bits |= base62Value[text[i]]
	}
	return bits&notBase62 == 0
}

// prefixProblem says what is wrong with a prefix, or nothing: it must match
// [a-z][a-z0-9]*([_-][a-z0-9]+)* in at most 20 bytes.
func prefixProblem(prefix string) string {
	if prefix == "" || len(prefix) > maxPrefixLen {
		return "must have 1 to 20 characters"
	}
	if prefix[0] < 'a' || prefix[0] > 'z' {
		return "must begin with a lower-case letter"
	}
	for i := range len(prefix) {
		c := prefix[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case (c == '_' || c == '-') && allBase62(prefix[i-1:i]) && i < len(prefix)-1:
		default:
			return "may contain lower-case letters, digits, and single underscores or hyphens between them"
		}
	}
	return ""
}

// randomBase62 returns n random characters, each of the 62 equally likely.
func randomBase62(n int) string {
	var text strings.Builder
	text.Grow(n)
	var buf [64]byte
	for text.Len() < n {
		rand.Read(buf[:]) // never fails: it ends the program instead
		for _, b := range buf {
			// 248 = 4 * 62: a higher byte would make the first characters
			// more likely than the others.
			if b < 248 && text.Len() < n {
				text.WriteByte(base62[b%62])
			}
		}
	}
	clear(buf[:])
	return text.String()
}

// AccessKey returns the public half of a token, which names it in logs and
// lists, and whether the text is a token: of the right shape, with the right
// checksum. It says nothing about whether the token is valid.
func AccessKey(text string) (string, bool) {
	t, ok := parseToken(text)
	if !ok {
		return "", false
	}
	return accessKey(t.prefix, t.credentialID), true
}
