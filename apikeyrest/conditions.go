package apikeyrest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/keyturn/apikey"
)

// preconditions are those of a request (RFC 9110, section 13). If-Range,
// If-Modified-Since and If-Unmodified-Since are ignored, because nothing here
// has a modification date or is sent in parts.
type preconditions struct {
	match     *tagSet // If-Match
	noneMatch *tagSet // If-None-Match
}

// tagSet is "*" or a list of entity-tags. The list stays as it was sent, so
// that a field costs no more than its length.
type tagSet struct {
	any  bool
	list string
}

type entityTag struct {
	weak bool
	text string // with its quotes
}

func readPreconditions(h http.Header) (p preconditions, err error) {
	if p.match, err = readTags(h, "If-Match"); err != nil {
		return p, err
	}
	p.noneMatch, err = readTags(h, "If-None-Match")
	return p, err
}

// readTags reads a field of entity-tags. Several lines are one list, and empty
// elements are ignored (RFC 9110, section 5.6.1). It returns nil if there is no
// such field, and rejects one that names nothing.
func readTags(h http.Header, field string) (*tagSet, error) {
	lines := h[field]
	if len(lines) == 0 {
		return nil, nil
	}
	list := strings.Trim(strings.Join(lines, ","), " \t")
	if list == "*" {
		return &tagSet{any: true}, nil
	}
	tags := 0
	for rest := list; rest != ""; {
		tag, after, ok := cutTag(rest)
		if !ok {
			return nil, refuseField(field, `must be "*" or a list of entity-tags`)
		}
		if rest = after; tag.text != "" {
			tags++
		}
	}
	if tags == 0 {
		return nil, refuseField(field, `must be "*" or a list of entity-tags`)
	}
	return &tagSet{list: list}, nil
}

// has reports whether the list contains a tag that the function accepts.
func (s *tagSet) has(accept func(entityTag) bool) bool {
	for rest := s.list; rest != ""; {
		tag, after, _ := cutTag(rest)
		if tag.text != "" && accept(tag) {
			return true
		}
		rest = after
	}
	return false
}

// cutTag returns the first element of a list, which may be empty, and what
// follows its comma.
func cutTag(list string) (tag entityTag, rest string, ok bool) {
	if list[0] != ',' {
		text, weak := strings.CutPrefix(list, "W/")
		size := tagSize(text)
		if size == 0 {
			return entityTag{}, "", false
		}
		tag = entityTag{weak, text[:size]}
		list = strings.TrimLeft(text[size:], " \t")
	}
	if list == "" {
		return tag, "", true
	}
	return tag, strings.TrimLeft(list[1:], " \t"), list[0] == ','
}

// tagSize returns the length of the opaque-tag that a text begins with, or 0.
func tagSize(text string) int {
	if text == "" || text[0] != '"' {
		return 0
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return i + 1
		case c <= ' ' || c == 0x7f:
			return 0
		}
	}
	return 0
}

// verdict is what preconditions say of a request.
type verdict int

const (
	proceed verdict = iota
	notModified
	failed
)

// evaluate returns the verdict on a resource that exists, in the order of RFC
// 9110, section 13.2.2. The tag is its current one, or empty if it has none.
// The function same reports whether If-Match may name the resource by a tag.
func (p preconditions) evaluate(method, tag string, same func(string) bool) verdict {
	if p.match != nil && !p.match.any && !p.match.has(func(t entityTag) bool { return !t.weak && same(t.text) }) {
		return failed
	}
	if p.noneMatch == nil || !p.noneMatch.any && !p.noneMatch.has(func(t entityTag) bool { return t.text == tag }) {
		return proceed
	}
	if method == http.MethodGet || method == http.MethodHead {
		return notModified
	}
	return failed
}

// keyTag is the ETag of a key. It is the revision, in
// quotes, as long as that alone decides what is shown. Usage and the passing of
// time change a key without a new revision. A key that they have changed has a
// digest behind the revision, so that no 304 confirms an outdated view.
func keyTag(view keyView) string {
	revision := strconv.FormatInt(view.Revision, 10)
	if view.Uses == 0 && view.LastUsedAt == "" && view.Status != apikey.StatusExpired && !view.overlapEnded {
		return `"` + revision + `"`
	}
	body, _ := json.Marshal(view) // texts, numbers and lists: does not fail
	sum := sha256.Sum256(body)
	return `"` + revision + "-" + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// tagRevision returns the revision in a tag of a key, or 0 if it is no such
// tag. If-Match compares revisions only: they are what a change is decided on,
// and with whole tags no key in use could be changed under a condition.
func tagRevision(tag string) int64 {
	tag, quoted := strings.CutPrefix(tag, `"`)
	tag, closed := strings.CutSuffix(tag, `"`)
	text, digest, hasDigest := strings.Cut(tag, "-")
	revision, err := strconv.ParseInt(text, 10, 64)
	if !quoted || !closed || err != nil || revision < 1 || strconv.FormatInt(revision, 10) != text {
		return 0
	}
	if raw, err := base64.RawURLEncoding.Strict().DecodeString(digest); hasDigest && (err != nil || len(raw) != 12) {
		return 0
	}
	return revision
}

// changeAttempts bounds how often a change is tried whose preconditions accept
// more than one revision, while others change the key.
const changeAttempts = 10

// changeKey makes a change of a key if the preconditions of the request hold.
func changeKey[T any](c *call, reason string, change func(...apikey.ChangeOption) (T, error)) (result T, err error) {
	because := apikey.Reason(reason)
	match := c.preconditions.match
	if c.preconditions.noneMatch == nil {
		switch {
		case match == nil || match.any:
			return change(because)
		case tagRevision(match.list) > 0: // one tag alone
			result, err = change(because, apikey.IfRevision(tagRevision(match.list)))
			if errors.Is(err, apikey.ErrConflict) && !errors.Is(err, apikey.ErrOutcomeUnknown) {
				err = refusal{answerPrecondition, err}
			}
			return result, err
		}
	}
	for attempt := 1; ; attempt++ {
		key, err := c.keys.Get(c, c.id)
		if err != nil {
			return result, err
		}
		shown, err := c.key(key, nil)
		if err != nil {
			return result, err
		}
		if c.preconditions.evaluate(c.request.Method, shown.tag, shown.same) != proceed {
			return result, refusal{answer: answerPrecondition}
		}
		result, err = change(because, apikey.IfRevision(key.Revision))
		if !errors.Is(err, apikey.ErrConflict) || attempt == changeAttempts {
			return result, err
		}
	}
}
