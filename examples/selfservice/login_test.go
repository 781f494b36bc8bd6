package main

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

func TestLogin(t *testing.T) {
	p := start(t)
	password := p.passwords["ada@example.com"]
	for _, test := range []struct {
		name, email, password string
		ok                    bool
	}{
		{"right", "ada@example.com", password, true},
		{"address in other letters", " Ada@Example.com ", password, true},
		{"wrong password", "ada@example.com", password + "x", false},
		{"password in small letters", "ada@example.com", strings.ToLower(password), false},
		{"no password", "ada@example.com", "", false},
		{"password of the other", "grace@example.com", password, false},
		{"unknown", "eve@example.com", password, false},
		{"nobody", "", "", false},
		{"markup", `"><script>alert(1)</script>`, password, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := p.browser()
			b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			got := b.logIn(test.email, test.password)
			if test.ok {
				if got.status != 303 || got.header.Get("Location") != "/keys/" || b.session() == nil {
					t.Errorf("status %d to %s, session %v", got.status, got.header.Get("Location"), b.session())
				}
				return
			}
			if got.status != 403 || b.session() != nil {
				t.Errorf("status %d, session %v, want 403 and none", got.status, b.session())
			}
			if !got.has("no account with this e-mail address and password") || got.has("<script>") || test.password != "" && got.has(test.password) {
				t.Errorf("it says:\n%s", got.body)
			}
			if again := b.get("/keys/"); again.status != 303 || again.header.Get("Location") != "/login" {
				t.Errorf("the pages answer %d", again.status)
			}
		})
	}
}

