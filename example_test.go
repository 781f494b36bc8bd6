package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

var ctx = context.Background()

// exampleManager returns a Manager whose clock stands at 1 March 2026.
func exampleManager() (*apikey.Manager, *clock.Mock) {
	mock := clock.NewMock()
	mock.Set(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	m, _ := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.EphemeralPepper()}, Now: mock.Now})
	return m, mock
}

func check(m *apikey.Manager, name string, token apikey.Secret) {
	_, err := m.Validate(ctx, token.Reveal())
	fmt.Printf("%s: %v\n", name, err)
}

func Example() {
	m, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.EphemeralPepper()}})
	if err != nil {
		panic(err)
	}
	issued, err := m.Issue(ctx, apikey.IssueParams{
		Owner: "acme", Name: "billing", Scopes: []string{"invoices:read"},
	})
	if err != nil {
		panic(err)
	}
	token := issued.Token.Reveal() // shown to the owner, this once

	key, err := m.Validate(ctx, token, apikey.Scope("invoices:read"))
	fmt.Println(key.Owner, key.Name, err)
	_, err = m.Validate(ctx, token, apikey.Scope("invoices:write"))
	fmt.Println(err)
	_, err = m.Validate(ctx, "ak_guess")
	fmt.Println(err)
	// Output:
	// acme billing <nil>
	// apikey: key lacks the scope
	// apikey: invalid key
}

func ExampleManager_Issue() {
	m, _ := exampleManager()
	issued, err := m.Issue(ctx, apikey.IssueParams{
		Owner:    "acme",
		Name:     "nightly export",
		Scopes:   []string{"orders:*"},
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Lifetime: apikey.Period{Days: 30},
	})
	fmt.Println(issued.Key.Name, "ends", issued.Key.ExpiresAt.Format(time.DateOnly), err)
	fmt.Println("printing the token shows", issued.Token)

	_, err = m.Issue(ctx, apikey.IssueParams{Owner: "acme"})
	var field *apikey.FieldError
	fmt.Println(errors.As(err, &field), field.Field, field.Problem)
	// Output:
	// nightly export ends 2026-03-31 <nil>
	// printing the token shows [secret]
	// true name must not be empty
}

// A form that may be sent twice carries a text of its own.
func ExampleIssueParams_idempotencyKey() {
	m, _ := exampleManager()
	p := apikey.IssueParams{Owner: "acme", Name: "billing", IdempotencyKey: "form 4711"}
	first, _ := m.Issue(ctx, p)
	second, err := m.Issue(ctx, p)
	fmt.Println(errors.Is(err, apikey.ErrExists), second.Key.ID == first.Key.ID, second.Token.IsZero())
	// Output: true true true
}

func ExampleManager_Validate() {
	m, _ := exampleManager()
	issued, _ := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing", Scopes: []string{"orders:*"}})

	answer := func(token, scope string) {
		key, err := m.Validate(ctx, token, apikey.Scope(scope), apikey.From(netip.MustParseAddr("192.0.2.1")))
		switch err { // a rejection is exactly one of these values
		case nil:
			fmt.Println(200, key.Owner)
		case apikey.ErrScope, apikey.ErrAddress:
			fmt.Println(403, err)
		case apikey.ErrInvalid, apikey.ErrDeleted, apikey.ErrReplaced, apikey.ErrOwnerDisabled, apikey.ErrDisabled, apikey.ErrExpired:
			fmt.Println(401, err)
		default:
			fmt.Println(500, err) // or 503, for apikey.ErrUnavailable: the key may be good
		}
	}
	answer(issued.Token.Reveal(), "orders:read")
	answer("something else", "orders:read")
	answer(issued.Token.Reveal(), "orders read") // a mistake in the application
	m.Disable(ctx, issued.Key.ID, apikey.Reason("leaked"))
	answer(issued.Token.Reveal(), "orders:read")
	// Output:
	// 200 acme
	// 401 apikey: invalid key
	// 500 apikey: scope: must be a scope
	// 401 apikey: key is disabled
}

