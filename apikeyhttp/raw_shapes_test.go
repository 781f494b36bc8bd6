package apikeyhttp_test

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/keyturn/apikey/apikeyhttp"
)

// This file lists hostile requests that are bad by something else than the
// text in the place of a token.

// hostileRepetitions are keys that stand in one request together.
func hostileRepetitions(k *hostileKeys) [][]string {
	repetitions := [][]string{{k.token, ""}, {"", k.token}, {"", ""}, {k.token, k.token + "0"}, {"x", k.token}, {k.token, "x"}, {k.token, "null"}}
	for i, bad := range k.bad {
		many := []string{k.token}
		for range i + 2 {
			many = append(many, bad)
		}
		repetitions = append(repetitions, []string{k.token, bad}, []string{bad, k.token}, []string{bad, bad}, many, append(many[1:], k.token))
	}
	for n := 2; n < 10; n++ {
		repetitions = append(repetitions, strings.Fields(strings.Repeat(k.token+" ", n)))
	}
	return repetitions
}

// hostilePlaces put a good token where no carrier reads it.
func hostilePlaces(k *hostileKeys, c hostileCarrier) []hostileInput {
	var inputs []hostileInput
	line := func(text string) {
		inputs = append(inputs, hostileInput{text: k.token, hostileParts: hostileParts{lines: []string{strings.ReplaceAll(text, "K", k.token)}}})
	}
	for _, name := range []string{
		"Proxy-Authorization", "X-Authorization", "Authorisation", "Authorization2", "Authorizations", "Authorization-", "X-Original-Authorization", "X-Forwarded-Authorization", "HTTP_AUTHORIZATION", "REDIRECT_HTTP_AUTHORIZATION",
		"Authentication-Info", "Www-Authenticate", "Authentication", "Auth", "X-Auth-Token", "X-Access-Token", "X-Forwarded-Access-Token", "Private-Token", "X-Amz-Security-Token", "Sec-WebSocket-Protocol",
	} {
		line(name + ": Bearer K")
	}
	for _, name := range []string{
		"Api-Key", "ApiKey", "X-ApiKey", "XAPIKey", "X_API_KEY", "X-API_Key", "X-API-Keys", "X-API-Key-Id", "X--API-Key", "X-API-Key2", "X-API-Key-", "-X-API-Key", "HTTP-X-API-Key", "X-Shop-Key", "Shop_Key", "ShopKey", "X-Token", "Token", "Key", "api_key",
	} {
		line(name + ": K")
	}
	for _, cookie := range []string{"X-API-Key=K", "Authorization=Bearer K", "api_key=K", "K", "a=b; api_key=K", `api_key="K"`} {
		line("Cookie: " + cookie)
	}
	line("Referer: https://example.com/?api_key=K")
	line("Link: <https://example.com/?api_key=K>")
	if c.options.Header != "" {
		line("X-API-Key: K")
	}
	queries := []string{
		"access_token=K", "token=K", "key=K", "apikey=K", "api-key=K", "API_KEY=K", "Api_Key=K", "X-API-Key=K", "Authorization=Bearer+K", "authorization=K", "api_key[]=K", "api_key%5B%5D=K", "api_key%00=K", "api_key.=K", "api_key%20=K", "%20api_key=K", "+api_key=K", "K", "K=api_key", "q=api_key%3DK", "q=1%26api_key=K", "_api_key=K", "api__key=K", "api\u017fkey=K", "a=b&apikey=K",
	}
	if c.options.Carriers&apikeyhttp.Query == 0 {
		queries = append(queries, "api_key=K", "%61pi_key=K", "a=b&api_key=K", "a=b;api_key=K", "api_key=K&api_key=K")
	}
	for _, query := range queries {
		inputs = append(inputs, hostileInput{text: k.token, hostileParts: hostileParts{query: strings.ReplaceAll(query, "K", k.token)}})
	}
	for _, below := range []string{"/K", "/api_key=K", "/;api_key=K", "/Bearer%20K", "/%0d%0aAuthorization:%20Bearer%20K", "/%0AX-API-Key:K", "/USER:PASS@", "/%3Fapi_key=K", "/x#api_key=K", "/X-API-Key:%20K"} {
		below = strings.NewReplacer("K", k.token, "USER", k.user, "PASS", k.pass).Replace(below)
		inputs = append(inputs, hostileInput{text: k.token, below: below})
	}
	for _, body := range [][2]string{
		{"application/x-www-form-urlencoded", "api_key=" + k.token}, {"application/json", `{"api_key":"` + k.token + `"}`}, {"text/plain", k.token},
		{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"api_key\"\r\n\r\n" + k.token + "\r\n--x--\r\n"},
	} {
		inputs = append(inputs, hostileInput{text: k.token, body: body[1], hostileParts: hostileParts{lines: []string{"Content-Type: " + body[0]}}})
	}
	return inputs
}

