package apikey

import (
	"slices"
	"time"
)

// ReissueLimit bounds how many new tokens an owner gets; see
// Options.ReissueLimit and Options.OwnerTokenLimit. A key can always be
// disabled and deleted.
type ReissueLimit struct {
	N      int // 0 = no limit
	Window time.Duration
}

// TooSoonError is an ErrTooSoon with the time at which the next new token is
// allowed.
type TooSoonError struct {
	At time.Time
}

func (e *TooSoonError) Error() string { return ErrTooSoon.Error() + ", next at " + formatTime(e.At) }

func (e *TooSoonError) Unwrap() error { return ErrTooSoon }

// tooSoon applies the reissue limit to an owner.
func (r *Record) tooSoon(c cause) error {
	if !c.byOwner || c.reissue.N <= 0 {
		return nil
	}
	var recent []time.Time
	for _, made := range r.Credentials {
		if c.at.Before(made.CreatedAt.Add(c.reissue.Window)) {
			recent = append(recent, made.CreatedAt)
		}
	}
	if len(recent) < c.reissue.N {
		return nil
	}
	slices.SortFunc(recent, time.Time.Compare)
	return &TooSoonError{At: recent[len(recent)-c.reissue.N].Add(c.reissue.Window)}
}

// countToken returns the owner to commit with a new token, or none if the
// token does not count.
func (c *cause) countToken() ([]Owner, error) {
	owner := c.owner
	counted, err := owner.countToken(*c)
	if err != nil || !counted {
		return nil, err
	}
	return []Owner{owner}, nil
}

// countToken counts a new token of an owner against the limit over all its
// keys, and reports whether the owner changed. Each token moves TokensUntil by
// Window/N, and it may be at most a Window ahead: N tokens at once, then one
// for each Window/N. One time is all that is kept, so that deleted and purged
// keys count as well.
func (o *Owner) countToken(c cause) (counted bool, err error) {
	if !c.byOwner || c.tokens.N <= 0 {
		return false, nil
	}
	each := (c.tokens.Window / time.Duration(c.tokens.N)).Truncate(time.Microsecond)
	full := each * time.Duration(c.tokens.N)
	until := o.TokensUntil
	if until.Before(c.at) || until.After(c.at.Add(full).Add(maxClockError)) {
		until = c.at
	}
	until = until.Add(each)
	if until.After(c.at.Add(full)) {
		return false, &TooSoonError{At: until.Add(-full)}
	}
	o.TokensUntil = earlier(until, lastExpiry)
	return true, nil
}

// maxClockError is how far the clocks of two nodes may differ. A TokensUntil
// beyond it comes from a clock that was wrong, and must not lock the owner out
// until then.
const maxClockError = 24 * time.Hour
