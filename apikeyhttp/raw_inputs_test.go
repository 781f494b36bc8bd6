package apikeyhttp_test

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// hostileInput is a bad request to any route.
type hostileInput struct {
	class string
	text  string // in place of a token, before it was encoded
	want  string // the refusal: a sample of hostileCarrier, a code of hostileCodes, or any sample
	hostileParts
	below string // of the route's path
	body  string

	// shape, if set, writes the whole request.
	shape func(method, target string, lines []string) string
}

// hostileParts are those of a request that carry keys.
type hostileParts struct {
	lines []string // of the header
	query string
}

func both(a, b hostileParts) hostileParts {
	separator := ""
	if a.query != "" && b.query != "" {
		separator = "&"
	}
	return hostileParts{append(append([]string{}, a.lines...), b.lines...), a.query + separator + b.query}
}

// request writes the input out.
func (in hostileInput) request(route rawRoute) string {
	target := route.path + in.below
	if in.query != "" {
		target += "?" + in.query
	}
	if in.shape != nil {
		return in.shape(route.method, target, in.lines)
	}
	lines := append([]string{"Host: example.com"}, in.lines...)
	if in.body != "" || route.method == "POST" {
		lines = append(lines, fmt.Sprint("Content-Length: ", len(in.body)))
	}
	return written(route.method, target, lines) + in.body
}

// texts are the parts of the request that the attacker chose.
func (in hostileInput) texts(route rawRoute) []string {
	if in.shape != nil {
		return []string{in.request(route)}
	}
	return append([]string{in.text, in.query, in.below, in.body}, in.lines...)
}

