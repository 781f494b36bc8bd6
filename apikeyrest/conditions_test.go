package apikeyrest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

// malformedTags are rejected in If-Match and If-None-Match.
var malformedTags = []string{
	`2`, `"2`, `2"`, `"2" x`, `"2""2"`, `"2"; "3"`, `""2""`, `w/"2"`, `W/2`, `W/ "2"`, `W/"2`, `W/`, `*, "2"`, `"2", *`, "*\n*", "*\n\"2\"", `**`, ` `, `,`, ` , ,`,
	`"a b"`, "\"\t\"", "\"2\x7f\"", `"` + canary, canary + `"`,
}

// TestPreconditions asks each change of a key under each kind of condition.
// The key is at revision 2.
func TestPreconditions(t *testing.T) {
	tests := []struct {
		match, noneMatch string
		status           int // 0 = success
	}{
		{`"2"`, "", 0},
		{`*`, "", 0},
		{` "2" `, "", 0},
		{`"1", "2"`, "", 0},
		{`"2","1"`, "", 0},
		{`"1"`, "", 412},
		{`"1","3"`, "", 412},
		{`"3"`, "", 412},
		{`"9223372036854775807"`, "", 412},
		{`"9223372036854775808"`, "", 412},
		{"\"1\"\n\"2\"", "", 0},
		{`, "2",, ,`, "", 0},
		{`"2","2"`, "", 0},
		{`W/"2"`, "", 412}, // strong comparison
		{`W/"2", "2"`, "", 0},
		{`W/"2", "1"`, "", 412},
		{`"02"`, "", 412},
		{`"+2"`, "", 412},
		{`"-2"`, "", 412},
		{`"0"`, "", 412},
		{`"2-"`, "", 412},
		{`"2-AAAA"`, "", 412},
		{`"2-AAAAAAAAAAAAAAA="`, "", 412},
		{`""`, "", 412},
		{`"*"`, "", 412},
		{`"a,b", "2"`, "", 0},
		{`"` + canary + `"`, "", 412},
		{"\"\xff\"", "", 412},
		{"", `*`, 412},
		{"", `"2"`, 412},
		{"", `W/"2"`, 412}, // weak comparison
		{"", `"1", W/"2"`, 412},
		{"", `"1"`, 0},
		{"", `"1", W/"3"`, 0},
		{`"2"`, `"1"`, 0},
		{`*`, `"1"`, 0},
		{`"2"`, `"2"`, 412},
		{`*`, `*`, 412},
		{`"1"`, `"1"`, 412},
	}
	for _, route := range apikeyrest.Routes() {
		if !route.Conditional {
			continue
		}
		name := route.Method + " " + route.Pattern
		t.Run(name, func(t *testing.T) {
			body := apiCases[name].body
			for _, test := range tests {
				s := newShop(t)
				path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
				before := s.stored(t)
				got := s.ask(t, route.Method, path, body, "If-Match", test.match, "If-None-Match", test.noneMatch)
				what := fmt.Sprintf("If-Match: %s, If-None-Match: %s", test.match, test.noneMatch)
				if test.status == 0 {
					if got.StatusCode != apiCases[name].status {
						t.Errorf("%s: status %d", what, got.StatusCode)
					}
					continue
				}
				refused(t, got, test.status, "conflict")
				if s.stored(t) != before {
					t.Errorf("%s: something was changed", what)
				}
				checkReflection(t, what, read(t, got))
			}
		})
	}
}

func TestMalformedPreconditions(t *testing.T) {
	for _, route := range apikeyrest.Routes() {
		name := route.Method + " " + route.Pattern
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
			before := s.stored(t)
			for _, header := range []string{"If-Match", "If-None-Match"} {
				for _, tags := range malformedTags {
					got := s.ask(t, route.Method, path, apiCases[name].body, header, tags)
					if p := refused(t, got, 400, "invalid_field"); p.Field != header {
						t.Errorf("%s: field %q", tags, p.Field)
					}
					checkReflection(t, tags, read(t, got))
				}
			}
			is.New(t).Equal(s.stored(t), before)
		})
	}
}

