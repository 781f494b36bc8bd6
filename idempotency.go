package apikey

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"

	"github.com/keyturn/apikey/internal/micros"
	"github.com/keyturn/apikey/internal/text"
)

// derivedID returns the id of the key that a caller issues with an idempotency
// key: base62 digits of a hash of both. It is no secret. 20 digits take 119
// bits, so that nobody can find two inputs with the same id. The Manager and
// the OwnerManagers of an owner derive different ids, so that an owner cannot
// take the text that the application is about to use.
func (h *handle) derivedID(owner, text string) string {
	space := "manager"
	if h.confined {
		space = "owner"
	}
	sum := hashOf("apikey idempotency 2", space, owner, text)
	id := make([]byte, 0, keyIDLen)
	for {
		for _, b := range sum {
			if b < 248 && len(id) < keyIDLen {
				id = append(id, base62[b%62])
			}
		}
		if len(id) == keyIDLen {
			return string(id)
		}
		sum = sha256.Sum256(sum[:])
	}
}

// onceIssued returns the permanent name of a derived id, with which the id is
// never issued again.
func onceIssued(id string) string { return "issued " + id }

// issueHash returns a hash of what Issue was asked for. Scopes, networks and
// metadata count as sets. The id is included so that equal parameters of two
// keys do not show. They have been checked, so that each has one text.
func issueHash(id string, p IssueParams) string {
	scopes, _ := NewScopes(p.Scopes...)
	networks, _ := NewNetworks(p.Networks...)
	parts := []string{
		"apikey issue 1", id, text.Visible(p.Name), scopes.String(), networks.String(),
		strconv.Itoa(p.Rate.Requests), strconv.FormatInt(int64(p.Rate.Period), 10),
		strconv.Itoa(p.Lifetime.Years), strconv.Itoa(p.Lifetime.Months), strconv.Itoa(p.Lifetime.Days),
		strconv.FormatInt(int64(p.Lifetime.Time), 10), strconv.FormatInt(micros.Of(p.ExpiresAt), 10),
	}
	for key, value := range NewMetadata(p.Metadata).All() {
		parts = append(parts, key, text.Visible(value))
	}
	sum := hashOf(parts...)
	return string(sum[:])
}

// hashOf hashes strings, each with its length, so that different lists differ.
func hashOf(parts ...string) [sha256.Size]byte {
	var b []byte
	for _, part := range parts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(part)))
		b = append(b, part...)
	}
	return sha256.Sum256(b)
}

// issuedBefore returns the result of an Issue whose IdempotencyKey may have been
// used before: refused is the error of its Commit, asked the record that it
// would have written.
func (h *handle) issuedBefore(ctx context.Context, asked Record, refused error) (Issued, error) {
	stored, err := h.fetch(ctx, asked.Key.ID)
	switch {
	case err == nil:
		key := stored.view(h.Now())
		if err := h.authorize(ctx, ActionGet, key); err != nil {
			return Issued{}, err
		}
		if stored.IssueHash != asked.IssueHash {
			return Issued{}, ErrIdempotencyMismatch
		}
		return Issued{Key: key}, ErrExists
	case !errors.Is(err, ErrNotFound):
		return Issued{}, err
	}
	name := onceIssued(asked.Key.ID)
	names, err := h.store.OnceNames(ctx, OnceQuery{Name: name, Limit: 1})
	if err != nil {
		return Issued{}, err
	}
	if slices.ContainsFunc(names, func(n OnceName) bool { return n.Name == name }) {
		return Issued{}, ErrDeleted
	}
	return Issued{}, refused
}
