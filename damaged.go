package apikey

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrDamaged means that something is stored which no version of this package
// has written: an edit by hand, or a fault of the disk. Repair or remove the
// row. See DamagedError.
var ErrDamaged = errors.New("apikey: stored data is damaged")

// DamagedError names what could not be read because it is damaged. A call that
// reads several keys returns it together with the keys that it could read. It
// is an ErrDamaged.
type DamagedError struct {
	IDs    []string // of keys, ascending
	Owners []string // ascending; not in the text of the error
	Events []int64  // positions, ascending

	// Err is what the Store returned for the first of them that was read.
	Err error
}

// maxNamed bounds how much the text of a DamagedError names.
const maxNamed = 100

func (e *DamagedError) Error() string {
	var parts []string
	list := func(what string, n int, names string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s%s", n, what, names))
		}
	}
	list("keys", len(e.IDs), named(e.IDs))
	list("owners", len(e.Owners), "")
	list("events", len(e.Events), named(e.Events))
	text := ErrDamaged.Error() + ": " + strings.Join(parts, ", ")
	if e.Err != nil {
		text += "; the first: " + strings.TrimPrefix(e.Err.Error(), "apikey: ")
	}
	return text
}

// named returns a list in parentheses.
func named[T any](list []T) string {
	more := ""
	if len(list) > maxNamed {
		more = fmt.Sprintf(" and %d more", len(list)-maxNamed)
		list = list[:maxNamed]
	}
	return " (" + strings.Trim(fmt.Sprint(list), "[]") + more + ")"
}

func (e *DamagedError) Unwrap() []error { return []error{ErrDamaged, e.Err} }

// readable returns why a record of a list cannot be used, or nil.
func (r *Record) readable() error {
	if r.Err == nil && checkID(r.Key.ID) != nil {
		return fmt.Errorf("%w: the id of a key", ErrDamaged)
	}
	return r.Err
}

// key adds a key that is damaged.
func (e *DamagedError) key(id string, err error) {
	if checkID(id) != nil {
		id = "unknown" // it could be any text, also a token
	}
	if at, found := slices.BinarySearch(e.IDs, id); !found {
		e.IDs = slices.Insert(e.IDs, at, id)
	}
	if e.Err == nil {
		e.Err = err
	}
}

// with returns an error that ended the reading early, together with what was
// found to be damaged before; nil if there is neither.
func (e *DamagedError) with(err error) error {
	switch {
	case e.Err == nil:
		return err
	case err == nil:
		return e
	}
	return fmt.Errorf("%w; %w", err, e)
}
