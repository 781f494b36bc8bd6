package pepper_test

import (
	"strings"
	"testing"

	"github.com/keyturn/apikey/internal/pepper"
)

// TestVerify changes each bit of a digest, and its length.
func TestVerify(t *testing.T) {
	p := pepper.New(strings.Repeat("p", 32))
	id, secret := strings.Repeat("i", pepper.CredentialIDLen), strings.Repeat("s", pepper.SecretLen)
	digest := p.Digest(id, secret)
	if len(digest) != pepper.DigestLen || !p.Verify(id, secret, digest) {
		t.Fatal("the digest of a secret does not fit the secret")
	}
	for bit := range 8 * pepper.DigestLen {
		other := []byte(digest)
		other[bit/8] ^= 1 << (bit % 8)
		if p.Verify(id, secret, string(other)) {
			t.Errorf("another bit %d is not noticed", bit)
		}
	}
	for name, other := range map[string]string{"nothing": "", "a part": digest[:31], "more": digest + "0", "twice": digest + digest} {
		if p.Verify(id, secret, other) {
			t.Errorf("%s of the digest passes for it", name)
		}
	}
}
