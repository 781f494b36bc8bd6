package apikey

import (
	"encoding/json"
	"iter"
	"maps"
	"slices"
)

// Metadata is an immutable small map of text: whatever a host wants to keep
// with a key. The zero value is empty.
type Metadata struct {
	m map[string]string // never handed out; nil if empty
}

const (
	maxMetadata         = 50
	maxMetadataKeyLen   = 64
	maxMetadataValueLen = 500
)

// NewMetadata returns a copy of m. What a key may hold is checked where it is
// stored: at most 50 entries, keys of 1 to 64 bytes, values of at most 500
// bytes, all printable text.
func NewMetadata(m map[string]string) Metadata {
	if len(m) == 0 {
		return Metadata{}
	}
	return Metadata{maps.Clone(m)}
}

// Get returns the value of a key, and whether there is one.
func (m Metadata) Get(key string) (string, bool) {
	value, ok := m.m[key]
	return value, ok
}

// All yields keys and values in ascending order of the keys.
func (m Metadata) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, key := range slices.Sorted(maps.Keys(m.m)) {
			if !yield(key, m.m[key]) {
				return
			}
		}
	}
}

// Map returns a map of the caller's own.
func (m Metadata) Map() map[string]string { return maps.Clone(m.m) }

// Len returns the number of entries.
func (m Metadata) Len() int { return len(m.m) }

// Equal reports whether two have the same entries.
func (m Metadata) Equal(other Metadata) bool { return maps.Equal(m.m, other.m) }

// MarshalJSON writes an object of strings.
func (m Metadata) MarshalJSON() ([]byte, error) {
	if m.m == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(m.m)
}

// UnmarshalJSON reads an object of strings.
func (m *Metadata) UnmarshalJSON(b []byte) error {
	var values map[string]string
	if err := json.Unmarshal(b, &values); err != nil {
		return err
	}
	*m = NewMetadata(values)
	return nil
}
