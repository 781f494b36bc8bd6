package apikeyrest_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/apikeyrest"
)

// queries are all parameters that a route takes, with good values.
var queries = map[string]string{"limit": "5", "deleted": "true", "reason": "why"}

// TestUnknownParameters sends parameters that a route does not take, or
// takes once.
func TestUnknownParameters(t *testing.T) {
	for _, route := range apikeyrest.Routes() {
		name := route.Method + " " + route.Pattern
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			s := newShop(t)
			path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
			before := s.stored(t)
			bad := map[string]string{ // to the field
				canary + "=1": "query", canary: "query", "=" + canary: "query", "owner=" + canary: "query", "%zz" + canary: "query", "a;b=" + canary: "query",
				"LIMIT=1": "query", "Limit=1": "query", "limit%20=1": "query", "limit[]=1": "query", "%00=1": "query", "idempotency_key=1": "query",
				"if-match=1": "query", "_method=DELETE": "query", "access_token=1": "query", "utm_source=1": "query",
			}
			for parameter, value := range queries {
				if slices.Contains(route.Query, parameter) {
					bad[parameter+"="+value+"&"+parameter+"="+value] = parameter
					bad[parameter+"="+value+"&"+canary+"=1"] = "query"
				} else {
					bad[parameter+"="+value] = "query"
				}
			}
			for query, field := range bad {
				got := s.ask(t, route.Method, path+"?"+query, apiCases[name].body)
				if p := refused(t, got, 400, "invalid_field"); p.Field != field {
					t.Errorf("%s: field %q, not %q", query, p.Field, field)
				}
				checkReflection(t, query, read(t, got))
			}
			is.Equal(s.stored(t), before)
			var good []string
			for parameter, value := range queries {
				if slices.Contains(route.Query, parameter) {
					good = append(good, parameter+"="+value)
				}
			}
			is.Equal(s.ask(t, route.Method, path+"?"+strings.Join(good, "&&"), apiCases[name].body).StatusCode, apiCases[name].status)
		})
	}
}

// TestIdempotencyKeyIgnored sends an Idempotency-Key to routes on which it
// would do nothing.
func TestIdempotencyKeyIgnored(t *testing.T) {
	for _, route := range apikeyrest.Routes() {
		name := route.Method + " " + route.Pattern
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
			before := s.stored(t)
			if route.Idempotent {
				is.New(t).Equal(s.ask(t, route.Method, path, apiCases[name].body, "Idempotency-Key", "a").StatusCode, apiCases[name].status)
				return
			}
			for _, header := range []string{`"a"`, "a", " ", "a\nb"} {
				got := s.ask(t, route.Method, path, apiCases[name].body, "Idempotency-Key", header)
				if p := refused(t, got, 400, "invalid_field"); p.Field != "Idempotency-Key" {
					t.Errorf("field %q", p.Field)
				}
			}
			is.New(t).Equal(s.stored(t), before)
		})
	}
}

