package apikey

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Action names what Options.Authorize is asked about.
type Action string

const (
	ActionIssue          Action = "issue"
	ActionGet            Action = "get" // also Credentials, DailyUsage and Find
	ActionList           Action = "list"
	ActionEvents         Action = "events"
	ActionUpdate         Action = "update"
	ActionDisable        Action = "disable"
	ActionEnable         Action = "enable"
	ActionRegenerate     Action = "regenerate"
	ActionRotate         Action = "rotate"
	ActionFinishRotation Action = "finish_rotation"
	ActionExtendRotation Action = "extend_rotation"
	ActionDelete         Action = "delete"
)

// Allowed returns what the owner may do to a key now, of the actions given, or
// of all if none are given, in the order of the constants. The key is one that
// Get, List or a change returned. A change is allowed if its call would succeed
// and change something: Disable of a key that is disabled already is not.
//
// It decides by the key as it is given and by the time, by the same rules as
// the calls. It reads the state of the owner, because a disabled owner can only
// read, and if the context carries a validated key (see ForOwner), that key.
// Options.Authorize is asked last, and only about what is left. It does not
// read the key again, nor the limits on new tokens: a call can still fail with
// ErrConflict or ErrTooSoon. ActionIssue and ActionList are about no one key,
// and never returned. It returns ErrNotFound for another owner's key.
func (o *OwnerManager) Allowed(ctx context.Context, key Key, actions ...Action) (allowed []Action, err error) {
	defer wrap(&err, "allowed", key.ID)
	if err := o.ready(ctx); err != nil {
		return nil, err
	}
	if key.Owner != o.owner {
		return nil, ErrNotFound
	}
	now, err := o.now()
	if err != nil {
		return nil, err
	}
	c := cause{at: now, byOwner: true}
	if c.owner, err = o.store.Owner(ctx, o.owner); err != nil {
		return nil, err
	}
	acting, forbidden := o.acting(ctx, now)
	if forbidden != nil && !errors.Is(forbidden, ErrForbidden) {
		return nil, forbidden
	}
	for _, trial := range trials {
		if len(actions) > 0 && !slices.Contains(actions, trial.action) {
			continue
		}
		if trial.rule != nil && (c.owner.Disabled() || forbidden != nil ||
			acting.mayTouch(trial.action, key, o.may.selfRotation) != nil || !key.would(trial.rule, c)) {
			continue
		}
		if o.authorize(ctx, trial.action, key) == nil {
			allowed = append(allowed, trial.action)
		}
	}
	return allowed, nil
}

// trials are the actions on a key with the rules of their calls, nil for those
// that only read.
var trials = []struct {
	action Action
	rule   rule
}{
	{ActionGet, nil},
	{ActionEvents, nil},
	{ActionUpdate, func(r *Record, c cause) (Event, error) { return r.event(EventUpdated, c), r.mutable(c) }},
	{ActionDisable, disable},
	{ActionEnable, enable},
	{ActionRegenerate, regenerate(Credential{})},
	{ActionRotate, rotate(Credential{}, time.Hour)},
	{ActionFinishRotation, finishRotation},
	{ActionExtendRotation, extendRotation(time.Hour)},
	{ActionDelete, remove},
}

// would reports whether a rule would change a key. It makes a Record of what
// the key shows of its credentials, and throws it away.
func (k *Key) would(r rule, c cause) bool {
	record := Record{Key: *k}
	if k.RetiringID != "" {
		record.Credentials = []Credential{{ID: k.RetiringID, ExpiresAt: k.RetiringUntil, RetireBefore: k.RetiringUntil}}
	}
	event, err := r(&record, c)
	return err == nil && event.Kind != ""
}
