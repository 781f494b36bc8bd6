package apikeyrest

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/keyturn/apikey"
)

// maxBody bounds the bytes of a body. The largest that can be accepted, with
// 100 scopes of 100 bytes, has a fifth of it.
const maxBody = 64 << 10

// body is the JSON object of a request, its members as they were written.
// Its methods read one member each, give the zero value for one that is not
// there, and keep the first error.
//
// encoding/json alone would accept "Name" for "name" and the last of two, and
// its errors contain what was sent.
type body struct {
	members map[string]json.RawMessage
	err     error
}

// readBody reads a body with the members of the route, if that has any.
func readBody(w http.ResponseWriter, r *http.Request, route *route) (*body, error) {
	known := route.body
	limit := int64(maxBody)
	if known == nil {
		limit = 0
	}
	var raw []byte
	if r.Body != nil {
		var err error
		raw, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
		_, tooLarge := errors.AsType[*http.MaxBytesError](err)
		switch {
		case tooLarge && known == nil:
			return nil, refuseField("body", "must be empty")
		case tooLarge:
			return nil, refusal{answer: answerTooLarge}
		case err != nil:
			return nil, refusal{answer: answerUnreadable}
		}
	}
	if known == nil {
		return &body{}, nil
	}
	// A form, even an empty one, names its type. A request with neither body
	// nor type cannot be told from one of a client that left out "{}".
	if !isJSON(r.Header) && (len(raw) > 0 || r.Header["Content-Type"] != nil) || r.Header["Content-Encoding"] != nil {
		return nil, refusal{answer: answerMediaType}
	}
	if len(raw) == 0 {
		return &body{}, nil
	}
	members, err := readMembers(raw, known)
	b := &body{members: members}
	if route.method != http.MethodPatch {
		for _, name := range known {
			b.dropNull(name)
		}
	}
	return b, err
}

// maxContentType bounds what is parsed. Package mime builds several maps of the
// parameters, which takes far longer than reading them.
const maxContentType = 1000

// isJSON reports whether a body is said to be JSON, in the only encoding that
// JSON has (RFC 8259, section 8.1).
func isJSON(h http.Header) bool {
	if len(h["Content-Type"]) != 1 || len(h["Content-Type"][0]) > maxContentType {
		return false
	}
	named, parameters, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset, hasCharset := parameters["charset"]
	return err == nil && named == mediaType && (!hasCharset || strings.EqualFold(charset, "utf-8"))
}

// readMembers takes a JSON object apart. No member that is known is an object,
// so that names are looked at on the first level only: there they must be
// among the known, letter by letter, and stand once.
func readMembers(raw []byte, known []string) (map[string]json.RawMessage, error) {
	// Valid sees the whole: exactly one value, of a depth that cannot exhaust
	// the stack. What follows need not look for syntax errors again.
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, refuseField("body", "must be one JSON value in UTF-8")
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, refuseField("body", "must be a JSON object")
	}
	members := make(map[string]json.RawMessage)
	for decoder.More() {
		token, err := decoder.Token()
		name, isName := token.(string)
		var value json.RawMessage
		if err != nil || !isName || decoder.Decode(&value) != nil {
			return nil, refuseField("body", "must be a JSON object")
		}
		if !slices.Contains(known, name) {
			for _, right := range known {
				if strings.EqualFold(name, right) {
					return nil, refuseField(right, "must be spelled like this, in lower case")
				}
			}
			return nil, refuseField("body", "must not hold other members than "+strings.Join(known, ", "))
		}
		if _, again := members[name]; again {
			return nil, refuseFieldAs(name, "duplicate", "must not stand more than once")
		}
		members[name] = value
	}
	return members, nil
}

func (b *body) has(name string) bool { return b.members[name] != nil }

// dropNull makes null the same as leaving a member out.
func (b *body) dropNull(name string) *body {
	if string(b.members[name]) == "null" {
		delete(b.members, name)
	}
	return b
}

// clearable lets null stand for an empty array.
func (b *body) clearable(name string) *body {
	if string(b.members[name]) == "null" {
		b.members[name] = json.RawMessage("[]")
	}
	return b
}

