package apikeylimit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeylimit"
	"github.com/keyturn/apikey/apikeytest"
)

// stack is a server with a Limiter, and the clock that both read.
type stack struct {
	*apikeytest.Manager
	t       *testing.T
	limiter *apikeylimit.Limiter
	options *apikeyhttp.Options
	handler http.Handler
	calls   int // of the handler behind
}

func newGuard(t *testing.T, v apikey.Validator, options *apikeyhttp.Options) *apikeyhttp.Guard {
	t.Helper()
	guard, err := apikeyhttp.New(v, options)
	must(t, err)
	return guard
}

func newStack(t *testing.T, o apikeylimit.Options) *stack {
	t.Helper()
	s := &stack{Manager: apikeytest.New(t), t: t}
	o.Now = s.Clock.Now
	var err error
	s.limiter, err = apikeylimit.New(&o)
	must(t, err)
	s.options = &apikeyhttp.Options{Limiter: s.limiter, Carriers: apikeyhttp.Bearer | apikeyhttp.Header | apikeyhttp.Basic}
	s.handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.calls++ })
	s.handler = newGuard(t, s.Manager, s.options).Authenticate(s.handler)
	return s
}

// get sends a request with a token from an address.
func (s *stack) get(token, from string) *http.Response {
	return s.send(from, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
}

func (s *stack) send(from string, change func(*http.Request)) *http.Response {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(from), 4711).String()
	change(r)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w.Result()
}

// expect compares status, Retry-After and calls of the handler.
func (s *stack) expect(r *http.Response, status int, retryAfter string, calls int) {
	s.t.Helper()
	if got := r.Header.Get("Retry-After"); r.StatusCode != status || got != retryAfter || s.calls != calls {
		s.t.Fatalf("status %d, Retry-After %q, %d calls of the handler; want %d, %q, %d",
			r.StatusCode, got, s.calls, status, retryAfter, calls)
	}
}

const home, other = "192.0.2.1", "192.0.2.2"

// limit is a line of the fields RateLimit and RateLimit-Policy.
type limit struct {
	Name       string
	Parameters map[string]int64
}

