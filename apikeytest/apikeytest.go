// Package apikeytest helps to test programs that use package apikey.
//
// New gives a complete Manager in one line: keys in memory, a clock that only
// the test moves, a store that fails when told to. What it accepts and refuses
// is what the real thing accepts and refuses, because it is the real thing:
//
//	func TestOrders(t *testing.T) {
//		keys := apikeytest.New(t)
//		issued := keys.MustIssue(t, apikey.IssueParams{Scopes: []string{"orders:read"}})
//
//		keys.Advance(366 * 24 * time.Hour) // the key has expired
//		keys.Store.Fail(apikeytest.Failure{Method: apikeytest.Lookup}) // the database is down, once
//	}
//
// Allow and Deny are Validators for tests that care about one answer only.
// Events and Kinds read the log, AssertNoLeak looks for a secret where none
// should be. The package imports nothing but the standard library, apikey and
// memstore.
package apikeytest

import (
	"context"
	"testing"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// Manager is an [apikey.Manager] with what a test needs to steer it.
type Manager struct {
	*apikey.Manager

	// Clock is what the Manager reads the time from. It stands still until
	// the test moves it.
	Clock *Clock

	// Store is what the Manager keeps its keys in: a memstore.Store that
	// counts the calls, and fails when told to.
	Store *FailStore
}

// New returns a Manager with an empty store and a clock at
// 2026-01-01T00:00:00Z. Each of the functions given may change its options:
//
//	keys := apikeytest.New(t, func(o *apikey.Options) { o.MaxKeysPerOwner = 2 })
//
// Options that [apikey.New] refuses end the test. With an Options.Now of the
// test's own, Clock moves nothing.
func New(t testing.TB, options ...func(*apikey.Options)) *Manager {
	t.Helper()
	m := &Manager{Clock: &Clock{}, Store: NewFailStore(memstore.New())}
	o := apikey.Options{Now: m.Clock.Now, Peppers: []apikey.Secret{apikey.NoPepper()}}
	for _, change := range options {
		change(&o)
	}
	manager, err := apikey.New(m.Store, &o)
	if err != nil {
		t.Fatalf("apikeytest: %v", err)
	}
	m.Manager = manager
	return m
}

// MustIssue issues a key, and ends the test if that fails. An empty Owner is
// filled in as "owner", an empty Name as "name".
func (m *Manager) MustIssue(t testing.TB, params apikey.IssueParams) apikey.Issued {
	t.Helper()
	if params.Owner == "" {
		params.Owner = "owner"
	}
	if params.Name == "" {
		params.Name = "name"
	}
	issued, err := m.Issue(context.Background(), params)
	if err != nil {
		t.Fatalf("apikeytest: %v", err)
	}
	return issued
}

// Advance moves the clock; see Clock.Advance.
func (m *Manager) Advance(d time.Duration) { m.Clock.Advance(d) }
