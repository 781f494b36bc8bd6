package apikeyhttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

// TestLimiterIsAsked: who is asked about what, in each state of a key.
func TestLimiterIsAsked(t *testing.T) {
	allowed := apikeyhttp.Quota{Allowed: true}
	const client = "192.0.2.1"
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			is := is.New(t)
			keys := apikeytest.New(t)
			token := state.make(t, keys, apikey.IssueParams{})
			l := &limiter{key: allowed, client: allowed}
			r := apikeytest.Request(t, "GET", "/", apikey.NewSecret(token))
			serve(newGuard(keys, &apikeyhttp.Options{Limiter: l}).Authenticate(newHandler()), r)
			is.Equal(l.clients, []string{client})
			is.Equal(len(l.keys) == 1, state.isValid)
			want := apikeyhttp.OutcomeRejected // the secret was right
			switch {
			case state.isValid:
				want = apikeyhttp.OutcomeValid
			case state.code == "invalid_token":
				want = apikeyhttp.OutcomeInvalid
			case state.status == 503:
				want = apikeyhttp.OutcomeUnknown
			}
			is.Equal(l.outcomes, []apikeyhttp.Outcome{want})
		})
	}

	is := is.New(t)
	l := &limiter{key: allowed, client: allowed}
	handler := newGuard(apikeytest.New(t), &apikeyhttp.Options{Limiter: l}).Optional(newHandler())
	serve(handler, httptest.NewRequest(http.MethodGet, "/", nil))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["X-Api-Key"] = []string{"a", "b"}
	serve(handler, r)
	is.Equal(len(l.keys)+len(l.clients)+len(l.invalid), 0) // nothing was tried
	serve(handler, apikeytest.Request(t, "GET", "/", apikey.NewSecret("a\x01b")))
	is.Equal(len(l.invalid), 1)
}

// TestAttemptEndsInAPanic checks that an attempt ends, as a bad one, if the
// Validator panics. Otherwise its reservation would be lost.
func TestAttemptEndsInAPanic(t *testing.T) {
	is := is.New(t)
	l := &limiter{client: apikeyhttp.Quota{Allowed: true}}
	handler := newGuard(panics{}, &apikeyhttp.Options{Limiter: l}).Authenticate(newHandler())
	func() {
		defer func() { is.Equal(recover(), "validator") }()
		serve(handler, apikeytest.Request(t, "GET", "/", apikey.NewSecret("any")))
	}()
	is.Equal(l.outcomes, []apikeyhttp.Outcome{apikeyhttp.OutcomeInvalid})
}

type panics struct{}

func (panics) Validate(context.Context, string, ...apikey.Requirement) (apikey.Key, error) {
	panic("validator")
}