// limits reads such a field as draft-ietf-httpapi-ratelimit-headers-10 defines
// it: a list of strings with parameters that are integers.
func limits(t *testing.T, r *http.Response, field string) []limit {
	t.Helper()
	lines := r.Header.Values(field)
	if lines == nil {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	must(t, err)
	var all []limit
	for _, member := range list {
		item := member.(httpsfv.Item)
		l := limit{Name: item.Value.(string), Parameters: map[string]int64{}}
		for _, name := range item.Params.Names() {
			value, _ := item.Params.Get(name)
			l.Parameters[name] = value.(int64)
		}
		all = append(all, l)
	}
	return all
}

func expectLimits(t *testing.T, r *http.Response, name string, q, w, left, reset int64) {
	t.Helper()
	want := []limit{{name, map[string]int64{"q": q, "w": w}}}
	if diff := cmp.Diff(want, limits(t, r, "RateLimit-Policy")); diff != "" {
		t.Errorf("RateLimit-Policy:\n%s", diff)
	}
	want = []limit{{name, map[string]int64{"r": left, "t": reset}}}
	if diff := cmp.Diff(want, limits(t, r, "RateLimit")); diff != "" {
		t.Errorf("RateLimit:\n%s", diff)
	}
}

func TestKeyLimit(t *testing.T) {
	s := newStack(t, apikeylimit.Options{})
	issued := s.MustIssue(t, apikey.IssueParams{Rate: per(3, time.Minute)})
	neighbour := s.MustIssue(t, apikey.IssueParams{Rate: per(1000, time.Minute)})
	unlimited := s.MustIssue(t, apikey.IssueParams{})
	token := issued.Token.Reveal()
	for i := range 3 {
		r := s.get(token, home)
		s.expect(r, 200, "", i+1)
		expectLimits(t, r, "key", 3, 60, int64(2-i), int64(20*(i+1)))
	}
	s.Advance(500 * time.Millisecond)
	for range 5 { // denied, which takes nothing
		r := s.get(token, other) // from wherever it comes
		s.expect(r, 429, "20", 3)
		expectLimits(t, r, "key", 3, 60, 0, 60)
		var problem apikeyhttp.Problem
		must(t, json.NewDecoder(r.Body).Decode(&problem))
		if diff := cmp.Diff([]string{"key"}, problem.ViolatedPolicies); diff != "" || problem.Code != "quota_exceeded" {
			t.Errorf("%+v %s", problem, diff)
		}
	}
	r := s.get(neighbour.Token.Reveal(), home)
	s.expect(r, 200, "", 4)
	expectLimits(t, r, "key", 1000, 60, 999, 1)
	r = s.get(unlimited.Token.Reveal(), home)
	s.expect(r, 200, "", 5)
	if r.Header["Ratelimit"] != nil || r.Header["Ratelimit-Policy"] != nil {
		t.Errorf("a key without a limit: %v", r.Header)
	}

	s.Advance(19*time.Second + 400*time.Millisecond)
	s.expect(s.get(token, home), 429, "1", 5)
	s.Advance(time.Second)
	s.expect(s.get(token, home), 200, "", 6)
	s.expect(s.get(token, home), 429, "20", 6)
}

// TestFieldsToTheByte: as the draft writes them.
func TestFieldsToTheByte(t *testing.T) {
	s := newStack(t, apikeylimit.Options{Default: per(100, time.Minute)})
	h := s.get(s.MustIssue(t, apikey.IssueParams{}).Token.Reveal(), home).Header
	got := []string{strings.Join(h.Values("RateLimit-Policy"), "|"), strings.Join(h.Values("RateLimit"), "|")}
	if diff := cmp.Diff([]string{`"key";q=100;w=60`, `"key";r=99;t=1`}, got); diff != "" {
		t.Error(diff)
	}
}

// TestAbsurdFields: any rate that a Manager accepts can be written.
func TestAbsurdFields(t *testing.T) {
	for _, r := range []apikey.Rate{
		per(math.MaxInt, time.Microsecond), per(math.MaxInt, math.MaxInt64/1000*1000), per(1, math.MaxInt64/1000*1000), per(1, time.Microsecond),
	} {
		s := newStack(t, apikeylimit.Options{})
		issued := s.MustIssue(t, apikey.IssueParams{Rate: r})
		for range 2 {
			answer := s.get(issued.Token.Reveal(), home)
			if limits(t, answer, "RateLimit") == nil || limits(t, answer, "RateLimit-Policy") == nil {
				t.Errorf("%v: %v", r, answer.Header)
			}
		}
	}
}

// TestCarriersShare: both tokens of a rotation, and all carriers, take from one
// bucket, and a regenerated key finds it as it was.
func TestCarriersShare(t *testing.T) {
	s := newStack(t, apikeylimit.Options{Default: per(4, time.Minute)})
	first := s.MustIssue(t, apikey.IssueParams{})
	second, err := s.Rotate(ctx, first.Key.ID, time.Hour)
	must(t, err)
	s.expect(s.get(first.Token.Reveal(), home), 200, "", 1)
	s.expect(s.get(second.Token.Reveal(), other), 200, "", 2)
	header := func(r *http.Request) { r.Header.Set("X-API-Key", second.Token.Reveal()) }
	s.expect(s.send(home, header), 200, "", 3)
	basic := func(r *http.Request) { r.SetBasicAuth(first.AccessKey(), first.AccessSecret().Reveal()) }
	s.expect(s.send(home, basic), 200, "", 4)

	s.expect(s.get(first.Token.Reveal(), home), 429, "15", 4)
	s.expect(s.get(second.Token.Reveal(), home), 429, "15", 4)
	s.expect(s.send(home, header), 429, "15", 4)
	s.expect(s.send(home, basic), 429, "15", 4)
	third, err := s.Regenerate(ctx, first.Key.ID)
	must(t, err)
	s.expect(s.get(third.Token.Reveal(), home), 429, "15", 4)
}

// TestStackedTakeOnce: one request is one, however many Authenticates there
// are, also if an inner one is another with the same Limiter.
func TestStackedTakeOnce(t *testing.T) {
	s := newStack(t, apikeylimit.Options{Default: per(3, time.Minute)})
	again := newGuard(t, s.Manager, s.options).Authenticate
	s.handler = newGuard(t, s.Manager, &apikeyhttp.Options{Limiter: s.limiter}).Authenticate(again(s.handler))
	token := s.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	for i := range 3 {
		r := s.get(token, home)
		s.expect(r, 200, "", i+1)
		expectLimits(t, r, "key", 3, 60, int64(2-i), int64(20*(i+1)))
	}
	s.expect(s.get(token, home), 429, "20", 3)
}

// TestScopeRefusals: they are requests of the key too.
func TestScopeRefusals(t *testing.T) {
	s := newStack(t, apikeylimit.Options{Default: per(2, time.Minute)})
	s.handler = newGuard(t, s.Manager, s.options).Require("orders:read")(s.handler)
	issued := s.MustIssue(t, apikey.IssueParams{Scopes: []string{"users:read"}})
	for i := range 2 {
		r := s.get(issued.Token.Reveal(), home)
		s.expect(r, 403, "", 0)
		expectLimits(t, r, "key", 2, 60, int64(1-i), int64(30*(i+1)))
	}
	s.expect(s.get(issued.Token.Reveal(), home), 429, "30", 0)
}

// TestRateUpdated: the Manager changes the rate, the next request is held to
// it.
func TestRateUpdated(t *testing.T) {
	s := newStack(t, apikeylimit.Options{})
	issued := s.MustIssue(t, apikey.IssueParams{Rate: per(2, time.Minute)})
	token := issued.Token.Reveal()
	s.expect(s.get(token, home), 200, "", 1)
	_, err := s.Update(ctx, issued.Key.ID, apikey.Changes{Rate: new(per(10, 10*time.Second))})
	must(t, err)
	r := s.get(token, home)
	s.expect(r, 200, "", 2) // the one that was left
	expectLimits(t, r, "key", 10, 10, 0, 10)
	s.expect(s.get(token, home), 429, "1", 2)
}

// TestGuessing: after N bad keys an address gets nothing else, not even with a
// good one, while another address goes on.
func TestGuessing(t *testing.T) {
	s := newStack(t, apikeylimit.Options{Default: per(1000, time.Minute), Invalid: new(per(6, time.Minute))})
	token := s.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	unknown := apikeytest.New(t).MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	bad := []string{"nonsense", unknown, token[:len(token)-1] + "!", "nonsense1", "nonsense2", "nonsense3"}

	for i := range 6 {
		s.expect(s.get(token, home), 200, "", i+1)
		r := s.get(bad[i], home)
		s.expect(r, 401, "", i+1)
		if r.Header["Ratelimit"] != nil {
			t.Errorf("a bad key is told of limits: %v", r.Header)
		}
	}
	lookups := s.Store.Calls(apikeytest.Lookup)
	for _, each := range append(bad, token) {
		r := s.get(each, home)
		s.expect(r, 429, "10", 6)
		expectLimits(t, r, "invalid", 6, 60, 0, 60)
	}
	if got := s.Store.Calls(apikeytest.Lookup); got != lookups {
		t.Errorf("%d lookups for an address that is denied", got-lookups)
	}
	s.expect(s.get(token, other), 200, "", 7)
	s.expect(s.get(unknown, other), 401, "", 7)

	s.Advance(10 * time.Second) // one more
	s.expect(s.get(token, home), 200, "", 8)
	s.expect(s.get("nonsense4", home), 401, "", 8)
	s.expect(s.get(token, home), 429, "10", 8)
	s.expect(s.send(home, func(*http.Request) {}), 401, "", 8) // no key at all is no guess
}

// TestRightSecretIsNoGuess: whose secret was right is not counted as a guess,
// whatever is wrong with the key.
func TestRightSecretIsNoGuess(t *testing.T) {
	s := newStack(t, apikeylimit.Options{Invalid: new(per(1, time.Hour))})
	issued := s.MustIssue(t, apikey.IssueParams{})
	_, err := s.Disable(ctx, issued.Key.ID)
	must(t, err)
	for range 5 {
		s.expect(s.get(issued.Token.Reveal(), home), 401, "", 0)
	}
	s.Store.Fail(apikeytest.Failure{Method: apikeytest.Lookup})
	s.expect(s.get(issued.Token.Reveal(), home), 503, "1", 0) // nor is an outage
	s.expect(s.get("nonsense", home), 401, "", 0)
	s.expect(s.get("nonsense", home), 429, "3600", 0)
}

// TestMalformedRateIsUnavailable: from a Validator that lets through what no
// Manager would.
func TestMalformedRateIsUnavailable(t *testing.T) {
	l, _ := newLimiter(t, apikeylimit.Options{})
	calls := 0
	h := newGuard(t, validator{per(-5, time.Minute)}, &apikeyhttp.Options{Limiter: l}).Authenticate(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ }))
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-API-Key", "any")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 503 || calls != 0 {
		t.Errorf("status %d, %d calls", w.Code, calls)
	}
}

