package apikey

import (
	"crypto/rand"

	"github.com/keyturn/apikey/internal/pepper"
)

const noPepper = "github.com/keyturn/apikey: no pepper configured"

// NoPepper returns a fixed, public pepper. List it in Options.Peppers to run
// without a secret one. A copy of the database still contains no usable token,
// because nobody can guess 190 random bits, but anyone who can write to the
// database can create working keys. If you add a pepper later, list NoPepper()
// after it for as long as older keys are in use. Until you remove it, write
// access to the database is enough to create working keys.
func NoPepper() Secret { return NewSecret(noPepper) }

// EphemeralPepper returns a new random pepper of more than 256 bits. Use it
// for stores that end with the process, such as a memstore: nothing has to be
// kept. On a store that outlives the process every key is unusable after a
// restart, and Check reports ErrPepper.
func EphemeralPepper() Secret { return NewSecret(rand.Text() + rand.Text()) }

// newRing returns the peppers of a Manager.
func newRing(peppers []Secret) (pepper.Ring, error) {
	secrets := make([]string, len(peppers))
	for i, secret := range peppers {
		secrets[i] = secret.Reveal()
	}
	ring, problem := pepper.NewRing(secrets)
	if problem != nil {
		return nil, &FieldError{Field: problem.Field, Code: problem.Code, Problem: problem.Text}
	}
	return ring, nil
}
