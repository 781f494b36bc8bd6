package apikeyrest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

// TestKey shows each member of a key.
func TestKey(t *testing.T) {
	s := newShop(t)
	issued := decode(t, s.ask(t, "POST", "/keys", `{"name":"a","scopes":["orders:write","orders:read"],"networks":["2001:db8::/32","192.0.2.1"],
		"expires_at":"2026-06-01T02:00:00.1234567+02:00","reason":"why"}`), 201)
	key := issued["key"].(map[string]any)
	id := key["id"].(string)
	_, err := s.Update(t.Context(), id, apikey.Changes{
		Rate: &apikey.Rate{Requests: 5, Period: 1500 * time.Millisecond}, Metadata: &map[string]string{"plan": "secret of the host"},
	})
	must(t, err)
	_, err = s.Validate(t.Context(), issued["token"].(string), apikey.From(prefixes("192.0.2.1/32")[0].Addr()))
	must(t, err)
	must(t, s.Flush(t.Context()))
	s.Advance(time.Hour)
	rotated := decode(t, s.ask(t, "POST", "/keys/"+id+"/rotate", `{"overlap_seconds":60}`), 200)
	s.ask(t, "POST", "/keys/"+id+"/disable", `{"reason":"lost"}`)
	got := decode(t, s.ask(t, "GET", "/keys/"+id, ""), 200)
	credential := func(accessKey any) string { return strings.TrimPrefix(accessKey.(string), "ak_") }
	want := map[string]any{
		"id": id, "name": "a", "status": "disabled", "locked": false,
		"scopes": []any{"orders:read", "orders:write"}, "networks": []any{"192.0.2.1/32", "2001:db8::/32"},
		"rate":       map[string]any{"requests": 5.0, "period_seconds": 1.5},
		"created_at": "2026-01-01T00:00:00.000000Z", "issued_at": "2026-01-01T01:00:00.000000Z", "expires_at": "2027-01-01T01:00:00.000000Z",
		"disabled_at": "2026-01-01T01:00:00.000000Z", "disabled_by": "user@ada", "disabled_reason": "lost",
		"access_key": rotated["access_key"], "credential_id": credential(rotated["access_key"]),
		"rotating": true, "retiring_id": credential(issued["access_key"]), "retiring_until": "2026-01-01T01:01:00.000000Z",
		"last_used_at": "2026-01-01T00:00:00.000000Z", "uses": 1.0, "revision": 4.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	is := is.New(t)
	is.Equal(key["expires_at"], "2026-06-01T00:00:00.123456Z")
	is.Equal(issued["token"], issued["access_key"].(string)+"_"+issued["access_secret"].(string))

	events := decode(t, s.ask(t, "GET", "/keys/"+id+"/events", ""), 200)["events"].([]any)
	slices.Reverse(events)
	is.Equal(events[0].(map[string]any)["reason"], "why")
	is.Equal(events[1].(map[string]any)["data"], map[string]any{"rate": "5 per 1.5s"}) // and no metadata
	credentials := decode(t, s.ask(t, "GET", "/keys/"+id+"/credentials", ""), 200)["credentials"].([]any)
	is.Equal(credentials[0].(map[string]any), map[string]any{
		"id": credential(issued["access_key"]), "access_key": issued["access_key"], "created_at": "2026-01-01T00:00:00.000000Z",
		"expires_at": "2026-01-01T01:01:00.000000Z", "retire_before": "2026-06-01T00:00:00.123456Z",
		"last_used_at": "2026-01-01T00:00:00.000000Z", "uses": 1.0,
	})
	s.checkLeaks(t)
	for _, answer := range s.answers {
		is.True(!strings.Contains(answer, "secret of the host"))
	}
}

// TestUpdate checks that a missing member changes nothing, that null clears a
// field and that a value sets it.
func TestUpdate(t *testing.T) {
	for _, test := range []struct{ body, name, scopes, networks string }{
		{`{"name":"new"}`, "new", "[orders:read]", "[192.0.2.0/24]"},
		{`{"scopes":null}`, "a", "[]", "[192.0.2.0/24]"},
		{`{"scopes":[]}`, "a", "[]", "[192.0.2.0/24]"},
		{`{"scopes":["orders:write"]}`, "a", "[orders:write]", "[192.0.2.0/24]"},
		{`{"networks":null}`, "a", "[orders:read]", "[]"},
		{`{"networks":["198.51.100.7"]}`, "a", "[orders:read]", "[198.51.100.7/32]"},
		{`{"name":"b","scopes":null,"networks":null}`, "b", "[]", "[]"},
	} {
		t.Run(test.body, func(t *testing.T) {
			is := is.New(t)
			s := newShop(t)
			key := decode(t, s.ask(t, "POST", "/keys", `{"name":"a","scopes":["orders:read"],"networks":["192.0.2.0/24"]}`), 201)["key"].(map[string]any)
			got := decode(t, s.ask(t, "PATCH", "/keys/"+key["id"].(string), test.body), 200)
			is.Equal(got["name"], test.name)
			is.Equal(fmt.Sprint(got["scopes"]), test.scopes)
			is.Equal(fmt.Sprint(got["networks"]), test.networks)
			is.Equal(got["expires_at"], key["expires_at"])
		})
	}
	s := newShop(t)
	path := "/keys/" + s.rotating(t, "ada").ID
	got := decode(t, s.ask(t, "PATCH", path, `{"expires_at":"2026-02-01T00:00:00Z"}`), 200)
	is.New(t).Equal(got["expires_at"], "2026-02-01T00:00:00.000000Z")
}

func TestIdempotencyKey(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	first := s.ask(t, "POST", "/keys", `{"name":"a"}`, "Idempotency-Key", `"8e03978e-40d5"`)
	id := decode(t, first, 201)["key"].(map[string]any)["id"]
	for _, header := range []string{`"8e03978e-40d5"`, `8e03978e-40d5`, `  8e03978e-40d5 `} {
		p := refused(t, s.ask(t, "POST", "/keys", `{"name":"a"}`, "Idempotency-Key", header), 409, "exists")
		is.Equal(p.KeyID, id)
	}
	for _, body := range []string{`{"name":"b"}`, `{"name":"a","scopes":["orders:read"]}`, `{"name":"a","lifetime_seconds":60}`, `{"name":"a","networks":["192.0.2.1"]}`} {
		p := refused(t, s.ask(t, "POST", "/keys", body, "Idempotency-Key", "8e03978e-40d5"), 422, "idempotency_mismatch")
		is.Equal(p.KeyID, "")
		is.Equal(p.Field, "Idempotency-Key")
	}
	is.Equal(len(apikeytest.Events(t, s)), 1)

	// Another text, another owner: another key.
	is.Equal(s.ask(t, "POST", "/keys", `{"name":"a"}`, "Idempotency-Key", `"8e03978e-40d6"`).StatusCode, 201)
	is.Equal(s.ask(t, "POST", "/keys", `{"name":"a"}`, "Idempotency-Key", `"8e03978e-40d5"`, "Session", "bob").StatusCode, 201)
	is.Equal(s.ask(t, "POST", "/keys", `{"name":"a"}`, "Idempotency-Key", `"with \"quotes\" and \\"`).StatusCode, 201)
	refused(t, s.ask(t, "POST", "/keys", `{"name":"a"}`, "Idempotency-Key", `"with \"quotes\" and \\"`), 409, "exists")

	before := s.stored(t)
	for _, header := range []string{
		` `, `""`, `"a`, `"a"b`, `"a";b=1`, `"a", "b"`, "a\nb", "\"a\"\n\"a\"", `a b`, `a,b`, `a"b`, `"\a"`, `"a\"`, "\"\u00e9\"", "\u00e9", "a\x7f", "\"a\tb\"",
		strings.Repeat("a", 256), `"` + canary,
	} {
		got := s.ask(t, "POST", "/keys", `{"name":"a"}`, "Idempotency-Key", header)
		is.Equal(refused(t, got, 400, "invalid_field").Field, "Idempotency-Key")
		checkReflection(t, header, read(t, got))
	}
	is.Equal(s.stored(t), before)
	s.checkLeaks(t)
}

// apiErrors are ways to each error of a Manager.
var apiErrors = map[string]func(t *testing.T, s *shop, id string) *http.Response{
	"outcome_unknown": func(t *testing.T, s *shop, id string) *http.Response {
		s.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Forever: true})
		return s.ask(t, "POST", "/keys/"+id+"/disable", "")
	},
	"unavailable": func(t *testing.T, s *shop, id string) *http.Response {
		s.Store.Fail(apikeytest.Failure{})
		return s.ask(t, "GET", "/keys/"+id, "")
	},
	"not_found": func(t *testing.T, s *shop, id string) *http.Response { return s.ask(t, "GET", "/keys/none", "") },
	"too_soon": func(t *testing.T, s *shop, id string) *http.Response {
		s.Advance(1500 * time.Millisecond)
		for range 3 {
			is.New(t).Equal(s.ask(t, "POST", "/keys/"+id+"/regenerate", "").StatusCode, 200)
		}
		got := s.ask(t, "POST", "/keys/"+id+"/regenerate", "")
		is.New(t).Equal(got.Header.Get("Retry-After"), "86399") // 86398.5
		return got
	},
	"forbidden": func(t *testing.T, s *shop, id string) *http.Response {
		return s.ask(t, "POST", "/keys", `{"name":"forbidden by the host"}`)
	},
	"locked": func(t *testing.T, s *shop, id string) *http.Response {
		_, err := s.Disable(t.Context(), id)
		must(t, err)
		return s.ask(t, "POST", "/keys/"+id+"/enable", "")
	},
	"owner_disabled": func(t *testing.T, s *shop, id string) *http.Response {
		_, err := s.DisableOwner(t.Context(), "ada")
		must(t, err)
		is.New(t).Equal(s.ask(t, "GET", "/keys/"+id, "").StatusCode, 200)
		return s.ask(t, "POST", "/keys/"+id+"/disable", "")
	},
	"scope_not_allowed": func(t *testing.T, s *shop, id string) *http.Response {
		return s.ask(t, "POST", "/keys", `{"name":"a","scopes":["users:read"]}`)
	},
	"conflict": func(t *testing.T, s *shop, id string) *http.Response {
		s.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Err: apikey.ErrConflict})
		return s.ask(t, "POST", "/keys/"+id+"/finish", "", "If-Match", "*")
	},
	"exists": func(t *testing.T, s *shop, id string) *http.Response {
		s.ask(t, "POST", "/keys", `{"name":"a"}`, "Idempotency-Key", "a")
		return s.ask(t, "POST", "/keys", `{"name":"a"}`, "Idempotency-Key", "a")
	},
	"idempotency_mismatch": func(t *testing.T, s *shop, id string) *http.Response {
		s.ask(t, "POST", "/keys", `{"name":"a"}`, "Idempotency-Key", "a")
		return s.ask(t, "POST", "/keys", `{"name":"b"}`, "Idempotency-Key", "a")
	},
	"damaged": func(t *testing.T, s *shop, id string) *http.Response {
		s.Store.Damage(id)
		return s.ask(t, "GET", "/keys/"+id, "")
	},
	"limit": func(t *testing.T, s *shop, id string) *http.Response {
		s.ask(t, "POST", "/keys", `{"name":"a"}`)
		s.ask(t, "POST", "/keys", `{"name":"a"}`)
		return s.ask(t, "POST", "/keys", `{"name":"a"}`)
	},
	"not_rotating": func(t *testing.T, s *shop, id string) *http.Response {
		s.ask(t, "POST", "/keys/"+id+"/finish", "")
		return s.ask(t, "POST", "/keys/"+id+"/finish", "")
	},
	"deleted": func(t *testing.T, s *shop, id string) *http.Response {
		s.ask(t, "DELETE", "/keys/"+id, "")
		is.New(t).Equal(s.ask(t, "DELETE", "/keys/"+id, "").StatusCode, 200)
		return s.ask(t, "POST", "/keys/"+id+"/regenerate", "")
	},
	"disabled": func(t *testing.T, s *shop, id string) *http.Response {
		s.ask(t, "POST", "/keys/"+id+"/disable", "")
		return s.ask(t, "POST", "/keys/"+id+"/rotate", `{"overlap_seconds":1}`)
	},
	"expired": func(t *testing.T, s *shop, id string) *http.Response {
		s.Advance(366 * 24 * time.Hour)
		return s.ask(t, "POST", "/keys/"+id+"/enable", "")
	},
}

