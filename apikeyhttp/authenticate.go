package apikeyhttp

import (
	"context"
	"net/http"
	"net/netip"
	"strings"

	"github.com/keyturn/apikey"
)

// Options of Authenticate. The zero value of a field is its default.
type Options struct {
	// Carriers are the ways in which a request may carry its key. Default
	// Bearer | Header | Basic.
	Carriers Carrier

	// Header is the name of the header that the carrier Header reads. Default
	// X-API-Key. At most 100 letters, digits and hyphens; names that HTTP
	// gives a meaning to, such as Authorization or Cookie, are refused.
	Header string

	// Realm names what is protected, in challenges: at most 100 characters of
	// printable ASCII without quote and backslash. Default "api".
	Realm string
}

// Carrier is a way in which a request carries its key, or several of them:
// Bearer | Basic.
type Carrier uint8

const (
	// Bearer is Authorization: Bearer <token>, RFC 6750.
	Bearer Carrier = 1 << iota

	// Header is a header that holds nothing but a token; see Options.Header.
	Header

	// Basic is Authorization: Basic, RFC 7617, with the access key as user
	// and the access secret as password.
	Basic

	carriers // one more than all of them
)

// Authenticate returns a middleware that lets only requests with a valid key
// through, and gives the key to the handlers behind it, by
// [apikey.FromContext]. The package comment says where the key is read from,
// and how requests without a valid one are answered. What the key may do is
// the matter of Require.
//
// Options, nil for all defaults, are copied. A server that was set up wrong
// must not let anyone in, and must not end the program of its host either: if
// the Validator is nil or an option is refused, every request is answered with
// status 500 and the reason. Options.Check tells it at start-up.
func Authenticate(v apikey.Validator, options *Options) func(http.Handler) http.Handler {
	c, err := newConfig(options)
	if err == nil && v == nil {
		err = &apikey.FieldError{Field: "validator", Problem: "must not be nil"}
	}
	if err != nil {
		return misconfigured(err)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, refused := c.token(r.Header)
			if refused != nil {
				c.refuse(w, r, refused)
				return
			}
			ctx := &authenticated{Context: r.Context(), config: c}
			ctx.needs[0] = apikey.From(peer(r.RemoteAddr))
			key, err := v.Validate(r.Context(), token, ctx.needs[:]...)
			if err != nil {
				c.refuse(w, r, answerTo(err))
				return
			}
			next.ServeHTTP(w, r.WithContext(apikey.NewContext(ctx, key)))
		})
	}
}

// Check returns a *apikey.FieldError for what Authenticate refuses in the
// options, or nil. Its fields are "carriers", "header" and "realm". Nil
// options are good.
func (o *Options) Check() error {
	_, err := newConfig(o)
	return err
}

// config is Options, checked and completed.
type config struct {
	carriers Carrier
	header   string // in canonical form
	realm    string
}

// defaults is the config of handlers that no Authenticate stands before.
var defaults = &config{carriers: carriers - 1, header: "X-Api-Key", realm: "api"}

func newConfig(options *Options) (*config, error) {
	c := *defaults
	if options == nil {
		return &c, nil
	}
	if options.Carriers >= carriers {
		return nil, &apikey.FieldError{Field: "carriers", Problem: "must be some of Bearer, Header and Basic"}
	}
	if options.Carriers != 0 {
		c.carriers = options.Carriers
	}
	if options.Header != "" {
		c.header = http.CanonicalHeaderKey(options.Header)
		if problem := headerProblem(c.header); problem != "" {
			return nil, &apikey.FieldError{Field: "header", Problem: problem}
		}
	}
	if options.Realm != "" {
		c.realm = options.Realm
		if len(c.realm) > 100 || strings.ContainsFunc(c.realm, unquotable) {
			return nil, &apikey.FieldError{Field: "realm", Problem: "must have at most 100 characters of printable ASCII without quote and backslash"}
		}
	}
	return &c, nil
}

// headerProblem says why a header in canonical form cannot carry keys, or
// nothing.
func headerProblem(name string) string {
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return "must hold letters, digits and hyphens only"
		}
	}
	if len(name) > 100 {
		return "must have at most 100 characters"
	}
	for _, prefix := range []string{
		"Accept", "Accept-", "Access-Control-", "Authorization", "Cache-Control", "Connection", "Content-",
		"Cookie", "Cookie2", "Date", "Etag", "Expect", "Expires", "Forwarded", "From", "Host", "If-", "Keep-Alive", "Last-Modified", "Location", "Max-Forwards", "Origin", "Pragma",
		"Proxy-", "Range", "Referer", "Retry-After", "Sec-", "Server", "Set-Cookie", "Te", "True-Client-Ip", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent",
		"Vary", "Via", "Www-Authenticate", "X-Client-Ip", "X-Forwarded-", "X-Real-Ip",
	} {
		if name == prefix || strings.HasSuffix(prefix, "-") && strings.HasPrefix(name, prefix) {
			return "must not be a header with a meaning of its own"
		}
	}
	return ""
}

// unquotable tells what cannot stand in a quoted-string of RFC 9110 as it is.
func unquotable(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }

// peer returns the address in Request.RemoteAddr, or no address.
func peer(remoteAddr string) netip.Addr {
	// On an error the AddrPort is the zero one.
	addr, _ := netip.ParseAddrPort(remoteAddr)
	return addr.Addr()
}

// authenticated is the context of a request behind Authenticate: what the
// middlewares behind it need to know. It also holds the needs, which would
// take an allocation of their own.
type authenticated struct {
	context.Context
	config *config
	needs  [1]apikey.Need
}

type configKey struct{}

func (c *authenticated) Value(name any) any {
	if name == (configKey{}) {
		return c.config
	}
	return c.Context.Value(name)
}

// configOf returns the config of the Authenticate in front of a handler.
func configOf(ctx context.Context) *config {
	if c, ok := ctx.Value(configKey{}).(*config); ok {
		return c
	}
	return defaults
}
