package apikey_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// nilStore is a Store whose nil pointer must not be called.
type nilStore struct{ *memstore.Store }

// TestUnusableHandles calls every method of handles that cannot work.
func TestUnusableHandles(t *testing.T) {
	m, _, _ := newManager(t, apikey.Options{})
	for name, handle := range map[string]any{
		"zero Manager":                      new(apikey.Manager),
		"zero OwnerManager":                 new(apikey.OwnerManager),
		"OwnerManager of a zero Manager":    new(apikey.Manager).ForOwner("acme", nil),
		"zero Manager with a store":         new(apikey.Manager).WithStore(memstore.New()),
		"nil Store":                         m.WithStore(nil),
		"typed nil Store":                   m.WithStore((*nilStore)(nil)),
		"OwnerManager on a typed nil Store": m.WithStore((*nilStore)(nil)).ForOwner("acme", nil),
		"OwnerManager of no owner":          m.ForOwner("", nil),
		"OwnerManager with a bad option":    m.ForOwner("acme", &apikey.OwnerOptions{Scopes: []string{""}}),
	} {
		t.Run(name, func(t *testing.T) {
			value := reflect.ValueOf(handle)
			called := 0
			for method, f := range value.Methods() {
				if n := f.Type().NumOut(); n == 0 || f.Type().Out(n-1) != reflect.TypeFor[error]() {
					continue // Now, String, ForOwner, WithStore
				}
				called++
				results := f.Call(goodArguments(t, f.Type()))
				if err, _ := results[len(results)-1].Interface().(error); err == nil {
					t.Errorf("%s succeeded", method.Name)
				} else if errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s waited: %v", method.Name, err)
				}
			}
			if called < 14 {
				t.Errorf("only %d methods called", called)
			}
		})
	}
	if _, err := apikey.New((*nilStore)(nil), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}}); err == nil {
		t.Error("New accepted a typed nil Store")
	}
}

// goodArguments are arguments with which a call of a good handle would reach
// the Store.
func goodArguments(t *testing.T, f reflect.Type) []reflect.Value {
	var args []reflect.Value
	for i := range f.NumIn() {
		if f.IsVariadic() && i == f.NumIn()-1 {
			break
		}
		var arg any
		switch in := f.In(i); in {
		case reflect.TypeFor[context.Context]():
			arg = t.Context()
		case reflect.TypeFor[string]():
			arg = strings.Repeat("a", 20)
		case reflect.TypeFor[time.Duration]():
			arg = time.Hour
		case reflect.TypeFor[time.Time]():
			arg = time.Date(2026, 11, 20+i, 0, 0, 0, 0, time.UTC)
		case reflect.TypeFor[apikey.IssueParams]():
			arg = apikey.IssueParams{Owner: "acme", Name: "test"}
		case reflect.TypeFor[apikey.Changes]():
			arg = apikey.Changes{Name: new("other")}
		case reflect.TypeFor[apikey.EventQuery]():
			arg = apikey.EventQuery{KeyID: strings.Repeat("a", 20)}
		case reflect.TypeFor[io.Writer]():
			arg = io.Discard
		case reflect.TypeFor[io.ReadSeeker]():
			arg = strings.NewReader("")
		default:
			arg = reflect.Zero(in).Interface()
		}
		args = append(args, reflect.ValueOf(arg))
	}
	return args
}

// TestZeroHandlesHaveNoClock checks that handles that were not made by New read
// no clock.
func TestZeroHandlesHaveNoClock(t *testing.T) {
	is := is.New(t)
	is.True(new(apikey.Manager).Now().IsZero())
	is.True(new(apikey.OwnerManager).Now().IsZero())
}
