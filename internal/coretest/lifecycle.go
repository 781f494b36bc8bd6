package coretest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
)

// A state is what a key is when an operation comes. The tokens at its start
// are c, the current one's, and r, the retiring one's.
var states = []string{"active", "disabled", "locked", "expired", "rotating", "deleted"}

// want is what an operation must lead to.
type want struct {
	err    error
	status apikey.Status
	locked bool
	valid  string // the tokens that validate afterwards: c, r, and n for a new one
	event  apikey.EventKind
}

const (
	active   = apikey.StatusActive
	disabled = apikey.StatusDisabled
	expired  = apikey.StatusExpired
	deleted  = apikey.StatusDeleted
)

// unchanged is what each state is if nothing happens to it.
var unchanged = map[string]want{
	"active":   {nil, active, false, "c", ""},
	"disabled": {nil, disabled, false, "", ""},
	"locked":   {nil, disabled, true, "", ""},
	"expired":  {nil, expired, false, "", ""},
	"rotating": {nil, active, false, "cr", ""},
	"deleted":  {nil, deleted, false, "", ""},
}

func refused(state string, err error) want {
	w := unchanged[state]
	w.err = err
	return w
}

// lifeCycleTable holds every operation, through the Manager and through an
// OwnerManager, from every state.
func lifeCycleTable() map[string]map[string]want {
	const (
		upd = apikey.EventUpdated
		dis = apikey.EventDisabled
		ena = apikey.EventEnabled
		reg = apikey.EventRegenerated
		rot = apikey.EventRotated
		fin = apikey.EventRotationFinished
		ext = apikey.EventRotationExtended
		del = apikey.EventDeleted
	)
	all := func(w want) map[string]want {
		m := map[string]want{}
		for _, s := range states {
			m[s] = w
		}
		return m
	}
	with := func(m map[string]want, changes map[string]want) map[string]want {
		for s, w := range changes {
			m[s] = w
		}
		return m
	}
	notRotating := func(locked error) map[string]want {
		return map[string]want{
			"active":   refused("active", apikey.ErrNotRotating),
			"disabled": refused("disabled", apikey.ErrNotRotating),
			"locked":   refused("locked", locked),
			"expired":  refused("expired", apikey.ErrNotRotating),
			"deleted":  refused("deleted", apikey.ErrDeleted),
		}
	}
	return map[string]map[string]want{
		"update": {
			"active":   {nil, active, false, "c", upd},
			"disabled": {nil, disabled, false, "", upd},
			"locked":   {nil, disabled, true, "", upd},
			"expired":  {nil, expired, false, "", upd},
			"rotating": {nil, active, false, "cr", upd},
			"deleted":  refused("deleted", apikey.ErrDeleted),
		},
		"owner update": {
			"active":   {nil, active, false, "c", upd},
			"disabled": {nil, disabled, false, "", upd},
			"locked":   refused("locked", apikey.ErrLocked),
			"expired":  {nil, expired, false, "", upd},
			"rotating": {nil, active, false, "cr", upd},
			"deleted":  refused("deleted", apikey.ErrDeleted),
		},
		"disable": with(all(want{nil, disabled, true, "", dis}), map[string]want{
			"locked":  unchanged["locked"],
			"deleted": refused("deleted", apikey.ErrDeleted),
		}),
		"owner disable": with(all(want{nil, disabled, false, "", dis}), map[string]want{
			"disabled": unchanged["disabled"],
			"locked":   unchanged["locked"],
			"deleted":  refused("deleted", apikey.ErrDeleted),
		}),
		"enable": {
			"active":   unchanged["active"],
			"disabled": {nil, active, false, "c", ena},
			"locked":   {nil, active, false, "c", ena},
			"expired":  refused("expired", apikey.ErrExpired),
			"rotating": unchanged["rotating"],
			"deleted":  refused("deleted", apikey.ErrDeleted),
		},
		"owner enable": {
			"active":   unchanged["active"],
			"disabled": {nil, active, false, "c", ena},
			"locked":   refused("locked", apikey.ErrLocked),
			"expired":  refused("expired", apikey.ErrExpired),
			"rotating": unchanged["rotating"],
			"deleted":  refused("deleted", apikey.ErrDeleted),
		},
		"regenerate": with(all(want{nil, active, false, "n", reg}), map[string]want{
			"deleted": refused("deleted", apikey.ErrDeleted),
		}),
		"owner regenerate": with(all(want{nil, active, false, "n", reg}), map[string]want{
			"locked":  refused("locked", apikey.ErrLocked),
			"deleted": refused("deleted", apikey.ErrDeleted),
		}),
		"rotate": {
			"active":   {nil, active, false, "cn", rot},
			"disabled": refused("disabled", apikey.ErrDisabled),
			"locked":   refused("locked", apikey.ErrDisabled),
			"expired":  refused("expired", apikey.ErrExpired),
			"rotating": {nil, active, false, "cn", rot}, // the oldest dies
			"deleted":  refused("deleted", apikey.ErrDeleted),
		},
		"owner rotate": {
			"active":   {nil, active, false, "cn", rot},
			"disabled": refused("disabled", apikey.ErrDisabled),
			"locked":   refused("locked", apikey.ErrLocked),
			"expired":  refused("expired", apikey.ErrExpired),
			"rotating": {nil, active, false, "cn", rot},
			"deleted":  refused("deleted", apikey.ErrDeleted),
		},
		"finish": with(notRotating(apikey.ErrNotRotating), map[string]want{
			"rotating": {nil, active, false, "c", fin},
		}),
		"owner finish": with(notRotating(apikey.ErrLocked), map[string]want{
			"rotating": {nil, active, false, "c", fin},
		}),
		"extend": with(notRotating(apikey.ErrNotRotating), map[string]want{
			"rotating": {nil, active, false, "cr", ext},
		}),
		"owner extend": with(notRotating(apikey.ErrLocked), map[string]want{
			"rotating": {nil, active, false, "cr", ext},
		}),
		"delete": with(all(want{nil, deleted, false, "", del}), map[string]want{
			"locked":  {nil, deleted, true, "", del},
			"deleted": unchanged["deleted"],
		}),
		"owner delete": with(all(want{nil, deleted, false, "", del}), map[string]want{
			"locked":  {nil, deleted, true, "", del},
			"deleted": unchanged["deleted"],
		}),
		"nothing": unchanged,
	}
}