// hostileAccepts are values of Accept, which no answer depends on.
var hostileAccepts = []string{
	"", ",", ";", "/", "*", "*/", "/*", "*/*;q=", "*/*;q=NaN", "*/*;q=Inf", "*/*;q=-1", "*/*;q=1e400", "*/*;q=0x1p-2", "text/html", "text/html,<script>alert(1)</script>", "application/problem+json;q=0", "application/problem+json;q=0, application/json;q=0, text/plain;q=0", "text/plain;q=2", "text/plain;charset=utf-16", "text/plain;q=0.1;q=1", "APPLICATION/JSON",
	"application/json\t;\tq=1", "application/json;\"q\"=1", "application/xml", "image/png", "%s%n", "../../etc/passwd", "application/problem+xml", "\xff\xfe/*", "text/\u00a0plain", "text/plain,", strings.Repeat("text/plain;q=0.5,", 500), strings.Repeat(";q=1", 1000), strings.Repeat("a", 5000) + "/*", "{{7*7}}/*", "application/json\r\nAccept: text/plain", "text/plain\r\n\t;q=1",
}

// hostileOrigins are lines that claim that a request comes from a network that
// it does not come from.
var hostileOrigins = []string{
	"X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 198.51.100.7, 127.0.0.1", "X-Forwarded-For: 127.0.0.1, 198.51.100.7", "X-Forwarded-For: [2001:db8::1]:80", "X-Forwarded-For: ::ffff:198.51.100.7", "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 198.51.100.7, unknown", "X_Forwarded_For: 198.51.100.7",
	"Forwarded: for=198.51.100.7", `Forwarded: for="[2001:db8::1]:80"`, "Forwarded: for=198.51.100.7;proto=https;by=127.0.0.1", "Forwarded: for=127.0.0.1, for=198.51.100.7", "X-Real-IP: 198.51.100.7", "True-Client-IP: 198.51.100.7", "CF-Connecting-IP: 198.51.100.7", "CF-Connecting-IPv6: 2001:db8::1", "Fastly-Client-IP: 198.51.100.7", "X-Client-IP: 198.51.100.7", "X-Cluster-Client-IP: 198.51.100.7", "X-Forwarded: 198.51.100.7",
	"Forwarded-For: 198.51.100.7", "X-Originating-IP: 198.51.100.7", "X-Remote-IP: 198.51.100.7", "X-Remote-Addr: 198.51.100.7", "REMOTE_ADDR: 198.51.100.7", "Remote-Addr: 198.51.100.7:80", "Client-IP: 198.51.100.7", "Via: 1.1 198.51.100.7", "X-ProxyUser-Ip: 198.51.100.7", "X-Envoy-External-Address: 198.51.100.7", "X-Azure-ClientIP: 198.51.100.7", "From: 198.51.100.7", "Origin: http://198.51.100.7",
}

