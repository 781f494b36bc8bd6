package apikey_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
)

// ignorable are the characters of Default_Ignorable_Code_Point, from
// DerivedCoreProperties.txt of Unicode 15.0.0.
var ignorable = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0xad, 0xad, 1}, {0x34f, 0x34f, 1}, {0x61c, 0x61c, 1}, {0x115f, 0x1160, 1}, {0x17b4, 0x17b5, 1}, {0x180b, 0x180f, 1},
		{0x200b, 0x200f, 1}, {0x202a, 0x202e, 1}, {0x2060, 0x206f, 1}, {0x3164, 0x3164, 1}, {0xfe00, 0xfe0f, 1}, {0xfeff, 0xfeff, 1},
		{0xffa0, 0xffa0, 1}, {0xfff0, 0xfff8, 1},
	},
	R32: []unicode.Range32{{0x1bca0, 0x1bca3, 1}, {0x1d173, 0x1d17a, 1}, {0xe0000, 0xe0fff, 1}},
}

const (
	nonJoiner = "\u200c"
	joiner    = "\u200d"
	selector  = "\ufe0f" // variation selector 16, of ordinary emoji
)

// TestInvisibleCharacters checks every character that draws nothing, in every
// text that is stored or shown.
func TestInvisibleCharacters(t *testing.T) {
	m, store, _ := newManager(t, apikey.Options{})
	ctx := t.Context()
	issued := issue(t, m, apikey.IssueParams{})
	before := dump(t, store)
	texts := map[string]func(text string) error{
		"name":     func(s string) error { return second(m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: s})) },
		"new name": func(s string) error { return second(m.Update(ctx, issued.Key.ID, apikey.Changes{Name: &s})) },
		"reason":   func(s string) error { return second(m.Disable(ctx, issued.Key.ID, apikey.Reason(s))) },
		"metadata": func(s string) error {
			return second(m.Update(ctx, issued.Key.ID, apikey.Changes{Metadata: &map[string]string{"k": s}}))
		},
		"owner":    func(s string) error { return second(m.Issue(ctx, apikey.IssueParams{Owner: s, Name: "x"})) },
		"confined": func(s string) error { return second(m.ForOwner(s, nil).List(ctx, apikey.Query{})) },
		"listed":   func(s string) error { return second(m.List(ctx, apikey.Query{Owner: s})) },
		"key": func(s string) error {
			return second(m.Update(ctx, issued.Key.ID, apikey.Changes{Metadata: &map[string]string{s: "v"}}))
		},
		"actor": func(s string) error { return second(m.Disable(apikey.WithActor(ctx, s), issued.Key.ID)) },
		"repeat": func(s string) error {
			return second(m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "x", IdempotencyKey: s}))
		},
		"of owner":  func(s string) error { return second(m.DisableOwner(ctx, s)) },
		"of person": func(s string) error { return second(m.DisableOwner(ctx, "acme", apikey.Reason(s))) },
	}
	changed := map[string]bool{"name": true, "new name": true, "reason": true, "metadata": true, "of person": true}
	check := func(r rune) {
		for name, call := range texts {
			if r == []rune(selector)[0] && changed[name] {
				continue // see TestVariationSelectorIsRemoved
			}
			var field *apikey.FieldError
			if err := call("a" + string(r) + "b"); !errors.As(err, &field) {
				t.Fatalf("%s with %U: %v", name, r, err)
			}
		}
	}
	for _, table := range ignorable.R16 {
		for r := rune(table.Lo); r <= rune(table.Hi); r++ {
			check(r)
		}
	}
	for _, r := range []rune{0x1bca0, 0x1d173, 0x1d17a, 0xe0000, 0xe0001, 0xe0020, 0xe007f, 0xe0100, 0xe01ef, 0xe0fff} {
		check(r)
	}
	for _, r := range "\u2800\U00016fe4\U00013441\U00013442\U0001d159\u00a0\u3000\u2028" {
		check(r)
	}
	if after := dump(t, store); len(after.Events) != len(before.Events) {
		t.Errorf("%d events were stored", len(after.Events)-len(before.Events))
	}
}

