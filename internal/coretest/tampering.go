package coretest

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/keyturn/apikey"
)

const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"

// tampering: no text but the token itself is accepted, whatever was read from
// the store or done to the text.
func tampering(t *testing.T, newStore NewStore) {
	f := newFixture(t, newStore, apikey.Options{})
	issued, victim := f.issue(apikey.IssueParams{}), f.issue(apikey.IssueParams{Name: "victim"})
	live := issued.Token.Reveal()
	f.no(f.validate(issued.Token))
	tried := 0
	try := func(what, text string) {
		t.Helper()
		if text == live {
			return
		}
		tried++
		if _, err := f.m.Validate(f.ctx, text); err != apikey.ErrInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range len(live) {
		for _, c := range letters + " -\n\x00\u0430" {
			try("change", live[:i]+string(c)+live[i+1:])
			try("insertion", live[:i]+string(c)+live[i:])
		}
		try("deletion", live[:i]+live[i+1:])
		if i+1 < len(live) {
			try("transposition", live[:i]+live[i+1:i+2]+live[i:i+1]+live[i+2:])
		}
		flipped := strings.ToUpper(live[i : i+1])
		if flipped == live[i:i+1] {
			flipped = strings.ToLower(flipped)
		}
		try("flip of case", live[:i]+flipped+live[i+1:])
	}
	try("appended", live+"0")
	try("appended line break", live+"\n")
	try("leading space", " "+live)
	try("twice", live+live)
	try("upper case", strings.ToUpper(live))
	try("access key", issued.AccessKey())
	try("access secret", issued.AccessSecret().Reveal())

	// What a copy of the database holds is no token, nor a part of one.
	record, err := f.store.Get(f.ctx, issued.Key.ID, "")
	f.no(err)
	digest := string(record.Credentials[0].Digest)
	mapped := make([]byte, len(digest))
	for i := range mapped {
		mapped[i] = letters[digest[i]%62]
	}
	hexed := hex.EncodeToString([]byte(digest))
	for _, text := range []string{digest, hexed, base64.StdEncoding.EncodeToString([]byte(digest)), record.Key.ID, issued.AccessKey() + "_" + hexed} {
		try("from the database", text)
	}
	for _, secret := range []string{digest, hexed[:32], hexed[32:], string(mapped), strings.Repeat("0", 32)} {
		try("rebuilt from the database", build("ak", record.Credentials[0].ID, secret))
	}
	if tried < 100 {
		t.Fatalf("only %d texts were tried", tried)
	}

	// Who can write to the database cannot move a digest to another key, nor
	// make one without the pepper: here a good one of another credential.
	other, err := f.store.Get(f.ctx, victim.Key.ID, "")
	f.no(err)
	other.Credentials[0].Digest = record.Credentials[0].Digest
	f.commit(other)
	for name, token := range map[string]apikey.Secret{
		"the victim's": victim.Token,
		"the victim's access key with the attacker's secret": apikey.NewSecret(build("ak", other.Credentials[0].ID, secretOf(issued))),
	} {
		if err := f.validate(token); err != apikey.ErrInvalid {
			t.Errorf("%s token after its digest was replaced: %v", name, err)
		}
	}

	// A scheme of a later version is no wrong key.
	unknown := f.issue(apikey.IssueParams{})
	later, err := f.store.Get(f.ctx, unknown.Key.ID, "")
	f.no(err)
	later.Credentials[0].Scheme = 1
	f.commit(later)
	if err := f.validate(unknown.Token); !errors.Is(err, apikey.ErrPepper) || !errors.Is(err, apikey.ErrUnavailable) {
		t.Errorf("an unknown scheme: %v", err)
	}

	// A prefix that the credential was not issued with.
	renamed := build("other", record.Credentials[0].ID, secretOf(issued))
	try("another prefix", renamed)
	if build("ak", record.Credentials[0].ID, secretOf(issued)) != live {
		t.Error("the token is not built as documented")
	}
	next := f.manager(apikey.Options{Prefix: "other"})
	if _, err := next.Validate(f.ctx, live); err != nil {
		t.Errorf("a token with an earlier prefix: %v", err)
	}
	if _, err := next.Validate(f.ctx, renamed); err != apikey.ErrInvalid {
		t.Errorf("a token with a later prefix: %v", err)
	}
}

// build makes a token of its parts, as docs/token-format.md says.
func build(prefix, id, secret string) string {
	text := prefix + "_" + id + "_" + secret
	sum := crc32.ChecksumIEEE([]byte(text))
	digits := ""
	for range 6 {
		digits = letters[sum%62:][:1] + digits
		sum /= 62
	}
	return text + digits
}

func secretOf(i apikey.Issued) string { return i.AccessSecret().Reveal()[:32] }

// commit writes a record past the Manager.
func (f *fixture) commit(r apikey.Record) {
	f.Helper()
	r.Nonce[0]++
	_, err := f.store.Commit(f.ctx, apikey.Commit{Records: []apikey.Record{r}, Events: []apikey.Event{{
		Position: apikey.Position{Nonce: r.Nonce}, At: f.now(), Kind: apikey.EventUpdated, KeyID: r.Key.ID, Owner: r.Key.Owner,
	}}})
	f.no(err)
}

// checkPeppers: a pepper that is missing is told apart from a wrong key.
func checkPeppers(t *testing.T, newStore NewStore) {
	a := apikey.NewSecret(strings.Repeat("a", 32))
	b := apikey.NewSecret(strings.Repeat("b", 32))
	f := newFixture(t, newStore, apikey.Options{})
	plain := f.issue(apikey.IssueParams{}).Token
	f.m = f.manager(apikey.Options{Peppers: []apikey.Secret{a, apikey.NoPepper()}})
	f.no(f.m.Check(f.ctx))
	f.no(f.validate(plain))
	first := f.issue(apikey.IssueParams{}).Token

	f.m = f.manager(apikey.Options{Peppers: []apikey.Secret{b, a, apikey.NoPepper()}})
	f.no(f.m.Check(f.ctx))
	f.no(f.validate(plain))
	f.no(f.validate(first))
	second := f.issue(apikey.IssueParams{}).Token

	f.m = f.manager(apikey.Options{Peppers: []apikey.Secret{a}})
	f.no(f.validate(first))
	for _, token := range []apikey.Secret{plain, second} {
		err := f.validate(token)
		if !errors.Is(err, apikey.ErrPepper) || !errors.Is(err, apikey.ErrUnavailable) || errors.Is(err, apikey.ErrInvalid) {
			t.Errorf("under a missing pepper: %v", err)
		}
	}
	err := f.m.Check(f.ctx)
	if !errors.Is(err, apikey.ErrPepper) {
		t.Fatalf("check: %v", err)
	}
	if got := strings.Count(err.Error(), ","); got != 1 {
		t.Errorf("check names other than 2 peppers: %v", err)
	}
}
