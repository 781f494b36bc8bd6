package apikeyhttp_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// carriers are the ways to put a token into a request.
var carriers = []struct {
	name    string
	carrier apikeyhttp.Carrier
	set     func(r *http.Request, token string)
}{
	{"Bearer", apikeyhttp.Bearer, func(r *http.Request, token string) { r.Header.Set("Authorization", "Bearer "+token) }},
	{"Header", apikeyhttp.Header, func(r *http.Request, token string) { r.Header.Set("X-API-Key", token) }},
	{"Basic", apikeyhttp.Basic, func(r *http.Request, token string) {
		cut := strings.LastIndexByte(token, '_')
		r.SetBasicAuth(token[:max(cut, 0)], token[cut+1:])
	}},
	{"Query", apikeyhttp.Query, func(r *http.Request, token string) {
		r.URL.RawQuery = url.Values{"api_key": {token}, "page": {"2"}}.Encode()
		r.RequestURI = r.URL.RequestURI()
	}},
}

// every are all carriers that there are, which the code says.
func every() apikeyhttp.Carrier {
	var all apikeyhttp.Carrier
	for c := apikeyhttp.Carrier(1); c != 0; c <<= 1 {
		if _, err := apikeyhttp.New(apikeytest.Deny(nil), &apikeyhttp.Options{Carriers: c}); err != nil {
			break
		}
		all |= c
	}
	return all
}

// anyCarrier are Options with each carrier turned on.
var anyCarrier = &apikeyhttp.Options{Carriers: every()}

// states are what can become of a key. Each function makes a key that way and
// returns a token of it; refused is the code, empty if the token is accepted.
var states = []struct {
	name    string
	make    func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string
	status  int
	code    string
	isValid bool
}{
	{name: "active", isValid: true, make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		return keys.MustIssue(t, p).Token.Reveal()
	}},
	{name: "rotating, old", isValid: true, make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		_, err := keys.Rotate(t.Context(), issued.Key.ID, time.Hour)
		must(t, err)
		return issued.Token.Reveal()
	}},
	{name: "rotating, new", isValid: true, make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		rotated, err := keys.Rotate(t.Context(), keys.MustIssue(t, p).Key.ID, time.Hour)
		must(t, err)
		return rotated.Token.Reveal()
	}},
	{name: "overlap over", status: 401, code: "replaced", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		_, err := keys.Rotate(t.Context(), issued.Key.ID, time.Hour)
		must(t, err)
		keys.Advance(time.Hour)
		return issued.Token.Reveal()
	}},
	{name: "regenerated, old", status: 401, code: "replaced", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		_, err := keys.Regenerate(t.Context(), issued.Key.ID)
		must(t, err)
		return issued.Token.Reveal()
	}},
	{name: "disabled", status: 401, code: "disabled", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		_, err := keys.Disable(t.Context(), issued.Key.ID)
		must(t, err)
		return issued.Token.Reveal()
	}},
	{name: "owner disabled", status: 401, code: "owner_disabled", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		_, err := keys.DisableOwner(t.Context(), issued.Key.Owner)
		must(t, err)
		return issued.Token.Reveal()
	}},
	{name: "expired", status: 401, code: "expired", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		keys.Clock.Set(issued.Key.ExpiresAt)
		return issued.Token.Reveal()
	}},
	{name: "deleted", status: 401, code: "deleted", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		_, err := keys.Delete(t.Context(), issued.Key.ID)
		must(t, err)
		return issued.Token.Reveal()
	}},
	{name: "other network", status: 403, code: "address_not_allowed", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		p.Networks = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		return keys.MustIssue(t, p).Token.Reveal()
	}},
	{name: "own network", isValid: true, make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		p.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // as in httptest.NewRequest
		return keys.MustIssue(t, p).Token.Reveal()
	}},
	{name: "unknown", status: 401, code: "invalid_token", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		return apikeytest.New(t).MustIssue(t, p).Token.Reveal()
	}},
	{name: "wrong secret", status: 401, code: "invalid_token", make: wrongSecret},
	{name: "malformed", status: 401, code: "invalid_token", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		return keys.MustIssue(t, p).Token.Reveal() + "0"
	}},
	{name: "store down", status: 503, code: "unavailable", make: func(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
		issued := keys.MustIssue(t, p)
		keys.Store.Fail(apikeytest.Failure{Forever: true})
		return issued.Token.Reveal()
	}},
}

// wrongSecret returns a token with the access key of a key of the Manager and
// a secret that is well-formed, with its checksum, but another's.
func wrongSecret(t *testing.T, keys *apikeytest.Manager, p apikey.IssueParams) string {
	// The checksum covers the access key. A restored store finds the access
	// key again, under the digest of another secret.
	issued := keys.MustIssue(t, p)
	record, err := keys.Store.Get(t.Context(), issued.Key.ID, "")
	must(t, err)
	record.Credentials[0].Digest = apikey.Digest(strings.Repeat("x", 32))
	_, err = keys.Store.Commit(t.Context(), apikey.Commit{Records: []apikey.Record{record}, Events: []apikey.Event{{Kind: apikey.EventUpdated}}})
	must(t, err)
	return issued.Token.Reveal()
}
