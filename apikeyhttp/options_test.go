package apikeyhttp_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

func TestBadOptions(t *testing.T) {
	long := strings.Repeat("x", 101)
	tests := []struct {
		name    string
		options apikeyhttp.Options
		field   string
	}{
		{"zero", apikeyhttp.Options{}, ""},
		{"all set", apikeyhttp.Options{Carriers: apikeyhttp.Basic, Header: "Key", Parameter: "my_Key-1", Realm: "A realm of ~!"}, ""},
		{"longest", apikeyhttp.Options{Header: long[4:] + "Key", Realm: long[1:]}, ""},
		{"unknown carrier", apikeyhttp.Options{Carriers: 16}, "carriers"},
		{"unknown among known", apikeyhttp.Options{Carriers: apikeyhttp.Bearer | 128}, "carriers"},
		{"parameter with space", apikeyhttp.Options{Parameter: "api key"}, "parameter"},
		{"parameter with ampersand", apikeyhttp.Options{Parameter: "a&b"}, "parameter"},
		{"parameter with quote", apikeyhttp.Options{Parameter: `a"`}, "parameter"},
		{"parameter not ASCII", apikeyhttp.Options{Parameter: "clé"}, "parameter"},
		{"parameter too long", apikeyhttp.Options{Parameter: long}, "parameter"},
		{"proxies", apikeyhttp.Options{TrustedProxies: prefixes("10.0.0.0/8", "::ffff:192.0.2.0/120", "2001:db8::/32"), ProxyHeader: "forwarded"}, ""},
		{"no proxy", apikeyhttp.Options{TrustedProxies: make([]netip.Prefix, 1)}, "trusted_proxies"},
		{"everyone", apikeyhttp.Options{TrustedProxies: prefixes("10.0.0.0/8", "0.0.0.0/0")}, "trusted_proxies"},
		{"everyone by IPv6", apikeyhttp.Options{TrustedProxies: prefixes("::/0")}, "trusted_proxies"},
		{"everyone, mapped", apikeyhttp.Options{TrustedProxies: prefixes("::ffff:0.0.0.0/96")}, "trusted_proxies"},
		{"everyone and more, mapped", apikeyhttp.Options{TrustedProxies: prefixes("::ffff:0.0.0.0/95")}, "trusted_proxies"},
		{"other proxy header", apikeyhttp.Options{TrustedProxies: prefixes("10.0.0.0/8"), ProxyHeader: "X-Real-IP"}, "proxy_header"},
		{"proxy header without proxies", apikeyhttp.Options{ProxyHeader: "Forwarded"}, "proxy_header"},
		{"limiter that is nil", apikeyhttp.Options{Limiter: (*limiter)(nil)}, "limiter"},
		{"Cf-Connecting-Ip", apikeyhttp.Options{Header: "CF-Connecting-IP"}, "header"},
		{"X-HTTP-Method-Override", apikeyhttp.Options{Header: "X-HTTP-Method-Override"}, "header"},
		{"X-CSRF-Token", apikeyhttp.Options{Header: "X-CSRF-Token"}, "header"},
		{"X-XSRF-Token", apikeyhttp.Options{Header: "X-XSRF-TOKEN"}, "header"},
		{"Surrogate-Key", apikeyhttp.Options{Header: "Surrogate-Key"}, "header"},
		{"Sec-WebSocket-Key", apikeyhttp.Options{Header: "Sec-WebSocket-Key"}, "header"},
		{"Proxy-Token", apikeyhttp.Options{Header: "Proxy-Token"}, "header"},
		{"unknown header of a proxy", apikeyhttp.Options{Header: "Fly-Client-IP"}, "header"},
		{"Key in front", apikeyhttp.Options{Header: "Key-Id"}, "header"},
		{"one word", apikeyhttp.Options{Header: "apikey"}, ""},
		{"Token", apikeyhttp.Options{Header: "PRIVATE-TOKEN"}, ""},
		{"Idempotency-Key", apikeyhttp.Options{Header: "Idempotency-Key"}, "header"},
		{"realm with quote", apikeyhttp.Options{Realm: `a"b`}, "realm"},
		{"realm with backslash", apikeyhttp.Options{Realm: `a\b`}, "realm"},
		{"realm with line break", apikeyhttp.Options{Realm: "a\r\nSet-Cookie: b"}, "realm"},
		{"realm with NUL", apikeyhttp.Options{Realm: "a\x00"}, "realm"},
		{"realm not ASCII", apikeyhttp.Options{Realm: "café"}, "realm"},
		{"realm not UTF-8", apikeyhttp.Options{Realm: "a\xff"}, "realm"},
		{"realm too long", apikeyhttp.Options{Realm: long}, "realm"},
		{"header with space", apikeyhttp.Options{Header: "X Key"}, "header"},
		{"header with colon", apikeyhttp.Options{Header: "X-Key:"}, "header"},
		{"header with line break", apikeyhttp.Options{Header: "X-Key\r\n"}, "header"},
		{"header with underscore", apikeyhttp.Options{Header: "X_Key"}, "header"},
		{"header not ASCII", apikeyhttp.Options{Header: "X-Clé"}, "header"},
		{"header too long", apikeyhttp.Options{Header: long + "Key"}, "header"},
		{"Authorization", apikeyhttp.Options{Header: "authorization"}, "header"},
		{"Proxy-Authorization", apikeyhttp.Options{Header: "PROXY-authorization"}, "header"},
		{"Cookie", apikeyhttp.Options{Header: "Cookie"}, "header"},
		{"Host", apikeyhttp.Options{Header: "host"}, "header"},
		{"Content-Length", apikeyhttp.Options{Header: "Content-Length"}, "header"},
		{"X-Forwarded-For", apikeyhttp.Options{Header: "X-Forwarded-For"}, "header"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			guard, err := apikeyhttp.New(apikeytest.Allow(apikey.Key{}), &test.options)
			is.Equal(guard == nil, err != nil)
			if test.field == "" {
				is.NoErr(err)
				return
			}
			field, ok := errors.AsType[*apikey.FieldError](err)
			is.True(ok)
			is.Equal(field.Field, test.field)
		})
	}
}

// TestNoValidator checks that nobody can build a Guard that has none.
func TestNoValidator(t *testing.T) {
	is := is.New(t)
	for _, v := range []apikey.Validator{nil, (*apikeytest.Manager)(nil)} {
		guard, err := apikeyhttp.New(v, nil)
		field, ok := errors.AsType[*apikey.FieldError](err)
		is.True(ok)
		is.Equal(field.Field, "validator")
		is.Equal(guard, nil)
	}
	for _, guard := range []*apikeyhttp.Guard{nil, {}} {
		is.True(doesPanic(func() { guard.Authenticate(newHandler()) }))
		is.True(doesPanic(func() { guard.Optional(newHandler()) }))
		is.True(doesPanic(func() { guard.Require("orders:read") }))
		is.True(doesPanic(func() { guard.StripCredential(newHandler()) }))
	}
}

func doesPanic(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

// TestOptionsAreCopied changes them afterwards.
func TestOptionsAreCopied(t *testing.T) {
	is := is.New(t)
	options := &apikeyhttp.Options{Realm: "before"}
	handler := newGuard(apikeytest.Deny(nil), options).Authenticate(newHandler())
	options.Realm = "after"
	got := serve(handler, httptest.NewRequest(http.MethodGet, "/", nil))
	is.Equal(got.Header.Get("WWW-Authenticate"), `Bearer realm="before"`)
}

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}
