package apikey

import (
	"bufio"
	"encoding/hex"
	"hash/crc32"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey/internal/pepper"
)

// Frozen: what these files say has been handed out and stored.

func TestTokenVectors(t *testing.T) {
	for _, v := range vectors(t, "testdata/vectors/tokens.txt", 4) {
		t.Run(v[0], func(t *testing.T) {
			is := is.New(t)
			parsed, ok := parseToken(v[0])
			is.True(ok)
			is.Equal(parsed, token{v[1], v[2], v[3]})
			is.Equal(formatToken(parsed), v[0])
		})
	}
}

func TestRefusedTokenVectors(t *testing.T) {
	for _, v := range vectors(t, "testdata/vectors/refused.txt", 1) {
		if parsed, ok := parseToken(v[0]); ok {
			t.Errorf("%q was accepted as %v", v[0], parsed)
		}
	}
}

func TestDigestVectors(t *testing.T) {
	for _, v := range vectors(t, "testdata/vectors/digests.txt", 5) {
		is := is.New(t)
		p := pepper.New(strings.ReplaceAll(v[0], "~", " "))
		is.Equal(hex.EncodeToString([]byte(p.ID)), v[1])
		d := p.Digest(v[2], v[3])
		is.Equal(hex.EncodeToString([]byte(d)), v[4])
		is.True(p.Verify(v[2], v[3], d))
		is.True(!p.Verify(v[2], v[3], d[:31]))
		is.True(!p.Verify(v[2], v[3], d+"\x00"))
		is.True(!p.Verify(v[2], v[3], ""))
	}
}

// TestTokenFormatPage checks that the vectors of docs/token-format.md are among
// those above, and that its rule for scanners finds tokens.
func TestTokenFormatPage(t *testing.T) {
	page, err := os.ReadFile("docs/token-format.md")
	if err != nil {
		t.Fatal(err)
	}
	_, onPage, _ := strings.Cut(string(page), "## Test vectors")
	for file, fields := range map[string]int{"tokens": 4, "digests": 5, "refused": 1} {
		found := 0
		for _, v := range vectors(t, "testdata/vectors/"+file+".txt", fields) {
			if strings.Contains(onPage, "\n"+strings.Join(v, " ")+"\n") {
				found++
			}
		}
		if found != 1 {
			t.Errorf("the page shows %d vectors of %s", found, file)
		}
	}
	rule := regexp.MustCompile(regexp.MustCompile(`(?m)^ak_\[.*$`).FindString(string(page)))
	for _, v := range vectors(t, "testdata/vectors/tokens.txt", 4) {
		if got := rule.FindString("x" + v[0] + "x"); v[1] == "ak" && got != v[0] {
			t.Errorf("the rule finds %q in %q", got, v[0])
		}
	}
}

func TestDerivedIDVectors(t *testing.T) {
	for _, v := range vectors(t, "testdata/vectors/derived_ids.txt", 4) {
		h := handle{confined: v[0] == "owner"}
		if got := h.derivedID(v[1], v[2]); got != v[3] {
			t.Errorf("derivedID(%q, %q) of the %s = %s, want %s", v[1], v[2], v[0], got, v[3])
		}
	}
}

// vectors reads a file of fields separated by spaces, one vector a line.
func vectors(t *testing.T, file string, fields int) (all [][]string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); line != "" && line[0] != '#' {
			v := strings.Fields(line)
			if len(v) != fields {
				t.Fatalf("%s: %d fields, want %d: %q", file, len(v), fields, line)
			}
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s is empty", file)
	}
	return all
}

// The construction of the checksum is that of GitHub's tokens; their published
// sample has 30 characters and covers those alone.
func TestChecksumIsGitHubs(t *testing.T) {
	is := is.New(t)
	body, sum := "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", "0mLq17"
	is.Equal(parseChecksum(sum), uint64(checksum(body)))
}

func TestChecksumOverflow(t *testing.T) {
	// zzzzzz is more than 32 bits hold: it must equal no checksum, not wrap.
	if got := parseChecksum("zzzzzz"); got <= 1<<32-1 {
		t.Errorf("zzzzzz = %d", got)
	}
}

