package apikeyhttp

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/keyturn/apikey"
)

// A Limiter decides how many requests a key may make, and how many bad keys a
// client may try. Authenticate asks it and writes the responses. All methods
// are called concurrently.
//
// An error means that the Limiter could not decide. It is never a permission:
// the response has status 503.
type Limiter interface {
	// AllowKey takes one request from the limit of a valid key. A request that
	// it denies takes nothing.
	AllowKey(ctx context.Context, key apikey.Key) (Quota, error)

	// StartAttempt decides whether a client may try a token. It must reserve
	// one bad key until EndAttempt reports the outcome. Otherwise many
	// attempts at the same time exceed the limit. If all remaining bad keys
	// are reserved, it waits until an attempt ends. A wait that takes too
	// long is an error, and an attempt whose ctx ends reserves nothing.
	StartAttempt(ctx context.Context, a Attempt) (Quota, error)

	// EndAttempt reports the outcome of an attempt. It is called exactly once
	// for each attempt that StartAttempt has allowed, also if the client hung
	// up or the Validator panicked. ctx has the values of the request's
	// context, but is never canceled and has no deadline.
	EndAttempt(ctx context.Context, a Attempt, o Outcome) error
}

// Attempt is a token that a client tries.
type Attempt struct {
	// Client is the client's address. If a trusted proxy did not name the
	// client, it is the proxy's address. The zero Addr stands for all
	// connections without an address, for example over a Unix socket.
	Client netip.Addr

	// Token identifies the token without containing it: a hash with a random
	// key that is different in each process. Equal tokens have equal values.
	Token uint64
}

// Outcome is the result of an Attempt.
type Outcome uint8

const (
	// OutcomeInvalid means that the token was wrong. An attempt also counts as
	// wrong if the request's context ended during the check and the Validator
	// returned no decision, because the Store may have been asked. Otherwise
	// clients could guess for free by hanging up.
	OutcomeInvalid Outcome = iota

	// OutcomeValid means that the Validator accepted the token.
	OutcomeValid

	// OutcomeRejected means that the secret was right but the key was
	// rejected, for example because it has expired.
	OutcomeRejected

	// OutcomeUnknown means that the Validator failed, or was not asked because
	// the request's context had already ended.
	OutcomeUnknown
)

// Quota is what a Limiter decided. The zero Quota denies.
type Quota struct {
	Allowed bool

	// RetryAfter is how long a denied request has to wait.
	RetryAfter time.Duration

	// Policy names the limit in the fields RateLimit and RateLimit-Policy:
	// printable ASCII without quote and backslash. Without a name, as of what
	// is not limited, there are no such fields.
	Policy string

	// Requests are allowed in each Window.
	Requests int
	Window   time.Duration

	// Remaining requests would be allowed now; in Reset it will be all of
	// them again.
	Remaining int
	Reset     time.Duration
}

// limitKey takes a request of the key from the Limiter, once, and returns the
// answer to a request that it denies. Its headers are set in h.
func (c *config) limitKey(a *admission, h http.Header) *answer {
	if c.limiter == nil {
		return nil
	}
	if a.limitedBy(c.limiter, a.key.ID) {
		return nil
	}
	q, err := c.limiter.AllowKey(a.Context, a.key)
	if err != nil {
		a.failed = err
		return answerUnavailable
	}
	a.limited = true
	q.describe(h)
	if q.Allowed {
		return nil
	}
	return q.answer(h, "The API key has made too many requests. Try again later.")
}

// attempt checks a token. malformed is the response to a token that needs no
// check. It counts as a bad key like any other.
//
// A client that has tried too many bad keys is rejected before its key is
// looked up. Otherwise the response would reveal a good guess.
func (c *config) attempt(a *admission, h http.Header, near netip.Addr, token string, malformed *answer) (refused *answer) {
	if c.limiter == nil {
		refused, _ = c.check(a, token, malformed)
		return refused
	}
	try := Attempt{Client: near, Token: maphash.String(fingerprints, token)}
	if refused := c.start(a, h, try); refused != nil {
		return refused
	}
	outcome := OutcomeInvalid // also if the Validator panics
	defer func() {
		if err := c.limiter.EndAttempt((*detached)(a), try, outcome); err != nil {
			a.failed = err
			refused = answerUnavailable
		}
	}()
	refused, outcome = c.check(a, token, malformed)
	return refused
}