// TestConditionalGet asks what can be read under conditions, in the order of
// RFC 9110, section 13.2.2.
func TestConditionalGet(t *testing.T) {
	since := "Mon, 02 Jan 2006 15:04:05 GMT"
	for _, route := range apikeyrest.Routes() {
		if route.Method != http.MethodGet {
			continue
		}
		t.Run(route.Pattern, func(t *testing.T) {
			s := newShop(t)
			path := strings.Replace(route.Pattern, "{id}", s.rotating(t, "ada").ID, 1)
			plain := s.ask(t, "GET", path, "")
			whole, tag := read(t, plain), plain.Header.Get("ETag")
			hasTag := route.Open || route.Pattern == "/keys/{id}"
			is.New(t).Equal(tag != "", hasTag)
			if !hasTag {
				tag = `"none"`
			}
			status := func(with int) int {
				if hasTag {
					return with
				}
				return map[int]int{304: 200, 200: 412}[with]
			}
			for _, test := range []struct {
				headers []string
				status  int
			}{
				{[]string{"If-None-Match", tag}, status(304)},
				{[]string{"If-None-Match", "W/" + tag}, status(304)},
				{[]string{"If-None-Match", `"x", ` + tag}, status(304)},
				{[]string{"If-None-Match", `"x"`}, 200},
				{[]string{"If-None-Match", "*"}, 304},
				{[]string{"If-Match", tag}, status(200)},
				{[]string{"If-Match", `"x", ` + tag}, status(200)},
				{[]string{"If-Match", "W/" + tag}, 412},
				{[]string{"If-Match", `"x"`}, 412},
				{[]string{"If-Match", "*"}, 200},
				{[]string{"If-Match", `"x"`, "If-None-Match", "*"}, 412},
				{[]string{"If-Match", "*", "If-None-Match", tag}, status(304)},
				{[]string{"If-Modified-Since", since}, 200},
				{[]string{"If-Unmodified-Since", since}, 200},
				{[]string{"If-Modified-Since", "nonsense", "If-Range", `"x"`, "Range", "bytes=0-1"}, 200},
				{[]string{"If-None-Match", `"x"`, "If-Modified-Since", since}, 200},
			} {
				for _, method := range []string{"GET", "HEAD"} {
					got := s.ask(t, method, path, "", test.headers...)
					body := read(t, got)
					switch {
					case got.StatusCode != test.status:
						t.Errorf("%s %v: status %d, not %d", method, test.headers, got.StatusCode, test.status)
					case test.status == 304 && (body != "" || got.Header.Get("ETag") != plain.Header.Get("ETag") ||
						got.Header.Get("Cache-Control") != plain.Header.Get("Cache-Control") || got.Header["Content-Type"] != nil):
						t.Errorf("%s %v: %v %q", method, test.headers, got.Header, body)
					case test.status == 200 && method == "GET" && body != whole:
						t.Errorf("%s %v: %q", method, test.headers, body)
					}
				}
			}
		})
	}
}

// TestConditionsOfMissing checks that preconditions do not hide why a
// request would fail without them (RFC 9110, section 13.2.1).
func TestConditionsOfMissing(t *testing.T) {
	s := newShop(t)
	other := s.rotating(t, "bob").ID
	for _, id := range []string{other, "00000000000000000000", "none"} {
		for _, suffix := range []string{"", "/events", "/credentials"} {
			for _, headers := range [][]string{{"If-Match", `"2"`}, {"If-Match", "*"}, {"If-None-Match", "*"}, {"If-None-Match", `"2"`}} {
				refused(t, s.ask(t, "GET", "/keys/"+id+suffix, "", headers...), 404, "not_found")
			}
		}
	}
	refused(t, s.ask(t, "GET", "/keys", "", "Session", "", "If-None-Match", "*"), 403, "forbidden")
	refused(t, s.ask(t, "POST", "/keys", `{"name":1}`, "If-None-Match", "*"), 400, "invalid_field")
}

// TestIssueConditions evaluates preconditions of POST against the list of
// keys, which exists and has no ETag.
func TestIssueConditions(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	for _, headers := range [][]string{{"If-Match", `"1"`}, {"If-None-Match", "*"}, {"If-Match", "*", "If-None-Match", "*"}} {
		refused(t, s.ask(t, "POST", "/keys", `{"name":"a"}`, headers...), 412, "conflict")
	}
	is.Equal(len(apikeytest.Events(t, s)), 0)
	is.Equal(s.ask(t, "POST", "/keys", `{"name":"a"}`, "If-Match", "*").StatusCode, 201)
	is.Equal(s.ask(t, "POST", "/keys", `{"name":"a"}`, "If-None-Match", `"1"`).StatusCode, 201)
}

