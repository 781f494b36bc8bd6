package apikeyhttp_test

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// TestHeaders sends headers of every shape. KEY stands for a live token,
// USER and PASS for its halves, B64 for the Basic credentials.
func TestHeaders(t *testing.T) {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	token, user, pass := issued.Token.Reveal(), issued.AccessKey(), issued.AccessSecret().Reveal()
	fill := strings.NewReplacer("KEY", token, "USER", user, "PASS", pass, "B64", base64Of(user+":"+pass))

	const (
		ok      = ""
		none    = "no_credential"
		invalid = "invalid_token"
		request = "invalid_request"
		all     = apikeyhttp.Bearer | apikeyhttp.Header | apikeyhttp.Basic
	)
	tests := []struct {
		name          string
		carriers      apikeyhttp.Carrier
		authorization []string
		own           []string
		code          string
	}{
		{"nothing", all, nil, nil, none},

		{"Bearer", all, []string{"Bearer KEY"}, nil, ok},
		{"bearer", all, []string{"bearer KEY"}, nil, ok},
		{"BEARER", all, []string{"bEaReR KEY"}, nil, ok},
		{"Bearer, spaces", all, []string{"Bearer   KEY"}, nil, ok},
		{"Bearer, no token", all, []string{"Bearer"}, nil, request},
		{"Bearer, spaces only", all, []string{"Bearer  "}, nil, request},
		{"Bearer, two tokens", all, []string{"Bearer KEY KEY"}, nil, request},
		{"Bearer, list", all, []string{"Bearer KEY,KEY"}, nil, request},
		{"Bearer, list of schemes", all, []string{"Bearer KEY, Basic B64"}, nil, request},
		{"Bearer, ends in a comma", all, []string{"Bearer KEY,"}, nil, request},
		{"Bearer, ends in a space", all, []string{"Bearer KEY "}, nil, request},
		{"Bearer, tab", all, []string{"Bearer \tKEY"}, nil, request},
		{"Bearer, tab for space", all, []string{"Bearer\tKEY"}, nil, request},
		{"Bearer, colon", all, []string{"Bearer: KEY"}, nil, request},
		{"Bearer, colon for space", all, []string{"Bearer:KEY"}, nil, request},
		{"Bearer, equals sign", all, []string{"Bearer=KEY"}, nil, request},
		{"Bearer, quoted", all, []string{`Bearer "KEY"`}, nil, invalid},
		{"Bearer, parameter", all, []string{"Bearer token=KEY"}, nil, invalid},
		{"Bearer, line break", all, []string{"Bearer KEY\r\nX-Admin:1"}, nil, invalid},
		{"Bearer, NUL", all, []string{"Bearer KEY\x00"}, nil, invalid},
		{"Bearer, halves", all, []string{"Bearer USER:PASS"}, nil, invalid},
		{"Bearer, Basic credentials", all, []string{"Bearer B64"}, nil, invalid},
		{"Bearer, access key", all, []string{"Bearer USER"}, nil, invalid},
		{"Bearer twice", all, []string{"Bearer KEY", "Bearer KEY"}, nil, request},
		{"Bearer and nothing", all, []string{"Bearer KEY", ""}, nil, request},
		{"Bearer and Basic", all, []string{"Bearer KEY", "Basic B64"}, nil, request},
		{"Bearer and Digest", all, []string{"Digest x", "Bearer KEY"}, nil, request},
		{"Bearer and header", all, []string{"Bearer KEY"}, []string{"KEY"}, request},
		{"Bearer and empty header", all, []string{"Bearer KEY"}, []string{""}, request},

		{"header", all, nil, []string{"KEY"}, ok},
		{"header, empty", all, nil, []string{""}, request},
		{"header, twice", all, nil, []string{"KEY", "KEY"}, request},
		{"header, and nothing", all, nil, []string{"KEY", ""}, request},
		{"header, list", all, nil, []string{"KEY,KEY"}, request},
		{"header, space", all, nil, []string{"KEY KEY"}, request},
		{"header, leading space", all, nil, []string{" KEY"}, request},
		{"header, Bearer", all, nil, []string{"Bearer KEY"}, request},
		{"header, halves", all, nil, []string{"USER:PASS"}, invalid},
		{"header and Basic", all, []string{"Basic B64"}, []string{"KEY"}, request},
		{"header and Digest", all, []string{`Digest username="x"`}, []string{"KEY"}, request},
		{"header and unknown scheme", all, []string{"Negotiate x"}, []string{"KEY"}, request},
		{"header and empty Authorization", all, []string{""}, []string{"KEY"}, request},

		{"Basic", all, []string{"Basic B64"}, nil, ok},
		{"basic", all, []string{"bASIC B64"}, nil, ok},
		{"Basic, no credentials", all, []string{"Basic"}, nil, request},
		{"Basic, two", all, []string{"Basic B64 B64"}, nil, request},
		{"Basic, list", all, []string{"Basic B64,B64"}, nil, request},
		{"Basic, not base64", all, []string{"Basic USER:PASS"}, nil, invalid},
		{"Basic, line break", all, []string{"Basic " + base64Of(fill.Replace("USER:PASS"))[:8] + "\r\n" + base64Of(fill.Replace("USER:PASS"))[8:]}, nil, invalid},
		{"Basic, no padding", all, []string{"Basic " + strings.TrimRight(base64Of(user+":"+pass), "=")}, nil, invalid},
		{"Basic, other trailing bits", all, []string{"Basic " + otherTrailingBits(t, user+":"+pass)}, nil, invalid},
		{"Basic, no colon", all, []string{"Basic " + base64Of(token)}, nil, invalid},
		{"Basic, token as user", all, []string{"Basic " + base64Of(token+":")}, nil, invalid},
		{"Basic, token as user with x", all, []string{"Basic " + base64Of(token+":x")}, nil, invalid},
		{"Basic, token as user with secret", all, []string{"Basic " + base64Of(token+":"+pass)}, nil, invalid},
		{"Basic, token as password", all, []string{"Basic " + base64Of(":"+token)}, nil, invalid},
		{"Basic, token as password of x", all, []string{"Basic " + base64Of("x:"+token)}, nil, invalid},
		{"Basic, token as password of its user", all, []string{"Basic " + base64Of(user+":"+token)}, nil, invalid},
		{"Basic, token as both", all, []string{"Basic " + base64Of(token+":"+token)}, nil, invalid},
		{"Basic, cut at the first underscore", all, []string{"Basic " + base64Of(strings.Replace(token, "_", ":", 1))}, nil, invalid},
		{"Basic, swapped", all, []string{"Basic " + base64Of(pass+":"+user)}, nil, invalid},
		{"Basic, two colons", all, []string{"Basic " + base64Of(user+":"+pass+":")}, nil, invalid},
		{"Basic, line break in password", all, []string{"Basic " + base64Of(user+":"+pass+"\n")}, nil, invalid},
		{"Basic, space in password", all, []string{"Basic " + base64Of(user+": "+pass)}, nil, invalid},

		{"empty", all, []string{""}, nil, request},
		{"leading space", all, []string{" Bearer KEY"}, nil, request},
		{"list first", all, []string{",Bearer KEY"}, nil, request},
		{"schemes in a list", all, []string{"Bearer, Bearer KEY"}, nil, request},
		{"token without scheme", all, []string{"KEY"}, nil, none},
		{"Digest", all, []string{`Digest username="x", nonce="y"`}, nil, none},
		{"Digest, then Bearer", all, []string{`Digest x, Bearer KEY`}, nil, none},
		{"two of Digest", all, []string{"Digest x", "Digest y"}, nil, request},
		{"long s for s", all, []string{"Ba\u017fic B64"}, nil, request},
		{"long s, same length", all, []string{"ba\u017fi B64"}, nil, request},
		{"odd scheme", all, []string{"!#$%&'*+.^_`|~-aZ0 KEY"}, nil, none},
		{"Bearers", all, []string{"Bearers KEY"}, nil, none},
		{"Bear", all, []string{"Bear KEY"}, nil, none},

		{"Bearer off", apikeyhttp.Header | apikeyhttp.Basic, []string{"Bearer KEY"}, nil, none},
		{"Bearer off, beside header", apikeyhttp.Header | apikeyhttp.Basic, []string{"Bearer KEY"}, []string{"KEY"}, request},
		{"Basic off", apikeyhttp.Bearer | apikeyhttp.Header, []string{"Basic B64"}, nil, none},
		{"Basic off, beside header", apikeyhttp.Bearer | apikeyhttp.Header, []string{"Basic B64"}, []string{"KEY"}, request},
		{"header off", apikeyhttp.Bearer | apikeyhttp.Basic, nil, []string{"KEY"}, none},
		{"header off, beside Bearer", apikeyhttp.Bearer | apikeyhttp.Basic, []string{"Bearer KEY"}, []string{"KEY"}, ok},
		{"only header", apikeyhttp.Header, []string{"Basic B64"}, []string{"KEY"}, ok},
		{"only header, Authorization alone", apikeyhttp.Header, []string{"Bearer KEY"}, nil, none},
		{"only Bearer", apikeyhttp.Bearer, []string{"Bearer KEY"}, nil, ok},
		{"only Basic", apikeyhttp.Basic, []string{"Basic B64"}, nil, ok},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			served := newHandler()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			for _, line := range test.authorization {
				r.Header["Authorization"] = append(r.Header["Authorization"], fill.Replace(line))
			}
			for _, line := range test.own {
				r.Header["X-Api-Key"] = append(r.Header["X-Api-Key"], fill.Replace(line))
			}
			got := serve(newGuard(keys, &apikeyhttp.Options{Carriers: test.carriers}).Authenticate(served), r)
			want := expectation{status: map[string]int{ok: 200, none: 401, invalid: 401, request: 400}[test.code], code: test.code}
			if test.code == ok {
				want.calls = 1
			}
			want.complete(all)
			if test.carriers != all {
				want.challenges = got.Header.Values("WWW-Authenticate") // see TestChallenges
			}
			checkResponse(t, want, got, r.Method, served.calls)
		})
	}
}

