// Package storetest tests whether a store keeps the contract of
// [apikey.Store]. Every sentence of a list in the documentation of the
// interface is one rule here, a subtest of its own:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t testing.TB) apikey.Store { return mystore.New() })
//	}
//
// A Store that passes may be put under a Manager. What a store promises beyond
// the contract, that it survives a crash for instance, it has to test itself.
package storetest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keyturn/apikey"
)

// Run tests a Store against the contract, one subtest a rule. A failure quotes
// the sentence that is broken.
//
// newStore returns an empty Store each time it is called, on which nothing
// else works; what it opens it closes with t.Cleanup. It is called many times.
//
// Rules about concurrent calls are run in 20 rounds, in 5 under the -short
// flag, and in 1,000 if the environment variable APIKEY_LONG is set.
func Run(t *testing.T, newStore func(t testing.TB) apikey.Store) {
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			r.check(&check{
				t: t, sentence: r.sentence, rounds: rounds(),
				newStore: func() apikey.Store { return newStore(t) },
			})
		})
	}
}

func rounds() int {
	switch {
	case os.Getenv("APIKEY_LONG") != "":
		return 1000
	case testing.Short():
		return 5
	}
	return 20
}

// rule is one sentence of the contract, word for word, and its test.
type rule struct {
	name     string
	sentence string
	check    func(*check)
}

func rules() []rule {
	return slices.Concat(lookupRules, getRules, listRules, ownerRules, commitRules,
		credentialRules, limitRules, purgeRules, requireRules, logRules, onceRules, addUsageRules, usageRules, fitRules, callRules)
}

// tester is what a rule needs of a *testing.T.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	FailNow()
}

// check is one run of a rule.
type check struct {
	t        tester
	sentence string
	newStore func() apikey.Store
	rounds   int
	failed   atomic.Bool
	raced    bool // by calls that may come out in several ways
}

// on returns a fresh Store for one case of the rule.
func (c *check) on(name string) *subject {
	return &subject{check: c, Store: c.newStore(), name: name}
}

// subject is a Store under test, in one case of a rule.
type subject struct {
	*check
	apikey.Store
	name string
}

// match is a LookupResult in one piece.
type match struct {
	Credential apikey.Credential
	Key        apikey.Key
	Owner      apikey.Owner
}

// Lookup returns all of what the Store returns.
func (s *subject) Lookup(ctx context.Context, credentialID string) (match, error) {
	return lookup(ctx, s.Store, credentialID)
}

func lookup(ctx context.Context, store apikey.Store, credentialID string) (m match, err error) {
	result, err := store.Lookup(ctx, credentialID)
	if err != nil {
		return m, err
	}
	m.Credential = result.Credential()
	m.Key, m.Owner, err = result.Rest()
	return m, err
}

// errorf reports that the Store breaks the rule. It may be called by several
// goroutines.
func (s *subject) errorf(format string, args ...any) {
	s.t.Helper()
	s.failed.Store(true)
	s.t.Errorf("the contract says: %s\n%s: %s", s.sentence, s.name, fmt.Sprintf(format, args...))
}

// fatalf ends the rule. Only the goroutine that runs the rule may call it.
func (s *subject) fatalf(format string, args ...any) {
	s.t.Helper()
	s.errorf(format, args...)
	s.t.FailNow()
}

// equal reports where what was returned differs from what should have been.
func (s *subject) equal(what string, got, want any) {
	s.t.Helper()
	if lines := difference(got, want); len(lines) > 0 {
		s.errorf("%s:\n\t%s", what, strings.Join(lines, "\n\t"))
	}
}
