package backup_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/backup"
)

// smallExport has a line of each kind that a store at rest gives.
func smallExport(t testing.TB) string {
	t.Helper()
	keys := newSystem(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Metadata: map[string]string{"plan": "gold"}})
	_, err := keys.Rotate(t.Context(), issued.Key.ID, time.Hour)
	if err == nil {
		_, err = keys.Validate(t.Context(), issued.Token.Reveal())
	}
	if err == nil {
		err = keys.Flush(t.Context())
	}
	if err == nil {
		err = keys.Store.AddUsage(t.Context(), []apikey.Usage{ // of no known day
			{KeyID: issued.Key.ID, CredentialID: issued.Key.CredentialID, Uses: 1, LastUsedAt: keys.Now()},
		})
	}
	if err == nil {
		_, err = keys.DisableOwner(t.Context(), "owner")
	}
	if err != nil {
		t.Fatal(err)
	}
	return exported(t, keys)
}

// signed returns the lines of an export with a last line that fits them, made
// as file.go says.
func signed(lines ...string) string {
	body := strings.Join(lines, "")
	counts := map[string]int{}
	for _, line := range lines[1:] {
		kind, _, _ := strings.Cut(strings.TrimPrefix(line, `{"`), `"`)
		counts[kind]++
	}
	mac := func(key, text []byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write(text)
		return h.Sum(nil)
	}
	sum := mac(mac([]byte(apikey.NoPepper().Reveal()), []byte("apikey backup 1")), []byte(body))
	return body + fmt.Sprintf(`{"end":{"events":%d,"records":%d,"owners":%d,"changed_records":%d,"changed_owners":%d,"purged":%d,"once":%d,"mac":"%s"}}`+"\n",
		counts["event"], counts["record"], counts["owner"], counts["changed_record"], counts["changed_owner"], counts["purged"], counts["once"], hex.EncodeToString(sum))
}

// restoreError restores a file that must be refused, and returns why.
func restoreError(t testing.TB, file string, peppers ...apikey.Secret) error {
	t.Helper()
	keys := newSystem(t, peppers...)
	err := keys.Restore(t.Context(), strings.NewReader(file))
	if calls := keys.Store.Calls(apikeytest.Any); calls != 0 {
		t.Errorf("%d calls of the store for a bad file", calls)
	}
	return err
}

