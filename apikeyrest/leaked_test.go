package apikeyrest_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyrest"
	"github.com/keyturn/apikey/apikeytest"
)

// keyShop is an API that keys manage: it is behind Authenticate, and acts for
// the owner of the key.
type keyShop struct {
	*shop
	leaked apikey.Issued // with orders:read for an hour, from one network
	equal  apikey.Key    // within the leaked one, rotating
	wide   apikey.Key    // with orders:* for a year, rotating
}

func newKeyShop(t *testing.T, options *apikey.OwnerOptions) *keyShop {
	t.Helper()
	s := &keyShop{shop: newShop(t)}
	options.Scopes = []string{"orders:*"}
	api := newAPI(s.Manager.Manager, &apikeyrest.Options{
		Owner:        ownerOfKey,
		OwnerOptions: func(*http.Request, string) (*apikey.OwnerOptions, error) { return options, nil },
	})
	s.handler = newGuard(s.Manager, nil).Authenticate(api)
	issue := func(p apikey.IssueParams) apikey.Issued {
		p.Owner = "ada"
		issued, err := s.Issue(t.Context(), p)
		must(t, err)
		s.secrets = append(s.secrets, issued.Token)
		return issued
	}
	rotate := func(id string) apikey.Key {
		rotated, err := s.Rotate(t.Context(), id, 30*time.Minute)
		must(t, err)
		s.secrets = append(s.secrets, rotated.Token)
		return rotated.Key
	}
	bounded := apikey.IssueParams{
		Name: "leaked", Scopes: []string{"orders:read"}, Lifetime: apikey.Period{Time: time.Hour}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}
	s.leaked = issue(bounded)
	bounded.Name = "equal"
	id := rotate(issue(bounded).Key.ID).ID
	_, err := s.Update(t.Context(), id, apikey.Changes{ExpiresAt: &s.leaked.Key.ExpiresAt})
	must(t, err)
	s.equal, err = s.Get(t.Context(), id)
	must(t, err)
	s.wide = rotate(issue(apikey.IssueParams{Name: "wide", Scopes: []string{"orders:*"}}).Key.ID)
	return s
}

// use sends a request with the leaked key.
func (s *keyShop) use(t *testing.T, method, target, body string, headers ...string) *http.Response {
	t.Helper()
	return s.ask(t, method, target, body, append(headers, "Authorization", "Bearer "+s.leaked.Token.Reveal())...)
}

// conditions are sent with each attack: none of them may open a way around.
var conditions = []string{"", "*", `"1", "2", "3", "4", "5"`}

// TestLeakedKeyIssues lets a leaked key make stronger ones.
func TestLeakedKeyIssues(t *testing.T) {
	is := is.New(t)
	s := newKeyShop(t, &apikey.OwnerOptions{})
	before := s.stored(t)
	for body, code := range map[string]string{
		`{"name":"x","scopes":["orders:*"],"lifetime_seconds":31536000}`:                             "scope_not_allowed",
		`{"name":"x","scopes":["orders:*"]}`:                                                         "scope_not_allowed",
		`{"name":"x","scopes":["orders:read","orders:write"]}`:                                       "scope_not_allowed",
		`{"name":"x","scopes":["orders:read:*"]}`:                                                    "scope_not_allowed",
		`{"name":"x","scopes":["users:read"]}`:                                                       "scope_not_allowed",
		`{"name":"x","scopes":["orders:read"],"lifetime_seconds":31536000}`:                          "forbidden",
		`{"name":"x","scopes":["orders:read"],"lifetime_seconds":3601}`:                              "forbidden",
		`{"name":"x","scopes":["orders:read"],"expires_at":"2026-01-01T01:00:00.000001Z"}`:           "forbidden",
		`{"name":"x","networks":["0.0.0.0/0"]}`:                                                      "forbidden",
		`{"name":"x","networks":["::/0"]}`:                                                           "forbidden",
		`{"name":"x","networks":["192.0.2.0/23"]}`:                                                   "forbidden",
		`{"name":"x","networks":["192.0.2.7","198.51.100.1"]}`:                                       "forbidden",
		`{"name":"x","networks":["::ffff:198.51.100.1/128"]}`:                                        "forbidden",
		`{"name":"x","scopes":["orders:read"],"networks":["192.0.2.7"],"lifetime_seconds":99999999}`: "forbidden",
	} {
		for _, condition := range []string{"", "*"} {
			got := s.use(t, "POST", "/keys", body, "If-Match", condition)
			if got.StatusCode == 400 { // beyond what any key may have
				continue
			}
			refused(t, got, 403, code)
		}
	}
	is.Equal(s.stored(t), before)

	// What is left out, or null, is inherited.
	for _, body := range []string{`{"name":"x"}`, `{"name":"x","scopes":null,"networks":null,"expires_at":null,"lifetime_seconds":null}`, `{"name":"x","networks":[]}`,
		`{"name":"x","scopes":["orders:read"],"networks":["192.0.2.7"],"lifetime_seconds":60}`} {
		key := decode(t, s.use(t, "POST", "/keys", body), 201)["key"].(map[string]any)
		is.True(key["expires_at"].(string) <= "2026-01-01T01:00:00.000000Z")
		is.Equal(len(key["networks"].([]any)), 1)
		is.True(strings.HasPrefix(key["networks"].([]any)[0].(string), "192.0.2."))
	}
	s.checkLeaks(t)
}

