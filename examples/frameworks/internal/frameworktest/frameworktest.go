// Package frameworktest tests that an example answers as plain net/http does
// with apikeyhttp, whatever its framework.
package frameworktest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/examples/frameworks/internal/demo"
	"github.com/keyturn/apikey/examples/frameworks/internal/orders"
)

// Serve serves the routes of an example until the listener is closed.
type Serve func(l net.Listener, keys apikey.Validator, book *orders.Book) error

// Run runs all tests on a framework.
func Run(t *testing.T, serve Serve) {
	t.Run("answers", func(t *testing.T) { testAnswers(t, serve) })
	t.Run("one connection", func(t *testing.T) { testOneConnection(t, serve) })
	t.Run("many connections", func(t *testing.T) { testManyConnections(t, serve) })
	t.Run("demo", func(t *testing.T) { testDemo(t, serve) })
}

// cases are requests: the first line, the lines of the header, and the body.
// READ, WRITE and so on stand for tokens, BASIC for the halves of READ in
// base64.
var cases = []struct {
	name   string
	line   string
	header []string
	body   string
	down   bool // the store is
	status int
	code   string   // in the body of a refusal
	asked  []string // of the application; nothing may reach it on a refusal
}{
	{name: "bearer", line: "GET /orders", header: []string{"Authorization: Bearer READ"}, status: 200, asked: []string{"visit ada", "list ada"}},
	{name: "bearer in another case", line: "GET /orders", header: []string{"authorization: bEARER READ"}, status: 200, asked: []string{"visit ada", "list ada"}},
	{name: "header", line: "GET /orders", header: []string{"X-API-Key: READ"}, status: 200, asked: []string{"visit ada", "list ada"}},
	{name: "HEAD", line: "HEAD /orders", header: []string{"X-API-Key: READ"}, status: 200, asked: []string{"visit ada", "list ada"}},
	{name: "body", line: "POST /orders", header: []string{"X-API-Key: WRITE"}, body: "two apples", status: 200, asked: []string{"visit grace", "place grace"}},
	{name: "other headers repeated", line: "GET /orders", header: []string{"X-API-Key: READ", "X-Other: a", "X-Other: b", "Cookie: c=d"}, status: 200, asked: []string{"visit ada", "list ada"}},

	{name: "no key", line: "GET /orders", status: 401, code: "no_credential"},
	{name: "no key, HEAD", line: "HEAD /orders", status: 401},
	{name: "no key, body", line: "POST /orders", body: "two apples", status: 401, code: "no_credential"},
	{name: "no key, no such route", line: "GET /nowhere", status: 401, code: "no_credential"},
	{name: "no key, no such method", line: "DELETE /orders", status: 401, code: "no_credential"},
	{name: "no key, HTML wanted", line: "GET /orders", header: []string{"Accept: text/html"}, status: 401},
	{name: "basic, which is off", line: "GET /orders", header: []string{"Authorization: Basic BASIC"}, status: 401, code: "no_credential"},
	{name: "key in the query", line: "GET /orders?api_key=READ", status: 401, code: "no_credential"},
	{name: "malformed", line: "GET /orders", header: []string{"X-API-Key: nonsense"}, status: 401, code: "invalid_token"},
	{name: "malformed, HEAD", line: "HEAD /orders", header: []string{"X-API-Key: nonsense"}, status: 401},
	{name: "empty", line: "GET /orders", header: []string{"X-API-Key:"}, status: 400, code: "invalid_request"},
	{name: "not ASCII", line: "GET /orders", header: []string{"X-API-Key: sch\u00fcssel"}, status: 401, code: "invalid_token"},
	{name: "unknown", line: "GET /orders", header: []string{"Authorization: Bearer STRANGER"}, status: 401, code: "invalid_token"},
	{name: "disabled", line: "GET /orders", header: []string{"Authorization: Bearer DISABLED"}, status: 401, code: "disabled"},
	{name: "disabled, HEAD", line: "HEAD /orders", header: []string{"Authorization: Bearer DISABLED"}, status: 401},
	{name: "regenerated", line: "GET /orders", header: []string{"X-API-Key: REPLACED"}, status: 401, code: "replaced"},
	{name: "lacking the scope", line: "POST /orders", header: []string{"X-API-Key: READ"}, body: "two apples", status: 403, code: "insufficient_scope"},
	{name: "lacking the scope, HEAD", line: "HEAD /orders", header: []string{"X-API-Key: NOTHING"}, status: 403},

	{name: "two carriers", line: "GET /orders", header: []string{"Authorization: Bearer READ", "X-API-Key: READ"}, status: 400, code: "invalid_request"},
	{name: "header repeated", line: "GET /orders", header: []string{"X-API-Key: WRITE", "X-API-Key: READ"}, status: 400, code: "invalid_request"},
	{name: "header repeated in another case", line: "GET /orders", header: []string{"X-API-Key: nonsense", "x-aPI-kEY: READ"}, status: 400, code: "invalid_request"},
	{name: "Authorization repeated", line: "GET /orders", header: []string{"Authorization: Bearer nonsense", "Authorization: Bearer READ"}, status: 400, code: "invalid_request"},
	{name: "Authorization repeated, HEAD", line: "HEAD /orders", header: []string{"Authorization: Basic BASIC", "Authorization: Bearer READ"}, status: 400},
	{name: "list", line: "GET /orders", header: []string{"X-API-Key: READ, READ"}, status: 400, code: "invalid_request"},

	{name: "store down", line: "GET /orders", header: []string{"X-API-Key: READ"}, down: true, status: 503, code: "unavailable"},
	{name: "store down, HEAD", line: "HEAD /orders", header: []string{"X-API-Key: READ"}, down: true, status: 503},
	{name: "store down, unknown", line: "GET /orders", header: []string{"X-API-Key: STRANGER"}, down: true, status: 503, code: "unavailable"},
	{name: "store down, malformed", line: "GET /orders", header: []string{"X-API-Key: nonsense"}, down: true, status: 401, code: "invalid_token"},

	{name: "bound to this network", line: "GET /orders", header: []string{"X-API-Key: LOCAL"}, status: 200, asked: []string{"visit ada", "list ada"}},
	{name: "bound to this network, another claimed", line: "GET /orders", header: []string{"X-API-Key: LOCAL", "X-Forwarded-For: 192.0.2.7", "X-Real-IP: 192.0.2.7"}, status: 200, asked: []string{"visit ada", "list ada"}},
	{name: "bound to another network", line: "GET /orders", header: []string{"X-API-Key: ELSEWHERE"}, status: 403, code: "address_not_allowed"},
	{name: "bound to another network, which is claimed", line: "GET /orders", header: []string{
		"X-API-Key: ELSEWHERE", "X-Forwarded-For: 192.0.2.7", "X-Real-IP: 192.0.2.7", "True-Client-IP: 192.0.2.7", "Forwarded: for=192.0.2.7",
	}, status: 403, code: "address_not_allowed"},
}

