//go:build linux

package dbtest

import (
	"time"
)

// caller is one kind of request.
type caller struct {
	name, token string
	key         string // its id; "" if the token's secret is not right
	right       answer // from a database that answers
	offline     bool   // without it, too
}

// answer is what a client was told.
type answer struct {
	status    int
	code      string // of the problem, or with status 200 the id of the key
	later     bool   // it has a Retry-After
	challenge bool   // it has a WWW-Authenticate
}

var unavailable = answer{503, "unavailable", true, false}

// epoch is a time in which one thing is known of the database. Requests that
// began in one and ended in another tell little.
type epoch struct {
	name  string
	state condition

	// What is waited for: so many answers to each caller, so many requests
	// whose clients had left, so many right answers in a row; and one answer
	// to each client.
	need, needLeft, needRow int

	settled   map[int]int  // answers, by caller
	clients   map[int]bool // that have one
	left, row int
	tries     int           // answers that were not the right ones
	done      chan struct{} // closed when there was enough of all
}

type condition int

const (
	isUnsure condition = iota // it fails, or comes back
	isUp
	isDown
)

// accepts reports whether an answer may be given to a request that began in
// one epoch and ended in another.
func (c *caller) accepts(began, ended *epoch, a answer) bool {
	switch {
	case c.offline || began == ended && began.state == isUp:
		return a == c.right
	case began == ended && began.state == isDown:
		return a == unavailable
	}
	return a == c.right || a == unavailable
}

const (
	workers = 16 // clients that wait for their answers
	leaving = 2  // clients that do not
	inRow   = 200
	maxTry  = 2000

	longest  = time.Minute // the deadline of requests; none is met that late
	shortest = 100 * time.Millisecond
)
