package apikeyrest_test

import (
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

// canary stands in bad input where a value can, and must not be in an answer.
const canary = "canary7f3a91"

// badBodies are refused by every route that takes a body. NAME stands for a
// member that the route takes.
var badBodies = []struct{ name, body, field string }{
	{"no JSON", canary, "body"},
	{"a string", `"` + canary + `"`, "body"},
	{"an array", `[{"NAME":"` + canary + `"}]`, "body"},
	{"null", `null`, "body"},
	{"a number", `1`, "body"},
	{"cut off", `{"NAME":"` + canary, "body"},
	{"two objects", `{}{"NAME":"` + canary + `"}`, "body"},
	{"text behind", `{} ` + canary, "body"},
	{"comma at the end", `{"NAME":"` + canary + `",}`, "body"},
	{"comment", `{/*` + canary + `*/}`, "body"},
	{"single quotes", `{'NAME':'` + canary + `'}`, "body"},
	{"name without quotes", `{NAME:"` + canary + `"}`, "body"},
	{"byte order mark", "\ufeff{}", "body"},
	{"UTF-16", "{\x00}\x00", "body"},
	{"control", "{\"NAME\":\"" + canary + "\x01\"}", "body"},
	{"not UTF-8", "{\"NAME\":\"" + canary + "\xff\"}", "body"},
	{"overlong UTF-8", "{\"NAME\":\"" + canary + "\xc0\xaf\"}", "body"},
	{"NaN", `{"NAME":NaN}`, "body"},
	{"deep", `{"NAME":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "body"},
	{"deep objects", strings.Repeat(`{"NAME":`, 2000) + "1" + strings.Repeat("}", 2000), "NAME"},
	{"less deep", `{"NAME":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, "NAME"},
	{"unknown member", `{"` + canary + `":1}`, "body"},
	{"empty name", `{"":"` + canary + `"}`, "body"},
	{"owner", `{"owner":"` + canary + `"}`, "body"},
	{"actor", `{"actor":"` + canary + `"}`, "body"},
	{"metadata", `{"metadata":{"a":"` + canary + `"}}`, "body"},
	{"rate", `{"rate":{"requests":1,"period_seconds":1}}`, "body"},
	{"id", `{"id":"` + canary + `"}`, "body"},
	{"locked", `{"locked":false}`, "body"},
	{"revision", `{"revision":1}`, "body"},
	{"other case", `{"UPPER":"` + canary + `"}`, "NAME"},
	{"other case beside the right", `{"NAME":"x","UPPER":"` + canary + `"}`, "NAME"},
	{"twice", `{"NAME":"x","NAME":"` + canary + `"}`, "NAME"},
	{"twice the same", `{"NAME":"x","NAME":"x"}`, "NAME"},
	{"twice, once escaped", `{"NAME":"x","ESCAPED":"` + canary + `"}`, "NAME"},
	{"twice, null first", `{"NAME":null,"NAME":"` + canary + `"}`, "NAME"},
	{"true", `{"NAME":true}`, "NAME"},
	{"object", `{"NAME":{"` + canary + `":1}}`, "NAME"},
	{"object with a member twice", `{"NAME":{"a":1,"a":2}}`, "NAME"},
}

// TestStrictJSON sends each bad body, about each of its members, to each
// route.
func TestStrictJSON(t *testing.T) {
	sent := 0
	for _, route := range apikeyrest.Routes() {
		for _, member := range route.Body {
			t.Run(route.Method+" "+route.Pattern+" "+member, func(t *testing.T) {
				s := newShop(t)
				path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
				before := s.stored(t)
				escaped := fmt.Sprintf(`\u%04x%s`, member[0], member[1:])
				replace := strings.NewReplacer("NAME", member, "UPPER", strings.ToUpper(member), "ESCAPED", escaped).Replace
				for _, bad := range badBodies {
					got := s.ask(t, route.Method, path, replace(bad.body))
					sent++
					if p := refused(t, got, 400, "invalid_field"); p.Field != replace(bad.field) {
						t.Errorf("%s: field %q", bad.name, p.Field)
					}
					checkReflection(t, bad.name, read(t, got))
				}
				if s.stored(t) != before {
					t.Error("something was changed")
				}
			})
		}
	}
	if sent < 500 {
		t.Errorf("%d bad bodies", sent)
	}
}

func checkReflection(t *testing.T, name, answer string) {
	t.Helper()
	if strings.Contains(answer, canary) {
		t.Errorf("%s: the answer holds what was sent: %s", name, answer)
	}
}

// TestValues are bad values of members that are well formed.
func TestValues(t *testing.T) {
	text := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		route, body string
		status      int
		field       string
	}{
		{"POST /keys", `{}`, 400, "name"},
		{"POST /keys", `{"name":null}`, 400, "name"},
		{"POST /keys", `{"name":""}`, 400, "name"},
		{"POST /keys", `{"name":1}`, 400, "name"},
		{"POST /keys", `{"name":["` + canary + `"]}`, 400, "name"},
		{"POST /keys", `{"name":"` + text(201) + `"}`, 400, "name"},
		{"POST /keys", `{"name":"` + canary + `\u0000"}`, 400, "name"},
		{"POST /keys", `{"name":"` + canary + `\ud800"}`, 400, "name"},
		{"POST /keys", `{"name":"` + canary + `\ufffd"}`, 400, "name"},
		{"POST /keys", `{"name":"` + canary + `\u202e"}`, 400, "name"},
		{"POST /keys", `{"name":"a","scopes":"` + canary + `"}`, 400, "scopes"},
		{"POST /keys", `{"name":"a","scopes":[null]}`, 400, "scopes"},
		{"POST /keys", `{"name":"a","scopes":[1]}`, 400, "scopes"},
		{"POST /keys", `{"name":"a","scopes":["orders:read ` + canary + `"]}`, 400, "scopes"},
		{"POST /keys", `{"name":"a","scopes":["` + canary + `"]}`, 403, "scopes"},
		{"POST /keys", `{"name":"a","scopes":["*"]}`, 400, "scopes"},
		{"POST /keys", `{"name":"a","networks":["` + canary + `"]}`, 400, "networks"},
		{"POST /keys", `{"name":"a","networks":["192.0.2.0/24 198.51.100.0/24"]}`, 400, "networks"},
		{"POST /keys", `{"name":"a","networks":[null]}`, 400, "networks"},
		{"POST /keys", `{"name":"a","networks":[["192.0.2.1"]]}`, 400, "networks"},
		{"POST /keys", `{"name":"a","networks":["192.0.2.0/33"]}`, 400, "networks"},
		{"POST /keys", `{"name":"a","expires_at":1}`, 400, "expires_at"},
		{"POST /keys", `{"name":"a","expires_at":""}`, 400, "expires_at"},
		{"POST /keys", `{"name":"a","expires_at":"2026-06-01"}`, 400, "expires_at"},
		{"POST /keys", `{"name":"a","expires_at":"2026-06-01T00:00:00"}`, 400, "expires_at"},
		{"POST /keys", `{"name":"a","expires_at":"2026-06-31T00:00:00Z"}`, 400, "expires_at"},
		{"POST /keys", `{"name":"a","expires_at":"2026-06-01T00:00:00,5Z"}`, 400, "expires_at"},
		{"POST /keys", `{"name":"a","expires_at":"0001-01-01T00:00:00Z"}`, 400, "expires_at"},
		{"POST /keys", `{"name":"a","expires_at":"2025-06-01T00:00:00Z"}`, 400, "expires_at"},
		{"POST /keys", `{"name":"a","expires_at":"2066-06-01T00:00:00Z"}`, 400, "expires_at"},
		{"POST /keys", `{"name":"a","lifetime_seconds":0}`, 400, "lifetime_seconds"},
		{"POST /keys", `{"name":"a","lifetime_seconds":-1}`, 400, "lifetime_seconds"},
		{"POST /keys", `{"name":"a","lifetime_seconds":1.5}`, 400, "lifetime_seconds"},
		{"POST /keys", `{"name":"a","lifetime_seconds":1e3}`, 400, "lifetime_seconds"},
		{"POST /keys", `{"name":"a","lifetime_seconds":"60"}`, 400, "lifetime_seconds"},
		{"POST /keys", `{"name":"a","lifetime_seconds":99999999999}`, 400, "lifetime_seconds"},
		{"POST /keys", `{"name":"a","lifetime_seconds":99999999999999999999}`, 400, "lifetime_seconds"},
		{"POST /keys", `{"name":"a","lifetime_seconds":60,"expires_at":"2026-06-01T00:00:00Z"}`, 400, "lifetime_seconds"},
		{"POST /keys", `{"name":"a","reason":"` + text(501) + `"}`, 400, "reason"},
		{"PATCH /keys/{id}", `{}`, 400, "body"},
		{"PATCH /keys/{id}", `{"reason":"` + canary + `"}`, 400, "body"},
		{"PATCH /keys/{id}", `{"name":null}`, 400, "name"},
		{"PATCH /keys/{id}", `{"expires_at":null}`, 400, "expires_at"},
		{"PATCH /keys/{id}", `{"scopes":["` + canary + `"]}`, 403, "scopes"},
		{"PATCH /keys/{id}", `{"scopes":"null"}`, 400, "scopes"},
		{"PATCH /keys/{id}", `{"networks":[null]}`, 400, "networks"},
		{"PATCH /keys/{id}", `{"reason":null}`, 400, "body"},
		{"POST /keys/{id}/rotate", `{}`, 400, "overlap_seconds"},
		{"POST /keys/{id}/rotate", ``, 400, "overlap_seconds"},
		{"POST /keys/{id}/rotate", `{"overlap_seconds":null}`, 400, "overlap_seconds"},
		{"POST /keys/{id}/rotate", `{"overlap_seconds":0}`, 400, "overlap_seconds"},
		{"POST /keys/{id}/rotate", `{"overlap_seconds":9223372037}`, 400, "overlap_seconds"},
		{"POST /keys/{id}/rotate", `{"overlap_seconds":99999999999}`, 400, "overlap_seconds"},
		{"POST /keys/{id}/extend", `{"overlap_seconds":-60}`, 400, "overlap_seconds"},
		{"POST /keys/{id}/disable", `{"reason":"` + canary + `\n"}`, 400, "reason"},
		{"DELETE /keys/{id}", `{"reason":"` + canary + `"}`, 400, "body"},
		{"DELETE /keys/{id}?reason=%0a" + canary, ``, 400, "reason"},
		{"DELETE /keys/{id}?reason=%ff" + canary, ``, 400, "reason"},
		{"DELETE /keys/{id}?reason=a&reason=" + canary, ``, 400, "reason"},
		{"DELETE /keys/{id}?reason=%zz" + canary, ``, 400, "query"},
		{"DELETE /keys/{id}?reason=a;b=" + canary, ``, 400, "query"},
		{"GET /keys/{id}", `{"a":"` + canary + `"}`, 400, "body"},
		{"GET /keys?limit=0", ``, 400, "limit"},
		{"GET /keys?limit=1001", ``, 400, "limit"},
		{"GET /keys?limit=%2b5", ``, 400, "limit"},
		{"GET /keys?limit=", ``, 400, "limit"},
		{"GET /keys?limit=" + canary, ``, 400, "limit"},
		{"GET /keys?limit=1&limit=2", ``, 400, "limit"},
		{"GET /keys?deleted=1", ``, 400, "deleted"},
		{"GET /keys?deleted=", ``, 400, "deleted"},
		{"GET /keys?after=" + canary, ``, 400, "after"},
		{"GET /keys?limit=05", ``, 400, "limit"},
		{"GET /keys?after=", ``, 400, "after"},
		{"GET /keys?after=00000000000000000000", ``, 400, "after"},
		{"GET /keys/{id}/events?after=", ``, 400, "after"},
		{"GET /keys/{id}/events?after=0", ``, 400, "after"},
		{"GET /keys/{id}/events?after=1000000", ``, 400, "after"},
		{"GET /keys/{id}/events?after=AAAAAAAAAAAAAAAAAAAAAA", ``, 400, "after"},
		{"GET /keys/{id}/events?after=" + canary, ``, 400, "after"},
		{"GET /keys/{id}/events?limit=1e1", ``, 400, "limit"},
	}
	for _, test := range tests {
		t.Run(test.route+" "+test.body[:min(60, len(test.body))], func(t *testing.T) {
			s := newShop(t)
			key := s.rotating(t, "ada")
			before := s.stored(t)
			method, target, _ := strings.Cut(test.route, " ")
			got := s.ask(t, method, strings.Replace(target, "{id}", key.ID, 1), test.body)
			code := "invalid_field"
			if test.status == 403 {
				code = "scope_not_allowed"
			}
			if p := refused(t, got, test.status, code); p.Field != test.field {
				t.Errorf("field %q, not %q", p.Field, test.field)
			}
			checkReflection(t, test.route, read(t, got))
			if s.stored(t) != before {
				t.Error("something was changed")
			}
		})
	}
}

// TestBodyBound: 64 KiB are read, one byte more is not.
func TestBodyBound(t *testing.T) {
	for _, route := range apikeyrest.Routes() {
		if route.Body == nil {
			continue
		}
		name := route.Method + " " + route.Pattern
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
			before := s.stored(t)
			body := apiCases[name].body
			body += strings.Repeat(" ", 64<<10-len(body))
			refused(t, s.ask(t, route.Method, path, body+" "), 413, "too_large")
			refused(t, s.ask(t, route.Method, path, strings.Repeat(body, 20)), 413, "too_large")
			if s.stored(t) != before {
				t.Error("something was changed")
			}
			is.New(t).Equal(s.ask(t, route.Method, path, body).StatusCode, apiCases[name].status)
		})
	}
}

