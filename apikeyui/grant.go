package apikeyui

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/keyturn/apikey"
)

// grant returns what an owner may give to its keys, and sets what is offered:
// of Options.Scopes, those that the application gives to this owner.
func (v *visit) grant(owner string) (*apikey.OwnerOptions, error) {
	v.offer = v.options.Scopes
	if v.options.OwnerOptions == nil {
		return &apikey.OwnerOptions{Scopes: v.options.scopes()}, nil
	}
	given, err := v.options.OwnerOptions(v.r, owner)
	if err != nil {
		return nil, err
	}
	v.offer = nil
	if given == nil {
		return nil, nil
	}
	grant := *given // without changing the application's own
	scopes, err := apikey.NewScopes(given.Scopes...)
	if err != nil {
		return nil, err
	}
	grant.Scopes = nil
	for _, s := range v.options.Scopes {
		if scopes.Allows(s.Name) {
			v.offer = append(v.offer, s)
			grant.Scopes = append(grant.Scopes, s.Name)
		}
	}
	return &grant, nil
}

// within takes the scopes out of a form that the ceiling of the owner does not
// allow, except those that the key has already.
func (f *form) within(owner apikey.Owner, key apikey.Key) {
	if !owner.HasCeiling {
		return
	}
	has := key.Scopes.Slice()
	f.Scopes = slices.DeleteFunc(f.Scopes, func(s scopeField) bool {
		return !owner.Ceiling.Allows(s.Name) && !slices.Contains(has, s.Name)
	})
}

// narrow does the same for a form whose scopes the Manager has rejected.
func (v *visit) narrow(f *form, key apikey.Key) {
	if f.Problems["scopes"] == "" {
		return
	}
	if owner, err := v.manager.Owner(v.ctx, v.owner); err == nil {
		f.within(owner, key)
	}
}

// notLoggedIn answers an error of Options.Owner or Options.OwnerOptions.
func (v *visit) notLoggedIn(err error) reply {
	for _, outage := range []error{apikey.ErrUnavailable, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, outage) {
			return v.unavailable(err)
		}
	}
	status, code := http.StatusForbidden, "not_logged_in"
	if errors.As(err, new(*apikey.FieldError)) {
		status, code = http.StatusInternalServerError, "misconfigured"
	}
	v.report(apikey.Observation{Status: status, Code: code, Err: err})
	return v.problem(status, code)
}
