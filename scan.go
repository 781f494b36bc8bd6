package apikey

import (
	"bytes"
	"iter"
	"strings"
)

// Found is a token found by Scan.
type Found struct {
	Offset    int    // of its first byte in the text
	AccessKey string // names it: see Manager.Find
	Token     Secret
}

// Scan yields every token with the prefix in the text, wherever it stands and
// whatever stands around it: in a log, a source file, a URL. An empty prefix
// finds the tokens of every prefix, more slowly. It needs no store, only the
// checksum in the token, which one random text in 57 billion has by chance.
func Scan(text []byte, prefix string) iter.Seq[Found] {
	if prefix == "" {
		return scanAll(text)
	}
	return func(yield func(Found) bool) {
		if prefixProblem(prefix) != "" {
			return
		}
		start, length := []byte(prefix+"_"), len(prefix)+tailLen
		for at := 0; ; at++ {
			next := bytes.Index(text[at:], start)
			if next < 0 || at+next+length > len(text) {
				return
			}
			at += next
			found := string(text[at : at+length])
			t, ok := parseToken(found)
			if ok && !yield(foundAt(at, found, t)) {
				return
			}
		}
	}
}

// scanAll is Scan for tokens of every prefix. Each is looked for by the
// underscore after its prefix, which can begin at any of the 20 characters
// before: the checksum tells at which.
func scanAll(text []byte) iter.Seq[Found] {
	return func(yield func(Found) bool) {
		for at := 0; at+tailLen <= len(text); at++ {
			next := bytes.IndexByte(text[at:], '_')
			if next < 0 || at+next+tailLen > len(text) {
				return
			}
			at += next
			if text[at+1+credentialIDLen] != '_' || !allBase62(string(text[at+1:at+1+credentialIDLen])) {
				continue // so that little is copied of a text full of underscores
			}
			first := max(0, at-maxPrefixLen)
			longest := string(text[first : at+tailLen])
			for from := range at - first {
				found := longest[from:]
				if t, ok := parseToken(found); ok && !yield(foundAt(first+from, found, t)) {
					return
				}
			}
		}
	}
}

func foundAt(offset int, found string, t token) Found {
	return Found{offset, strings.Clone(accessKey(t.prefix, t.credentialID)), NewSecret(found)}
}
