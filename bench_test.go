package apikey_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"hash"
	"hash/crc32"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// A ratio is taken in one run, chunk by chunk in turn, since a machine's speed
// drifts: the median of the chunks is reported, beside the time of each.
func pair(b *testing.B, ours, bare func(i int)) {
	b.Helper()
	const chunk = 2000
	for i := range chunk { // to warm up
		ours(i)
		bare(i)
	}
	var ratios []float64
	var sum [2]time.Duration
	rounds := max(b.N/chunk, 20)
	at := 0
	for range rounds {
		var took [2]time.Duration
		for side, do := range []func(int){ours, bare} {
			begin := time.Now()
			for i := range chunk {
				do(at + i)
			}
			took[side] = time.Since(begin)
			sum[side] += took[side]
		}
		at += chunk
		ratios = append(ratios, float64(took[0])/float64(took[1]))
	}
	slices.Sort(ratios)
	ops := float64(rounds * chunk)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(sum[0])/ops, "ours-ns")
	b.ReportMetric(float64(sum[1])/ops, "bare-ns")
	b.ReportMetric(ratios[len(ratios)/2], "x")
}

// bare is validation without a library: parse, checksum, a reused HMAC, a map,
// compare, the clock.
type bare struct {
	mac     hash.Hash
	in      [49]byte
	sum     [32]byte
	digests map[string]bareKey
}

type bareKey struct {
	digest  [32]byte
	expires time.Time
}

func newBare() *bare {
	return &bare{mac: hmac.New(sha256.New, []byte(strings.Repeat("p", 32))), digests: map[string]bareKey{}}
}

func (b *bare) share() *bare {
	return &bare{mac: newBare().mac, digests: b.digests}
}

func (b *bare) digest(id, secret string) {
	b.mac.Reset()
	b.in[0] = 1
	copy(b.in[1:], id)
	copy(b.in[17:], secret)
	b.mac.Write(b.in[:])
	b.mac.Sum(b.sum[:0])
}

func (b *bare) add(token string) {
	id, secret := token[3:19], token[20:52]
	b.digest(id, secret)
	b.digests[strings.Clone(id)] = bareKey{b.sum, time.Now().AddDate(1, 0, 0)}
}

var bareDigit = func() (digit [256]int8) {
	for i := range digit {
		digit[i] = -1
	}
	for i, c := range "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		digit[c] = int8(i)
	}
	return digit
}()

func bareParse(token string) (id, secret string, ok bool) {
	if len(token) != 58 || token[:3] != "ak_" || token[19] != '_' {
		return "", "", false
	}
	for i := range len(token) {
		if bareDigit[token[i]] < 0 && token[i] != '_' {
			return "", "", false
		}
	}
	var sum uint64
	for i := 52; i < 58; i++ {
		sum = sum*62 + uint64(bareDigit[token[i]])
	}
	return token[3:19], token[20:52], sum == uint64(crc32.ChecksumIEEE(unsafe.Slice(unsafe.StringData(token), 52)))
}

func (b *bare) validate(token string) bool {
	id, secret, ok := bareParse(token)
	if !ok {
		return false
	}
	k, ok := b.digests[id]
	if !ok {
		return false
	}
	b.digest(id, secret)
	return subtle.ConstantTimeCompare(b.sum[:], k.digest[:]) == 1 && time.Now().Before(k.expires)
}

// benchKeys issues n keys, 100 an owner, and returns some of their tokens.
func benchKeys(b testing.TB, n, hot int) (*apikey.Manager, []string) {
	b.Helper()
	m, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		b.Fatal(err)
	}
	var tokens []string
	for i := range n {
		token := issue(b, m, apikey.IssueParams{Owner: fmt.Sprint("owner", i/100)}).Token.Reveal()
		if i%(n/hot) == 0 && len(tokens) < hot {
			tokens = append(tokens, token)
		}
	}
	return m, tokens
}