// otherTrailingBits writes a text in base64 so that it decodes to the same
// bytes, but is not what an encoder writes.
func otherTrailingBits(t *testing.T, text string) string {
	encoded := []byte(base64Of(text))
	at := bytes.IndexByte(encoded, '=') - 1
	if at < 0 {
		t.Fatal("no padding")
	}
	encoded[at]++
	decoded, err := base64.StdEncoding.DecodeString(string(encoded))
	must(t, err)
	if string(decoded) != text {
		t.Fatal("another text")
	}
	return string(encoded)
}

func TestChallenges(t *testing.T) {
	const bearer, basic = `Bearer realm="shop & co"`, `Basic realm="shop & co", charset="UTF-8"`
	const own = `ApiKey realm="shop & co", header="shop-key"`
	const bad, few = `, error="invalid_token"`, `, error="insufficient_scope"`
	tests := []struct {
		name      string
		carriers  apikeyhttp.Carrier
		none      []string
		invalid   []string
		forbidden []string
	}{
		{"default", 0, []string{bearer}, []string{bearer + bad}, []string{bearer + few}},
		{"all", apikeyhttp.Bearer | apikeyhttp.Header | apikeyhttp.Basic, []string{bearer, basic}, []string{bearer + bad, basic}, []string{bearer + few}},
		{"Bearer", apikeyhttp.Bearer, []string{bearer}, []string{bearer + bad}, []string{bearer + few}},
		{"Bearer and header", apikeyhttp.Bearer | apikeyhttp.Header, []string{bearer}, []string{bearer + bad}, []string{bearer + few}},
		{"Bearer and Basic", apikeyhttp.Bearer | apikeyhttp.Basic, []string{bearer, basic}, []string{bearer + bad, basic}, []string{bearer + few}},
		{"header", apikeyhttp.Header, []string{own}, []string{own + bad}, []string{own + few}},
		{"header and Basic", apikeyhttp.Header | apikeyhttp.Basic, []string{own, basic}, []string{own + bad, basic}, []string{own + few}},
		{"Basic", apikeyhttp.Basic, []string{basic}, []string{basic}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			options := &apikeyhttp.Options{Carriers: test.carriers, Realm: "shop & co", Header: "shop-key"}
			challenges := func(err error, name, value string) []string {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header.Set(name, value)
				handler := newGuard(apikeytest.Deny(err), options).Authenticate(newHandler())
				return serve(handler, r).Header.Values("WWW-Authenticate")
			}
			name, value := "Authorization", "Bearer any"
			if test.carriers&apikeyhttp.Header != 0 {
				name, value = "Shop-Key", "any"
			} else if test.carriers == apikeyhttp.Basic {
				value = "Basic " + base64Of("any:any")
			}
			if diff := cmp.Diff(test.none, challenges(nil, "Other", "any")); diff != "" {
				t.Error("no credential", diff)
			}
			if diff := cmp.Diff(test.invalid, challenges(nil, name, value)); diff != "" {
				t.Error("invalid", diff)
			}
			if diff := cmp.Diff(test.forbidden, challenges(apikey.ErrScope, name, value)); diff != "" {
				t.Error("scope", diff)
			}
			if diff := cmp.Diff([]string(nil), challenges(apikey.ErrUnavailable, name, value)); diff != "" {
				t.Error("unavailable", diff)
			}
		})
	}
}