// TestChecksum compares with package hash/crc32, for every length around those
// of tokens.
func TestChecksum(t *testing.T) {
	text := strings.Repeat("ak_live_0Az9\xff\x00", 8)
	for from := range 9 {
		for until := from; until <= len(text); until++ {
			part := text[from:until]
			if got, want := checksum(part), crc32.ChecksumIEEE([]byte(part)); got != want {
				t.Fatalf("checksum(%q) = %x, want %x", part, got, want)
			}
		}
	}
}

func TestPrefix(t *testing.T) {
	for prefix, ok := range map[string]bool{
		"a": true, "ak": true, "ak_live": true, "a1_2b": true, "acme-live": true, "a-b_c": true, "a-": false, "-a": false, "a--b": false, "a-_b": false, "a_-b": false, "abcdefghij0123456789": true,
		"": false, "_a": false, "a_": false, "a__b": false, "1a": false, "A": false, "aK": false,
		"a b": false, "abcdefghij0123456789x": false, "ä": false, "a\n": false, "а": false, "_": false,
	} {
		if got := prefixProblem(prefix) == ""; got != ok {
			t.Errorf("prefix %q: %v, want %v", prefix, got, ok)
		}
	}
}

// Each of 62 characters should come equally often. With 2,000,000 of them the
// standard deviation of one's count is 178; 8 of them off is chance once in
// 10^15. Without rejection the first 8 characters would be 6,800 off.
func TestRandomIsUniform(t *testing.T) {
	const n = 2_000_000
	counts := map[rune]int{}
	for _, c := range randomBase62(n) {
		counts[c]++
	}
	if len(counts) != 62 {
		t.Fatalf("%d different characters", len(counts))
	}
	for c, count := range counts {
		if diff := count - n/62; diff > 8*178 || diff < -8*178 {
			t.Errorf("%c came %d times, want about %d", c, count, n/62)
		}
	}
}

func TestScan(t *testing.T) {
	is := is.New(t)
	first := formatToken(token{"ak", "0123456789abcdef", strings.Repeat("x", 32)})
	second := formatToken(token{"ak", "ABCDEFGHIJ012345", strings.Repeat("y", 32)})
	other := formatToken(token{"other", "ABCDEFGHIJ012345", strings.Repeat("y", 32)})
	broken := first[:len(first)-1] + "0"
	text := "url?key=" + first + "&x=1 " + broken + other + "\n\"" + second + "\"ak_" + second + first[:40]
	var found []Found
	for f := range Scan([]byte(text), "ak") {
		found = append(found, f)
	}
	is.Equal(len(found), 3)
	for i, want := range []string{first, second, second} {
		is.Equal(found[i].Token.Reveal(), want)
		is.Equal(text[found[i].Offset:][:len(want)], want)
		is.Equal(found[i].AccessKey, want[:19])
	}
	for _, prefix := range []string{"AK", "k", "none"} {
		for f := range Scan([]byte(text), prefix) {
			t.Errorf("prefix %q found %v", prefix, f)
		}
	}
	for range Scan([]byte(text), "ak") {
		break // the iterator must stop
	}
	if diff := cmp.Diff(0, len(collect(Scan(nil, "ak")))); diff != "" {
		t.Error(diff)
	}

	// Of every prefix, also where more letters stand before and after.
	short := formatToken(token{"k", "ABCDEFGHIJ012345", strings.Repeat("z", 32)})
	long := formatToken(token{"a_prefix_of_20_bytes", "ABCDEFGHIJ012345", strings.Repeat("z", 32)})
	text = "xy" + first + "z " + broken + other + "\n" + short + long + "_" + second + first[:40]
	var all []string
	for f := range Scan([]byte(text), "") {
		all = append(all, f.Token.Reveal())
		is.Equal(text[f.Offset:][:len(f.Token.Reveal())], f.Token.Reveal())
		accessKey, ok := AccessKey(f.Token.Reveal())
		is.True(ok)
		is.Equal(f.AccessKey, accessKey)
	}
	is.Equal(all, []string{first, other, short, long, second})
	for range Scan([]byte(text), "") {
		break
	}
	is.Equal(len(collect(Scan([]byte(first), ""))), 1)
	is.Equal(len(collect(Scan([]byte(first[1:]+first[:len(first)-1]), ""))), 0)
}