// TestOptionsMethod sends OPTIONS to each path, as a browser does before a
// request from another origin: without a login.
func TestOptionsMethod(t *testing.T) {
	want := map[string]string{
		"/openapi.json": "GET, HEAD, OPTIONS", "/keys": "GET, HEAD, OPTIONS, POST", "/keys/{id}": "DELETE, GET, HEAD, OPTIONS, PATCH",
		"/keys/{id}/credentials": "GET, HEAD, OPTIONS", "/keys/{id}/events": "GET, HEAD, OPTIONS",
	}
	for _, route := range apikeyrest.Routes() {
		is := is.New(t)
		s := newShop(t)
		path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
		query := ""
		for _, parameter := range route.Query {
			query += parameter + "=x&"
		}
		got := s.ask(t, "OPTIONS", path+"?"+query, "", "Session", "", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
		is.Equal(got.StatusCode, 204)
		allow := want[route.Pattern]
		if allow == "" {
			allow = "OPTIONS, POST"
		}
		is.Equal(got.Header.Get("Allow"), allow)
		refused(t, s.ask(t, "OPTIONS", path+"?"+canary+"=1", ""), 400, "invalid_field")
		if !route.Idempotent && route.Pattern != "/keys" {
			refused(t, s.ask(t, "OPTIONS", path, "", "Idempotency-Key", "a"), 400, "invalid_field")
		}
	}
}

// TestMediaTypeOfRoutes checks that nothing but uncompressed JSON is read.
func TestMediaTypeOfRoutes(t *testing.T) {
	for _, route := range apikeyrest.Routes() {
		if route.Body == nil {
			continue
		}
		name := route.Method + " " + route.Pattern
		s := newShop(t)
		path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
		got := s.ask(t, route.Method, path, apiCases[name].body, "Content-Type", "application/merge-patch+json")
		refused(t, got, 415, "unsupported_media_type")
		got = s.ask(t, route.Method, path, apiCases[name].body, "Content-Encoding", "gzip")
		refused(t, got, 415, "unsupported_media_type")
	}
}

// TestInstants checks times against RFC 3339, on each route that reads one.
func TestInstants(t *testing.T) {
	good := map[string]string{
		"2026-06-01T00:00:00Z":                                    "2026-06-01T00:00:00.000000Z",
		"2026-06-01T00:00:00.5Z":                                  "2026-06-01T00:00:00.500000Z",
		"2026-06-01T00:00:00.1234567Z":                            "2026-06-01T00:00:00.123456Z",
		"2026-06-01T00:00:00.123456789123456789Z":                 "2026-06-01T00:00:00.123456Z",
		"2026-06-01T02:00:00+02:00":                               "2026-06-01T00:00:00.000000Z",
		"2026-05-31T14:00:00.25-10:00":                            "2026-06-01T00:00:00.250000Z",
		"2026-06-01T00:00:00-00:00":                               "2026-06-01T00:00:00.000000Z",
		"2026-06-01T23:59:00+23:59":                               "2026-06-01T00:00:00.000000Z",
		"2026-05-31T00:01:00-23:59":                               "2026-06-01T00:00:00.000000Z",
		"2026-06-01T23:59:59Z":                                    "2026-06-01T23:59:59.000000Z",
		`2026-06-01T00:00:00\u005a`:                               "2026-06-01T00:00:00.000000Z",
		"2026-06-01T00:00:00." + strings.Repeat("0", 10000) + "Z": "2026-06-01T00:00:00.000000Z",
	}
	bad := []string{
		"", " ", "2026-06-01", "2026-06-01T", "2026-06-01T00:00Z", "2026-06-01T00:00:00", "2026-06-01T00:00:00z", "2026-06-01t00:00:00Z", "2026-06-01t00:00:00z",
		"2026-06-01 00:00:00Z", "2026-06-01_00:00:00Z", "2026-06-01T0:00:00Z", "2026-06-01T00:0:00Z", "2026-06-01T00:00:0Z", "2026-6-01T00:00:00Z", "2026-06-1T00:00:00Z",
		"26-06-01T00:00:00Z", "02026-06-01T00:00:00Z", "+2026-06-01T00:00:00Z", "-2026-06-01T00:00:00Z", "2026-06-01T24:00:00Z", "2026-06-01T25:00:00Z",
		"2026-06-01T23:60:00Z", "2026-06-01T23:59:60Z", "2026-06-30T23:59:60Z", "2026-12-31T23:59:60Z", "2026-06-01T23:59:61Z", "2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z",
		"2026-06-00T00:00:00Z", "2026-06-31T00:00:00Z", "2026-02-29T00:00:00Z", "2026-06-01T00:00:00.Z", "2026-06-01T00:00:00,5Z", "2026-06-01T00:00:00,Z",
		"2026-06-01T00:00:00.5", "2026-06-01T00:00:00.5.5Z", "2026-06-01T00:00:00.-5Z", "2026-06-01T00:00:00.5 Z", "2026-06-01T00:00:00 Z", " 2026-06-01T00:00:00Z",
		"2026-06-01T00:00:00Z ", "2026-06-01T00:00:00ZZ", "2026-06-01T00:00:00Z+00:00", "2026-06-01T00:00:00+24:00", "2026-06-01T00:00:00-24:00", "2026-06-01T00:00:00+00:60",
		"2026-06-01T00:00:00+99:99", "2026-06-01T00:00:00+2:00", "2026-06-01T00:00:00+02:0", "2026-06-01T00:00:00+0200", "2026-06-01T00:00:00+02", "2026-06-01T00:00:00 02:00",
		"2026-06-01T00:00:00+02:00Z", "2026-06-01T00:00:00+02:00:00", "2026-06-01T00:00:00\u221202:00", "2026-06-01T00:00:00UTC", "2026-06-01T00:00:00 +0000 UTC",
		"20260601T000000Z", "2026-W23-1T00:00:00Z", "2026-152T00:00:00Z", "2026/06/01T00:00:00Z", "2026-06-01T00.00.00Z", "1780272000", "\uff12026-06-01T00:00:00Z",
		"2026-06-01T0a:00:00Z", "2026-06-01T-1:00:00Z", "2026-06-01T+1:00:00Z", "2026-06-01T 1:00:00Z", "Mon, 01 Jun 2026 00:00:00 GMT", "now", canary,
		"2026-06-01T00:00:00.\uff15Z", "2026-06-01T00:00:00\\nZ", "2026-06-01T00:00:00Z\\u0000", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9Z",
	}
	routes := 0
	for _, route := range apikeyrest.Routes() {
		if !slices.Contains(route.Body, "expires_at") {
			continue
		}
		routes++
		is := is.New(t)
		s := newShop(t)
		path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
		for text, want := range good {
			var answer map[string]any
			got := s.ask(t, route.Method, path, `{"name":"a","expires_at":"`+text+`"}`)
			must(t, json.Unmarshal([]byte(read(t, got)), &answer))
			if key, ok := answer["key"].(map[string]any); ok {
				answer = key
			}
			if got.StatusCode >= 300 || answer["expires_at"] != want {
				t.Errorf("%s: status %d, %v", text, got.StatusCode, answer)
			}
		}
		before := s.stored(t)
		for _, text := range bad {
			got := s.ask(t, route.Method, path, `{"name":"a","expires_at":"`+text+`"}`)
			if got.StatusCode != http.StatusBadRequest {
				t.Errorf("%s %s: status %d", route.Method, text, got.StatusCode)
				continue
			}
			is.Equal(refused(t, got, 400, "invalid_field").Field, "expires_at")
			checkReflection(t, text, read(t, got))
		}
		is.Equal(s.stored(t), before)
	}
	is.New(t).Equal(routes, 2)
}