// testAnswers sends each request to a plain server and to the example, and
// compares what comes back byte for byte, but for the Date and, where a
// handler has answered, its headers.
func testAnswers(t *testing.T, serve Serve) {
	f := newFixture(t)
	reference, book := f.start(t, plain), &orders.Book{}
	example := f.startWith(t, serve, book)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.down {
				f.keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Lookup, Forever: true})
				defer f.keys.Store.Recover()
			}
			request := f.request(c.line, c.header, c.body)
			want, got := f.exchange(t, reference, request), f.exchange(t, example, request)
			if got.status != c.status || !strings.Contains(got.body, c.code) {
				t.Errorf("status %d, body %q; want %d and %q", got.status, got.body, c.status, c.code)
			}
			if c.status == 200 {
				want.header, got.header = nil, nil
			} else if strings.HasPrefix(c.line, "HEAD") && got.header.Get("Content-Length") == "0" {
				t.Error("a HEAD without the length that a GET has")
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(answer{})); diff != "" {
				t.Errorf("the answer is not that of net/http (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.asked, book.Asked()); diff != "" {
				t.Errorf("asked of the application (-want +got):\n%s", diff)
			}
		})
	}
	f.checkTokens(t)
}

// testOneConnection sends requests one after another on one connection: what
// a framework uses again must not hold the key of the request before.
func testOneConnection(t *testing.T, serve Serve) {
	f := newFixture(t)
	c := dial(t, f.start(t, serve))
	for range 10 {
		for _, step := range []struct{ token, want string }{
			{"READ", "200 orders of ada\n"}, {"", "401"}, {"WRITE", "200 orders of grace\n"}, {"nonsense", "401"},
			{"DISABLED", "401"}, {"LOCAL", "200 orders of ada\n"}, {"ELSEWHERE", "403"}, {"WRITE", "200 orders of grace\n"},
		} {
			var header []string
			if step.token != "" {
				header = []string{"X-API-Key: " + step.token}
			}
			got := c.do(t, f.request("GET /orders", header, ""))
			if text := fmt.Sprint(got.status, " ", got.body); !strings.HasPrefix(text, step.want) {
				t.Fatalf("%s: %s", step.token, text)
			}
		}
	}
	f.checkTokens(t)
}

