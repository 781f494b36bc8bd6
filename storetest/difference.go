package storetest

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

// difference names every exported field in which two values of one type
// differ. Times must be the same instant in the same location.
func difference(got, want any) []string {
	var lines []string
	differ(&lines, "", reflect.ValueOf(got), reflect.ValueOf(want))
	return lines
}

func differ(lines *[]string, path string, got, want reflect.Value) {
	report := func(g, w string) {
		*lines = append(*lines, strings.TrimPrefix(path+": got "+g+", want "+w, ": "))
	}
	switch g := got.Interface().(type) {
	case time.Time:
		w := want.Interface().(time.Time)
		if zone := g.Location().String(); !g.Equal(w) || zone != w.Location().String() {
			report(g.Format(time.RFC3339Nano)+" "+zone, w.Format(time.RFC3339Nano)+" "+w.Location().String())
		}
		return
	case apikey.Scopes:
		if w := want.Interface().(apikey.Scopes); g != w {
			report(quote(g.String(), w.String()))
		}
		return
	case apikey.Networks:
		if w := want.Interface().(apikey.Networks); !g.Equal(w) {
			report(quote(g.String(), w.String()))
		}
		return
	case apikey.Metadata:
		if w := want.Interface().(apikey.Metadata); !g.Equal(w) {
			report(shorten("%s", fmt.Sprintf("%q", g.Map()), fmt.Sprintf("%q", w.Map())))
		}
		return
	case apikey.Digest:
		if w := want.Interface().(apikey.Digest); g != w {
			report(hex.EncodeToString([]byte(g)), hex.EncodeToString([]byte(w)))
		}
		return
	}
	switch got.Kind() {
	case reflect.Struct:
		for i := range got.NumField() {
			if f := got.Type().Field(i); f.IsExported() && f.Type.Kind() != reflect.Func {
				differ(lines, strings.TrimPrefix(path+"."+f.Name, "."), got.Field(i), want.Field(i))
			}
		}
	case reflect.Slice:
		if got.Len() != want.Len() {
			report(fmt.Sprint(got.Len(), " of them"), fmt.Sprint(want.Len()))
			return
		}
		for i := range got.Len() {
			differ(lines, fmt.Sprintf("%s[%d]", path, i), got.Index(i), want.Index(i))
		}
	case reflect.String:
		if got.String() != want.String() {
			report(quote(got.String(), want.String()))
		}
	default:
		if got.Interface() != want.Interface() {
			report(fmt.Sprint(got.Interface()), fmt.Sprint(want.Interface()))
		}
	}
}

func quote(got, want string) (string, string) { return shorten("%q", got, want) }

// shorten returns both texts in a format, of long ones only the part around
// the first byte in which they differ.
func shorten(format, got, want string) (string, string) {
	same := 0
	for same < min(len(got), len(want)) && got[same] == want[same] {
		same++
	}
	part := func(s string) string {
		const before, after = 20, 60
		if len(s) <= before+after {
			return fmt.Sprintf(format, s)
		}
		from, to := max(same-before, 0), min(same+after, len(s))
		return fmt.Sprintf(format+" (bytes %d to %d of %d)", s[from:to], from, to, len(s))
	}
	return part(got), part(want)
}
