package apikeytest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
)

// t stands for the t of the test that the lines of an example belong in.
var t = new(testing.T)

func ExampleNew() {
	ctx := context.Background()
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Scopes: []string{"orders:read"}})

	_, err := keys.Validate(ctx, issued.Token.Reveal(), apikey.Scope("orders:read"))
	fmt.Println(err)
	_, err = keys.Validate(ctx, issued.Token.Reveal(), apikey.Scope("orders:write"))
	fmt.Println(err)

	keys.Advance(366 * 24 * time.Hour)
	_, err = keys.Validate(ctx, issued.Token.Reveal(), apikey.Scope("orders:read"))
	fmt.Println(err)
	// Output:
	// <nil>
	// apikey: key lacks the scope
	// apikey: key has expired
}

func ExampleManager_MustIssue() {
	keys := apikeytest.New(t, func(o *apikey.Options) { o.Prefix = "shop" })
	issued := keys.MustIssue(t, apikey.IssueParams{Owner: "ada"})
	fmt.Println(issued.Key.Owner, issued.Key.Prefix, issued.Key.ExpiresAt)
	// Output: ada shop 2027-01-01 00:00:00 +0000 UTC
}

func ExampleRequest() {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Owner: "ada"})
	// The handler under test; a real one stands behind apikeyhttp.Authenticate.
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch key, err := keys.Validate(r.Context(), token); err {
		case nil:
			fmt.Fprintln(w, "orders of", key.Owner)
		case apikey.ErrInvalid, apikey.ErrDeleted, apikey.ErrReplaced, apikey.ErrOwnerDisabled, apikey.ErrDisabled, apikey.ErrExpired:
			http.Error(w, "no", http.StatusUnauthorized)
		default:
			http.Error(w, "not now", http.StatusServiceUnavailable)
		}
	})

	for _, token := range []apikey.Secret{issued.Token, {}} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, apikeytest.Request(t, "GET", "/orders", token))
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 orders of ada
	// 401 no
}

func ExampleManager_Advance() {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{Lifetime: apikey.Period{Days: 1}})
	for range 2 {
		_, err := keys.Validate(context.Background(), issued.Token.Reveal())
		fmt.Println(err)
		keys.Advance(24 * time.Hour)
	}
	// Output:
	// <nil>
	// apikey: key has expired
}

func ExampleClock() {
	var clock apikeytest.Clock
	fmt.Println(clock.Now())
	fmt.Println(clock.Advance(90 * time.Minute))
	clock.Set(time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC))
	fmt.Println(clock.Now())
	// Output:
	// 2026-01-01 00:00:00 +0000 UTC
	// 2026-01-01 01:30:00 +0000 UTC
	// 2028-02-29 00:00:00 +0000 UTC
}

func ExampleFailStore() {
	ctx := context.Background()
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})

	keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Lookup, Forever: true})
	_, err := keys.Validate(ctx, issued.Token.Reveal())
	fmt.Println(errors.Is(err, apikey.ErrUnavailable))

	keys.Store.Recover()
	_, err = keys.Validate(ctx, issued.Token.Reveal())
	fmt.Println(err)
	fmt.Println(keys.Store.Calls(apikeytest.Lookup))
	// Output:
	// true
	// <nil>
	// 2
}

// The store does what it was asked, but the answer gets lost, also of the
// second attempt: the Manager finds out by reading.
func ExampleFailure() {
	ctx := context.Background()
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})

	keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Done: true, Forever: true})
	_, err := keys.Disable(ctx, issued.Key.ID, apikey.Reason("leaked"))
	fmt.Println(err)

	keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Get, Nth: 2})
	_, err = keys.Enable(ctx, issued.Key.ID, apikey.Reason("found"))
	fmt.Println(errors.Is(err, apikey.ErrOutcomeUnknown))
	// Output:
	// <nil>
	// true
}

func ExampleAllow() {
	ctx := context.Background()
	scopes, err := apikey.NewScopes("orders:*")
	if err != nil {
		fmt.Println(err)
		return
	}
	v := apikeytest.Allow(apikey.Key{Owner: "ada", Scopes: scopes})

	key, err := v.Validate(ctx, "any", apikey.Scope("orders:read"))
	fmt.Println(key.Owner, err)
	_, err = v.Validate(ctx, "any", apikey.Scope("users:read"), apikey.From(netip.MustParseAddr("192.0.2.7")))
	fmt.Println(err)
	// Output:
	// ada <nil>
	// apikey: key lacks the scope
}

func ExampleDeny() {
	v := apikeytest.Deny(apikey.ErrExpired)
	_, err := v.Validate(context.Background(), "any")
	fmt.Println(err)
	// Output: apikey: key has expired
}

func ExampleEvents() {
	keys := apikeytest.New(t)
	issued := keys.MustIssue(t, apikey.IssueParams{})
	ctx := apikey.WithActor(context.Background(), "grace")
	if _, err := keys.Disable(ctx, issued.Key.ID, apikey.Reason("leaked")); err != nil {
		fmt.Println(err)
	}

	events := apikeytest.Events(t, keys)
	fmt.Println(apikeytest.Kinds(events))
	fmt.Println(events[1].Actor, events[1].Reason)
	// Output:
	// [key.issued key.disabled]
	// grace leaked
}

func ExampleAssertNoLeak() {
	issued := apikeytest.New(t).MustIssue(t, apikey.IssueParams{})
	output := fmt.Sprintf("issued %s: %+v", issued.AccessKey(), issued)
	apikeytest.AssertNoLeak(t, issued.Token, output)
	fmt.Println(t.Failed())
	// Output: false
}
