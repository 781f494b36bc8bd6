package storetest

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
)

func TestDifference(t *testing.T) {
	long := strings.Repeat("x", 500)
	for _, test := range []struct {
		name      string
		got, want any
		lines     []string
	}{
		{"nothing", apikey.Key{Name: "a", CreatedAt: base}, apikey.Key{Name: "a", CreatedAt: base}, nil},
		{"a text", apikey.Key{Name: "a "}, apikey.Key{Name: "a"}, []string{`Name: got "a ", want "a"`}},
		{"two fields", apikey.Key{Locked: true}, apikey.Key{Revision: 2}, []string{"Locked: got true, want false", "Revision: got 0, want 2"}},
		{"a field of a field", apikey.Record{Key: apikey.Key{Rate: apikey.Rate{Requests: 1}}}, apikey.Record{}, []string{"Key.Rate.Requests: got 1, want 0"}},
		{"a time", base.Add(time.Microsecond), base, []string{"got 2026-03-04T05:06:07.654322Z UTC, want 2026-03-04T05:06:07.654321Z UTC"}},
		{"a zone", base.In(time.FixedZone("CET", 3600)), base, []string{"got 2026-03-04T06:06:07.654321+01:00 CET, want 2026-03-04T05:06:07.654321Z UTC"}},
		{"a slice", []int64{1}, []int64{1, 2}, []string{"got 1 of them, want 2"}},
		{"an element", []int64{1, 3}, []int64{1, 2}, []string{"[1]: got 3, want 2"}},
		{"bytes", apikey.Digest("\x00"), apikey.Digest("\xff"), []string{"got 00, want ff"}},
		{"scopes", scopes("a"), scopes("b"), []string{`got "a", want "b"`}},
		{"networks", networks("192.0.2.0/24"), networks(), []string{`got "192.0.2.0/24", want ""`}},
		{"metadata", apikey.NewMetadata(map[string]string{"a": "1"}), apikey.Metadata{}, []string{`got map["a":"1"], want map[]`}},
		{"a long text", long + "a" + long, long + "b" + long, []string{
			`got "` + long[:20] + "a" + long[:59] + `" (bytes 480 to 560 of 1001), want "` + long[:20] + "b" + long[:59] + `" (bytes 480 to 560 of 1001)`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := difference(test.got, test.want); !reflect.DeepEqual(got, test.lines) {
				t.Errorf("got %q, want %q", got, test.lines)
			}
		})
	}
}

// TestFill shows that a field that is added later cannot be passed over.
func TestFill(t *testing.T) {
	run := func(fill func(*subject)) []string {
		found, _ := failures(rule{check: func(c *check) { fill(c.on("")) }}, func() apikey.Store { return nil })
		return found
	}
	for name, fill := range map[string]func(*subject){
		"record": func(s *subject) { filled[apikey.Record](s) },
		"match":  func(s *subject) { filled[match](s) },
		"owner":  func(s *subject) { filled[apikey.Owner](s) },
		"event":  func(s *subject) { filled[apikey.Event](s) },
		"usage":  func(s *subject) { filled[apikey.Usage](s) },
	} {
		if found := run(fill); len(found) > 0 {
			t.Errorf("%s: %q", name, found)
		}
	}
	type unknown struct {
		Name    string
		Comment map[string]string
	}
	if found := run(func(s *subject) { filled[unknown](s) }); len(found) == 0 {
		t.Error("a field of a kind that cannot be filled was passed over")
	}
	if found := run(func(s *subject) { s.complete(unknown{Name: "a"}) }); len(found) == 0 || !strings.Contains(found[0], "unknown.Comment") {
		t.Errorf("a field that is unset was passed over: %q", found)
	}
}

func TestText(t *testing.T) {
	for _, n := range []int{5, 6, 7, 8, 9, 62, 200, 255, 500} {
		if got := text(n); len(got) != n {
			t.Errorf("text(%d) has %d bytes", n, len(got))
		}
	}
}