// testManyConnections sends requests with different keys at the same time.
func testManyConnections(t *testing.T, serve Serve) {
	f := newFixture(t)
	addr := f.start(t, serve)
	var all sync.WaitGroup
	for i := range 8 {
		token, owner := "READ", "ada"
		if i%2 == 1 {
			token, owner = "WRITE", "grace"
		}
		c := dial(t, addr)
		request := f.request("GET /orders", []string{"Authorization: Bearer " + token}, "")
		all.Go(func() {
			for range 25 {
				got, err := c.try(request)
				if err != nil || got.body != "orders of "+owner+"\n" {
					t.Errorf("%s: %q, %v", owner, got.body, err)
					return
				}
			}
		})
	}
	all.Wait()
	f.checkTokens(t)
}

// testDemo starts an example as its main function does, and calls it as it
// says.
func testDemo(t *testing.T, serve Serve) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	called := make(chan string, 1)
	show := func(out io.Writer, addr, token string) error {
		if err := demo.Curl(out, addr, token); err != nil {
			return err
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		got, err := (&client{c, bufio.NewReader(c)}).try("GET /orders HTTP/1.1\r\nHost: x\r\nX-API-Key: " + token + "\r\n\r\n")
		called <- fmt.Sprint(got.status, " ", got.body)
		cancel()
		return err
	}
	var out bytes.Buffer
	err := demo.Run(ctx, "127.0.0.1:0", &out, func(l net.Listener, keys apikey.Validator) error { return serve(l, keys, &orders.Book{}) }, show)
	if err != nil {
		t.Fatal(err)
	}
	if got := <-called; got != "200 orders of ada\n" {
		t.Error(got)
	}
	if !strings.Contains(out.String(), "\nTOKEN=ak_") || strings.Count(out.String(), "\ncurl -i ") != 5 {
		t.Error(out.String())
	}
}

// plain is what an example is compared with: apikeyhttp on net/http alone.
func plain(l net.Listener, keys apikey.Validator, _ *orders.Book) error {
	guard, err := apikeyhttp.New(keys, nil)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /orders", guard.Require("orders:read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := apikey.FromContext(r.Context())
		fmt.Fprintf(w, "orders of %s\n", key.Owner)
	})))
	mux.Handle("POST /orders", guard.Require("orders:write")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, _ := apikey.FromContext(r.Context())
		order, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s ordered %s\n", key.Owner, order)
	})))
	return http.Serve(l, guard.Authenticate(mux))
}

