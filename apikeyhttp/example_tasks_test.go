package apikeyhttp_test

import (
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
	"github.com/keyturn/apikey/apikeytest"
)

// A page that knows its callers if they say who they are.
func ExampleGuard_Optional() {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Owner: "ada"})
	greet := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if key, ok := apikey.FromContext(r.Context()); ok {
			fmt.Fprintln(w, "hello,", key.Owner)
		} else {
			fmt.Fprintln(w, "hello")
		}
	})
	handler := newGuard(keys, nil).Optional(greet)

	for _, token := range []apikey.Secret{issued.Token, {}, apikey.NewSecret("bad")} {
		w := httptest.NewRecorder()
		r := apikeytest.Request(t, "GET", "/", token)
		handler.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 hello, ada
	// 200 hello
	// 401 {"type":"about:blank","title":"Unauthorized","status":401,"code":"invalid_token","detail":"The API key is not valid."}
}

// A stream that ends when its key does.
func ExampleRevalidate() {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	stream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for part := 1; ; part++ {
			if _, err := apikeyhttp.Revalidate(r.Context()); err != nil {
				fmt.Println("ended:", err)
				return
			}
			fmt.Println("part", part)
			keys.Advance(200 * 24 * time.Hour)
		}
	})
	newGuard(keys, nil).Authenticate(stream).ServeHTTP(httptest.NewRecorder(), apikeytest.Request(t, "GET", "/", issued.Token))
	// Output:
	// part 1
	// part 2
	// ended: apikey: key has expired
}

// The server behind does not get to see the token.
func ExampleGuard_StripCredential() {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Owner: "ada"})
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("for %s, with Authorization %q\n", r.Header.Get("Shop-Customer"), r.Header.Get("Authorization"))
	}))
	defer backend.Close()
	target, err := url.Parse(backend.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		key, _ := apikey.FromContext(r.In.Context())
		r.Out.Header.Set("Shop-Customer", key.Owner)
	}}

	guard, err := apikeyhttp.New(keys, nil)
	if err != nil {
		log.Fatal(err)
	}
	handler := guard.Authenticate(guard.StripCredential(proxy))
	handler.ServeHTTP(httptest.NewRecorder(), apikeytest.Request(t, "GET", "/", issued.Token))
	// Output: for ada, with Authorization ""
}

// Behind a load balancer in 10.0.0.0/8, that writes X-Forwarded-For.
func ExampleOptions_trustedProxies() {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	handler := newGuard(keys, &apikeyhttp.Options{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}).Authenticate(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))

	for _, peer := range []string{"10.0.0.1:1234", "192.0.2.1:1234"} {
		r := apikeytest.Request(t, "GET", "/", issued.Token)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-For", "203.0.113.9, 198.51.100.7") // the balancer added the last
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(peer, w.Code)
	}
	// Output:
	// 10.0.0.1:1234 200
	// 192.0.2.1:1234 403
}

// One log line a request, of the host's choosing.
func ExampleOptions_observe() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	options := &apikeyhttp.Options{Observe: func(r *http.Request, o apikey.Observation) {
		logger.InfoContext(r.Context(), "request", "path", r.URL.Path, "apikey", o)
	}}
	v := apikeytest.Allow(apikey.Key{ID: "8AebTMjz2MLWfTAJpkgF", Owner: "ada"})
	handler := newGuard(v, options).Require("orders:write")(http.NotFoundHandler())

	handler.ServeHTTP(httptest.NewRecorder(), apikeytest.Request(t, "GET", "/orders", apikey.NewSecret("any")))
	handler.ServeHTTP(httptest.NewRecorder(), apikeytest.Request(t, "GET", "/orders", apikey.Secret{}))
	// Output:
	// level=INFO msg=request path=/orders apikey.status=403 apikey.code=insufficient_scope apikey.key_id=8AebTMjz2MLWfTAJpkgF apikey.owner=ada apikey.carrier=bearer apikey.client=192.0.2.1
	// level=INFO msg=request path=/orders apikey.status=401 apikey.code=no_credential apikey.client=192.0.2.1
}

// The error pages of the host, with the headers of this package.
func ExampleOptions_writeProblem() {
	options := &apikeyhttp.Options{WriteProblem: func(r *http.Request, p apikeyhttp.Problem) (string, []byte) {
		return "text/html; charset=utf-8", []byte("<h1>" + p.Title + "</h1><p>" + p.Detail + "</p>\n")
	}}
	w := httptest.NewRecorder()
	newGuard(apikeytest.Deny(nil), options).Authenticate(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Print(w.Code, " ", w.Body)
	fmt.Println(w.Header().Get("Content-Type"), w.Header().Get("Cache-Control"))
	// Output:
	// 401 <h1>Unauthorized</h1><p>The request holds no API key.</p>
	// text/html; charset=utf-8 no-store
}
