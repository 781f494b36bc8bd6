package apitest

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// TestJoinersLikeIDNA checks that texts allow the zero width joiners where
// package idna does, which knows the joining types of all characters. It skips
// what idna rejects for another reason.
func TestJoinersLikeIDNA(t *testing.T) {
	m, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		t.Fatal(err)
	}
	// The actor is checked before the id, so nothing is stored.
	accepted := func(text string) bool {
		var field *apikey.FieldError
		_, err := m.Delete(apikey.WithActor(t.Context(), text), "no id")
		return errors.As(err, &field) && field.Field == "id"
	}
	checked, mapped := idna.New(idna.CheckJoiners(true)), idna.New(idna.MapForLookup())
	compared := 0
	for r := rune(0x80); r <= 0x1ffff; r++ {
		if r >= 0xac00 && r <= 0xd7a3 || r >= 0x4e00 && r <= 0x9fff || r >= 0x17000 && r <= 0x18cff || !accepted("\u0628"+string(r)) {
			continue // ideographs, surrogates, and characters of a later Unicode
		}
		if text, err := mapped.ToUnicode("a" + string(r)); err != nil || text != "a"+string(r) {
			continue // idna knows joining types of what it does not map only
		}
		for _, text := range []string{
			string(r) + "\u200c\u0628", "\u0628" + string(r) + "\u200c\u0628", "\u0628" + string(r) + "\u200d", "\u0628\u200c" + string(r),
		} {
			_, err := checked.ToUnicode(text)
			switch {
			case strings.HasPrefix(text, string(r)) && unicode.IsMark(r):
				continue // which begins no label
			case err == nil && strings.HasSuffix(text, string(r)):
				continue // idna also accepts what does not join the letter before
			}
			if accepted(text) != (err == nil) {
				t.Errorf("%+q: accepted %t, and idna: %v", text, accepted(text), err)
			}
			compared++
		}
	}
	if compared < 50000 {
		t.Errorf("only %d texts were compared", compared)
	}
}