func refusedAsExport(t *testing.T, file, what string) {
	t.Helper()
	err := restoreError(t, file)
	if !errors.Is(err, backup.ErrFile) && !errors.Is(err, backup.ErrVersion) && !errors.Is(err, apikey.ErrPepper) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestRestoreRefusesEveryEdit(t *testing.T) {
	file := smallExport(t)
	is.New(t).NoErr(newSystem(t).Restore(t.Context(), strings.NewReader(file))) // as it is
	for i := range len(file) {
		for _, with := range []string{string(rune(file[i] ^ 1)), string(rune(file[i] ^ 0x20)), "0", " ", file[i:i+1] + " ", ""} {
			if edited := file[:i] + with + file[i+1:]; edited != file {
				refusedAsExport(t, edited, fmt.Sprintf("byte %d replaced by %q", i, with))
			}
		}
		refusedAsExport(t, file[:i], fmt.Sprintf("cut off after %d bytes", i))
	}
	for _, more := range []string{"\n", " ", "x", "{}\n", file} {
		refusedAsExport(t, file+more, "appended")
		refusedAsExport(t, more+file, "put in front")
	}
	lines := strings.SplitAfter(strings.TrimSuffix(file, "\n"), "\n")
	for i := range lines {
		for j := range i {
			swapped := slices.Clone(lines)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			refusedAsExport(t, strings.Join(swapped, ""), "lines swapped")
		}
		refusedAsExport(t, strings.Join(slices.Insert(slices.Clone(lines), i, lines[i]), ""), "line repeated")
		refusedAsExport(t, strings.Join(slices.Delete(slices.Clone(lines), i, i+1), ""), "line removed")
	}
}

// linesOf returns the lines of an export but for the last.
func linesOf(file string) []string {
	lines := strings.SplitAfter(strings.TrimSuffix(file, "\n"), "\n")
	return lines[:len(lines)-1]
}

// otherKey makes a record one of another key, with other credentials, that
// comes after it.
func otherKey(line, id string) string {
	line = strings.Replace(line, id, strings.Repeat("z", len(id)), 1)
	_, credentials, _ := strings.Cut(line, `"credentials":`)
	for i, part := range strings.Split(credentials, `{"id":"`)[1:] {
		line = strings.ReplaceAll(line, part[:16], fmt.Sprintf("%016d", i))
	}
	return line
}

// edit changes the list of a record's credentials, each of which begins with
// its id.
func edit(line string, change func([]string) []string) string {
	const begin = `{"id":"`
	head, list, _ := strings.Cut(line, `"credentials":[`)
	credentials := strings.Split(strings.TrimSuffix(list, "]}}\n"), ","+begin)
	credentials[0] = strings.TrimPrefix(credentials[0], begin)
	return head + `"credentials":[` + begin + strings.Join(change(credentials), ","+begin) + "]}}\n"
}

// TestRestoreRefusesWhatNobodyWrites: whoever knows the pepper can sign what
// Export does not write.
func TestRestoreRefusesWhatNobodyWrites(t *testing.T) {
	lines := linesOf(smallExport(t))
	find := func(kind string) int {
		return slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, `{"`+kind+`":`) })
	}
	event, record, owner := find("event"), find("record"), find("owner")
	if event < 0 || record < 0 || owner < 0 {
		t.Fatal("the export lacks a kind of line")
	}
	if err := newSystem(t).Restore(t.Context(), strings.NewReader(signed(lines...))); err != nil {
		t.Fatalf("the lines as they are: %v", err)
	}
	for _, test := range []struct {
		name     string
		line     int
		old, new string
	}{
		{"unknown field", record, `"name":`, `"surname":"x","name":`},
		{"field twice", record, `"name":`, `"name":"x","name":`},
		{"wrong case", record, `"name":`, `"Name":`},
		{"space", record, `"name":`, `"name": `},
		{"field left out", record, `"name":"name",`, ``},
		{"other order", record, `"owner":"owner","name":"name"`, `"name":"name","owner":"owner"`},
		{"escape that is not needed", record, `"name":"name"`, `"name":"n\u0061me"`},
		{"null", record, `"name":"name"`, `"name":null`},
		{"empty value", record, `"name":"name"`, `"name":""`},
		{"line break in a name", record, `"name":"name"`, `"name":"na\nme"`},
		{"space at the end of a name", record, `"name":"name"`, `"name":"name "`},
		{"name that is no UTF-8", record, `"name":"name"`, "\"name\":\"\xff\""},
		{"no owner", record, `"owner":"owner"`, `"owner":""`},
		{"bad id", record, `@id`, `"id":"_"`},
		{"bad prefix", record, `"prefix":"ak"`, `"prefix":"AK"`},
		{"rate without a period", record, `"metadata":`, `"rate_requests":1,"metadata":`},
		{"negative rate", record, `"metadata":`, `"rate_requests":-1,"rate_period":-1,"metadata":`},
		{"period that is too long", record, `"metadata":`, `"rate_requests":1,"rate_period":9223372036854775807,"metadata":`},
		{"number that is too long", record, `"metadata":`, `"rate_requests":99999999999999999999,"metadata":`},
		{"number with a point", record, `"created_at":`, `"rate_requests":1.0,"created_at":`},
		{"bad scope", record, `"metadata":`, `"scopes":"a*","metadata":`},
		{"scopes out of order", record, `"metadata":`, `"scopes":"b a","metadata":`},
		{"bad network", record, `"metadata":`, `"networks":"192.0.2.1/33","metadata":`},
		{"network with host bits", record, `"metadata":`, `"networks":"192.0.2.1/24","metadata":`},
		{"metadata without a key", record, `"plan":"gold"`, `"":"gold"`},
		{"metadata of a number", record, `"plan":"gold"`, `"plan":1`},
		{"no creation", record, `@created_at`, `"created_at":0`},
		{"locked, not disabled", record, `"prefix":`, `"locked":true,"prefix":`},
		{"reason, not disabled", record, `"prefix":`, `"disabled_reason":"x","prefix":`},
		{"disabled before 1970", record, `"prefix":`, `"disabled_at":-1,"prefix":`},
		{"deleted after 9999", record, `"prefix":`, `"deleted_at":253402300800000000,"prefix":`},
		{"no such current credential", record, `@credential_id`, `"credential_id":"0000000000000000"`},
		{"no credentials", record, `@credentials`, `"credentials":[]`},
		{"bad credential id", record, `"credentials":[{"id":"`, `"credentials":[{"id":"_`},
		{"negative time", record, `"retire_before":`, `"retire_before":-`},
		{"bad credential id in an event", event, `@credential_id`, `"credential_id":"_"`},
		{"negative uses", record, `"uses":1`, `"uses":-1`},
		{"uses near an overflow", record, `"uses":1`, `"uses":9007199254740993`},
		{"last use before that of a day", record, `,"last_used_at":1767`, `,"last_used_at":1766`},
		{"uses of a day that are zero", record, `"uses":1,"last`, `"uses":0,"last`},
		{"uses of a day that are negative", record, `"uses":1,"last`, `"uses":-1,"last`},
		{"uses of a day near an overflow", record, `"uses":1,"last`, `"uses":9007199254740992,"last`},
		{"uses of days that overflow to a few", record, `"uses":1,"days":[`, `"uses":3,"days":[` +
			`{"day":1767052800000000,"uses":9223372036854775807,"last_used_at":1767225600000000},` +
			`{"day":1767139200000000,"uses":9223372036854775807,"last_used_at":1767225600000000},`},
		{"a day in its middle", record, `"day":1767225600000000`, `"day":1767225600000001`},
		{"day before 1970", record, `"day":1767225600000000`, `"day":-86400000000`},
		{"day that is unset", record, `"day":1767225600000000`, `"day":0`},
		{"no last use on a day", record, `"uses":1,"last_used_at":1767225600000000`, `"uses":1,"last_used_at":0`},
		{"day twice", record, `"days":[`, `"days":[{"day":1767225600000000,"uses":1,"last_used_at":1767225600000000},`},
		{"days out of order", record, `"days":[`, `"days":[{"day":1767312000000000,"uses":1,"last_used_at":1767225600000000},`},
		{"no days in a list", record, `"prefix":"ak","created_at"`, `"days":[],"prefix":"ak","created_at"`},
		{"long seal of a credential", record, `,"last_used_at":`, `,"seal":"` + strings.Repeat("AAAA", 334) + `","last_used_at":`},
		{"long seal of an owner", owner, `}}`, `,"seal":"` + strings.Repeat("AAAA", 334) + `"}}`},
		{"long seal of an event", event, `}}` + "\n", `,"seal":"` + strings.Repeat("AAAA", 334) + `"}}` + "\n"},
		{"long seal of a key", record, `"credentials":`, `"seal":"` + strings.Repeat("AAAA", 334) + `","credentials":`},
		{"last use without a use", record, `,"uses":1`, ``},
		{"scheme out of range", record, `"pepper_id":`, `"scheme":256,"pepper_id":`},
		{"short pepper", record, `@pepper_id`, `"pepper_id":"AAAA"`},
		{"no digest", record, `@digest`, `"digest":"AAAA"`},
		{"two kinds in a line", record, `}}` + "\n", `},"purged":"00000000000000000000"}` + "\n"},
		{"two values in a line", record, "\n", "{}\n"},
		{"position 0", event, `"seq":1`, `"seq":0`},
		{"nonce that is too short", event, `@nonce`, `"nonce":"AAAA"`},
		{"no kind", event, `"kind":"key.issued"`, `"kind":""`},
		{"event at no time", event, `@at`, `"at":0`},
		{"bad key id in an event", event, `@key_id`, `"key_id":"_"`},
		{"control in a reason", event, `"revision":1`, `"revision":1,"reason":"\u0007"`},
		{"control in an actor", event, `"revision":1`, `"revision":1,"actor":"\u0007"`},
		{"negative revision", event, `"revision":1`, `"revision":-1`},
		{"control in the data", event, `"data":{`, `"data":{"a":"\u0007",`},
		{"event of no owner", event, `"owner":"owner"`, `"owner":""`},
		{"control in a name of the data", event, `"data":{`, `"data":{"\u0007":"a",`},
		{"control in an actor of a record", record, `"prefix":`, `"disabled_at":1,"disabled_by":"\u0007","prefix":`},
		{"control in an owner", owner, `"id":"owner"`, `"id":"\u0007"`},
		{"owner without an id", owner, `"id":"owner"`, `"id":""`},
		{"owner that is a list", owner, `{"owner":{`, `{"owner":[{`},
		{"line of another kind", owner, `{"owner":`, `{"other":`},
		{"line of no kind", owner, `{"owner":`, `"owner":`},
	} {
		t.Run(test.name, func(t *testing.T) {
			edited := slices.Clone(lines)
			old := test.old
			if name, isField := strings.CutPrefix(old, "@"); isField { // with its value
				old = regexp.MustCompile(`"` + name + `":("[^"]*"|[0-9]+|\[.*\])`).FindString(lines[test.line])
			}
			edited[test.line] = strings.Replace(lines[test.line], old, test.new, 1)
			if edited[test.line] == lines[test.line] {
				t.Fatal("nothing was edited")
			}
			err := restoreError(t, signed(edited...))
			var refused *backup.FileError
			if !errors.As(err, &refused) || !errors.Is(err, backup.ErrFile) {
				t.Fatalf("error %v", err)
			}
			if refused.Line != test.line+1 {
				t.Errorf("line %d, want %d: %v", refused.Line, test.line+1, err)
			}
			if text := err.Error(); strings.ContainsAny(text, "\"\n\\") || strings.Contains(text, "gold") {
				t.Errorf("%q shows what stands there", text)
			}
		})
	}

	_, id, _ := strings.Cut(lines[record], `{"record":{"id":"`)
	id = id[:20]
	changed := strings.Replace(lines[record], `{"record":`, `{"changed_record":`, 1)
	purged := `{"purged":"` + id + `"}` + "\n"
	_, retiring, _ := strings.Cut(lines[record], `"retiring_id":"`)
	another := otherKey(lines[record], id)
	name := `{"once":{"name":"n","key_id":"` + id + `"}}` + "\n"
	if err := newSystem(t).Restore(t.Context(), strings.NewReader(signed(append(slices.Clone(lines), name)...))); err != nil {
		t.Fatalf("a name in its place: %v", err)
	}
	later := strings.Replace(lines[event], `"seq":1,`, `"seq":99,`, 1)
	if err := newSystem(t).Restore(t.Context(), strings.NewReader(signed(append(slices.Insert(slices.Clone(lines), owner, another), later)...))); err != nil {
		t.Fatalf("another record and event in their places: %v", err)
	}
	for _, test := range []struct {
		name  string
		lines []string
	}{
		{"record twice", slices.Insert(slices.Clone(lines), record, lines[record])},
		{"event twice", slices.Insert(slices.Clone(lines), event, lines[event])},
		{"owner twice", slices.Insert(slices.Clone(lines), owner, lines[owner])},
		{"record after an owner", append(slices.Clone(lines), another)},
		{"record after a change", append(slices.Clone(lines[:owner]), purged, another)},
		{"event in place, then a record", append(slices.Clone(lines[:owner]), later, another)},
		{"owner after a change", append(slices.Clone(lines), purged, strings.Replace(lines[owner], `"id":"owner"`, `"id":"z"`, 1))},
		{"header twice", slices.Insert(slices.Clone(lines), 1, lines[0])},
		{"credential of another key", append(slices.Clone(lines), strings.Replace(changed, id, "00000000000000000000", 1))},
		{"line that is too long", append(slices.Clone(lines), strings.Replace(later, `"data":{`, `"data":{"a":"`+strings.Repeat("x", 1<<20)+`",`, 1))},
		{"credential twice", []string{lines[0], edit(lines[record], func(c []string) []string { return append(c, c[0]) })}},
		{"bad id of a credential", []string{lines[0], strings.ReplaceAll(lines[record], retiring[:16], "________________")}},
		{"too many credentials", []string{lines[0], edit(lines[record], func(c []string) []string {
			for i := range 99 {
				c = append(c, fmt.Sprintf("%016d", i)+c[0][16:])
			}
			return c
		})}},
		{"current credential of another prefix", []string{lines[0], strings.Replace(lines[record], `"prefix":"ak"`, `"prefix":"other"`, 1)}},
		{"retiring credential that is not there", []string{lines[0], strings.Replace(lines[record], `"retiring_id":"`, `"retiring_id":"000000`, 1)}},
		{"bad id purged", append(slices.Clone(lines), `{"purged":"x"}`+"\n")},
		{"name twice", append(slices.Clone(lines), name, name)},
		{"name before the first event", slices.Insert(slices.Clone(lines), 1, name)},
		{"name without a text", append(slices.Clone(lines), `{"once":{"name":""}}`+"\n")},
		{"name that is too long", append(slices.Clone(lines), `{"once":{"name":"`+strings.Repeat("n", 256)+`"}}`+"\n")},
		{"name of what is no key", append(slices.Clone(lines), `{"once":{"name":"n","key_id":"x"}}`+"\n")},
		{"name with a position", append(slices.Clone(lines), `{"once":{"name":"n","seq":7}}`+"\n")},
		{"hash that is too short", []string{lines[0], strings.Replace(lines[record], `"credentials":`, `"issue_hash":"AAAA","credentials":`, 1)}},
		{"end in the middle", append(slices.Clone(lines), signed(lines...)[len(strings.Join(lines, "")):], purged)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := restoreError(t, signed(test.lines...)); !errors.Is(err, backup.ErrFile) {
				t.Fatalf("error %v", err)
			}
		})
	}

	// Uses and seals may be large, if not too large.
	large := slices.Clone(lines)
	large[record] = strings.Replace(lines[record], `"uses":1`, `"uses":9007199254740991`, 1)
	large[owner] = strings.Replace(lines[owner], `}}`, `,"seal":"`+strings.Repeat("AAAA", 333)+`AA=="}}`, 1)
	if err := newSystem(t).Restore(t.Context(), strings.NewReader(signed(large...))); err != nil {
		t.Errorf("2^53 uses and a seal of 1000 bytes: %v", err)
	}

	// A line may be long, if not too long.
	value := strings.Repeat("x", 200_000)
	long := slices.Clone(lines)
	long[event] = strings.Replace(lines[event], `"data":{`, `"data":{"a":"`+value+`",`, 1)
	held := newSystem(t)
	if err := held.Restore(t.Context(), strings.NewReader(signed(long...))); err != nil {
		t.Fatal(err)
	}
	if got, _ := apikeytest.Events(t, held.Manager)[0].Data.Get("a"); got != value {
		t.Errorf("%d bytes of a long text", len(got))
	}

	// A later line takes the place of an earlier one.
	keys := newSystem(t)
	renamed := strings.Replace(changed, `"name":"name"`, `"name":"renamed"`, 1)
	err := keys.Restore(t.Context(), strings.NewReader(signed(append(slices.Clone(lines), changed, purged, changed, renamed)...)))
	if err != nil {
		t.Fatal(err)
	}
	if key, err := keys.Get(t.Context(), id); err != nil || key.Name != "renamed" {
		t.Errorf("%q, %v", key.Name, err)
	}
	keys = newSystem(t)
	if err := keys.Restore(t.Context(), strings.NewReader(signed(append(slices.Clone(lines), renamed, purged)...))); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Get(t.Context(), id); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("a purged key: %v", err)
	}
}