func written(method, target string, lines []string) string {
	return method + " " + target + " HTTP/1.1\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// hostileKeys are what an attacker may have found.
type hostileKeys struct {
	token, user, pass string
	bad               []string // tokens of keys that never were
	stored            []string // what stands in a stolen database
	bound             string   // token that may be used from another network only
	dead              []struct{ token, code string }
	secrets           []apikey.Secret // that must be told nowhere
}

// hostileCodes are the refusals that tell more to who has the right secret.
var hostileCodes = map[string]struct {
	status int
	detail string
}{
	"replaced": {401, "The API key was replaced by a newer one."}, "disabled": {401, "The API key is disabled."},
	"owner_disabled": {401, "The owner of the API key is disabled."}, "expired": {401, "The API key has expired."},
	"deleted": {401, "The API key was deleted."}, "address_not_allowed": {403, "The API key may not be used from this address."},
}

// newHostileKeys issues keys, and lets some of them end in each way.
func newHostileKeys(t *testing.T, keys *apikeytest.Manager) *hostileKeys {
	params := func(owner string) apikey.IssueParams {
		return apikey.IssueParams{Owner: owner, Scopes: []string{"orders:*"}}
	}
	good := keys.MustIssue(t, params("ada"))
	k := &hostileKeys{token: good.Token.Reveal(), user: good.AccessKey(), pass: good.AccessSecret().Reveal()}
	foreign := apikeytest.New(t)
	for range 8 {
		k.bad = append(k.bad, foreign.MustIssue(t, params("eve")).Token.Reveal())
	}
	bound := params("ada")
	bound.Networks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	k.bound = keys.MustIssue(t, bound).Token.Reveal()

	for _, code := range slices.Sorted(maps.Keys(hostileCodes)) {
		for i := range 5 {
			p := params(fmt.Sprint(code, i))
			p.Lifetime.Time = time.Duration(100+i) * time.Hour
			if code == "expired" {
				p.Lifetime.Time = time.Duration(1+i) * time.Minute
			}
			issued, err := keys.MustIssue(t, p), error(nil)
			switch code {
			case "replaced":
				_, err = keys.Regenerate(t.Context(), issued.Key.ID)
			case "disabled":
				_, err = keys.Disable(t.Context(), issued.Key.ID)
			case "owner_disabled":
				_, err = keys.DisableOwner(t.Context(), issued.Key.Owner)
			case "deleted":
				_, err = keys.Delete(t.Context(), issued.Key.ID)
			case "address_not_allowed":
				continue // see k.bound
			}
			must(t, err)
			k.dead = append(k.dead, struct{ token, code string }{issued.Token.Reveal(), code})
		}
	}
	keys.Advance(time.Hour)

	record, err := keys.Store.Get(t.Context(), good.Key.ID, "")
	must(t, err)
	credential := record.Credentials[0]
	digest, prefix := string(credential.Digest), k.user+"_"
	// What is found may be of another form than a secret: its first 32
	// characters, with their checksum, are tried too.
	for _, found := range []string{
		hex.EncodeToString([]byte(digest)), strings.ToUpper(hex.EncodeToString([]byte(digest))),
		base64.StdEncoding.EncodeToString([]byte(digest)), base64.RawURLEncoding.EncodeToString([]byte(digest)),
		base32.StdEncoding.EncodeToString([]byte(digest)), hex.EncodeToString([]byte(credential.PepperID + digest)),
		credential.ID + credential.ID, record.Key.ID + record.Key.ID, hex.EncodeToString([]byte(digest[16:])),
		fmt.Sprintf("%x", sha256.Sum256([]byte(k.token))), fmt.Sprintf("%x", sha256.Sum256([]byte(k.pass))),
	} {
		k.stored = append(k.stored, found, prefix+found, withChecksum(prefix+lettersOf(found)))
	}
	k.secrets = []apikey.Secret{good.Token, apikey.NewSecret(k.bound), apikey.NewSecret(digest)}
	return k
}

// withChecksum completes a token.
func withChecksum(body string) string {
	return body + checksumOf(uint64(crc32.ChecksumIEEE([]byte(body))))
}

const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func checksumOf(sum uint64) string {
	var text [6]byte
	for i := 5; i >= 0; i-- {
		text[i] = digits[sum%62]
		sum /= 62
	}
	return string(text[:])
}

// lettersOf makes 32 characters of base62 of a text.
func lettersOf(text string) string {
	text = strings.Map(func(r rune) rune {
		if strings.ContainsRune(digits, r) {
			return r
		}
		return -1
	}, text)
	return (text + strings.Repeat("0", 32))[:32]
}

// hostileCarrier is a way to carry a key that is attacked.
type hostileCarrier struct {
	name    string
	options apikeyhttp.Options
	scheme  string                           // that stands before the key
	place   func(text string) hostileParts   // with the text as key
	raw     func(value string) hostileParts  // with all that follows the name
	beside  []func(text string) hostileParts // other carriers that are turned on
	good    hostileParts
	wrong   string                  // the refusal of a wrong key
	samples map[string]hostileParts // harmless bad requests
}

func hostileCarriers(k *hostileKeys) []hostileCarrier {
	line := func(name string) func(string) hostileParts {
		return func(value string) hostileParts { return hostileParts{lines: []string{name + ": " + value}} }
	}
	authorization, header, shop := line("Authorization"), line("X-API-Key"), line("Shop-Key")
	bearer := func(text string) hostileParts { return authorization("Bearer " + text) }
	basic := func(text string) hostileParts {
		cut := strings.LastIndexByte(text, '_')
		return authorization("Basic " + base64Of(text[:max(cut, 0)]+":"+text[cut+1:]))
	}
	parameter := func(text string) hostileParts { return hostileParts{query: "api_key=" + url.QueryEscape(text)} }
	combinations := []func(text string) hostileParts{
		func(text string) hostileParts { return both(bearer(text), header(k.token)) },
		func(text string) hostileParts { return both(header(text), bearer(k.token)) },
		func(text string) hostileParts { return both(basic(text), header(k.token)) },
		func(text string) hostileParts { return both(header(text), basic(k.token)) },
		func(text string) hostileParts { return both(bearer(text), basic(k.token)) },
		func(text string) hostileParts { return both(basic(text), bearer(k.token)) },
	}
	chosen := func(text string) int { return int(crc32.ChecksumIEEE([]byte(text))) }
	two := func(text string) hostileParts { return combinations[chosen(text)%len(combinations)](text) }
	rawTwo := func(value string) hostileParts {
		if chosen(value)%2 == 0 {
			return both(authorization(value), header(k.token))
		}
		return both(header(value), bearer(k.token))
	}
	type placers = []func(string) hostileParts
	all := apikeyhttp.Bearer | apikeyhttp.Header | apikeyhttp.Basic | apikeyhttp.Query
	carriers := []hostileCarrier{
		{name: "Bearer", scheme: "Bearer ", place: bearer, raw: authorization, beside: placers{basic, header}},
		{name: "Basic", scheme: "Basic ", place: basic, raw: authorization, beside: placers{bearer, header}, options: apikeyhttp.Options{Carriers: all &^ apikeyhttp.Query}},
		{name: "X-API-Key", place: header, raw: header, beside: placers{bearer, basic}},
		{name: "Shop-Key", place: shop, raw: shop, beside: placers{bearer, basic}, options: apikeyhttp.Options{Header: "shop-key"}},
		{name: "Query", place: parameter, raw: parameter, beside: placers{bearer, basic, header}, options: apikeyhttp.Options{Carriers: all}},
		{name: "two carriers", place: two, raw: rawTwo, beside: placers{bearer, basic, header}, wrong: "request"},
	}
	for i := range carriers {
		c := &carriers[i]
		c.good = c.place(k.token)
		if c.wrong != "" {
			c.good = bearer(k.token)
		} else {
			c.wrong = "invalid"
		}
		c.samples = map[string]hostileParts{"none": {}, "invalid": bearer("x"), "request": both(bearer("x"), bearer("x"))}
	}
	return carriers
}

// hostileInputs are the inputs for a carrier, class by class.
func hostileInputs(k *hostileKeys, c hostileCarrier) []hostileInput {
	var inputs []hostileInput
	add := func(class, want string, in hostileInput) {
		in.class, in.want = class, want
		inputs = append(inputs, in)
	}
	unless := func(want string) string { // two carriers are refused before anything else
		if c.wrong == "request" {
			return "request"
		}
		return want
	}
	for _, texts := range hostileTexts(k) {
		for _, text := range texts.texts {
			want := ""
			if texts.wrong {
				want = c.wrong
			}
			add(texts.class, want, hostileInput{text: text, hostileParts: c.place(text)})
		}
	}
	for _, dead := range k.dead {
		add("key that has ended", unless(dead.code), hostileInput{text: dead.token, hostileParts: c.place(dead.token)})
	}
	for _, value := range hostileSchemes(k) {
		if value != k.token || c.scheme != "" {
			add("scheme", "", hostileInput{text: value, hostileParts: c.raw(value)})
		}
	}
	if c.scheme == "Basic " {
		for _, value := range hostilePairs(k) {
			add("base64 and pair", "", hostileInput{text: value, hostileParts: c.raw("Basic " + value)})
		}
	}
	for _, texts := range hostileRepetitions(k) {
		parts := c.place(texts[0])
		for _, text := range texts[1:] {
			parts = both(parts, c.place(text))
		}
		add("repeated", "request", hostileInput{text: texts[0], hostileParts: parts})
	}
	own := append([]string{k.token, ""}, k.bad[:3]...)
	for _, other := range c.beside {
		for _, a := range own {
			for _, b := range append([]string{k.token}, k.bad[:2]...) {
				add("beside another carrier", "request", hostileInput{text: a, hostileParts: both(c.place(a), other(b))})
				add("beside another carrier", "request", hostileInput{text: a, hostileParts: both(other(b), c.place(a))})
			}
		}
	}
	for _, in := range hostilePlaces(k, c) {
		add("somewhere else", "none", in)
	}
	for i, accept := range hostileAccepts {
		parts := both(c.place(k.bad[i%len(k.bad)]), hostileParts{lines: []string{"Accept: " + accept}})
		add("Accept", c.wrong, hostileInput{text: accept, hostileParts: parts})
	}
	for _, line := range hostileOrigins {
		if c.scheme == "Basic " && strings.HasPrefix(line, "Origin:") {
			continue // rejected before the key is checked
		}
		parts := both(c.place(k.bound), hostileParts{lines: []string{line}})
		add("forged address", unless("address_not_allowed"), hostileInput{text: k.bound, hostileParts: parts})
	}
	for i, n := range []int{10, 20, 50, 100, 200, 300, 400, 800, 3000} {
		junk := hostileParts{}
		for j := range n {
			junk.lines = append(junk.lines, fmt.Sprintf("X-Api-Key-%d: %d", j, j))
		}
		for j := range 3 {
			text := k.bad[(i+j)%len(k.bad)]
			add("many headers", c.wrong, hostileInput{text: text, hostileParts: both(c.place(text), junk)})
			text = text[:len(text)-1]
			add("many headers", c.wrong, hostileInput{text: text, hostileParts: both(junk, c.place(text))})
		}
	}
	for i, shape := range hostileShapes(k) {
		for j := range 3 {
			if j > 0 && !hostileLong {
				break
			}
			text := k.bad[(i+j)%len(k.bad)]
			add("framing", "", hostileInput{text: text, hostileParts: c.place(text), shape: shape})
		}
	}
	return inputs
}