// fixture is a Manager with keys of all kinds.
type fixture struct {
	keys    *apikeytest.Manager
	secrets []apikey.Secret
	fill    *strings.Replacer

	mu     sync.Mutex
	tokens []string // as Validate was given them
	copies []string // made at that time
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{keys: apikeytest.New(t)}
	var fill []string
	add := func(name string, issued apikey.Issued) apikey.Issued {
		f.secrets = append(f.secrets, issued.Token)
		fill = append(fill, name, issued.Token.Reveal())
		return issued
	}
	read := []string{"orders:read"}
	reader := add("READ", f.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Scopes: read}))
	add("WRITE", f.keys.MustIssue(t, apikey.IssueParams{Owner: "grace", Scopes: []string{"orders:*"}}))
	add("NOTHING", f.keys.MustIssue(t, apikey.IssueParams{Owner: "ada"}))
	add("STRANGER", apikeytest.New(t).MustIssue(t, apikey.IssueParams{Scopes: read}))
	add("LOCAL", f.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Scopes: read, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}))
	add("ELSEWHERE", f.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Scopes: read, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}))
	disabled := add("DISABLED", f.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Scopes: read}))
	if _, err := f.keys.Disable(t.Context(), disabled.Key.ID); err != nil {
		t.Fatal(err)
	}
	replaced := add("REPLACED", f.keys.MustIssue(t, apikey.IssueParams{Owner: "ada", Scopes: read}))
	if _, err := f.keys.Regenerate(t.Context(), replaced.Key.ID); err != nil {
		t.Fatal(err)
	}
	pair := reader.AccessKey() + ":" + reader.AccessSecret().Reveal()
	f.fill = strings.NewReplacer(append(fill, "BASIC", base64.StdEncoding.EncodeToString([]byte(pair)))...)
	return f
}

// Validate is the Manager's, and keeps the token: a framework must not write
// over a text that it has handed out.
func (f *fixture) Validate(ctx context.Context, token string, needs ...apikey.Requirement) (apikey.Key, error) {
	f.mu.Lock()
	f.tokens, f.copies = append(f.tokens, token), append(f.copies, strings.Clone(token))
	f.mu.Unlock()
	return f.keys.Validate(ctx, token, needs...)
}

// checkTokens checks that the tokens given to Validate are what they were.
func (f *fixture) checkTokens(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.tokens) == 0 {
		t.Error("Validate was not called")
	}
	for i := range f.tokens {
		if f.tokens[i] != f.copies[i] {
			t.Fatalf("token %d of %d was written over after its request", i+1, len(f.tokens))
		}
	}
}

func (f *fixture) start(t *testing.T, serve Serve) (addr string) {
	return f.startWith(t, serve, &orders.Book{})
}

func (f *fixture) startWith(t *testing.T, serve Serve, book *orders.Book) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(l, f, book) // which fails when the listener is closed
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// request returns the text of a request, with the tokens filled in.
func (f *fixture) request(line string, header []string, body string) string {
	text := line + " HTTP/1.1\r\nHost: shop.example\r\n"
	for _, h := range header {
		text += h + "\r\n"
	}
	if body != "" {
		text += fmt.Sprintf("Content-Type: text/plain\r\nContent-Length: %d\r\n", len(body))
	}
	return f.fill.Replace(text) + "\r\n" + body
}

// exchange sends one request on a connection of its own, and checks that its
// answer ends where it says, and holds no secret.
func (f *fixture) exchange(t *testing.T, addr, request string) answer {
	t.Helper()
	c := dial(t, addr)
	got := c.do(t, request)
	if after := c.do(t, f.request("GET /orders", nil, "")); after.status != http.StatusUnauthorized {
		t.Errorf("the next answer on the connection has status %d", after.status)
	}
	for _, secret := range f.secrets {
		apikeytest.AssertNoLeak(t, secret, got.body, fmt.Sprint(got.header))
	}
	return got
}

// answer is what came back, without the Date.
type answer struct {
	status int
	proto  string
	header http.Header
	body   string
}

type client struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(time.Minute)) // a hang becomes a failure
	t.Cleanup(func() { c.Close() })
	return &client{c, bufio.NewReader(c)}
}

func (c *client) do(t *testing.T, request string) answer {
	t.Helper()
	a, err := c.try(request)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (c *client) try(request string) (answer, error) {
	if _, err := io.WriteString(c, request); err != nil {
		return answer{}, err
	}
	method, _, _ := strings.Cut(request, " ")
	r, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	r.Header.Del("Date")
	return answer{r.StatusCode, r.Proto, r.Header, string(body)}, err
}
