package cursor_test

import (
	"math"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey/internal/cursor"
)

func TestSeal(t *testing.T) {
	is := is.New(t)
	secret, other := [16]byte{1}, [16]byte{2}
	for _, position := range []int64{1, 2, 1 << 40, math.MaxInt64} {
		text := cursor.Seal(position, secret, "events", "ada", "k")
		is.Equal(len(text), 22)
		is.True(cursor.IsSealed(text))
		got, ok := cursor.Open(text, secret, "events", "ada", "k")
		is.True(ok)
		is.Equal(got, position)
		for _, names := range [][]string{{"events", "ada", "l"}, {"events", "bob", "k"}, {"history", "ada", "k"}, {"events", "ad", "ak"}, {"events", "ada"}, nil} {
			_, ok := cursor.Open(text, secret, names...)
			is.True(!ok)
		}
		_, ok = cursor.Open(text, other, "events", "ada", "k")
		is.True(!ok)
		checkSpellings(t, text, func(text string) bool { _, ok := cursor.Open(text, secret, "events", "ada", "k"); return ok })
	}
	for _, position := range []int64{0, -1, math.MinInt64} {
		_, ok := cursor.Open(cursor.Seal(position, secret), secret)
		is.True(!ok)
	}
}

func TestEncode(t *testing.T) {
	is := is.New(t)
	id := strings.Repeat("a", 20)
	text := cursor.Encode(id, "keys", "ada")
	got, ok := cursor.Decode(text, 20, "keys", "ada")
	is.True(ok)
	is.Equal(got, id)
	for _, names := range [][]string{{"keys", "bob"}, {"key", "sada"}, {"keysada"}, nil} {
		_, ok := cursor.Decode(text, 20, names...)
		is.True(!ok)
	}
	_, ok = cursor.Decode(text, 19, "keys", "ada")
	is.True(!ok)
	checkSpellings(t, text, func(text string) bool { _, ok := cursor.Decode(text, 20, "keys", "ada"); return ok })
}

// checkSpellings checks that no text near a cursor is accepted.
func checkSpellings(t *testing.T, text string, accepted func(string) bool) {
	t.Helper()
	bad := []string{"", text + "A", text + "=", text + "==", text[:len(text)-1], text + "\n", text[:4] + "\n" + text[4:], " " + text, text[:len(text)-1] + "\n", text[1:] + "+"}
	for i := range text {
		for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=\n" {
			if changed := text[:i] + string(c) + text[i+1:]; changed != text {
				bad = append(bad, changed)
			}
		}
	}
	for _, b := range bad {
		if accepted(b) {
			t.Errorf("%q is accepted for %q", b, text)
		}
	}
}