// TestErrors brings each error about.
func TestErrors(t *testing.T) {
	codes := map[string]int{
		"outcome_unknown": 503, "unavailable": 503, "damaged": 500, "not_found": 404, "too_soon": 429, "forbidden": 403, "locked": 403,
		"owner_disabled": 403, "scope_not_allowed": 403, "conflict": 409, "exists": 409, "idempotency_mismatch": 422, "limit": 409,
		"not_rotating": 409, "deleted": 409, "disabled": 409, "expired": 409,
	}
	is.New(t).Equal(slices.Sorted(maps.Keys(codes)), slices.Sorted(slices.Values(apikeyrest.Codes())))
	is.New(t).Equal(len(codes), len(apiErrors))
	for code, status := range codes {
		t.Run(code, func(t *testing.T) {
			if apiErrors[code] == nil {
				t.Fatal("the error has no case")
			}
			s := newShop(t, func(o *apikey.Options) {
				o.MaxKeysPerOwner = 3
				o.Authorize = func(_ context.Context, _ apikey.Action, key apikey.Key) error {
					if key.Name == "forbidden by the host" {
						return errors.New("host's own words")
					}
					return nil
				}
			})
			got := apiErrors[code](t, s, s.rotating(t, "ada").ID)
			p := refused(t, got, status, code)
			is.New(t).True(!strings.Contains(p.Detail, "host's own words"))
			s.checkLeaks(t)
		})
	}
}

// TestProblems checks that refusals are JSON whatever the request accepts,
// unless WriteProblem writes them.
func TestProblems(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	r := func(accept string) *http.Request {
		r, err := http.NewRequest("GET", "/keys/none", nil)
		must(t, err)
		r.Header.Set("Accept", accept)
		r.Header.Set("Session", "ada")
		return r
	}
	is.Equal(serve(s.handler, r("text/plain")).Header.Get("Content-Type"), "application/problem+json")
	is.Equal(len(serve(s.handler, r("")).Header["Www-Authenticate"]), 0)
	handler := newAPI(s.Manager.Manager, &apikeyrest.Options{
		Owner: func(r *http.Request) (string, string, error) { return "ada", "", nil },
		WriteProblem: func(r *http.Request, p apikeyhttp.Problem) (string, []byte) {
			return "text/x", []byte("sorry: " + p.Code)
		},
	})
	got := serve(handler, r(""))
	is.Equal(got.StatusCode, 404)
	is.Equal(got.Header.Get("Content-Type"), "text/x")
	is.Equal(got.Header.Get("Cache-Control"), "no-store")
	is.Equal(read(t, got), "sorry: not_found")
}
