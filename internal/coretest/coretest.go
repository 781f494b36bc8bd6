// Package coretest holds the tests of the Manager that must come out the same
// on every Store. The root package runs them on memstore, internal/dbtest on
// databases.
package coretest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/keyturn/apikey"
)

// NewStore returns an empty Store.
type NewStore func(t testing.TB) apikey.Store

// NewStores returns several Stores on the same data, as several programs have
// them. There is none yet.
type NewStores func(t testing.TB) []apikey.Store

// Run runs all tests of the package.
func Run(t *testing.T, newStore NewStore) {
	RunShared(t, func(t testing.TB) []apikey.Store { return []apikey.Store{newStore(t)} })
}

// RunShared is Run, with the calls that race one another made on the Stores in
// turn. The other tests run on the first.
func RunShared(t *testing.T, newStores NewStores) {
	newStore := func(t testing.TB) apikey.Store { return newStores(t)[0] }
	for _, test := range []struct {
		name string
		run  func(*testing.T, NewStore)
	}{
		{"LifeCycle", lifeCycle},
		{"OwnerAsAWhole", ownerAsAWhole},
		{"OwnerCeiling", ownerCeiling},
		{"OwnerTokens", ownerTokens},
		{"OwnerTokensInBackups", ownerTokensInBackups},
		{"ActingKey", actingKey},
		{"Expiry", expiry},
		{"ExpiryInEveryZone", expiryZones},
		{"RotationEnds", rotationEnds},
		{"ExpiredRotation", expiredRotation},
		{"Reissues", reissues},
		{"Sweep", sweeping},
		{"Lists", lists},
		{"Idempotency", idempotency},
		{"LostAnswers", lostAnswers},
		{"Tampering", tampering},
		{"Check", checkPeppers},
		{"Backups", backups},
		{"DailyUsage", dailyUsage},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newStore) })
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, NewStores)
	}{
		{"RacesOnOneRevision", racesOnOneRevision},
		{"RacesWithoutRevision", racesWithoutRevision},
		{"RacesForTheLimit", racesForTheLimit},
		{"RacesForOwnerTokens", racesForOwnerTokens},
		{"ManyUpdates", manyUpdates},
		{"UsageNeverRevives", usageNeverRevives},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newStores) })
	}
}

// Long reports whether the long forms of the tests were asked for.
func Long() bool { return os.Getenv("APIKEY_LONG") != "" }

// rounds returns how often a race is run, in the short form of the tests or in
// the long one.
func rounds(short int) int {
	if Long() {
		return 1000
	}
	return short
}

// start is when the tests begin: a moment with a fraction that cutting to the
// microsecond changes.
var start = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// fixture is a Manager on a store, with a clock that stands still.
type fixture struct {
	testing.TB
	ctx   context.Context
	store apikey.Store
	clock *clock.Mock
	m     *apikey.Manager
}

const owner = "acme"

func newFixture(t testing.TB, newStore NewStore, options apikey.Options) *fixture {
	t.Helper()
	f := &fixture{TB: t, ctx: t.Context(), store: newStore(t), clock: clock.NewMock()}
	f.clock.Set(start)
	f.m = f.manager(options)
	return f
}

// manager returns another Manager on the same store and clock.
func (f *fixture) manager(options apikey.Options) *apikey.Manager {
	f.Helper()
	return f.managerOn(f.store, options)
}

// managerOn returns a Manager on another Store, with the same clock.
func (f *fixture) managerOn(store apikey.Store, options apikey.Options) *apikey.Manager {
	f.Helper()
	options.Now = f.clock.Now
	if options.Peppers == nil {
		options.Peppers = []apikey.Secret{apikey.NoPepper()}
	}
	m, err := apikey.New(store, &options)
	f.no(err)
	return m
}

func (f *fixture) no(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) issue(p apikey.IssueParams, opts ...apikey.ChangeOption) apikey.Issued {
	f.Helper()
	if p.Owner == "" {
		p.Owner = owner
	}
	if p.Name == "" {
		p.Name = "test"
	}
	issued, err := f.m.Issue(f.ctx, p, opts...)
	f.no(err)
	return issued
}

func (f *fixture) get(id string) apikey.Key {
	f.Helper()
	key, err := f.m.Get(f.ctx, id)
	f.no(err)
	return key
}

// validate returns the error of a Validate.
func (f *fixture) validate(token apikey.Secret, needs ...apikey.Requirement) error {
	_, err := f.m.Validate(f.ctx, token.Reveal(), needs...)
	return err
}

// events returns all events of a key; all of the log for "".
func (f *fixture) events(id string) []apikey.Event {
	f.Helper()
	var all []apikey.Event
	q := apikey.EventQuery{KeyID: id, Limit: 1000}
	for {
		page, err := f.m.Events(f.ctx, q)
		f.no(err)
		all = append(all, page...)
		if len(page) < q.Limit {
			return all
		}
		q.After = page[len(page)-1].Position
	}
}

// now is the clock as keys keep it.
func (f *fixture) now() time.Time { return time.UnixMicro(f.clock.Now().UnixMicro()).UTC() }