// TestVariationSelectorIsRemoved checks that the selector of ordinary emoji is
// removed from texts for people, before they are checked, and that an
// identifier with it is rejected instead of becoming another one.
func TestVariationSelectorIsRemoved(t *testing.T) {
	is := is.New(t)
	m, _, _ := newManager(t, apikey.Options{})
	ctx := t.Context()
	heart := "\u2764" + selector
	issued := issue(t, m, apikey.IssueParams{Name: heart + " keys 1" + selector + "\u20e3", Metadata: map[string]string{"mood": heart}})
	is.Equal(issued.Key.Name, "\u2764 keys 1\u20e3")
	is.Equal(issued.Key.Metadata.Map(), map[string]string{"mood": "\u2764"})
	key, err := m.Update(ctx, issued.Key.ID, apikey.Changes{Name: new("a" + selector), Metadata: &map[string]string{"mood": "b" + selector}}, apikey.Reason(heart))
	is.NoErr(err)
	is.Equal(key.Name, "a")
	is.Equal(key.Metadata.Map(), map[string]string{"mood": "b"})
	key, err = m.Disable(ctx, issued.Key.ID, apikey.Reason(heart))
	is.NoErr(err)
	is.Equal(key.DisabledReason, "\u2764")
	owner, err := m.DisableOwner(ctx, "other", apikey.Reason(heart))
	is.NoErr(err)
	is.Equal(owner.DisabledReason, "\u2764")
	events, err := m.Events(ctx, apikey.EventQuery{})
	is.NoErr(err)
	for _, e := range events {
		is.True(!strings.Contains(e.Reason+e.Data.Map()["name"], selector))
	}

	// What is left is checked: its length, its ends, and that it is not empty.
	long := issue(t, m, apikey.IssueParams{Name: strings.Repeat(selector+"x", 200)})
	is.Equal(long.Key.Name, strings.Repeat("x", 200))
	for _, name := range []string{selector, selector + " a", "a " + selector, "a " + selector + " b", strings.Repeat(selector+"x", 201)} {
		_, err := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: name})
		var field *apikey.FieldError
		is.True(errors.As(err, &field) && field.Field == "name")
	}

	// An owner sends back the metadata that it was shown, or what it once sent.
	o := m.ForOwner("acme", &apikey.OwnerOptions{Metadata: map[string]string{"mood": heart}})
	mine, err := o.Issue(ctx, apikey.IssueParams{Name: "x", Metadata: map[string]string{"mood": heart}})
	is.NoErr(err)
	_, err = o.Update(ctx, mine.Key.ID, apikey.Changes{Name: new("y"), Metadata: &map[string]string{"mood": heart}})
	is.NoErr(err)
}

// TestJoiners checks the places where RFC 5892, appendix A.1 and A.2, allows
// the two joiners, and some where it does not.
func TestJoiners(t *testing.T) {
	m, _, _ := newManager(t, apikey.Options{})
	id := issue(t, m, apikey.IssueParams{}).Key.ID
	for _, test := range []struct {
		name string
		text string
		want bool
	}{
		{"between joining letters", "\u0645\u06cc" + nonJoiner + "\u062e\u0648\u0627\u0647\u0645", true},
		{"left joining before", "\ua872" + nonJoiner + "\u0628", true},
		{"right joining after", "\u0628" + nonJoiner + "\u0627", true},
		{"marks around", "\u0628\u064e\u0651" + nonJoiner + "\u064e\u0628", true},
		{"Adlam with a nukta", "\U0001e92a\U0001e94b" + nonJoiner + "\U0001e922", true},
		{"after a virama", "\u0915\u094d" + nonJoiner + "\u0937", true},
		{"after a virama at the end", "\u0915\u094d" + nonJoiner, true},
		{"joiner after a virama", "\u0915\u094d" + joiner + "\u0937", true},
		{"joiner after a Sinhala virama", "\u0dc1\u0dca" + joiner + "\u0dbb\u0dd3", true},

		{"between Latin letters", "pay" + nonJoiner + "ments", false},
		{"joiner between Latin letters", "pay" + joiner + "ments", false},
		{"at the beginning", nonJoiner + "\u0628", false},
		{"joiner at the beginning", joiner + "\u0628", false},
		{"alone", nonJoiner, false},
		{"at the end", "\u0628" + nonJoiner, false},
		{"at the end after a mark", "\u0628\u064e" + nonJoiner, false},
		{"before a mark at the end", "\u0628" + nonJoiner + "\u064e", false},
		{"before a space", "\u0628" + nonJoiner + " \u0628", false},
		{"after a letter that does not join the next", "\u0627" + nonJoiner + "\u0628", false},
		{"before a letter that does not join", "\u0628" + nonJoiner + "\u0621", false},
		{"left joining after", "\u0628" + nonJoiner + "\ua872", false},
		{"joiner between joining letters", "\u0628" + joiner + "\u0628", false},
		{"two in a row", "\u0628" + nonJoiner + nonJoiner + "\u0628", false},
		{"two after a virama", "\u0915\u094d" + nonJoiner + nonJoiner, false},
		{"joiner after a non-joiner", "\u0915\u094d" + nonJoiner + joiner, false},
		{"after a letter of Devanagari", "\u0915" + joiner + "\u0937", false},
		{"family of emoji", "\U0001f468" + joiner + "\U0001f469" + joiner + "\U0001f467", false},
		{"heart on fire", "\u2764" + selector + joiner + "\U0001f525", false},
	} {
		for place, err := range map[string]error{
			"name":     second(m.Issue(t.Context(), apikey.IssueParams{Owner: "acme", Name: test.text})),
			"reason":   second(m.Update(t.Context(), id, apikey.Changes{Name: new("x")}, apikey.Reason(test.text))),
			"actor":    second(m.Update(apikey.WithActor(t.Context(), test.text), id, apikey.Changes{Name: new("x")})),
			"metadata": second(m.Update(t.Context(), id, apikey.Changes{Metadata: &map[string]string{"k": test.text}})),
		} {
			if place == "actor" && strings.Contains(test.text, selector) {
				continue
			}
			if (err == nil) != test.want {
				t.Errorf("%s in a %s: %v", test.name, place, err)
			}
		}
		// Identifiers have no joiners at all.
		if _, err := m.Issue(t.Context(), apikey.IssueParams{Owner: test.text, Name: "x"}); err == nil {
			t.Errorf("%s in an owner was accepted", test.name)
		}
	}
	// Joiners do not let marks pile up.
	if _, err := m.Issue(t.Context(), apikey.IssueParams{Owner: "acme", Name: "\u0915" + strings.Repeat("\u094d"+joiner, 5)}); err == nil {
		t.Error("five marks in a row were accepted")
	}
}