type validator struct{ rate apikey.Rate }

func (v validator) Validate(context.Context, string, ...apikey.Requirement) (apikey.Key, error) {
	return apikey.Key{ID: "A", Rate: v.rate}, nil
}

// failing is a Limiter in trouble with one of its methods.
type failing struct {
	apikeyhttp.Limiter
	method string
}

var errTrouble = errors.New("trouble")

func (f failing) AllowKey(ctx context.Context, key apikey.Key) (apikeyhttp.Quota, error) {
	if f.method == "AllowKey" {
		return apikeyhttp.Quota{Allowed: true}, errTrouble
	}
	return f.Limiter.AllowKey(ctx, key)
}

func (f failing) StartAttempt(ctx context.Context, a apikeyhttp.Attempt) (apikeyhttp.Quota, error) {
	q, err := f.Limiter.StartAttempt(ctx, a)
	if f.method == "StartAttempt" {
		return q, errTrouble
	}
	return q, err
}

func (f failing) EndAttempt(ctx context.Context, a apikeyhttp.Attempt, o apikeyhttp.Outcome) error {
	if f.method == "EndAttempt" {
		return errTrouble
	}
	return f.Limiter.EndAttempt(ctx, a, o)
}

// TestTrouble: a Limiter that cannot decide lets no one through.
func TestTrouble(t *testing.T) {
	for _, tt := range []struct {
		method    string
		good, bad int
	}{
		{"", 200, 401},
		{"AllowKey", 503, 401},
		{"StartAttempt", 503, 503},
		{"EndAttempt", 503, 503},
	} {
		t.Run(fmt.Sprintf("%q", tt.method), func(t *testing.T) {
			is := is.New(t)
			s := newStack(t, apikeylimit.Options{})
			var observed []error
			s.handler = newGuard(t, s.Manager, &apikeyhttp.Options{
				Limiter: failing{s.limiter, tt.method},
				Observe: func(_ *http.Request, o apikey.Observation) { observed = append(observed, o.Err) },
			}).Authenticate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.calls++ }))
			is.Equal(s.get(s.MustIssue(t, apikey.IssueParams{}).Token.Reveal(), home).StatusCode, tt.good)
			is.Equal(s.calls == 1, tt.good == 200)
			is.Equal(s.get("nonsense", home).StatusCode, tt.bad)
			is.Equal(errors.Is(observed[0], errTrouble), tt.good == 503)
			is.Equal(errors.Is(observed[1], errTrouble), tt.bad == 503)
		})
	}
}