// hostileShapes write requests that servers and proxies are known to read
// differently. Some hold a good request, or a header line with a good token,
// where it must not be taken for one. Other transfer codings and versions than
// those of HTTP/1.1 are left out: net/http answers 501 and 505 to them, by
// itself and rightly.
func hostileShapes(k *hostileKeys) []func(method, target string, lines []string) string {
	type shape = func(method, target string, lines []string) string
	authorization, header := "Authorization: Bearer "+k.token, "X-API-Key: "+k.token
	good := written("GET", "/orders", []string{"Host: example.com", authorization})
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(good), good)
	length := fmt.Sprint("Content-Length: ", len(good))
	head := func(method, target string, lines []string, more ...string) string {
		return written(method, target, append(append([]string{"Host: example.com"}, lines...), more...))
	}
	// with adds header lines, and a body.
	with := func(body string, more ...string) shape {
		return func(method, target string, lines []string) string { return head(method, target, lines, more...) + body }
	}
	edited := func(edit func(request string) string) shape {
		return func(method, target string, lines []string) string { return edit(head(method, target, lines)) }
	}
	replaced := func(before, after string) shape {
		return edited(func(request string) string { return strings.Replace(request, before, after, 1) })
	}
	aimed := func(change func(target string) string) shape {
		return func(method, target string, lines []string) string { return head(method, change(target), lines) }
	}
	const chunked = "Transfer-Encoding: chunked"
	return []shape{
		with(chunk+"0\r\n\r\n", "Content-Length: 4", chunked),
		with(chunk+"0\r\n\r\n", chunked, "Content-Length: 4"),
		with(chunk+"0\r\n\r\n", chunked, length),
		with(chunk+"0\r\n\r\n", chunked),
		with(chunk+"0\r\n\r\n", "Transfer-Encoding: Chunked"),
		with(strings.ToUpper(chunk[:2])+chunk[2:]+"0;x=y\r\n\r\n", chunked),
		with(strings.Replace(chunk, "\r\n", ";x=\""+k.token+"\"\r\n", 1)+"0\r\n\r\n", chunked),
		with("000000"+chunk+"00\r\n\r\n", chunked),
		with("zz\r\n"+good, chunked),
		with("-1\r\n"+good, chunked),
		with("ffffffffffffffffff\r\n"+good, chunked),
		with(good, length), with(good, length, length), with(good, length, "Content-Length: 0"), with(good, "Content-Length: 0, "+length[16:]),
		with("", "Content-Length: +0"), with("", "Content-Length: -0"), with("", "Content-Length: 0x0"), with("", "Content-Length: 0 0"), with("", "Content-Length:"), with("", "Content-Length: 99999999999999999999"), with("", "Content-Length\t: 0"),
		with("0\r\n"+authorization+"\r\n\r\n", chunked, "Trailer: Authorization"),
		with("0\r\n"+header+"\r\n\r\n", chunked, "Trailer: X-API-Key"),
		with("0\r\n"+authorization+"\r\n"+header+"\r\n\r\n", chunked),
		with("0\r\n"+authorization+"\r\n\r\n", chunked, "Trailer: authorization, X-API-Key", "TE: trailers"),
		with("0\r\nContent-Length: 5\r\n\r\n", chunked, "Trailer: Content-Length"),
		func(method, target string, lines []string) string { // no key but in the trailer
			return head(method, target, nil, chunked, "Trailer: Authorization", "X-Bad: "+strings.Join(lines, "; ")) + "0\r\n" + authorization + "\r\n\r\n"
		},
		func(method, target string, lines []string) string { // the line goes on
			return head(method, target, lines, "X-Junk: a\r\n\t"+authorization)
		},
		func(method, target string, lines []string) string { // or does not
			return written(method, target, append([]string{"Host: example.com", "X-Junk: a\nX-Junk: b"}, lines...))
		},
		edited(func(request string) string { return strings.ReplaceAll(request, "\r\n", "\n") }),
		edited(func(request string) string { return strings.ReplaceAll(request, "\r\n", "\r") + "\r\n\r\n" }),
		with("", "X-Junk: a\r"+authorization), with("", "X-Junk: a\r\r\n"+header[:5]), with("", "X-Junk: a\x00"+authorization), with("", "X-Junk\x00: a"), with("", "X-Junk : a"), with("", ": a"), with("", "X(Junk): a"), with("", "X-Junk"), with("", "\x7fX: a"),
		with("", ":authority: example.com"), with("", ":method: GET"), with("", ":path: /open"), with("", ":scheme: https"), with("", ":status: 200"), with("", ":authorization: Bearer "+k.token),
		replaced("Host: example.com\r\n", ""), replaced("Host: example.com\r\n", "Host: example.com\r\nHost: example.com\r\n"), replaced("Host: example.com", "Host: a b"), replaced("Host: example.com", "Host: example.com\r\nhost: evil.example"), replaced("Host: example.com", "Host: "+k.user+":"+k.pass+"@example.com"), replaced("Host: example.com", "Host: a/../b"), replaced("Host: example.com", "Host:"), replaced("Host: example.com", " Host: example.com"),
		replaced("HTTP/1.1", "HTTP/1.0"), replaced("HTTP/1.1\r\nHost: example.com", "HTTP/1.0"), replaced("HTTP/1.1", "HTTP/1.0\r\nConnection: keep-alive"), replaced(" HTTP/1.1", ""), replaced("HTTP/1.1", "HTTPS/1.1"), replaced("HTTP/1.1", "http/1.1"), replaced("HTTP/1.1", "HTTP/1.1 "), replaced("HTTP/1.1", "HTTP/01.1"), replaced("HTTP/1.1", "HTTP/1,1"), replaced("HTTP/1.1", "\tHTTP/1.1"),
		edited(func(request string) string { return "\r\n" + request }), edited(func(request string) string { return " " + request }), edited(func(request string) string { return "\x16\x03\x01" + request }),
		with(good, length, "Expect: 100-continue"), with("", "Expect: 200-ok"), with("", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), with("", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"),
		with("", "Connection: Authorization, X-API-Key"), with("", "Connection: close, X-API-Key, Shop-Key"), with("", "X-HTTP-Method-Override: OPTIONS"), with("", "X-Original-URL: /end", "X-Rewrite-URL: /end"), with("", "X-Forwarded-Prefix: /end", "X-Forwarded-Uri: /end"), with("", "X-Authenticated: true", "X-Remote-User: ada", "Remote-User: ada"), with("", "Content-Encoding: gzip"),
		aimed(func(target string) string { return "http://example.com" + target }), aimed(func(target string) string { return "http://evil.example" + target }), aimed(func(target string) string { return "http://" + k.user + ":" + k.pass + "@example.com" + target }), aimed(func(target string) string { return "HTTPS://example.com:443" + target }),
		aimed(func(target string) string { return target + " " + good[:20] }), aimed(func(target string) string { return target + "\x00" }), aimed(func(target string) string { return target + "\t" }), aimed(func(target string) string { return target + "%" }),
		func(method, target string, lines []string) string {
			path, query, _ := strings.Cut(target, "?")
			return head(method, path+"/%0d%0a"+url.PathEscape(authorization)+"?"+query, lines)
		},
		func(method, target string, lines []string) string {
			path, query, _ := strings.Cut(target, "?")
			return head(method, path+"?x=%0d%0a"+url.QueryEscape(authorization)+"&"+query, lines)
		},
	}
}