func collect[T any](seq func(func(T) bool)) (all []T) {
	for v := range seq {
		all = append(all, v)
	}
	return all
}

func FuzzParse(f *testing.F) {
	f.Add(formatToken(token{"ak", "0123456789abcdef", strings.Repeat("x", 32)}))
	f.Add(formatToken(token{"a_b", "ABCDEFGHIJ012345", strings.Repeat("0", 32)}))
	f.Add("")
	f.Add("ak_0123456789abcdef_")
	f.Fuzz(func(t *testing.T, text string) {
		parsed, ok := parseToken(text)
		if ok {
			if got := formatToken(parsed); got != text {
				t.Errorf("%q was accepted, and is %q again", text, got)
			}
			return
		}
		// What is refused only for its checksum is accepted with the right
		// one, so that accepted texts are met as well.
		if len(text) > checksumLen+secretLen+1+credentialIDLen+1 {
			n := len(text) - tailLen
			if n >= 1 && text[n] == '_' && text[n+1+credentialIDLen] == '_' {
				repaired := formatToken(token{text[:n], text[n+1 : n+1+credentialIDLen], text[n+2+credentialIDLen : len(text)-checksumLen]})
				if parsed, ok := parseToken(repaired); ok && formatToken(parsed) != repaired {
					t.Errorf("%q was accepted, and is %q again", repaired, formatToken(parsed))
				}
			}
		}
	})
}

func FuzzScan(f *testing.F) {
	good := formatToken(token{"ak", "0123456789abcdef", strings.Repeat("x", 32)})
	f.Add([]byte("key=" + good + " "))
	f.Add([]byte("ak_ak_ak_" + good[:50] + good))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, prefix := range []string{"ak", ""} {
			for found := range Scan(text, prefix) {
				whole := found.Token.Reveal()
				if parsed, ok := parseToken(whole); !ok || formatToken(parsed) != whole {
					t.Errorf("found %q, which is no token", whole)
				}
				if string(text[found.Offset:found.Offset+len(whole)]) != whole {
					t.Errorf("%q is not at %d", whole, found.Offset)
				}
			}
			// A token put between any two texts is found.
			around := append(append(append([]byte{}, text...), good...), text...)
			seen := false
			for found := range Scan(around, prefix) {
				seen = seen || found.Offset == len(text)
			}
			if !seen {
				t.Errorf("prefix %q: not found between %q", prefix, text)
			}
		}
	})
}

// TestIssueHash compares with hashes made by another program (hashlib of
// Python): they are stored, and a later version has to make the same.
func TestIssueHash(t *testing.T) {
	for _, test := range []struct {
		params IssueParams
		want   string
	}{
		{IssueParams{
			Name: "deploy", Scopes: []string{"b", "a:read"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			Rate: Rate{10, time.Minute}, Metadata: map[string]string{"team": "x", "plan": "gold"},
			ExpiresAt: time.UnixMicro(1772600767000001),
		}, "92b32742d8dcf03c1a67a35e279cfc249afe54aa9e407f7487e59c9a80bf01b1"},
		{IssueParams{Name: "deploy", Lifetime: Period{Time: time.Hour}}, "c5c57658385f57c00d63eb52bfd333d278e8929398aad51ddf773e3bfa23c7f1"},
		{IssueParams{Name: "deploy", Lifetime: Period{1, 2, 3, 4}}, "986f1047cb317766216decdaee67fbe7bac270563cd9b2199bcde589041a5b49"},
	} {
		if got := hex.EncodeToString([]byte(issueHash("00000000000000000001", test.params))); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}