// TestAttemptTokens checks that equal tokens have equal hashes by whatever
// carrier they come, and that different texts have different ones.
func TestAttemptTokens(t *testing.T) {
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	l := &limiter{client: apikeyhttp.Quota{Allowed: true}, key: apikeyhttp.Quota{Allowed: true}}
	handler := newGuard(keys, &apikeyhttp.Options{Carriers: every(), Limiter: l}).Authenticate(newHandler())
	hash := func(set func(r *http.Request)) uint64 {
		t.Helper()
		before := len(l.tokens)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		set(r)
		serve(handler, r)
		if len(l.tokens) != before+1 {
			t.Fatalf("%d attempts", len(l.tokens)-before)
		}
		return l.tokens[before]
	}
	want := hash(func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
	for _, c := range carriers {
		if got := hash(func(r *http.Request) { c.set(r, token) }); got != want {
			t.Errorf("%s: another hash", c.name)
		}
	}
	seen := map[uint64]string{want: token}
	for _, header := range []string{
		"Bearer other", "Bearer a\x01b", "Bearer a\x01c", "Bearer " + strings.Repeat("a", 5000), "Bearer " + strings.Repeat("a", 5001),
		"Basic a", "Basic b", "Basic YTpi", "Basic YTpiX2M=", "Basic OmE=", "Basic YTo=", "Basic YQE6Yg==",
	} {
		got := hash(func(r *http.Request) { r.Header["Authorization"] = []string{header} })
		if other, ok := seen[got]; ok {
			t.Errorf("%.20q and %.20q have the same hash", header, other)
		}
		seen[got] = header
		if again := hash(func(r *http.Request) { r.Header["Authorization"] = []string{header} }); again != got {
			t.Errorf("%.20q has two hashes", header)
		}
	}
}

// TestDeniedClientsLearnNothing: before a client may try again, a good key and
// a bad one get the same answer, and no key is looked at.
func TestDeniedClientsLearnNothing(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	good := keys.MustIssue(t, apikey.IssueParams{}).Token
	quota := apikeyhttp.Quota{Policy: "invalid", Requests: 3, Window: time.Minute, Reset: time.Minute, RetryAfter: 20 * time.Second}
	handler := newGuard(keys, &apikeyhttp.Options{Limiter: &limiter{client: quota}}).Authenticate(newHandler())
	calls := keys.Store.Calls(apikeytest.Any)
	want := ""
	for _, token := range []apikey.Secret{good, apikey.NewSecret("bad"), apikey.NewSecret("a\x01b")} {
		got := serve(handler, apikeytest.Request(t, "GET", "/", token))
		is.Equal(got.StatusCode, 429)
		is.Equal(got.Header.Get("Retry-After"), "20")
		is.Equal(got.Header.Get("RateLimit-Policy"), `"invalid";q=3;w=60`)
		is.Equal(got.Header.Get("RateLimit"), `"invalid";r=0;t=60`)
		body := read(t, got)
		if want == "" {
			want = body
		}
		is.Equal(body, want)
	}
	is.Equal(keys.Store.Calls(apikeytest.Any), calls)
}

// TestClientsWithoutAName: who makes the address unknown is limited with the
// other clients of the proxy.
func TestClientsWithoutAName(t *testing.T) {
	for _, test := range []struct {
		name, header string
		want         string
	}{
		{"named", "198.51.100.1", "198.51.100.1"},
		{"named behind a proxy", "198.51.100.1, 10.0.0.2", "198.51.100.1"},
		{"nobody", "", "10.0.0.1"},
		{"garbage", "garbage", "10.0.0.1"},
		{"garbage behind a proxy", "garbage, 10.0.0.2", "10.0.0.2"},
		{"proxies only", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"too many", "198.51.100.1" + strings.Repeat(", 10.0.0.2", 40), "10.0.0.2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			l := &limiter{key: apikeyhttp.Quota{Allowed: true}, client: apikeyhttp.Quota{Allowed: true}}
			handler := newGuard(apikeytest.Deny(nil), &apikeyhttp.Options{Limiter: l, TrustedProxies: prefixes("10.0.0.0/8")}).Authenticate(newHandler())
			for _, token := range []string{"bad", "b\x01d"} {
				r := apikeytest.Request(t, "GET", "/", apikey.NewSecret(token))
				r.RemoteAddr = "10.0.0.1:1234"
				if test.header != "" {
					r.Header.Set("X-Forwarded-For", test.header)
				}
				serve(handler, r)
			}
			is.Equal(l.clients, []string{test.want, test.want})
			is.Equal(l.invalid, l.clients)
		})
	}
}