// TestUnreadableBody: a connection that breaks amid a body is not taken for
// its end.
func TestUnreadableBody(t *testing.T) {
	s := newShop(t)
	r := httptest.NewRequest("POST", "/keys", io.MultiReader(strings.NewReader(`{"name":"a"}`), iotest.ErrReader(io.ErrUnexpectedEOF)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Session", "ada")
	refused(t, serve(s.handler, r), 400, "invalid_request")
	is.New(t).Equal(len(apikeytest.Events(t, s)), 0)
}

// TestMediaType: what a form of another site can send is never taken for a
// request, even if it is JSON, or nothing.
func TestMediaType(t *testing.T) {
	for _, route := range apikeyrest.Routes() {
		if route.Body == nil {
			continue
		}
		name := route.Method + " " + route.Pattern
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
			before := s.stored(t)
			for _, contentType := range []string{
				"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "text/json", "application/jsonp",
				"application/json; charset=utf-16", "application/json, text/plain", "application/json\ntext/plain",
				"application/problem+json", "application/json; charset",
			} {
				refused(t, s.ask(t, route.Method, path, apiCases[name].body, "Content-Type", contentType), 415, "unsupported_media_type")
			}
			refused(t, s.ask(t, route.Method, path, apiCases[name].body, "Content-Encoding", "gzip"), 415, "unsupported_media_type")
			r := httptest.NewRequest(route.Method, path, nil)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Session", "ada")
			refused(t, serve(s.handler, r), 415, "unsupported_media_type")
			if s.stored(t) != before {
				t.Error("something was changed")
			}
			is.New(t).Equal(s.ask(t, route.Method, path, apiCases[name].body, "Content-Type", "Application/JSON ; charset=UTF-8").StatusCode, apiCases[name].status)
		})
	}
}

// TestCrossOrigin: pages of other sites may look (and are kept from reading
// by the browser), but not change.
func TestCrossOrigin(t *testing.T) {
	for _, route := range apikeyrest.Routes() {
		name := route.Method + " " + route.Pattern
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
			before := len(apikeytest.Events(t, s))
			for _, headers := range [][]string{
				{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
			} {
				got := s.ask(t, route.Method, path, apiCases[name].body, headers...)
				if route.Method == "GET" {
					is.New(t).Equal(got.StatusCode, 200)
				} else {
					refused(t, got, 403, "cross_origin")
				}
			}
			if len(apikeytest.Events(t, s)) != before {
				t.Error("something was changed")
			}
			is.New(t).Equal(s.ask(t, route.Method, path, apiCases[name].body, "Sec-Fetch-Site", "same-origin", "Origin", "http://example.com").StatusCode, apiCases[name].status)
		})
	}
}