func TestRestoreVersionAndPepper(t *testing.T) {
	is := is.New(t)
	lines := linesOf(smallExport(t))
	later := slices.Clone(lines)
	later[0] = strings.Replace(lines[0], `"version":2,`, `"version":3,"compressed":{"by":[]},`, 1)
	err := restoreError(t, signed(later...))
	is.True(errors.Is(err, backup.ErrVersion))
	is.True(!errors.Is(err, backup.ErrFile))
	is.True(strings.Contains(err.Error(), "version 3"))
	for _, version := range []string{`0`, `-1`, `"1"`, `null`, `1.5`} {
		other := slices.Clone(lines)
		other[0] = strings.Replace(lines[0], `"version":2,`, `"version":`+version+`,`, 1)
		is.True(errors.Is(restoreError(t, signed(other...)), backup.ErrFile))
	}

	first, second := apikey.NewSecret(strings.Repeat("1", 32)), apikey.NewSecret(strings.Repeat("2", 32))
	keys := newSystem(t, first, second)
	keys.MustIssue(t, apikey.IssueParams{})
	file := exported(t, keys)
	is.True(errors.Is(restoreError(t, file), apikey.ErrPepper))
	is.True(errors.Is(restoreError(t, file, second), apikey.ErrPepper))
	to := newSystem(t, second, first)
	is.NoErr(to.Restore(t.Context(), strings.NewReader(file)))
	// Under a pepper of the ring, but another one than it says.
	moved := strings.Replace(file, file[strings.Index(file, `"pepper":"`)+10:][:16], linesOf(exported(t, to))[0][strings.Index(file, `"pepper":"`)+10:][:16], 1)
	is.True(moved != file)
	is.True(errors.Is(restoreError(t, moved, second, first), backup.ErrFile))
}

