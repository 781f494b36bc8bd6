package storetest

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

// filled returns a T in which no exported field is zero and no two fields are
// the same, so that a field that a Store forgets, or mixes up with another,
// shows; a field that is added to the package later is filled as well.
func filled[T any](s *subject) T {
	s.t.Helper()
	var value T
	f := filler{}
	f.fill(reflect.ValueOf(&value).Elem(), "")
	s.complete(value)
	if f.unknown != "" {
		s.fatalf("storetest cannot fill %s", f.unknown)
	}
	return value
}

// complete ends the rule if a value leaves a field unset.
func (s *subject) complete(value any) {
	s.t.Helper()
	if field := unset(reflect.ValueOf(value), reflect.TypeOf(value).Name()); field != "" {
		s.fatalf("storetest leaves %s unset", field)
	}
}

type filler struct {
	n       int
	unknown string
}

func (f *filler) fill(v reflect.Value, name string) {
	f.n++
	set := func(value any) { v.Set(reflect.ValueOf(value)) }
	switch v.Interface().(type) {
	case time.Time:
		set(base.Add(time.Duration(f.n)*time.Hour + time.Duration(f.n)*time.Microsecond))
		return
	case time.Duration:
		set(time.Duration(f.n) * time.Microsecond)
		return
	case apikey.Scopes:
		set(scopes("orders:read", "orders:*", fmt.Sprintf("n:%d", f.n)))
		return
	case apikey.Networks:
		set(networks("192.0.2.0/24", "198.51.100.7/32", "2001:db8::/32"))
		return
	case apikey.Metadata:
		set(apikey.NewMetadata(map[string]string{
			"plan": "gold", "quote'\"\\": "<a&b> % _ ?", "Größe": "e\u0301 é 𝄞", "empty": "", "n": fmt.Sprint(f.n),
		}))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && stored(field) {
				f.fill(v.Field(i), v.Type().Name()+"."+field.Name)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			f.fill(v.Index(i), fmt.Sprintf("%s[%d]", name, i))
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(uint64(f.n+i) | 0x80)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("%s's \"\\é𝄞\" %d ", v.Type().Name(), f.n))
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(int64(f.n))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.n))
	case reflect.Bool:
		v.SetBool(true)
	default:
		f.unknown = name + ", a " + v.Type().String()
	}
}

// stored reports whether a field is part of what a Store keeps. Errors and
// functions are not.
func stored(field reflect.StructField) bool {
	return field.Type.Kind() != reflect.Func && field.Type != reflect.TypeFor[error]()
}

// unset returns the name of the first exported field that is zero, or "".
func unset(v reflect.Value, name string) string {
	if v.IsZero() {
		return name
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && stored(field) {
				if zero := unset(v.Field(i), name+"."+field.Name); zero != "" {
					return zero
				}
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			return name
		}
		for i := range v.Len() {
			if zero := unset(v.Index(i), fmt.Sprintf("%s[%d]", name, i)); zero != "" {
				return zero
			}
		}
	}
	return ""
}

// scopes and networks are empty for what is malformed, which complete notices.
func scopes(list ...string) apikey.Scopes {
	s, _ := apikey.NewScopes(list...)
	return s
}

func networks(list ...string) apikey.Networks {
	n, _ := apikey.ParseNetworks(strings.Join(list, " "))
	return n
}
