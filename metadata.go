package apikey

import (
	"cmp"
	"encoding/json"
	"iter"
	"slices"
)

// Metadata is an immutable small map of text: whatever a host wants to keep
// with a key. The zero value is empty.
type Metadata struct {
	// Sorted by key; never handed out. A list takes a third of the memory
	// that a map of a few entries does.
	list []entry
}

type entry struct {
	key, value string
}

const (
	maxMetadata         = 50
	maxMetadataKeyLen   = 64
	maxMetadataValueLen = 500
)

// NewMetadata returns a copy of m. What a key may hold is checked where it is
// stored: at most 50 entries, keys of 1 to 64 bytes, values of at most 500
// bytes, all printable text. U+FE0F is removed from values there.
func NewMetadata(m map[string]string) Metadata {
	if len(m) == 0 {
		return Metadata{}
	}
	list := make([]entry, 0, len(m))
	for key, value := range m {
		list = append(list, entry{key, value})
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	return Metadata{list}
}

// Get returns the value of a key, and whether there is one.
func (m Metadata) Get(key string) (string, bool) {
	for i := range m.list {
		if m.list[i].key == key {
			return m.list[i].value, true
		}
	}
	return "", false
}

// All yields keys and values in ascending order of the keys.
func (m Metadata) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, e := range m.list {
			if !yield(e.key, e.value) {
				return
			}
		}
	}
}

// Map returns a map of the caller's own.
func (m Metadata) Map() map[string]string {
	values := make(map[string]string, len(m.list))
	for _, e := range m.list {
		values[e.key] = e.value
	}
	return values
}

// Len returns the number of entries.
func (m Metadata) Len() int { return len(m.list) }

// Equal reports whether two have the same entries.
func (m Metadata) Equal(other Metadata) bool { return slices.Equal(m.list, other.list) }

// MarshalJSON writes an object of strings.
func (m Metadata) MarshalJSON() ([]byte, error) { return json.Marshal(m.Map()) }

// UnmarshalJSON reads an object of strings. What it refuses is a *FieldError
// for "metadata"; null leaves the entries as they are.
func (m *Metadata) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var values map[string]string
	if err := json.Unmarshal(b, &values); err != nil {
		return &FieldError{Field: "metadata", Code: "malformed", Problem: "must be an object of texts"}
	}
	*m = NewMetadata(values)
	return nil
}
