package apikeyhttp_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

// TestSwarmFindsFaults runs middlewares that mix principals up. The swarm must
// notice.
func TestSwarmFindsFaults(t *testing.T) {
	faults := []struct {
		name    string
		protect protect
	}{
		{"key of the request before, in a shared variable", func(guard *apikeyhttp.Guard, scope string) func(http.Handler) http.Handler {
			var last atomic.Pointer[apikey.Key]
			return func(next http.Handler) http.Handler {
				return guard.Require(scope)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					key, _ := apikey.FromContext(r.Context())
					if before := last.Swap(&key); before != nil {
						r = r.WithContext(apikey.NewContext(r.Context(), *before))
					}
					next.ServeHTTP(w, r)
				}))
			}
		}},
		{"first key of the connection, in a cache", func(guard *apikeyhttp.Guard, scope string) func(http.Handler) http.Handler {
			var first sync.Map
			return func(next http.Handler) http.Handler {
				return guard.Require(scope)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					key, _ := apikey.FromContext(r.Context())
					cached, _ := first.LoadOrStore(r.RemoteAddr, key)
					next.ServeHTTP(w, r.WithContext(apikey.NewContext(r.Context(), cached.(apikey.Key))))
				}))
			}
		}},
		{"key of the request before, for scopes only", func(guard *apikeyhttp.Guard, scope string) func(http.Handler) http.Handler {
			var last atomic.Pointer[apikey.Key]
			return func(next http.Handler) http.Handler {
				next = guard.Require(scope)(next)
				return guard.Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					key, _ := apikey.FromContext(r.Context())
					if before := last.Swap(&key); before != nil {
						mixed := key
						mixed.Scopes = before.Scopes
						r = r.WithContext(apikey.NewContext(r.Context(), mixed))
					}
					next.ServeHTTP(w, r)
				}))
			}
		}},
	}
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			s := newSwarm(t)
			s.run(t, fault.protect, 600)
			for _, p := range s.protocols {
				if p.wrong.Load() == 0 {
					t.Errorf("%s: nothing found", p.name)
				}
			}
		})
	}
}

// TestSwarmAnswer tries the check of the swarm itself.
func TestSwarmAnswer(t *testing.T) {
	const token = "ak_7Hq2mV9xKc4RtZ1b_N0sPq8LwE3yGd6TfXa5JuB2vChM4oRkS40RH4r"
	ada := &swarmKey{id: "ada's", owner: "ada"}
	managed := &swarmKey{id: "ada's", owner: "ada", managed: true}
	right := "ada's ada ak_7Hq2mV9xKc4RtZ1b\n"
	tests := []struct {
		name   string
		key    *swarmKey
		lacks  bool
		status int
		body   string
		ok     bool
	}{
		{"right", ada, false, 200, right + right, true},
		{"right, managed", managed, false, 200, right + right, true},
		{"other id", ada, false, 200, strings.ReplaceAll(right+right, "ada's", "bob's"), false},
		{"other owner", ada, false, 200, strings.ReplaceAll(right+right, " ada ", " bob "), false},
		{"other access key", ada, false, 200, strings.ReplaceAll(right+right, "7Hq", "8Hq"), false},
		{"other in between", ada, false, 200, right + strings.Replace(right, "ada's", "bob's", 1), false},
		{"cut", ada, false, 200, right, false},
		{"scope of another", ada, true, 200, right + right, false},
		{"scope lacking", ada, true, 403, `{"code":"insufficient_scope"}`, true},
		{"scope lost", ada, false, 403, `{"code":"insufficient_scope"}`, false},
		{"disabled, managed", managed, false, 401, `{"code":"disabled"}`, true},
		{"replaced, managed", managed, true, 401, `{"code":"replaced"}`, true},
		{"disabled", ada, false, 401, `{"code":"disabled"}`, false},
		{"invalid, managed", managed, false, 401, `{"code":"invalid_token"}`, false},
		{"unavailable", managed, false, 503, `{"code":"unavailable"}`, false},
	}
	for _, test := range tests {
		if got := swarmFault(test.key, token, test.lacks, test.status, test.body); (got == "") != test.ok {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}