func BenchmarkValidate(b *testing.B) {
	ctx := context.Background()
	m, tokens := benchKeys(b, 1000, 1000)
	plain := newBare()
	for _, token := range tokens {
		plain.add(token)
	}
	validate := func(b *testing.B) func(int) {
		return func(i int) {
			if _, err := m.Validate(ctx, tokens[i%1000]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("hit", func(b *testing.B) {
		pair(b, validate(b), func(i int) {
			if !plain.validate(tokens[i%1000]) {
				b.Fatal("refused")
			}
		})
	})
	b.Run("bad checksum", func(b *testing.B) {
		var bad []string
		for _, token := range tokens {
			bad = append(bad, token[:57]+flip(token[57]))
		}
		pair(b, func(i int) {
			if _, err := m.Validate(ctx, bad[i%1000]); err == nil {
				b.Fatal("accepted")
			}
		}, func(i int) {
			if _, _, ok := bareParse(bad[i%1000]); ok {
				b.Fatal("accepted")
			}
		})
	})
	b.Run("malformed", func(b *testing.B) {
		bad := tokens[0][:56] + "-0"
		pair(b, func(int) {
			if _, err := m.Validate(ctx, bad); err == nil {
				b.Fatal("accepted")
			}
		}, func(i int) {
			if _, _, ok := bareParse(tokens[i%1000]); !ok {
				b.Fatal("refused")
			}
		})
	})
	b.Run("allocs", func(b *testing.B) {
		b.ReportAllocs()
		hit := validate(b)
		for i := 0; b.Loop(); i++ {
			hit(i)
		}
	})
	// The gain of a second core, ours against the bare loop's. 1 = as good.
	b.Run("two cores", func(b *testing.B) {
		if runtime.GOMAXPROCS(0) < 2 {
			b.Skip("one core")
		}
		spread := func(workers int, do func(worker, i int)) time.Duration {
			const each = 20_000
			var wg sync.WaitGroup
			begin := time.Now()
			for w := range workers {
				wg.Go(func() {
					for i := range each {
						do(w, i)
					}
				})
			}
			wg.Wait()
			return time.Since(begin) / time.Duration(workers)
		}
		hit := validate(b)
		plains := []*bare{plain.share(), plain.share()}
		var gains []float64
		for range max(b.N/80_000, 1) {
			gain := func(do func(w, i int)) float64 {
				return float64(spread(1, do)) / float64(spread(2, do))
			}
			ours := gain(func(w, i int) { hit(i + w*500) })
			bare := gain(func(w, i int) {
				if !plains[w].validate(tokens[(i+w*500)%1000]) {
					b.Error("refused")
				}
			})
			gains = append(gains, ours/bare)
		}
		slices.Sort(gains)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(gains[len(gains)/2], "x")
	})
}

// BenchmarkValidateMillion compares 1,000,000 keys with 1,000, both with a hot
// set of 1,000.
func BenchmarkValidateMillion(b *testing.B) {
	ctx := context.Background()
	small, few := benchKeys(b, 1000, 1000)
	large, many := benchKeys(b, 1_000_000, 1000)
	runtime.GC() // or it goes on marking a gigabyte while the first chunks run
	pair(b, func(i int) {
		if _, err := large.Validate(ctx, many[i%1000]); err != nil {
			b.Fatal(err)
		}
	}, func(i int) {
		if _, err := small.Validate(ctx, few[i%1000]); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkIssue compares issuing on memstore with the random bytes, the HMAC
// and the encoding that it needs.
func BenchmarkIssue(b *testing.B) {
	ctx := context.Background()
	m, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		b.Fatal(err)
	}
	plain := newBare()
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	random := func(n int) string {
		buf := make([]byte, n)
		rand.Read(buf)
		for i := range buf {
			buf[i] = digits[buf[i]%62]
		}
		return string(buf)
	}
	pair(b, func(int) {
		if _, err := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "test"}); err != nil {
			b.Fatal(err)
		}
	}, func(int) {
		_, nonce := random(20), random(16)
		token := retoken("ak_" + random(16) + "_" + random(32))
		plain.add(token)
		_ = nonce
	})
}

func BenchmarkScan(b *testing.B) {
	m, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		b.Fatal(err)
	}
	text := []byte(strings.Repeat("a line of a log that holds nothing, ak_but_this\n", 20_000) + issue(b, m, apikey.IssueParams{}).Token.Reveal())
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		n := 0
		for range apikey.Scan(text, "ak") {
			n++
		}
		if n != 1 {
			b.Fatal(n)
		}
	}
}