// TestLeakedKeyChanges lets a leaked key make each change of a stronger key,
// of another owner's key, and of one that is within it.
func TestLeakedKeyChanges(t *testing.T) {
	for _, route := range apikeyrest.Routes() {
		if !route.Conditional {
			continue
		}
		name := route.Method + " " + route.Pattern
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			s := newKeyShop(t, &apikey.OwnerOptions{SelfRotation: time.Minute})
			others := s.rotating(t, "bob").ID
			at := func(id string) string { return strings.Replace(route.Pattern, "{id}", id, 1) }
			before := s.stored(t)
			body := apiCases[name].body
			for _, condition := range conditions {
				refused(t, s.use(t, route.Method, at(s.wide.ID), body, "If-Match", condition), 403, "forbidden")
				refused(t, s.use(t, route.Method, at(others), body, "If-Match", condition), 404, "not_found")
			}
			is.Equal(s.stored(t), before)
			is.Equal(s.use(t, route.Method, at(s.equal.ID), body).StatusCode, apiCases[name].status)
			after, err := s.Get(t.Context(), s.equal.ID)
			must(t, err)
			is.True(!after.ExpiresAt.After(s.leaked.Key.ExpiresAt))
			is.Equal(after.Scopes.String(), "orders:read")
			is.Equal(after.Networks.String(), "192.0.2.0/24")
			s.checkLeaks(t)
		})
	}
	is := is.New(t)
	s := newKeyShop(t, &apikey.OwnerOptions{})
	for _, path := range []string{"", "/events", "/credentials"} { // reading is not bound
		is.Equal(s.use(t, "GET", "/keys/"+s.wide.ID+path, "").StatusCode, 200)
	}
}

// TestLeakedKeyWidens lets a leaked key widen itself, and a key within it.
func TestLeakedKeyWidens(t *testing.T) {
	for _, itself := range []bool{true, false} {
		s := newKeyShop(t, &apikey.OwnerOptions{})
		id := s.equal.ID
		if itself {
			id = s.leaked.Key.ID
		}
		before := s.stored(t)
		for body, code := range map[string]string{
			`{"scopes":["orders:*"]}`:                          "scope_not_allowed",
			`{"scopes":["orders:write"]}`:                      "scope_not_allowed",
			`{"networks":null}`:                                "forbidden",
			`{"networks":[]}`:                                  "forbidden",
			`{"networks":["0.0.0.0/0"]}`:                       "forbidden",
			`{"expires_at":"2026-01-01T01:00:00.000001Z"}`:     "forbidden",
			`{"expires_at":"2026-12-01T00:00:00Z"}`:            "forbidden",
			`{"name":"x","expires_at":"2026-06-01T00:00:00Z"}`: "forbidden",
		} {
			for _, condition := range conditions {
				refused(t, s.use(t, "PATCH", "/keys/"+id, body, "If-Match", condition), 403, code)
			}
		}
		is.New(t).Equal(s.stored(t), before)
		is.New(t).Equal(s.use(t, "PATCH", "/keys/"+id, `{"name":"renamed","networks":["192.0.2.1"]}`).StatusCode, 200)
	}
}