// FuzzInvisible checks that of two names that differ only by characters that
// draw nothing, at most one is stored, except for joiners where RFC 5892
// allows them.
func FuzzInvisible(f *testing.F) {
	for _, seed := range []struct {
		name string
		at   uint
		r    int32
	}{
		{"billing", 3, 0xfe0f}, {"billing", 3, 0x34f}, {"billing", 0, 0x200d}, {"\u0628\u0628", 2, 0x200c}, {"\u0915\u094d", 6, 0x200d},
		{"\u2764", 3, 0xfe0e}, {"a b", 1, ' '}, {"x", 1, 0xe0100}, {"x", 1, 0x17b4}, {"x", 0, 0x180b},
	} {
		f.Add(seed.name, seed.at, seed.r)
	}
	f.Fuzz(func(t *testing.T, name string, at uint, r int32) {
		if !utf8.ValidRune(r) || !utf8.ValidString(name) {
			return
		}
		runes := []rune(name)
		i := int(at % uint(len(runes)+1))
		other := string(runes[:i]) + string(r) + string(runes[i:])
		m, _, _ := newManager(t, apikey.Options{})
		one, err := m.Issue(t.Context(), apikey.IssueParams{Owner: "acme", Name: name})
		if err != nil {
			return
		}
		two, err := m.Issue(t.Context(), apikey.IssueParams{Owner: "acme", Name: other})
		if err != nil || one.Key.Name == two.Key.Name {
			return
		}
		if string(r) == joiner || string(r) == nonJoiner {
			virama := i > 0 && unicode.IsMark(runes[i-1])
			if !virama && (string(r) == joiner || i == 0 || i == len(runes) || !unicode.In(runes[i-1], unicode.L, unicode.M)) {
				t.Errorf("%q and %q were both stored", one.Key.Name, two.Key.Name)
			}
			return
		}
		if unicode.Is(ignorable, r) || unicode.Is(unicode.Variation_Selector, r) {
			t.Errorf("%q and %q were both stored", one.Key.Name, two.Key.Name)
		}
	})
}

func TestZeroNeed(t *testing.T) {
	is := is.New(t)
	m, store, _ := newManager(t, apikey.Options{})
	token := issue(t, m, apikey.IssueParams{Scopes: []string{"a"}}).Token.Reveal()
	store.lookups = 0
	for _, needs := range [][]apikey.Requirement{{{}}, {apikey.Scope("a"), {}}, {{}, apikey.Scope("b")}} {
		_, err := m.Validate(t.Context(), token, needs...)
		var field *apikey.FieldError
		is.True(errors.As(err, &field) && field.Field == "requirement")
	}
	is.Equal(store.lookups, 0)
}
