package sqlstore

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/micros"
)

// The types below read one column each, right into the field of the root
// package, and write it. They refuse what cannot have been written by this
// package; their errors hold nothing of what was stored, and database/sql adds
// the name of the column. NULL, in the columns of a row that an outer join did
// not find, is the zero value.

type (
	text    string        // a text
	blob    string        // bytes
	number  int64         // an integer
	flag    bool          // 0 or 1
	instant time.Time     // Unix microseconds
	period  time.Duration // microseconds
	nonce   apikey.Nonce  // 16 bytes

	scopes   apikey.Scopes   // as Scopes.String
	networks apikey.Networks // as Networks.String
	pairs    apikey.Metadata // a JSON object of texts

	scheme  uint8 // 0 to 255
	integer int   // an integer
)

// damage is the error of a column that cannot be read.
type damage string

func (d damage) Error() string { return string(d) }

func (d damage) Unwrap() error { return apikey.ErrDamaged }

// unparsed returns the error of a column whose text cannot be parsed. It wraps
// no *apikey.FieldError, which callers take for bad input.
func unparsed(err error) error {
	if err == nil {
		return nil
	}
	return damage(strings.TrimPrefix(err.Error(), "apikey: "))
}

func (t *text) Scan(v any) error {
	switch v := v.(type) {
	case string:
		*t = text(v)
	case []byte:
		*t = text(v)
	case nil:
		*t = ""
	default:
		return damage("is not text")
	}
	return nil
}

func (b *blob) Scan(v any) error { return (*text)(b).Scan(v) }

func (n *number) Scan(v any) error {
	switch v := v.(type) {
	case int64:
		*n = number(v)
	case nil:
		*n = 0
	case []byte: // as some drivers return what they did not prepare
		parsed, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return damage("is not an integer")
		}
		*n = number(parsed)
	default:
		return damage("is not an integer")
	}
	return nil
}

func (i *integer) Scan(v any) error {
	var n number
	if err := n.Scan(v); err != nil {
		return err
	}
	*i = integer(n)
	if number(*i) != n {
		return damage("is out of range")
	}
	return nil
}

func (s *scheme) Scan(v any) error {
	var n number
	if err := n.Scan(v); err != nil {
		return err
	}
	*s = scheme(n)
	if number(*s) != n {
		return damage("is out of range")
	}
	return nil
}

func (f *flag) Scan(v any) error {
	if b, ok := v.(bool); ok {
		*f = flag(b)
		return nil
	}
	var n number
	if err := n.Scan(v); err != nil {
		return err
	}
	if n != 0 && n != 1 {
		return damage("is neither 0 nor 1")
	}
	*f = n == 1
	return nil
}

func (i *instant) Scan(v any) error {
	var n number
	if err := n.Scan(v); err != nil {
		return err
	}
	if n < firstMicros || n > lastMicros {
		return damage("is no time of the years 1 to 9999")
	}
	*i = instant(micros.Time(int64(n)))
	return nil
}

// The years that RFC 3339 can write. With another one encoding/json would
// reject a whole list.
const (
	firstMicros = -62135596800000000
	lastMicros  = 253402300799999999
)

func (p *period) Scan(v any) error {
	var n number
	if err := n.Scan(v); err != nil {
		return err
	}
	const unit = number(time.Microsecond)
	*p = period(n * unit)
	if number(*p)/unit != n {
		return damage("is out of range")
	}
	return nil
}

func (n *nonce) Scan(v any) error {
	var b blob
	if err := b.Scan(v); err != nil {
		return err
	}
	*n = nonce{}
	if v != nil && len(b) != len(n) {
		return damage("is not 16 bytes")
	}
	copy(n[:], b)
	return nil
}

func (s *scopes) Scan(v any) error {
	var t text
	err := t.Scan(v)
	var parsed apikey.Scopes
	if err == nil {
		parsed, err = apikey.ParseScopes(string(t))
		err = unparsed(err)
	}
	*s = scopes(parsed)
	return err
}

func (n *networks) Scan(v any) error {
	var t text
	err := t.Scan(v)
	var parsed apikey.Networks
	if err == nil {
		parsed, err = apikey.ParseNetworks(string(t))
		err = unparsed(err)
	}
	*n = networks(parsed)
	return err
}

func (p *pairs) Scan(v any) error {
	var t text
	if err := t.Scan(v); err != nil {
		return err
	}
	*p = pairs{}
	if t == "{}" || v == nil {
		return nil
	}
	var m map[string]string
	if err := json.Unmarshal([]byte(t), &m); err != nil || m == nil {
		return damage("is not a JSON object of texts")
	}
	*p = pairs(apikey.NewMetadata(m))
	return nil
}

