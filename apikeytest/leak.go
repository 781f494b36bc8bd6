package apikeytest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/keyturn/apikey"
)

// fragmentLen is how much of a secret must stand somewhere to count as a leak:
// 12 base62 characters, 71 bits, are there by no chance.
const fragmentLen = 12

// AssertNoLeak fails the test if a part of a token's secret, 12 characters in a
// row, stands in one of the outputs: as it is, in base64 (also amid other
// text, as in Basic credentials), in hex, as the numbers of its bytes,
// percent-encoded or escaped as in JSON. The access key may stand there: it is public. What fails is told
// without showing it.
//
// Of a text that is no token, such as a digest or a pepper, any 12 bytes in a
// row count; of a shorter one, all of it. The test ends if there is nothing to
// look for, or no output.
func AssertNoLeak(t testing.TB, token apikey.Secret, outputs ...string) {
	t.Helper()
	canary := token.Reveal()
	// What follows the access key: 32 characters and a checksum of 6.
	if cut := len(canary) - 39; cut > 0 && canary[cut] == '_' {
		canary = canary[cut+1:]
	}
	if canary == "" || len(outputs) == 0 {
		t.Fatalf("apikeytest: nothing to look for, or nowhere to look")
	}
	size := min(fragmentLen, len(canary))
	for i, output := range outputs {
		lower := strings.ToLower(output)
		for at := 0; at+size <= len(canary); at++ {
			if form := leaked(canary[at:at+size], output, lower); form != "" {
				t.Errorf("apikeytest: output %d of %d bytes holds the secret, %s", i+1, len(output), form)
				break
			}
		}
	}
}

// leaked names the form in which a fragment stands in the output, if any;
// lower is the output in lower case, for digits that may be either.
func leaked(fragment, output, lower string) string {
	if strings.Contains(output, fragment) {
		return "as it is"
	}
	// A byte of base64 depends on what stands beside it. For each of the
	// three ways to begin, look for the characters that depend on the
	// fragment alone.
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for skip := range 3 {
			inner := fragment[skip:]
			if inner = inner[:len(inner)/3*3]; inner != "" && strings.Contains(output, encoding.EncodeToString([]byte(inner))) {
				return "in base64"
			}
		}
	}
	if strings.Contains(lower, hex.EncodeToString([]byte(fragment))) ||
		strings.Contains(lower, escaped(fragment, " %02x")[1:]) || strings.Contains(lower, escaped(fragment, ", 0x%x")[2:]) {
		return "in hex"
	}
	// fmt shows a []byte so.
	if strings.Contains(output, escaped(fragment, " %d")[1:]) {
		return "in decimal"
	}
	// Encoders escape what they must; some escape every byte.
	if strings.Contains(output, url.QueryEscape(fragment)) || strings.Contains(output, url.PathEscape(fragment)) ||
		strings.Contains(lower, escaped(fragment, "%%%02x")) {
		return "percent-encoded"
	}
	quoted, err := json.Marshal(fragment)
	if err == nil && strings.Contains(output, string(quoted[1:len(quoted)-1])) ||
		strings.Contains(lower, escaped(fragment, `\u%04x`)) {
		return "escaped as in JSON"
	}
	return ""
}

func escaped(text, format string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, format, text[i])
	}
	return b.String()
}