// TestKeyReissuesItself checks that a key gives itself no new token, unless
// the application lets it rotate itself: then with an overlap that the
// application sets, and with the old expiry.
func TestKeyReissuesItself(t *testing.T) {
	is := is.New(t)
	s := newKeyShop(t, &apikey.OwnerOptions{})
	path, before := "/keys/"+s.leaked.Key.ID, s.stored(t)
	for _, condition := range conditions {
		for suffix, body := range map[string]string{"/regenerate": "", "/rotate": `{"overlap_seconds":3600}`, "/finish": "", "/extend": `{"overlap_seconds":3600}`} {
			refused(t, s.use(t, "POST", path+suffix, body, "If-Match", condition), 403, "forbidden")
		}
	}
	is.Equal(s.stored(t), before)

	s = newKeyShop(t, &apikey.OwnerOptions{SelfRotation: time.Minute})
	path = "/keys/" + s.leaked.Key.ID
	rotated := decode(t, s.use(t, "POST", path+"/rotate", `{"overlap_seconds":3600}`), 200)
	key := rotated["key"].(map[string]any)
	is.Equal(key["expires_at"], "2026-01-01T01:00:00.000000Z")
	is.Equal(key["retiring_until"], "2026-01-01T00:01:00.000000Z")
	for suffix, body := range map[string]string{"/regenerate": "", "/finish": "", "/extend": `{"overlap_seconds":3600}`} {
		refused(t, s.use(t, "POST", path+suffix, body), 403, "forbidden")
	}
	refused(t, s.use(t, "POST", path+"/rotate", `{"overlap_seconds":3600}`), 403, "forbidden") // by the retiring token
	s.leaked.Token = apikey.NewSecret(rotated["token"].(string))
	again := s.use(t, "POST", path+"/rotate", `{"overlap_seconds":3600}`)
	refused(t, again, 429, "too_soon")
	is.Equal(again.Header.Get("Retry-After"), "60")
	s.checkLeaks(t)
}

// TestKeyStoppedMeanwhile disables the key between Authenticate and the
// change.
func TestKeyStoppedMeanwhile(t *testing.T) {
	for name, stop := range map[string]func(t *testing.T, s *keyShop) error{
		"disabled": func(t *testing.T, s *keyShop) error {
			_, err := s.Disable(t.Context(), s.leaked.Key.ID)
			return err
		},
		"deleted": func(t *testing.T, s *keyShop) error {
			_, err := s.Delete(t.Context(), s.leaked.Key.ID)
			return err
		},
		"regenerated": func(t *testing.T, s *keyShop) error {
			_, err := s.Regenerate(t.Context(), s.leaked.Key.ID)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newKeyShop(t, &apikey.OwnerOptions{})
			api := newAPI(s.Manager.Manager, &apikeyrest.Options{
				Owner: func(r *http.Request) (string, string, error) {
					must(t, stop(t, s))
					return ownerOfKey(r)
				},
				OwnerOptions: mayGive("orders:*"),
			})
			s.handler = newGuard(s.Manager, nil).Authenticate(api)
			r := httptest.NewRequest("POST", "/keys", strings.NewReader(`{"name":"x"}`))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+s.leaked.Token.Reveal())
			refused(t, serve(s.handler, r), 403, "forbidden")
		})
	}
}

// TestKeyOfAnotherOwner lets the application act for an owner that the key
// does not belong to.
func TestKeyOfAnotherOwner(t *testing.T) {
	s := newKeyShop(t, &apikey.OwnerOptions{})
	id := s.rotating(t, "bob").ID
	before := s.stored(t)
	api := newAPI(s.Manager.Manager, &apikeyrest.Options{
		Owner:        func(*http.Request) (string, string, error) { return "bob", "", nil },
		OwnerOptions: mayGive("orders:*"),
	})
	s.handler = newGuard(s.Manager, nil).Authenticate(api)
	for _, route := range apikeyrest.Routes() {
		if route.Method == "GET" {
			continue
		}
		name := route.Method + " " + route.Pattern
		refused(t, s.use(t, route.Method, strings.Replace(route.Pattern, "{id}", id, 1), apiCases[name].body), 403, "forbidden")
	}
	is.New(t).Equal(s.stored(t), before)
}

// TestOwnerTokenLimit deletes and issues in a loop.
func TestOwnerTokenLimit(t *testing.T) {
	is := is.New(t)
	s := newShop(t, func(o *apikey.Options) { o.OwnerTokenLimit = &apikey.ReissueLimit{N: 5, Window: 5 * time.Hour} })
	for range 5 {
		key := decode(t, s.ask(t, "POST", "/keys", `{"name":"a"}`), 201)["key"].(map[string]any)
		is.Equal(s.ask(t, "DELETE", "/keys/"+key["id"].(string), "").StatusCode, 200)
	}
	got := s.ask(t, "POST", "/keys", `{"name":"a"}`)
	refused(t, got, 429, "too_soon")
	is.Equal(got.Header.Get("Retry-After"), "3600")
	is.Equal(len(apikeytest.Events(t, s)), 10)
	s.checkLeaks(t)
}