func keyColumns(k *apikey.Key) []any {
	return append(make([]any, 0, 40),
		(*text)(&k.ID), (*text)(&k.Owner), (*text)(&k.Name),
		(*scopes)(&k.Scopes), (*networks)(&k.Networks),
		(*integer)(&k.Rate.Requests), (*period)(&k.Rate.Period), (*pairs)(&k.Metadata),
		(*instant)(&k.CreatedAt), (*instant)(&k.DisabledAt),
		(*flag)(&k.Locked), (*instant)(&k.DeletedAt),
		(*text)(&k.Prefix), (*text)(&k.CredentialID), (*instant)(&k.IssuedAt), (*instant)(&k.ExpiresAt),
		(*text)(&k.RetiringID), (*number)(&k.Revision))
}

func recordColumns(r *apikey.Record) []any {
	return append(keyColumns(&r.Key), (*text)(&r.Key.DisabledBy), (*text)(&r.Key.DisabledReason), (*nonce)(&r.Nonce), (*blob)(&r.IssueHash), (*blob)(&r.Seal))
}

func credentialColumns(to []any, c *apikey.Credential) []any {
	return append(to,
		(*text)(&c.ID), (*text)(&c.Prefix),
		(*instant)(&c.CreatedAt), (*instant)(&c.ExpiresAt), (*instant)(&c.RetireBefore),
		(*scheme)(&c.Scheme), (*blob)(&c.PepperID), (*blob)(&c.Digest), (*blob)(&c.Seal))
}

func ownerColumns(to []any, o *apikey.Owner) []any {
	return append(to, (*instant)(&o.DisabledAt), (*flag)(&o.HasCeiling), (*scopes)(&o.Ceiling))
}

func ownerStateColumns(o *apikey.Owner) []any {
	return append(ownerColumns(nil, o),
		(*text)(&o.DisabledBy), (*text)(&o.DisabledReason), (*instant)(&o.TokensUntil),
		(*number)(&o.Revision), (*nonce)(&o.Nonce), (*blob)(&o.Seal))
}

func onceColumns(n *apikey.OnceName) []any {
	return []any{(*text)(&n.Name), (*text)(&n.KeyID), (*number)(&n.Seq)}
}

func eventColumns(e *apikey.Event) []any {
	return []any{
		(*number)(&e.Position.Seq), (*nonce)(&e.Position.Nonce), (*instant)(&e.At), (*text)(&e.Kind),
		(*text)(&e.KeyID), (*text)(&e.Owner), (*text)(&e.CredentialID), (*text)(&e.OldCredentialID),
		(*instant)(&e.OldExpiresAt), (*number)(&e.Revision), (*text)(&e.Actor), (*text)(&e.Reason),
		(*pairs)(&e.Data), (*blob)(&e.Seal),
	}
}

// keyValues are the columns of a key that a change sets.
func keyValues(r *apikey.Record) ([]any, error) {
	k := &r.Key
	metadata, err := jsonText(k.Metadata)
	if err != nil {
		return nil, fmt.Errorf("metadata of key %s: %w", k.ID, err)
	}
	return []any{
		k.Name, k.Scopes.String(), k.Networks.String(),
		int64(k.Rate.Requests), k.Rate.Period.Microseconds(), metadata,
		micros.Of(k.CreatedAt), micros.Of(k.DisabledAt), k.DisabledBy, k.DisabledReason,
		zeroOne(k.Locked), micros.Of(k.DeletedAt),
		k.Prefix, k.CredentialID, micros.Of(k.IssuedAt), micros.Of(k.ExpiresAt),
		k.RetiringID, r.Nonce[:], []byte(r.IssueHash), []byte(r.Seal),
	}, nil
}

// credentialValues are the columns of a credential that a change sets.
func credentialValues(c *apikey.Credential, current bool) []any {
	return []any{
		c.Prefix, micros.Of(c.CreatedAt), micros.Of(c.ExpiresAt), micros.Of(c.RetireBefore),
		int64(c.Scheme), []byte(c.PepperID), []byte(c.Digest), []byte(c.Seal), zeroOne(current),
	}
}

func ownerValues(o *apikey.Owner) []any {
	return []any{
		micros.Of(o.DisabledAt), o.DisabledBy, o.DisabledReason,
		zeroOne(o.HasCeiling), o.Ceiling.String(), micros.Of(o.TokensUntil), o.Nonce[:], []byte(o.Seal),
	}
}

func eventValues(e *apikey.Event, seq int64) ([]any, error) {
	data, err := jsonText(e.Data)
	if err != nil {
		return nil, fmt.Errorf("data of event %s: %w", e.Kind, err)
	}
	return []any{
		seq, e.Position.Nonce[:], micros.Of(e.At), string(e.Kind),
		e.KeyID, e.Owner, e.CredentialID, e.OldCredentialID,
		micros.Of(e.OldExpiresAt), e.Revision, e.Actor, e.Reason,
		data, []byte(e.Seal),
	}, nil
}

// zeroOne keeps a bool as a number, as every database has them.
func zeroOne(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func jsonText(m apikey.Metadata) (string, error) {
	if m.Len() == 0 {
		return "{}", nil
	}
	b, err := json.Marshal(m)
	return string(b), err
}