func lifeCycle(t *testing.T, newStore NewStore) {
	newStore = sharedStore(t, newStore)
	for op, byState := range lifeCycleTable() {
		for _, state := range states {
			w, ok := byState[state]
			if !ok {
				t.Fatalf("no case for %s from %s", op, state)
			}
			t.Run(op+" from "+state, func(t *testing.T) {
				f := newFixture(t, newStore, apikey.Options{OwnerTokenLimit: &apikey.ReissueLimit{}})
				o := f.m.ForOwner(owner, nil)
				id, tokens := f.bring(o, state)
				before, eventsBefore := f.get(id), len(f.events(id))

				fresh, err := f.operate(op, o, id)
				if !errors.Is(err, w.err) || (err == nil) != (w.err == nil) {
					t.Fatalf("error %v, want %v", err, w.err)
				}
				if !fresh.IsZero() {
					tokens['n'] = fresh
				}
				after := f.get(id)
				if got := after.Status; got != w.status || after.Locked != w.locked {
					t.Errorf("status %s, locked %v, want %s, %v", got, after.Locked, w.status, w.locked)
				}
				f.accepts(tokens, w.valid)

				events := f.events(id)[eventsBefore:]
				if w.event == "" {
					if len(events) != 0 {
						t.Errorf("events %v, want none", events)
					}
					if diff := cmp.Diff(before, after); diff != "" {
						t.Errorf("the key changed:\n%s", diff)
					}
					return
				}
				if len(events) != 1 {
					t.Fatalf("%d events, want 1", len(events))
				}
				actor := "support"
				if strings.HasPrefix(op, "owner ") {
					actor = "alice"
				}
				e := events[0]
				got := apikey.Event{
					At: e.At, Kind: e.Kind, KeyID: e.KeyID, Owner: e.Owner, CredentialID: e.CredentialID,
					Revision: e.Revision, Actor: e.Actor, Reason: e.Reason,
				}
				if diff := cmp.Diff(apikey.Event{
					At: f.now(), Kind: w.event, KeyID: id, Owner: owner, CredentialID: after.CredentialID,
					Revision: before.Revision + 1, Actor: actor, Reason: "the reason",
				}, got); diff != "" {
					t.Errorf("event:\n%s", diff)
				}
				if after.Revision != before.Revision+1 {
					t.Errorf("revision %d, want %d", after.Revision, before.Revision+1)
				}
				if w.event == apikey.EventDisabled && (after.DisabledBy != actor || after.DisabledReason != "the reason") {
					t.Errorf("disabled by %q because %q", after.DisabledBy, after.DisabledReason)
				}
				f.oldEnds(e, w, before)
				f.clocksDoNotMatter(tokens, w)
			})
		}
	}
}

// sharedStore hands out one store again and again: the cases of a table do not
// meet, and a database file for each would take most of the time.
func sharedStore(t *testing.T, newStore NewStore) NewStore {
	store := newStore(t)
	return func(testing.TB) apikey.Store { return store }
}

// bring issues a key and brings it to a state.
func (f *fixture) bring(o *apikey.OwnerManager, state string) (id string, tokens map[rune]apikey.Secret) {
	f.Helper()
	issued := f.issue(apikey.IssueParams{})
	id = issued.Key.ID
	tokens = map[rune]apikey.Secret{'c': issued.Token}
	f.clock.Add(24 * time.Hour)
	var err error
	switch state {
	case "disabled":
		_, err = o.Disable(f.ctx, id)
	case "locked":
		_, err = f.m.Disable(f.ctx, id)
	case "expired":
		f.clock.Set(issued.Key.ExpiresAt.Add(time.Hour))
	case "rotating":
		var rotated apikey.Issued
		rotated, err = o.Rotate(f.ctx, id, 48*time.Hour)
		tokens['r'], tokens['c'] = issued.Token, rotated.Token
		f.clock.Add(24 * time.Hour)
	case "deleted":
		_, err = o.Delete(f.ctx, id)
	}
	f.no(err)
	return id, tokens
}

