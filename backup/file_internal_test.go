package backup

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
)

// notInFile are the fields that an export leaves out, because a Store or the
// Manager gives them anew.
var notInFile = map[string]bool{
	"Record.Err": true, "Event.Err": true, "OnceName.Seq": true, // given by the Store
	"Key.Revision": true, "Key.Status": true, "Key.Rotating": true, "Key.RetiringUntil": true, "Key.LastUsedAt": true, "Key.Uses": true,
	"Record.Nonce": true, "Owner.Revision": true, "Owner.Nonce": true,
}

// TestFileHoldsEveryField: a field that is added to one of the types, and
// forgotten in the file, does not come back.
func TestFileHoldsEveryField(t *testing.T) {
	n := 0
	var record apikey.Record
	fillField(t, reflect.ValueOf(&record).Elem(), "Record", &n)
	var owner apikey.Owner
	fillField(t, reflect.ValueOf(&owner).Elem(), "Owner", &n)
	var event apikey.Event
	fillField(t, reflect.ValueOf(&event).Elem(), "Event", &n)
	var once apikey.OnceName
	fillField(t, reflect.ValueOf(&once).Elem(), "OnceName", &n)
	days := map[string][]apikey.Usage{}
	for i := range record.Credentials {
		c := &record.Credentials[i]
		var u apikey.Usage
		fillField(t, reflect.ValueOf(&u).Elem(), "Usage", &n)
		u.KeyID, u.CredentialID = record.Key.ID, c.ID
		days[c.ID] = []apikey.Usage{u}
		c.Uses, c.LastUsedAt = c.Uses+u.Uses, u.LastUsedAt // the later one
	}
	for _, e := range []entry{
		{kind: kindRecord, key: keyState{Record: record, days: days}}, {kind: kindChangedRecord, key: keyState{Record: record, days: days}},
		{kind: kindOwner, owner: owner}, {kind: kindChangedOwner, owner: owner},
		{kind: kindEvent, event: event}, {kind: kindPurged, id: "id"},
		{kind: kindOnce, once: once},
	} {
		var lines lineEncoder
		text := lines.entry(e)
		if kindOf(text) != e.kind {
			t.Errorf("a line of kind %s begins otherwise: %s", e.kind.name(), text)
		}
		got, ok := decodeEntry(e.kind, text)
		if !ok || !reflect.DeepEqual(e, got) {
			t.Errorf("%s:\n got %+v\nwant %+v", e.kind.name(), got, e)
		}
	}
}

// fillField sets every field to a value that no other has.
func fillField(t *testing.T, v reflect.Value, name string, n *int) {
	if notInFile[name] {
		return
	}
	*n++
	switch v.Addr().Interface().(type) {
	case *time.Time:
		v.Set(reflect.ValueOf(time.UnixMicro(1e15 + int64(*n)).UTC()))
		return
	case *time.Duration:
		v.SetInt(int64(*n) * int64(time.Microsecond))
		return
	case *apikey.Scopes:
		scopes, _ := apikey.ParseScopes("a b:* c")
		v.Set(reflect.ValueOf(scopes))
		return
	case *apikey.Networks:
		networks, _ := apikey.ParseNetworks("192.0.2.0/24 2001:db8::/32")
		v.Set(reflect.ValueOf(networks))
		return
	case *apikey.Metadata:
		v.Set(reflect.ValueOf(apikey.NewMetadata(map[string]string{"a": `<&> "\`, "é𝄞": fmt.Sprint(*n)})))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillField(t, v.Field(i), v.Type().Name()+"."+v.Type().Field(i).Name, n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fillField(t, v.Index(i), name, n)
		}
	case reflect.Array:
		for i := range v.Len() {
			fillField(t, v.Index(i), name, n)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("<text> \"%d\"", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8:
		v.SetUint(uint64(*n%255 + 1))
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("%s is a %s, which this test cannot fill", name, v.Type())
	}
	if v.IsZero() {
		t.Fatalf("%s stays unset", name)
	}
}

// TestUnsignedFileTakesNoMemory: of a file that anyone may have made, with
// lines as short as they can be, a thousandth is kept.
func TestUnsignedFileTakesNoMemory(t *testing.T) {
	peppers, err := newRing([]apikey.Secret{apikey.NoPepper()})
	if err != nil {
		t.Fatal(err)
	}
	var lines lineEncoder
	for _, line := range []string{`{"owner":` + "\n", `{"event":` + "\n", `{"purged":"%020d"}` + "\n"} {
		text := bytes.NewBuffer(bytes.Clone(lines.header(header{peppers[0].ID, time.Unix(1, 0)})))
		for i := 0; text.Len() < 10<<20; i++ {
			if strings.Contains(line, "%") {
				fmt.Fprintf(text, line, i)
			} else {
				text.WriteString(line)
			}
		}
		f, err := open(peppers, bytes.NewReader(text.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.verify(t.Context(), func(Progress) { t.Error("a line was looked at") }); !errors.Is(err, ErrFile) {
			t.Errorf("error %v", err)
		}
		if sums := cap(f.sums) * len(f.sums[0]); sums*1000 > text.Len() {
			t.Errorf("%d bytes of sums for %d of the file", sums, text.Len())
		}
		if n := len(f.keys) + len(f.credentials) + len(f.owners); n != 0 {
			t.Errorf("%d ids were kept", n)
		}
	}
}
