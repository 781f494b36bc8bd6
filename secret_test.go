package apikey_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

const canary = "canary-9f8e7d6c5b4a39281706f5e4d3c2b1a0"

type holder struct {
	Open   apikey.Secret
	hidden apikey.Secret
	deeper struct{ p *apikey.Secret }
}

// TestSecretLeaks drives a secret through every way of printing, encoding and
// logging that the standard library has, alone and inside of other values.
func TestSecretLeaks(t *testing.T) {
	s := apikey.NewSecret(canary)
	h := holder{Open: s, hidden: s}
	h.deeper.p = &s
	values := map[string]any{
		"value": s, "pointer": &s, "struct": h, "pointer to struct": &h, "slice": []apikey.Secret{s}, "array": [1]apikey.Secret{s},
		"map": map[string]apikey.Secret{"k": s}, "any": []any{s, &s}, "issued": apikey.Issued{Token: s},
		"options": apikey.Options{Peppers: []apikey.Secret{s}}, "error": errorWith{s}, "found": apikey.Found{Token: s},
	}
	for name, v := range values {
		for out, text := range outputs(v) {
			if leaks(text) {
				t.Errorf("%s by %s: %s", name, out, text)
			}
		}
	}
}

type errorWith struct{ s apikey.Secret }

func (e errorWith) Error() string { return fmt.Sprintf("with %v", e.s) }

// outputs returns what each way of output makes of a value.
func outputs(v any) map[string]string {
	all := map[string]string{}
	for _, flags := range []string{"", "+", "#", "-20", "020", ".5", " ", "# "} {
		for _, verb := range "vTtbcdoOqxXUeEfFgGsqp" {
			format := "%" + flags + string(verb)
			all["fmt "+format] = fmt.Sprintf(format, v)
		}
	}
	all["Sprint"], all["Sprintln"] = fmt.Sprint(v), fmt.Sprintln("a", v)
	all["Errorf"] = fmt.Errorf("wrap: %w", fmt.Errorf("%v", v)).Error()
	j, err := json.Marshal(v)
	all["json"] = string(j) + fmt.Sprint(err)
	j, err = json.MarshalIndent(map[string]any{"k": v}, "", " ")
	all["json indent"] = string(j) + fmt.Sprint(err)
	x, err := xml.Marshal(v)
	all["xml"] = string(x) + fmt.Sprint(err)
	var buf bytes.Buffer
	err = gob.NewEncoder(&buf).Encode(v)
	all["gob"] = buf.String() + fmt.Sprint(err)
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		log := slog.New(handler(&b)).With("with", v).WithGroup("g")
		log.Info(fmt.Sprint(v), "k", v, slog.Any("any", []any{v}), slog.Group("group", "v", v))
		all[name] = b.String()
	}
	func() {
		defer func() { all["panic"] = fmt.Sprintf("%v %+v %#v", v, v, recover()) }()
		panic(v)
	}()
	func() {
		defer func() { all["cmp"] += fmt.Sprint(recover()) }()
		all["cmp"] = cmp.Diff(v, 7)
		all["cmp"] += cmp.Diff([]any{v}, []any{nil})
	}()
	all["reflect"] = fmt.Sprintf("%v", struct{ v any }{v})
	return all
}

// leaks reports whether a text holds the canary, or a good part of it, plain
// or as hexadecimal digits or numbers.
func leaks(text string) bool {
	part := canary[:12]
	decimal := strings.Trim(fmt.Sprint([]byte(part)), "[]")
	for _, form := range []string{part, fmt.Sprintf("%x", part), fmt.Sprintf("% x", part), fmt.Sprintf("%X", part), decimal, strings.ReplaceAll(decimal, " ", ", ")} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

func TestLeaksFindsLeaks(t *testing.T) {
	for _, v := range []any{canary, []byte(canary), struct{ s string }{canary}} {
		found := 0
		for _, text := range outputs(v) {
			if leaks(text) {
				found++
			}
		}
		if found < 5 {
			t.Errorf("%T: only %d outputs were found to leak", v, found)
		}
	}
}

func TestSecret(t *testing.T) {
	is := is.New(t)
	s := apikey.NewSecret("text")
	is.Equal(s.Reveal(), "text")
	is.True(s.Equal(apikey.NewSecret("text")))
	is.True(!s.Equal(apikey.NewSecret("texT")))
	is.True(!s.Equal(apikey.NewSecret("text ")))
	is.True(!s.IsZero())
	var zero apikey.Secret
	is.True(zero.IsZero())
	is.Equal(zero.Reveal(), "")
	is.True(zero.Equal(apikey.NewSecret("")))
	is.Equal(fmt.Sprint(s), "[secret]")
	is.Equal(fmt.Sprintf("%#v", s), "[secret]")
	b, err := json.Marshal(s)
	is.NoErr(err)
	is.Equal(string(b), `"[secret]"`)
}

func TestDigestShowsNothing(t *testing.T) {
	is := is.New(t)
	c := apikey.Credential{Digest: apikey.Digest(canary)}
	all := outputs(apikey.Record{Credentials: []apikey.Credential{c}})
	for _, name := range []string{"fmt %v", "fmt %+v", "fmt %#v", "fmt %s", "fmt %q", "fmt %x", "fmt %d", "slog text", "Sprint", "Errorf"} {
		if text := all[name]; text == "" || leaks(text) {
			t.Errorf("%s: %s", name, text)
		}
	}
	is.Equal(fmt.Sprint(slog.AnyValue(c.Digest).Resolve()), "[digest]")
	// JSON is an encoding: it comes back whole, whatever the bytes.
	c.Digest = "\x00\xff\xfe~"
	b, err := json.Marshal(c)
	is.NoErr(err)
	var back apikey.Credential
	is.NoErr(json.Unmarshal(b, &back))
	is.Equal(back.Digest, c.Digest)
	is.True(json.Unmarshal([]byte(`{"Digest":7}`), &back) != nil)
}

// A Manager holds the peppers.
func TestManagerShowsNothing(t *testing.T) {
	m, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NewSecret(canary)}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range outputs(m) {
		if leaks(text) {
			t.Errorf("%s: %s", name, text)
		}
	}
	if text := fmt.Sprint(m); text != "API key manager" {
		t.Error(text)
	}
}