func ExampleManager_Disable() {
	m, _ := exampleManager()
	issued, _ := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing"})
	key, _ := m.Disable(apikey.WithActor(ctx, "support"), issued.Key.ID, apikey.Reason("seen in a public repository"))
	fmt.Println(key.DisabledBy, "-", key.DisabledReason)
	check(m, "disabled", issued.Token)
	m.Enable(ctx, issued.Key.ID, apikey.Reason("false alarm"))
	check(m, "enabled", issued.Token)
	// Output:
	// support - seen in a public repository
	// disabled: apikey: key is disabled
	// enabled: <nil>
}

func ExampleManager_Regenerate() {
	m, _ := exampleManager()
	issued, _ := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing"})
	fresh, _ := m.Regenerate(ctx, issued.Key.ID, apikey.Reason("an employee left"))
	check(m, "old", issued.Token)
	check(m, "new", fresh.Token)
	fmt.Println("the same key:", fresh.Key.ID == issued.Key.ID)
	// Output:
	// old: apikey: key was replaced by a newer one
	// new: <nil>
	// the same key: true
}

func ExampleManager_Rotate() {
	m, mock := exampleManager()
	issued, _ := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing"})
	fresh, _ := m.Rotate(ctx, issued.Key.ID, 24*time.Hour, apikey.Reason("every 90 days"))
	check(m, "old, in the overlap", issued.Token)
	check(m, "new", fresh.Token)

	// Is the old one still in use?
	mock.Add(time.Hour)
	check(m, "old, an hour later", issued.Token)
	m.Flush(ctx)
	credentials, _ := m.Credentials(ctx, issued.Key.ID)
	for _, c := range credentials {
		if c.AccessKey() == issued.AccessKey() {
			fmt.Println("old used", c.Uses, "times, last at", c.LastUsedAt.Format(time.TimeOnly))
		}
	}

	m.FinishRotation(ctx, issued.Key.ID, apikey.Reason("all applications have the new one"))
	check(m, "old, finished", issued.Token)
	// Output:
	// old, in the overlap: <nil>
	// new: <nil>
	// old, an hour later: <nil>
	// old used 2 times, last at 01:00:00
	// old, finished: apikey: key was replaced by a newer one
}

func ExampleManager_ExtendRotation() {
	m, mock := exampleManager()
	issued, _ := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing", Lifetime: apikey.Period{Days: 2}})
	m.Rotate(ctx, issued.Key.ID, time.Hour)
	key, _ := m.ExtendRotation(ctx, issued.Key.ID, 12*time.Hour, apikey.Reason("one application is late"))
	fmt.Println(key.RetiringUntil.Format(time.DateTime))
	mock.Add(time.Hour)
	key, _ = m.ExtendRotation(ctx, issued.Key.ID, 1000*time.Hour, apikey.Reason("never past its own end"))
	fmt.Println(key.RetiringUntil.Format(time.DateTime))
	// Output:
	// 2026-03-01 12:00:00
	// 2026-03-03 00:00:00
}

func ExampleManager_Update() {
	m, _ := exampleManager()
	issued, _ := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing", Scopes: []string{"orders:read"}})
	key, _ := m.Update(ctx, issued.Key.ID, apikey.Changes{
		Name:   new("billing, Europe"),
		Scopes: new([]string{"orders:read", "orders:write"}),
	}, apikey.Reason("asked for by mail"))
	fmt.Printf("%s may %s\n", key.Name, key.Scopes)
	// Output: billing, Europe may orders:read orders:write
}

func ExampleManager_Delete() {
	m, mock := exampleManager()
	issued, _ := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing"})
	m.Delete(ctx, issued.Key.ID, apikey.Reason("not needed any more"))
	check(m, "deleted", issued.Token)
	_, err := m.Regenerate(ctx, issued.Key.ID)
	fmt.Println("regenerate:", errors.Is(err, apikey.ErrDeleted))

	mock.Add(91 * 24 * time.Hour)
	swept, _ := m.Sweep(ctx)
	fmt.Println("swept:", swept.Keys)
	check(m, "unknown", issued.Token)
	// Output:
	// deleted: apikey: key is deleted
	// regenerate: true
	// swept: 1
	// unknown: apikey: invalid key
}

func ExampleManager_DisableOwner() {
	m, _ := exampleManager()
	issued, _ := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing"})
	m.DisableOwner(ctx, "acme", apikey.Reason("the contract ended"))
	check(m, "disabled", issued.Token)
	m.EnableOwner(ctx, "acme", apikey.Reason("renewed"))
	check(m, "enabled", issued.Token)
	// Output:
	// disabled: apikey: owner is disabled
	// enabled: <nil>
}