func (b *body) required(name string) *body {
	if !b.has(name) {
		b.refuseAs(name, "required", "must not be left out")
	}
	return b
}

// refuse keeps the first error.
func (b *body) refuse(field, problem string) { b.refuseAs(field, "malformed", problem) }

func (b *body) refuseAs(field, code, problem string) {
	if b.err == nil {
		b.err = refuseFieldAs(field, code, problem)
	}
}

// value returns a member whose text begins with one of the characters, by
// which JSON tells its types apart.
func (b *body) value(name, first, problem string) (json.RawMessage, bool) {
	value := b.members[name]
	if value == nil {
		return nil, false
	}
	if !strings.ContainsRune(first, rune(value[0])) {
		b.refuse(name, problem)
		return nil, false
	}
	return value, true
}

func (b *body) text(name string) string {
	value, ok := b.value(name, `"`, "must be a string")
	if !ok {
		return ""
	}
	var text string
	// A half of a surrogate pair is read as U+FFFD. Nobody writes that.
	if json.Unmarshal(value, &text) != nil || strings.ContainsRune(text, utf8.RuneError) {
		b.refuse(name, "must hold Unicode characters only, without U+FFFD")
	}
	return text
}

func (b *body) scopes(name string) []string {
	var scopes apikey.Scopes
	b.array(name, scopes.UnmarshalJSON)
	return scopes.Slice()
}

func (b *body) networks(name string) []netip.Prefix {
	var networks apikey.Networks
	b.array(name, networks.UnmarshalJSON)
	return networks.Slice()
}

func (b *body) array(name string, unmarshal func([]byte) error) {
	value, ok := b.value(name, "[", "must be an array of strings")
	if !ok {
		return
	}
	if err := unmarshal(value); err != nil {
		code, problem := "malformed", "must be an array of strings"
		if field, ok := errors.AsType[*apikey.FieldError](err); ok {
			code, problem = field.Code, field.Problem
		}
		b.refuseAs(name, code, problem)
	}
}

// instant reads a time as in RFC 3339. The zero time would stand for none.
func (b *body) instant(name string) time.Time {
	const problem = "must be a time like 2026-01-31T12:00:00Z"
	value, ok := b.value(name, `"`, problem)
	if !ok {
		return time.Time{}
	}
	var text string
	err := json.Unmarshal(value, &text)
	instant, ok := parseInstant(text)
	if err != nil || !ok || instant.IsZero() {
		b.refuse(name, problem)
	}
	return instant
}

// maxSeconds is what a time.Duration can hold.
const maxSeconds = int64(1<<63-1) / int64(time.Second)

// seconds reads a whole number of seconds, at least one.
func (b *body) seconds(name string) time.Duration {
	const problem = "must be a whole number of seconds from 1 to 9223372036"
	value, ok := b.value(name, "-0123456789", problem)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n < 1 || n > maxSeconds {
		b.refuse(name, problem)
		return 0
	}
	return time.Duration(n) * time.Second
}

// idempotencyKey reads the header of draft-ietf-httpapi-idempotency-key-header:
// a string as in RFC 9651, section 3.3.3, or, since many clients send it so,
// the text without quotes.
func (b *body) idempotencyKey(h http.Header) string {
	lines := h["Idempotency-Key"]
	if len(lines) == 0 {
		return ""
	}
	text, ok := strings.Trim(lines[0], " \t"), len(lines) == 1
	if strings.HasPrefix(text, `"`) {
		text, ok = unquote(text)
		ok = ok && len(lines) == 1
	} else if strings.ContainsAny(text, ` ",;\`) {
		ok = false
	}
	if !ok || text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		b.refuse("Idempotency-Key", "must be one string of printable ASCII")
	}
	return text
}

// unquote reads a string of RFC 9651, in which a backslash stands before a
// quote or a backslash only.
func unquote(quoted string) (text string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(quoted); i++ {
		switch c := quoted[i]; c {
		case '"':
			return b.String(), i == len(quoted)-1
		case '\\':
			i++
			if i == len(quoted) || quoted[i] != '"' && quoted[i] != '\\' {
				return "", false
			}
			b.WriteByte(quoted[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