// operate does one operation and returns the new token, if it made one.
func (f *fixture) operate(op string, o *apikey.OwnerManager, id string) (apikey.Secret, error) {
	host, alice := apikey.WithActor(f.ctx, "support"), apikey.WithActor(f.ctx, "alice")
	const reason, overlap = "the reason", time.Hour
	changes := apikey.Changes{Name: new("renamed")}
	var issued apikey.Issued
	var err error
	switch op {
	case "update":
		_, err = f.m.Update(host, id, changes, apikey.Reason(reason))
	case "owner update":
		_, err = o.Update(alice, id, changes, apikey.Reason(reason))
	case "disable":
		_, err = f.m.Disable(host, id, apikey.Reason(reason))
	case "owner disable":
		_, err = o.Disable(alice, id, apikey.Reason(reason))
	case "enable":
		_, err = f.m.Enable(host, id, apikey.Reason(reason))
	case "owner enable":
		_, err = o.Enable(alice, id, apikey.Reason(reason))
	case "regenerate":
		issued, err = f.m.Regenerate(host, id, apikey.Reason(reason))
	case "owner regenerate":
		issued, err = o.Regenerate(alice, id, apikey.Reason(reason))
	case "rotate":
		issued, err = f.m.Rotate(host, id, overlap, apikey.Reason(reason))
	case "owner rotate":
		issued, err = o.Rotate(alice, id, overlap, apikey.Reason(reason))
	case "finish":
		_, err = f.m.FinishRotation(host, id, apikey.Reason(reason))
	case "owner finish":
		_, err = o.FinishRotation(alice, id, apikey.Reason(reason))
	case "extend":
		_, err = f.m.ExtendRotation(host, id, overlap, apikey.Reason(reason))
	case "owner extend":
		_, err = o.ExtendRotation(alice, id, overlap, apikey.Reason(reason))
	case "delete":
		_, err = f.m.Delete(host, id, apikey.Reason(reason))
	case "owner delete":
		_, err = o.Delete(alice, id, apikey.Reason(reason))
	case "nothing":
	default:
		f.Fatalf("no operation %q", op)
	}
	return issued.Token, err
}

// accepts checks which tokens validate.
func (f *fixture) accepts(tokens map[rune]apikey.Secret, valid string) {
	f.Helper()
	var got []rune
	for name, token := range tokens {
		if f.validate(token) == nil {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	wanted := []rune(valid)
	slices.Sort(wanted)
	if string(got) != string(wanted) {
		f.Errorf("tokens %q validate, want %q", string(got), string(wanted))
	}
}

// clocksDoNotMatter checks that what was ended at once stays refused if the
// clock is set back, or is that of another node which is behind.
func (f *fixture) clocksDoNotMatter(tokens map[rune]apikey.Secret, w want) {
	f.Helper()
	switch w.event {
	case apikey.EventRegenerated, apikey.EventRotated, apikey.EventRotationFinished, apikey.EventDisabled, apikey.EventDeleted:
		f.clock.Add(-2 * time.Hour)
		f.accepts(tokens, w.valid)
		f.clock.Add(2 * time.Hour)
	}
}

// oldEnds checks what an event says of the credential that it ended, and that
// all that are not accepted any more are shown to have ended.
func (f *fixture) oldEnds(e apikey.Event, w want, before apikey.Key) {
	f.Helper()
	if w.event == apikey.EventRegenerated || w.event == apikey.EventRotated || w.event == apikey.EventRotationFinished {
		credentials, err := f.m.Credentials(f.ctx, e.KeyID)
		f.no(err)
		retiring := f.get(e.KeyID).RetiringID
		for _, c := range credentials {
			if c.ID != e.CredentialID && c.ID != retiring && c.ExpiresAt.After(f.now()) {
				f.Errorf("an ended credential is shown to end %v", c.ExpiresAt)
			}
		}
	}
	var end time.Time
	switch w.event {
	case apikey.EventRegenerated:
		if end = f.now(); before.ExpiresAt.Before(end) {
			end = before.ExpiresAt
		}
	case apikey.EventRotationFinished:
		end = f.now()
	case apikey.EventRotated, apikey.EventRotationExtended:
		end = f.now().Add(time.Hour)
	default:
		if e.OldCredentialID != "" || !e.OldExpiresAt.IsZero() {
			f.Errorf("an old credential in the event: %+v", e)
		}
		return
	}
	if !e.OldExpiresAt.Equal(end) || e.OldCredentialID == "" || e.OldCredentialID == e.CredentialID {
		f.Errorf("old credential %q ends %v, want %v", e.OldCredentialID, e.OldExpiresAt, end)
	}
}