func TestLoginForm(t *testing.T) {
	b := start(t).browser()
	for name, body := range map[string]string{
		"too long":       "email=" + strings.Repeat("a", 5000),
		"not understood": "email=%zz",
	} {
		request, err := http.NewRequestWithContext(t.Context(), "POST", b.url+"/login", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := b.client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != 400 {
			t.Errorf("a form that is %s: %d, want 400", name, response.StatusCode)
		}
	}
}

func TestCookieAndHeader(t *testing.T) {
	p := start(t)
	b := p.browser()
	form := b.get("/login")
	if b.session() != nil {
		t.Error("there is a cookie before a login")
	}
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer := form.submit("/login", "email", "ada@example.com", "password", p.passwords["ada@example.com"])
	cookie, err := http.ParseSetCookie(answer.header.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.MaxAge != 0 || len(cookie.Value) < 43 {
		t.Errorf("the cookie is %s", answer.header.Get("Set-Cookie"))
	}
	for name, page := range map[string]page{"login": form, "answer to a login": answer, "list": b.get("/keys/")} {
		policy := page.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") ||
			!strings.Contains(page.header.Get("Cache-Control"), "no-store") ||
			page.header.Get("X-Content-Type-Options") != "nosniff" || page.header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: header %v", name, page.header)
		}
	}
}

// A session is worth nothing after a logout, and its token nothing after the
// next login, even where a copy of the cookie was kept.
func TestSessionEnds(t *testing.T) {
	p := start(t)
	b := p.loggedIn("ada@example.com")
	withCookie := func(c *http.Cookie) page {
		t.Helper()
		thief := p.browser()
		return thief.send("GET", p.url+"/keys/", nil, "Cookie", c.Name+"="+c.Value)
	}

	first := b.session()
	if got := withCookie(first); got.at.Path != "/keys/" || !got.has("ada@example.com") {
		t.Fatalf("a copy of the cookie leads to %s, so that the test shows nothing", got.at)
	}
	// The login page sends on who is logged in, so the form is an older one.
	b.send("POST", p.url+"/login", map[string][]string{
		"email": {"grace@example.com"}, "password": {p.passwords["grace@example.com"]},
	})
	second := b.session()
	if got := withCookie(first); got.at.Path != "/login" {
		t.Errorf("after another login the first cookie leads to %s", got.at)
	}
	if list := b.get("/keys/"); !list.has("grace@example.com") || list.has("ada@example.com") {
		t.Errorf("after the login of grace the page is\n%s", list.body)
	}

	// A link is no logout.
	if got := b.get("/logout"); got.status != 405 {
		t.Errorf("GET /logout: %d, want 405", got.status)
	}
	if got := b.get("/keys/").submit("/logout"); got.status != 200 || got.at.Path != "/login" {
		t.Errorf("the logout ended with %d at %s", got.status, got.at)
	}
	if b.session() != nil {
		t.Error("after the logout there is a cookie")
	}
	for _, c := range []*http.Cookie{first, second, {Name: "selfservice", Value: "guessed"}} {
		if got := withCookie(c); got.at.Path != "/login" {
			t.Errorf("after the logout a cookie leads to %s", got.at)
		}
	}
	if got := b.get("/keys/new"); got.at.Path != "/login" {
		t.Errorf("after the logout /keys/new leads to %s", got.at)
	}
}

func TestCrossSiteRefused(t *testing.T) {
	p := start(t)
	b := p.loggedIn("ada@example.com")
	key := issuedOn(t, b.generate("Night job", "orders:read"))
	revision := func() string {
		_, form := b.get("/keys/key/" + key.id + "/disable").form("disable")
		return form.Get("revision")
	}
	before, session := revision(), b.session().Value

	toNew, newKey := b.get("/keys/new").form("new")
	newKey.Set("name", "Forged")
	toDisable, disable := b.get("/keys/key/" + key.id + "/disable").form("disable")
	for _, form := range []struct {
		to     string
		values map[string][]string
	}{
		{p.url + "/login", map[string][]string{"email": {"grace@example.com"}, "password": {p.passwords["grace@example.com"]}}},
		{p.url + "/logout", nil},
		{toNew, newKey},
		{toDisable, disable},
	} {
		for name, header := range map[string][]string{
			"cross-site":     {"Sec-Fetch-Site", "cross-site"},
			"same-site":      {"Sec-Fetch-Site", "same-site"},
			"another origin": {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
			"null origin":    {"Sec-Fetch-Site", "", "Origin", "null"},
		} {
			if got := b.send("POST", form.to, form.values, header...); got.status != 403 {
				t.Errorf("%s, %s: %d, want 403", form.to, name, got.status)
			}
		}
	}
	if b.session() == nil || b.session().Value != session {
		t.Error("the session is another one")
	}
	list := b.get("/keys/")
	if !list.has("ada@example.com") || list.has("Forged") || revision() != before {
		t.Errorf("something was changed:\n%s", list.body)
	}
}

// A password takes the same work whether there is an account or not. Work is
// told by the memory that Argon2 takes for it, which does not depend on how
// busy the machine is.
func TestSameWorkForUnknown(t *testing.T) {
	a := newAccounts()
	password := a.add("ada@example.com", "customer-17")
	for name, email := range map[string]string{"known": "ada@example.com", "unknown": "eve@example.com"} {
		for _, tried := range []string{password, "wrong"} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, ok, err := a.check(t.Context(), email, tried)
			runtime.ReadMemStats(&after)
			if err != nil || ok != (name == "known" && tried == password) {
				t.Errorf("%s with %q: %v, %v", name, tried, ok, err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used < argonMemory<<10 || used > argonMemory<<10*3/2 {
				t.Errorf("%s with %q took %d bytes, want about %d", name, tried, used, argonMemory<<10)
			}
		}
	}
}

func TestNoMorePasswordsAtATime(t *testing.T) {
	a := newAccounts()
	password := a.add("ada@example.com", "customer-17")
	for range cap(a.hashing) {
		a.hashing <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok, err := a.check(ctx, "ada@example.com", password); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("with all places taken: %v, %v", ok, err)
	}
	<-a.hashing
	if found, ok, err := a.check(t.Context(), "ada@example.com", password); !ok || err != nil || found.customer != "customer-17" {
		t.Errorf("with a place free: %v, %v, %v", found.email, ok, err)
	}
	if len(a.hashing) != cap(a.hashing)-1 {
		t.Error("the place was not given back")
	}
}