// FuzzRestore: what is accepted is what is there afterwards. The fuzzer cannot
// make an HMAC, so the last line is made for it.
func FuzzRestore(f *testing.F) {
	small := linesOf(smallExport(f))
	f.Add(strings.Join(small[1:], ""))
	f.Add("")
	f.Add(`{"purged":"00000000000000000000"}` + "\n")
	f.Fuzz(func(t *testing.T, body string) {
		lines := []string{small[0]}
		for line := range strings.Lines(body) {
			lines = append(lines, line)
		}
		if len(body) > 0 && !strings.HasSuffix(body, "\n") {
			lines = append(lines, "\n")
		}
		file := signed(lines...)
		first := newSystem(t)
		err := first.Restore(t.Context(), strings.NewReader(file))
		if err != nil {
			var refused *backup.FileError
			if !errors.As(err, &refused) {
				t.Fatalf("error %v", err)
			}
			if first.Store.Calls(apikeytest.Any) != 0 {
				t.Fatal("the store was called for a bad file")
			}
			return
		}
		second := newSystem(t)
		if err := second.Restore(t.Context(), strings.NewReader(exported(t, first))); err != nil {
			t.Fatalf("what was exported again: %v", err)
		}
		if diff := cmp.Diff(contentsOf(t, first), contentsOf(t, second)); diff != "" {
			t.Fatal(diff)
		}
	})
}
