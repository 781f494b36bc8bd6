package apikey

import (
	"encoding/json"
	"iter"
	"slices"
	"strings"
)

// Scopes is an immutable set of scopes: what a key may do. The zero value is
// the empty set, with which nothing is allowed that needs a scope. Scopes can
// be compared with ==.
//
// A scope is a scope-token of RFC 6749, section 3.3: printable ASCII without
// space, quote and backslash; here at most 100 bytes. A scope that ends in
// ":*" covers every scope that begins with the part before the star:
// "orders:*" covers "orders:read", "orders:read:own", "orders:" and "orders:*",
// but not "orders". A star anywhere else is rejected.
type Scopes struct {
	list string // sorted, each once, separated by one space
}

const (
	maxScopes   = 100
	maxScopeLen = 100
)

// NewScopes returns the set of the scopes given. It refuses a malformed scope,
// and more than 100, with a *FieldError for "scopes".
func NewScopes(scopes ...string) (Scopes, error) {
	if len(scopes) > maxScopes {
		return Scopes{}, &FieldError{Field: "scopes", Code: "too_many", Problem: "must be at most 100"}
	}
	for _, s := range scopes {
		if problem := scopeProblem(s); problem != "" {
			return Scopes{}, &FieldError{Field: "scopes", Code: "malformed", Problem: problem}
		}
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(scopes)))
	return Scopes{strings.Join(sorted, " ")}, nil
}

// ParseScopes is the inverse of Scopes.String: scopes separated by single
// spaces, as in the scope parameter of RFC 6749.
func ParseScopes(text string) (Scopes, error) {
	if text == "" {
		return Scopes{}, nil
	}
	return NewScopes(strings.Split(text, " ")...)
}

// Allows reports whether a scope of the set is the one asked for, or covers
// it.
func (s Scopes) Allows(scope string) bool {
	for own := range s.All() {
		if covers(own, scope) {
			return true
		}
	}
	return false
}

// covers reports whether a scope allows all that another one does. Both are
// well-formed, so a star at the end makes a wildcard. It is the only place that
// compares scopes.
func covers(scope, other string) bool {
	stem, wildcard := strings.CutSuffix(scope, "*")
	return scope == other || wildcard && strings.HasPrefix(other, stem)
}

// checkKnown rejects scopes that are not among Options.Scopes. Those that a key
// or an owner has already may stay.
func (m *core) checkKnown(scopes, already Scopes) error {
	if m.scopes == nil {
		return nil
	}
	for scope := range scopes.All() {
		known := m.scopes.Allows(scope) || slices.Contains(already.Slice(), scope)
		for one := range m.scopes.All() {
			known = known || covers(scope, one)
		}
		if !known {
			return &FieldError{Field: "scopes", Code: "unknown_scope", Problem: "must be among the scopes that exist"}
		}
	}
	return nil
}

// both returns the set of all scopes that each of two sets allows, which may be
// more than 100.
func (s Scopes) both(other Scopes) Scopes {
	var list []string
	for scope := range s.All() {
		if other.Allows(scope) {
			list = append(list, scope)
		}
	}
	for scope := range other.All() {
		if s.Allows(scope) {
			list = append(list, scope)
		}
	}
	slices.Sort(list)
	return Scopes{strings.Join(slices.Compact(list), " ")}
}

// All yields the scopes in ascending order.
func (s Scopes) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest := s.list; rest != ""; {
			var scope string
			scope, rest, _ = strings.Cut(rest, " ")
			if !yield(scope) {
				return
			}
		}
	}
}

// Slice returns the scopes in ascending order, in a slice of the caller's own.
func (s Scopes) Slice() []string { return slices.Collect(s.All()) }

// Len returns how many scopes the set has.
func (s Scopes) Len() int {
	if s.list == "" {
		return 0
	}
	return strings.Count(s.list, " ") + 1
}

// Equal reports whether two sets hold the same scopes, as == does.
func (s Scopes) Equal(other Scopes) bool { return s == other }

// String returns the scopes separated by single spaces.
func (s Scopes) String() string { return s.list }

// MarshalJSON writes the set as an array of strings.
func (s Scopes) MarshalJSON() ([]byte, error) {
	return json.Marshal(append([]string{}, s.Slice()...))
}

// UnmarshalJSON reads an array of strings, with the checks of NewScopes. What
// it refuses is a *FieldError for "scopes"; null leaves the set as it is.
func (s *Scopes) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return &FieldError{Field: "scopes", Code: "malformed", Problem: "must be an array of texts"}
	}
	scopes, err := NewScopes(list...)
	if err == nil {
		*s = scopes
	}
	return err
}

// scopeProblem says what is wrong with a scope, or nothing.
func scopeProblem(s string) string {
	if s == "" {
		return "must not hold an empty scope"
	}
	if len(s) > maxScopeLen {
		return "must not hold a scope of more than 100 bytes"
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f || c == '"' || c == '\\':
			return "must hold printable ASCII without space, quote and backslash"
		case c == '*' && (i != len(s)-1 || i < 2 || s[i-1] != ':'):
			return `may hold a star only after a colon at the end, as in "orders:*"`
		}
	}
	return ""
}
