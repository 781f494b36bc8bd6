package apikeyui

import (
	"errors"

	"github.com/keyturn/apikey"
)

// withoutDamaged returns nil if an error names nothing but damaged keys, so that
// the page shows the others. The error reaches Observe, and the page states that
// something is missing.
func (v *visit) withoutDamaged(err error) error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		// An error that wraps several others ends the loop: the list may have
		// ended early.
		if _, ok := e.(*apikey.DamagedError); ok {
			v.damaged = true
			v.observe(err)
			return nil
		}
	}
	return err
}

// observeDamaged passes on the errors of damaged events.
func (v *visit) observeDamaged(events []apikey.Event) {
	for _, e := range events {
		if e.Err != nil {
			v.observe(e.Err)
		}
	}
}
