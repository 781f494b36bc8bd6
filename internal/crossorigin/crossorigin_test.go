package crossorigin_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/keyturn/apikey/internal/crossorigin"
)

// request returns a POST to a host. Empty headers are left out.
func request(host string, secure bool, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Host = host
	if secure {
		r.TLS = &tls.ConnectionState{}
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] != "" {
			r.Header.Add(header[i], header[i+1])
		}
	}
	return r
}

// TestMatrix checks every combination of TLS, Sec-Fetch-Site, Host and Origin
// against rules that are written down a second time.
func TestMatrix(t *testing.T) {
	p, err := crossorigin.New("https://app.example.net", "http://intranet.example.net")
	if err != nil {
		t.Fatal(err)
	}
	hosts := []string{
		"example.com", "example.com:8443", "example.com:443", "example.com:80", "EXAMPLE.com", "example.com.", "[2001:db8::1]",
		"[2001:db8::1]:8443", "192.0.2.1", "localhost:8080", "xn--bcher-kva.example", "",
	}
	origins := []string{"", "null", "https://app.example.net", "http://intranet.example.net", "http://app.example.net", "https://evil.example", "file://", "https://", "about:blank", "garbage", "http:example.com"}
	for _, host := range hosts {
		for _, form := range []string{
			"https://%s", "http://%s", "HTTP://%s", "HTTPS://%s", "ftp://%s", "ws://%s", "chrome-extension://%s", "https://user@%s", "https://%s/",
			"https://%s/path", "https://%s?q", "https://%s#f", "https://%s:8443", "http://%s:80", "https://%s:443", "https://%s.", "http://%s https://%[1]s", "//%s", "%s",
		} {
			origins = append(origins, fmt.Sprintf(form, host))
		}
	}
	accepted, rejected := 0, 0
	for _, tls := range []bool{false, true} {
		for _, site := range []string{"", "same-origin", "none", "same-site", "cross-site", "Same-Origin", "elsewhere"} {
			for _, host := range hosts {
				for _, origin := range origins {
					err := p.Check(request(host, tls, "Origin", origin, "Sec-Fetch-Site", site))
					want := false
					httpOrigin := len(origin) > 4 && (origin[:5] == "http:" || origin[:5] == "HTTP:")
					switch {
					case origin == "https://app.example.net" || origin == "http://intranet.example.net":
						want = true
					case site == "same-origin" || site == "none":
						want = !(tls && httpOrigin)
					case site != "":
					case origin == "":
						want = true
					default:
						want = host != "" && (origin == "https://"+host || !tls && origin == "http://"+host)
					}
					if (err == nil) != want {
						t.Errorf("TLS %t, Sec-Fetch-Site %q, Host %q, Origin %q: %v", tls, site, host, origin, err)
					}
					if err == nil {
						accepted++
					} else {
						rejected++
					}
				}
			}
		}
	}
	if accepted < 1000 || rejected < 1000 {
		t.Errorf("%d accepted, %d rejected", accepted, rejected)
	}
}

// TestBehindProxy checks that a page loaded over http cannot send a form to the
// https site of the same name if the proxy states the scheme.
func TestBehindProxy(t *testing.T) {
	p, _ := crossorigin.New()
	const host = "example.com"
	for _, test := range []struct {
		name, field, value string
		secure             bool
	}{
		{"nothing", "", "", false},
		{"https", "X-Forwarded-Proto", "https", true},
		{"capitals", "X-Forwarded-Proto", "HTTPS", true},
		{"http", "X-Forwarded-Proto", "http", false},
		{"http, then https inside", "X-Forwarded-Proto", "http, https", false},
		{"https, then http inside", "X-Forwarded-Proto", "https, http", true},
		{"Forwarded", "Forwarded", "for=192.0.2.1;proto=https;host=example.com", true},
		{"Forwarded, quoted", "Forwarded", `For=192.0.2.1; Proto="https"`, true},
		{"Forwarded, http outside", "Forwarded", "for=192.0.2.1;proto=http, for=10.0.0.1;proto=https", false},
		{"Forwarded, no scheme", "Forwarded", "for=192.0.2.1", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := p.Check(request(host, false, "Origin", "https://"+host, test.field, test.value)); err != nil {
				t.Errorf("an https page: %v", err)
			}
			if err := p.Check(request(host, false, "Origin", "http://"+host, test.field, test.value)); (err != nil) != test.secure {
				t.Errorf("an http page: %v", err)
			}
		})
	}
}

// TestRepeatedHeaders checks that a second Origin or Sec-Fetch-Site header is
// rejected, because another program may read the other one.
func TestRepeatedHeaders(t *testing.T) {
	p, _ := crossorigin.New()
	for _, header := range [][]string{
		{"Origin", "https://example.com", "Origin", "https://evil.example"},
		{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-origin", "Origin", "https://example.com", "Origin", "https://example.com"},
	} {
		if p.Check(request("example.com", true, header...)) == nil {
			t.Errorf("%v is accepted", header)
		}
	}
}

// TestSafeMethods checks that only GET, HEAD and OPTIONS pass from everywhere.
func TestSafeMethods(t *testing.T) {
	p, _ := crossorigin.New()
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "get", ""} {
		r := request("example.com", true, "Sec-Fetch-Site", "cross-site")
		r.Method = method
		safe := method == "GET" || method == "HEAD" || method == "OPTIONS"
		if err := p.Check(r); (err == nil) != safe {
			t.Errorf("%q: %v", method, err)
		}
	}
}

func TestNewRejects(t *testing.T) {
	for _, origin := range []string{"", "example.com", "https://", "https://example.com/", "https://example.com?q"} {
		if _, err := crossorigin.New(origin); err == nil {
			t.Errorf("%q is accepted", origin)
		}
	}
}