func ExampleManager_ForOwner() {
	m, _ := exampleManager()
	theirs, _ := m.Issue(ctx, apikey.IssueParams{Owner: "other", Name: "theirs"})

	acme := m.ForOwner("acme", &apikey.OwnerOptions{Scopes: []string{"orders:*"}}) // after the login; these scopes are all it can give
	mine, _ := acme.Issue(ctx, apikey.IssueParams{Name: "mine", Scopes: []string{"orders:read"}})
	_, err := acme.Issue(ctx, apikey.IssueParams{Name: "more", Scopes: []string{"admin"}})
	fmt.Println("admin:", errors.Is(err, apikey.ErrScope))
	_, err = acme.Get(ctx, theirs.Key.ID)
	fmt.Println("theirs:", errors.Is(err, apikey.ErrNotFound))

	m.Disable(ctx, mine.Key.ID, apikey.Reason("under investigation"))
	_, err = acme.Enable(ctx, mine.Key.ID, apikey.Reason("please"))
	fmt.Println("locked:", errors.Is(err, apikey.ErrLocked))
	// Output:
	// admin: true
	// theirs: true
	// locked: true
}

// What errors mean to a page on which owners manage their keys. The order
// counts: a *FieldError can also be one of those before it.
func ExampleOwnerManager() {
	status := func(err error) int {
		is := func(list ...error) bool {
			for _, target := range list {
				if errors.Is(err, target) {
					return true
				}
			}
			return false
		}
		var field *apikey.FieldError
		switch {
		case err == nil:
			return 200
		case is(apikey.ErrNotFound):
			return 404
		case is(apikey.ErrTooSoon):
			return 429
		case is(apikey.ErrForbidden, apikey.ErrLocked, apikey.ErrOwnerDisabled, apikey.ErrScope):
			return 403
		case is(apikey.ErrConflict, apikey.ErrExists, apikey.ErrLimit, apikey.ErrNotRotating,
			apikey.ErrDeleted, apikey.ErrDisabled, apikey.ErrExpired):
			return 409
		case errors.As(err, &field):
			return 400 // show field.Problem beside the input field.Field
		}
		return 503
	}
	m, _ := exampleManager()
	acme := m.ForOwner("acme", &apikey.OwnerOptions{Scopes: []string{"orders:*"}})
	issued, err := acme.Issue(ctx, apikey.IssueParams{Name: "billing"})
	fmt.Println(status(err))
	_, err = acme.Issue(ctx, apikey.IssueParams{Name: ""})
	fmt.Println(status(err))
	_, err = acme.Issue(ctx, apikey.IssueParams{Name: "x", Scopes: []string{"admin"}})
	fmt.Println(status(err))
	_, err = acme.Get(ctx, "no id")
	fmt.Println(status(err))
	_, err = acme.FinishRotation(ctx, issued.Key.ID)
	fmt.Println(status(err))
	for range 5 {
		_, err = acme.Regenerate(ctx, issued.Key.ID)
	}
	fmt.Println(status(err))
	key, _ := acme.Get(ctx, issued.Key.ID)
	fmt.Println(key.Status)
	// Output:
	// 200
	// 400
	// 403
	// 404
	// 409
	// 429
	// active
}

func ExampleIfRevision() {
	m, _ := exampleManager()
	issued, _ := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing"})
	shown := issued.Key // on a page, in two tabs
	_, first := m.Regenerate(ctx, shown.ID, apikey.IfRevision(shown.Revision))
	_, second := m.Regenerate(ctx, shown.ID, apikey.IfRevision(shown.Revision))
	fmt.Println(first, errors.Is(second, apikey.ErrConflict))
	// Output: <nil> true
}

func ExampleFromContext() {
	m, _ := exampleManager()
	issued, _ := m.Issue(ctx, apikey.IssueParams{Owner: "acme", Name: "billing"})
	key, _ := m.Validate(ctx, issued.Token.Reveal())

	request := apikey.NewContext(ctx, key) // the middleware does this
	who, ok := apikey.FromContext(request)
	fmt.Println(who.Owner, ok)
	// Output: acme true
}