// TestStrongTags changes a key in each way that what is shown of it can
// change. No two different bodies may have one ETag, so that a 304 never
// confirms an outdated view, and each ETag can still be used for If-Match.
func TestStrongTags(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	issued, err := s.Issue(t.Context(), apikey.IssueParams{Owner: "ada", Name: "a", Lifetime: apikey.Period{Time: 48 * time.Hour}})
	must(t, err)
	path := "/keys/" + issued.Key.ID
	use := func() {
		_, err := s.Validate(t.Context(), issued.Token.Reveal())
		must(t, err)
		must(t, s.Flush(t.Context()))
	}
	bodies := map[string]string{}
	old := []string{}
	for i, step := range []func(){
		func() {},
		func() { s.Advance(time.Hour) }, // nothing is shown of it
		use,
		use,
		func() { s.Advance(time.Hour); use() },
		func() { s.ask(t, "PATCH", path, `{"name":"b"}`) },
		use,
		func() { s.ask(t, "POST", path+"/rotate", `{"overlap_seconds":60}`) },
		func() { s.Advance(30 * time.Second) },
		func() { s.Advance(30 * time.Second) }, // the overlap is over
		func() { s.ask(t, "PATCH", path, `{"expires_at":"2026-01-02T00:00:00Z"}`) },
		func() { s.Advance(30 * time.Hour) }, // expired
		func() { s.ask(t, "DELETE", path, "") },
	} {
		step()
		got := s.ask(t, "GET", path, "")
		tag, body := got.Header.Get("ETag"), read(t, got)
		if known, ok := bodies[tag]; ok && known != body {
			t.Errorf("step %d: %s has two bodies: %s %s", i, tag, known, body)
		}
		bodies[tag] = body
		is.Equal(s.ask(t, "GET", path, "", "If-None-Match", tag).StatusCode, 304)
		is.Equal(s.ask(t, "GET", path, "", "If-Match", tag).StatusCode, 200)
		for _, other := range old {
			if other != tag {
				is.Equal(s.ask(t, "GET", path, "", "If-None-Match", other).StatusCode, 200)
			}
		}
		old = append(old, tag)
	}
	is.Equal(len(bodies), 11)
}

// TestTagOfChange checks that the response to a change has the ETag that a
// GET has then, and that it serves for the next change although the key is in
// use.
func TestTagOfChange(t *testing.T) {
	is := is.New(t)
	s := newShop(t)
	issued := s.MustIssue(t, apikey.IssueParams{Owner: "ada"})
	path := "/keys/" + issued.Key.ID
	tag := s.ask(t, "GET", path, "").Header.Get("ETag")
	is.Equal(tag, `"1"`)
	for i := range 5 {
		_, err := s.Validate(t.Context(), issued.Token.Reveal())
		must(t, err)
		must(t, s.Flush(t.Context()))
		got := s.ask(t, "PATCH", path, fmt.Sprintf(`{"name":"n%d"}`, i), "If-Match", tag)
		is.Equal(got.StatusCode, 200)
		refused(t, s.ask(t, "PATCH", path, `{"name":"late"}`, "If-Match", tag), 412, "conflict")
		tag = got.Header.Get("ETag")
		is.Equal(s.ask(t, "GET", path, "").Header.Get("ETag"), tag)
	}
}

// TestListedRevisionsRace lets another change come between the reading of a
// key and a change that lists several revisions.
func TestListedRevisionsRace(t *testing.T) {
	for _, test := range []struct {
		match  string
		status int
	}{{`"2","3"`, 200}, {`"2","4"`, 412}} {
		var between func()
		s := newShop(t, func(o *apikey.Options) {
			o.Authorize = func(_ context.Context, action apikey.Action, _ apikey.Key) error {
				if action == apikey.ActionRotate && between != nil {
					f := between
					between = nil
					f()
				}
				return nil
			}
		})
		id := s.rotating(t, "ada").ID
		between = func() {
			_, err := s.Update(t.Context(), id, apikey.Changes{Name: new("between")})
			must(t, err)
		}
		got := s.ask(t, "POST", "/keys/"+id+"/rotate", `{"overlap_seconds":60}`, "If-Match", test.match)
		is.New(t).Equal(got.StatusCode, test.status)
	}
}

// TestTagsCost sends long lists of tags, to what anyone may read. Reading
// them must not take more memory than they have bytes.
func TestTagsCost(t *testing.T) {
	s := newShop(t)
	for name, element := range map[string]string{"empty": ",", "short": `"",`, "weak": `W/"",`, "revisions": `"1",`} {
		list := strings.Repeat(element, 900<<10/len(element)) + `"x"`
		for _, lines := range [][]string{{list}, {list, `"y"`}} {
			r := httptest.NewRequest("GET", "/openapi.json", nil)
			r.Header["If-None-Match"] = lines
			w := httptest.NewRecorder()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s.handler.ServeHTTP(w, r)
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; w.Code != 200 || got > 2<<20 {
				t.Errorf("%s, %d lines: status %d, %d bytes", name, len(lines), w.Code, got)
			}
		}
	}
}
