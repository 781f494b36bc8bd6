package memstore

import (
	"cmp"
	"context"
	"slices"

	"github.com/keyturn/apikey"
)

// names are those of Commit.Once.
type names struct {
	byName  map[string]apikey.OnceName
	byKey   map[string][]string // those that belong to a key
	ordered []apikey.OnceName   // by compareNames
}

func compareNames(a, b apikey.OnceName) int {
	return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Name, b.Name))
}

// check returns an error if one of the names is stored and does not go with a
// purge of the same Commit.
func (n *names) check(list []apikey.OnceName, purged []apikey.RecordRef) error {
	for _, name := range list {
		stored, taken := n.byName[name.Name]
		if taken && !slices.ContainsFunc(purged, func(ref apikey.RecordRef) bool { return ref.ID == stored.KeyID }) {
			return apikey.ErrExists
		}
	}
	return nil
}

func (n *names) add(list []apikey.OnceName, seq int64) {
	if len(list) == 0 {
		return
	}
	if n.byName == nil {
		n.byName, n.byKey = map[string]apikey.OnceName{}, map[string][]string{}
	}
	first := len(n.ordered)
	for _, name := range list {
		name.Seq = seq
		n.byName[name.Name] = name
		n.ordered = append(n.ordered, name)
		if name.KeyID != "" {
			n.byKey[name.KeyID] = append(n.byKey[name.KeyID], name.Name)
		}
	}
	slices.SortFunc(n.ordered[first:], compareNames)
}

// purge removes the names of a key.
func (n *names) purge(keyID string) {
	for _, text := range n.byKey[keyID] {
		if at, found := slices.BinarySearchFunc(n.ordered, n.byName[text], compareNames); found {
			n.ordered = slices.Delete(n.ordered, at, at+1)
		}
		delete(n.byName, text)
	}
	delete(n.byKey, keyID)
}

// OnceNames implements [apikey.Store].
func (s *Store) OnceNames(ctx context.Context, q apikey.OnceQuery) ([]apikey.OnceName, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if q.Name != "" {
		name, stored := s.once.byName[q.Name]
		if !stored || q.Limit < 1 || compareNames(name, q.After) <= 0 {
			return nil, nil
		}
		return []apikey.OnceName{name}, nil
	}
	first, found := slices.BinarySearchFunc(s.once.ordered, q.After, compareNames)
	if found {
		first++
	}
	rest := s.once.ordered[first:]
	return append([]apikey.OnceName(nil), rest[:min(q.Limit, len(rest))]...), nil // nil if empty
}