func TestOtherHeader(t *testing.T) {
	is := is.New(t)
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	served := newHandler()
	handler := newGuard(keys, &apikeyhttp.Options{Header: "x-SHOP-key"}).Authenticate(served)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-API-Key", token) // not looked at
	is.Equal(serve(handler, r).StatusCode, 401)
	r.Header.Set("X-Shop-Key", token)
	is.Equal(serve(handler, r).StatusCode, 200)
	is.Equal(served.calls, 1)
}

// TestLongCredentials looks at how much reaches the Validator.
func TestLongCredentials(t *testing.T) {
	for _, carrier := range carriers {
		for length, want := range map[int]int{4096: 1, 4097: 0, 1 << 20: 0} {
			is := is.New(t)
			token := strings.Repeat("x", length)
			if carrier.carrier == apikeyhttp.Basic { // in base64
				token = strings.Repeat("x", length/4*3-2) + "_x"
				if want == 0 {
					token = "xxx" + token
				}
			}
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			carrier.set(r, token)
			v := &recorder{}
			status := serve(newGuard(v, anyCarrier).Authenticate(newHandler()), r).StatusCode
			is.Equal(len(v.tokens), want)
			is.Equal(status, map[int]int{1: 200, 0: 401}[want])
		}
	}
}

func TestNotRead(t *testing.T) {
	keys := apikeytest.New(t)
	token := keys.MustIssue(t, apikey.IssueParams{}).Token.Reveal()
	body := strings.NewReader("access_token=" + token + "&X-API-Key=" + token)
	r := httptest.NewRequest(http.MethodPost, "/"+token+"?access_token="+token+"&X-API-Key="+token+"&api_key="+token, body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Proxy-Authorization", "Bearer "+token)
	r.AddCookie(&http.Cookie{Name: "X-API-Key", Value: token})
	r.Trailer = http.Header{"X-Api-Key": {token}, "Authorization": {"Bearer " + token}}
	r.URL.User = nil
	served := newHandler()
	want := expectation{status: 401, code: "no_credential"}
	want.complete(0)
	checkResponse(t, want, serve(newGuard(keys, nil).Authenticate(served), r), r.Method, served.calls)
}