// check asks the Validator. It leaves the key in the admission.
func (c *config) check(a *admission, token string, malformed *answer) (*answer, Outcome) {
	if malformed != nil {
		return malformed, OutcomeInvalid
	}
	if err := a.Context.Err(); err != nil {
		a.failed = fmt.Errorf("%w: %w", apikey.ErrUnavailable, err)
		return answerUnavailable, OutcomeUnknown
	}
	a.needs[0] = apikey.From(a.client)
	a.checked = c.now()
	var err error
	if a.key, err = c.validator.Validate(a.Context, token, a.needs[:]...); err == nil {
		return nil, OutcomeValid
	}
	a.failed = err
	refused := answerTo(err)
	switch {
	case refused == answerInvalidToken:
	case refused.problem.Status == 401 || refused.problem.Status == 403:
		a.hidden.token, a.known = token, true
		return refused, OutcomeRejected
	case a.Context.Err() == nil:
		return refused, OutcomeUnknown
	}
	return refused, OutcomeInvalid
}

// fingerprints is the key of Attempt.Token.
var fingerprints = maphash.MakeSeed()

// start asks the Limiter for an attempt, and returns the response if there is
// none.
func (c *config) start(a *admission, h http.Header, try Attempt) *answer {
	q, err := c.limiter.StartAttempt(a.Context, try)
	switch {
	case err != nil:
		a.failed = err
		return answerUnavailable
	case q.Allowed:
		return nil
	}
	q.describe(h)
	return q.answer(h, "Too many API keys that are not valid came from this address. Try again later.")
}

// detached is the context of an admission without its end. Its own type costs
// no allocation, unlike context.WithoutCancel.
type detached admission

func (d *detached) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }
func (d *detached) Done() <-chan struct{}                   { return nil }
func (d *detached) Err() error                              { return nil }
func (d *detached) Value(name any) any                      { return d.Context.Value(name) }
func (d *detached) String() string                          { return "apikeyhttp.request" }
func (d *detached) Format(f fmt.State, _ rune)              { io.WriteString(f, d.String()) }

// describe sets the fields of draft-ietf-httpapi-ratelimit-headers-10. Of
// several limits each has its own line, which together are a list.
func (q Quota) describe(h http.Header) {
	if !q.named() {
		return
	}
	name := `"` + q.Policy + `"`
	h.Add("RateLimit-Policy", name+";q="+natural(q.Requests)+";w="+seconds(q.Window))
	h.Add("RateLimit", name+";r="+natural(q.Remaining)+";t="+seconds(q.Reset))
}

// answer returns the answer to a denied request.
func (q Quota) answer(h http.Header, detail string) *answer {
	h.Set("Retry-After", seconds(max(q.RetryAfter, time.Second)))
	p := Problem{
		Type:   "https://iana.org/assignments/http-problem-types#quota-exceeded",
		Title:  "Request cannot be satisfied as assigned quota has been exceeded",
		Status: http.StatusTooManyRequests, Code: "quota_exceeded", Detail: detail,
	}
	if q.named() {
		p.ViolatedPolicies = []string{q.Policy}
	}
	return newProblemAnswer(p, noChallenge)
}

// named reports whether the limit has a name that can be written.
func (q Quota) named() bool {
	for _, r := range q.Policy {
		if unquotable(r) {
			return false
		}
	}
	return q.Policy != ""
}

// natural writes a number that is not negative, as large as an Integer of RFC
// 9651 (section 3.3.1) may be.
func natural(n int) string {
	return strconv.FormatInt(min(max(int64(n), 0), 999_999_999_999_999), 10)
}

// seconds writes whole seconds, rounded up: who waits that long has waited long
// enough.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(math.Ceil(max(d, 0).Seconds()), 'f', 0, 64)
}
