package apikeyhttp

import (
	"context"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/keyturn/apikey"
)

// Limiter decides how many requests may be made. Authenticate asks it, and
// answers for it. All methods are called at the same time by many requests.
//
// An error is trouble of the Limiter's, and no permission: the request is
// answered with status 503.
type Limiter interface {
	// AllowKey takes one request from what a valid key may make. A request
	// that it denies takes nothing.
	AllowKey(ctx context.Context, key apikey.Key) (Quota, error)

	// AllowClient reports whether a client may try a key. It takes nothing:
	// good keys are none of its business. Of a client that a trusted proxy
	// did not name it is the proxy's address. The zero Addr stands for all
	// clients whose connection has no address.
	AllowClient(ctx context.Context, client netip.Addr) (Quota, error)

	// CountInvalid takes one from what AllowClient allows: the client has
	// tried a key that is not valid.
	CountInvalid(ctx context.Context, client netip.Addr) error
}

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
	key := a.key()
	if a.limitedBy(c.limiter, key.ID) {
		return nil
	}
	q, err := c.limiter.AllowKey(a.Context, key)
	if err != nil {
		a.failed = &failure{err: err}
		return answerUnavailable
	}
	a.limited = true
	q.describe(h)
	if q.Allowed {
		return nil
	}
	return q.answer(h, "The API key has made too many requests. Try again later.")
}

// limitClient returns the answer to a client that has tried too many bad keys.
// It comes before the key is looked at: else a good guess would be told from
// the answer.
func (c *config) limitClient(a *admission, h http.Header, near netip.Addr) *answer {
	if c.limiter == nil {
		return nil
	}
	q, err := c.limiter.AllowClient(a.Context, near)
	switch {
	case err != nil:
		a.failed = &failure{err: err}
		return answerUnavailable
	case q.Allowed:
		return nil
	}
	q.describe(h)
	return q.answer(h, "Too many API keys that are not valid came from this address. Try again later.")
}

// countInvalid tells the Limiter of a bad key, and returns the answer to it.
func (c *config) countInvalid(a *admission, refused *answer, near netip.Addr) *answer {
	if c.limiter == nil {
		return refused
	}
	if err := c.limiter.CountInvalid(a.Context, near); err != nil {
		a.failed = &failure{err: err}
		return answerUnavailable
	}
	return refused
}

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