func TestLimitHeaders(t *testing.T) {
	const policy, limit, retry = "Ratelimit-Policy", "Ratelimit", "Retry-After"
	tests := []struct {
		name  string
		quota apikeyhttp.Quota
		want  map[string]string
		body  []string // violated policies
	}{
		{"allowed", apikeyhttp.Quota{Allowed: true, Policy: "key", Requests: 100, Window: time.Minute, Remaining: 99, Reset: 600 * time.Millisecond},
			map[string]string{policy: `"key";q=100;w=60`, limit: `"key";r=99;t=1`}, nil},
		{"denied", apikeyhttp.Quota{Policy: "key", Requests: 5, Window: time.Hour, Reset: time.Hour, RetryAfter: 90*time.Second + 1},
			map[string]string{policy: `"key";q=5;w=3600`, limit: `"key";r=0;t=3600`, retry: "91"}, []string{"key"}},
		{"at once", apikeyhttp.Quota{Policy: "key", Requests: 5, Window: time.Second},
			map[string]string{policy: `"key";q=5;w=1`, limit: `"key";r=0;t=0`, retry: "1"}, []string{"key"}},
		{"absurd", apikeyhttp.Quota{Policy: "key", Requests: -5, Window: -1, Remaining: -1, Reset: -1, RetryAfter: 1<<63 - 1},
			map[string]string{policy: `"key";q=0;w=0`, limit: `"key";r=0;t=0`, retry: "9223372037"}, []string{"key"}},
		{"huge", apikeyhttp.Quota{Allowed: true, Policy: "key", Requests: math.MaxInt, Window: 1<<63 - 1, Remaining: math.MaxInt, Reset: 1<<63 - 1},
			map[string]string{policy: `"key";q=999999999999999;w=9223372037`, limit: `"key";r=999999999999999;t=9223372037`}, nil},
		{"no name", apikeyhttp.Quota{RetryAfter: time.Minute}, map[string]string{retry: "60"}, nil},
		{"name with a quote", apikeyhttp.Quota{Policy: "a\"b"}, map[string]string{retry: "1"}, nil},
		{"name with a line break", apikeyhttp.Quota{Policy: "a\r\nb"}, map[string]string{retry: "1"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			l := &limiter{key: test.quota, client: apikeyhttp.Quota{Allowed: true}}
			handler := newGuard(apikeytest.Allow(apikey.Key{ID: "id"}), &apikeyhttp.Options{Limiter: l}).Authenticate(newHandler())
			got := serve(handler, apikeytest.Request(t, "GET", "/", apikey.NewSecret("any")))
			headers := map[string]string{}
			for _, name := range []string{policy, limit, retry} {
				if values := got.Header.Values(name); len(values) > 0 {
					is.Equal(len(values), 1)
					headers[name] = values[0]
				}
			}
			if diff := cmp.Diff(test.want, headers); diff != "" {
				t.Error(diff)
			}
			if !test.quota.Allowed {
				is.Equal(got.StatusCode, 429)
				is.Equal(violated(t, read(t, got)), test.body)
			}
		})
	}
}

// violated returns the member of that name of a problem.
func violated(t *testing.T, body string) []string {
	var p struct {
		Policies []string `json:"violated-policies"`
	}
	must(t, json.Unmarshal([]byte(body), &p))
	return p.Policies
}

// failing is a limiter of which single methods fail.
type failing struct {
	limiter
	failKey, failStart, failEnd error
}

func (f *failing) AllowKey(ctx context.Context, key apikey.Key) (apikeyhttp.Quota, error) {
	q, _ := f.limiter.AllowKey(ctx, key)
	return q, f.failKey
}

func (f *failing) StartAttempt(ctx context.Context, a apikeyhttp.Attempt) (apikeyhttp.Quota, error) {
	q, _ := f.limiter.StartAttempt(ctx, a)
	return q, f.failStart
}

func (f *failing) EndAttempt(ctx context.Context, a apikeyhttp.Attempt, o apikeyhttp.Outcome) error {
	f.limiter.EndAttempt(ctx, a, o)
	return f.failEnd
}

// TestLimiterTrouble: no error of a Limiter lets anyone in.
func TestLimiterTrouble(t *testing.T) {
	keys := apikeytest.New(t)
	good := keys.MustIssue(t, apikey.IssueParams{}).Token
	allowed := apikeyhttp.Quota{Allowed: true}
	for name, l := range map[string]*failing{
		"StartAttempt": {limiter: limiter{key: allowed, client: allowed}, failStart: errors.New("down")},
		"AllowKey":     {limiter: limiter{key: allowed, client: allowed}, failKey: errors.New("down")},
		"EndAttempt":   {limiter: limiter{key: allowed, client: allowed}, failEnd: errors.New("down")},
	} {
		t.Run(name, func(t *testing.T) {
			served := newHandler()
			handler := newGuard(keys, &apikeyhttp.Options{Limiter: l}).Authenticate(served)
			want := expectation{status: 503, code: "unavailable"}
			checkResponse(t, want, serve(handler, apikeytest.Request(t, "GET", "/", good)), "GET", served.calls)
			if name != "AllowKey" {
				checkResponse(t, want, serve(handler, apikeytest.Request(t, "GET", "/", apikey.NewSecret("bad"))), "GET", served.calls)
			}
		})
	}
}
