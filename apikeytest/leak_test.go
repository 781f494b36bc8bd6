package apikeytest_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/matryer/is"
)

func TestAssertNoLeak(t *testing.T) {
	issued := apikeytest.New(t).MustIssue(t, apikey.IssueParams{})
	token, secret := issued.Token.Reveal(), issued.AccessSecret().Reveal()
	in64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	each := func(s, format string) string {
		var b strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&b, format, s[i])
		}
		return b.String()
	}
	tests := []struct {
		name   string
		output string
		form   string // empty: no leak
	}{
		{"nothing", "", ""},
		{"access key", "key " + issued.AccessKey() + " was used", ""},
		{"redacted", fmt.Sprint(issued.Token, issued.AccessSecret(), issued), ""},
		{"11 characters", "-" + secret[5:16] + "-", ""},
		{"access key in base64", in64(issued.AccessKey() + ":"), ""},
		{"token", "token=" + token + ";", "as it is"},
		{"secret", secret, "as it is"},
		{"beginning", secret[:12], "as it is"},
		{"middle", "x" + secret[13:25] + "x", "as it is"},
		{"end", secret[26:], "as it is"},
		{"base64", in64(token), "in base64"},
		{"base64 after 1", in64("x" + token), "in base64"},
		{"base64 after 2", in64("xx" + token), "in base64"},
		{"base64 of the end after 1", in64("x" + secret[26:] + "x"), "in base64"},
		{"base64 of the end after 2", in64("xx" + secret[26:] + "x"), "in base64"},
		{"base64 of Basic", in64(issued.AccessKey() + ":" + secret), "in base64"},
		{"base64 for URLs", base64.RawURLEncoding.EncodeToString([]byte(token)), "in base64"},
		{"hex", hex.EncodeToString([]byte(token)), "in hex"},
		{"HEX", strings.ToUpper(hex.EncodeToString([]byte(token))), "in hex"},
		{"hex with spaces", fmt.Sprintf("% x", token), "in hex"},
		{"HEX with spaces", fmt.Sprintf("% X", token), "in hex"},
		{"Go syntax", fmt.Sprintf("%#v", []byte(token)), "in hex"},
		{"bytes", fmt.Sprint([]byte(token)), "in decimal"},
		{"percent", each(token, "%%%02x"), "percent-encoded"},
		{"PERCENT", each(token, "%%%02X"), "percent-encoded"},
		{"JSON", each(token, `\u%04x`), "escaped as in JSON"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			messages, finished := failures(t, func(t testing.TB) {
				apikeytest.AssertNoLeak(t, issued.Token, "harmless", test.output)
			})
			is.True(finished)
			if test.form == "" {
				is.Equal(len(messages), 0)
				return
			}
			is.Equal(messages, []string{fmt.Sprintf("apikeytest: output 2 of %d bytes holds the secret, %s", len(test.output), test.form)})
		})
	}
}

func TestAssertNoLeakOfOtherTexts(t *testing.T) {
	const pepper = `<a" &b" <c& "d< &e" <f& "g<` // needs escapes everywhere
	high := strings.Repeat("\xfb\xff\xbf", 6)    // needs - and _ in base64 for URLs, at every offset
	quoted, err := json.Marshal(pepper)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text, output string
		leak               bool
	}{
		{"other text", pepper, "<a b c& d e< f", false},
		{"part", pepper, pepper[4:16], true},
		{"query", pepper, "q=" + url.QueryEscape(pepper), true},
		{"path", pepper, "/" + url.PathEscape(pepper), true},
		{"JSON", pepper, string(quoted), true},
		{"short", "hunter2", "password hunter2", true},
		{"part of a short one", "hunter2", "hunter", false},
		{"base64", high, base64.StdEncoding.EncodeToString([]byte(high)), true},
		{"base64 for URLs", high, base64.RawURLEncoding.EncodeToString([]byte(high)), true},
		{"base64 for URLs after 1", high, base64.RawURLEncoding.EncodeToString([]byte("x" + high)), true},
		{"base64 for URLs after 2", high, base64.RawURLEncoding.EncodeToString([]byte("xx" + high)), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			messages, _ := failures(t, func(t testing.TB) {
				apikeytest.AssertNoLeak(t, apikey.NewSecret(test.text), test.output)
			})
			is.Equal(len(messages) == 1, test.leak)
		})
	}
}

func TestAssertNoLeakCannotPassForNothing(t *testing.T) {
	is := is.New(t)
	_, finished := failures(t, func(t testing.TB) { apikeytest.AssertNoLeak(t, apikey.Secret{}, "output") })
	is.True(!finished)
	_, finished = failures(t, func(t testing.TB) { apikeytest.AssertNoLeak(t, apikey.NewSecret("secret")) })
	is.True(!finished)
}
