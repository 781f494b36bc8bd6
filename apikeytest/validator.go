package apikeytest

import (
	"context"
	"fmt"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// Allow returns a Validator that knows one key and answers every token but the
// empty one with it. It refuses what a Manager refuses of that key: a scope
// that the key lacks, an address outside of its networks, a key that is
// disabled or deleted, a malformed need, a context that has ended. It knows no
// clock: when the key expires plays no part. To test tokens and expiry, take a
// Manager from New.
//
// A key for it needs no more than what the test is about:
//
//	scopes, err := apikey.NewScopes("orders:read")
//	v := apikeytest.Allow(apikey.Key{Owner: "ada", Scopes: scopes})
func Allow(key apikey.Key) apikey.Validator {
	// What a key may do is decided in one place, so the stub asks a Manager
	// of its own about a token of its own, which stands for any other.
	a := &allow{key: key}
	store := &standIn{key: key}
	a.manager, a.err = apikey.New(store, &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}, Now: func() time.Time { return start }})
	if a.err == nil {
		var issued apikey.Issued
		issued, a.err = a.manager.Issue(context.Background(), apikey.IssueParams{Owner: "owner", Name: "name"})
		a.token = issued.Token.Reveal()
	}
	return a
}

type allow struct {
	manager *apikey.Manager
	token   string
	key     apikey.Key
	err     error // the manager could not be made
}

func (a *allow) Validate(ctx context.Context, token string, needs ...apikey.Requirement) (apikey.Key, error) {
	if a.err != nil {
		return apikey.Key{}, fmt.Errorf("%w: %w", apikey.ErrUnavailable, a.err)
	}
	if token != "" {
		token = a.token
	}
	if _, err := a.manager.Validate(ctx, token, needs...); err != nil {
		return apikey.Key{}, err
	}
	return a.key, nil
}

// standIn is a Store whose every Lookup finds another key in place of the one
// that was issued.
type standIn struct {
	memstore.Store
	key apikey.Key
}

func (s *standIn) Lookup(ctx context.Context, credentialID string) (apikey.LookupResult, error) {
	m, err := s.Store.Lookup(ctx, credentialID)
	if err != nil {
		return m, err
	}
	_, owner, err := m.Rest()
	key, credential := s.key, m.Credential()
	// The token looked up is the key's current one, and has not expired.
	key.CredentialID, key.RetiringID = credentialID, ""
	key.ExpiresAt = credential.ExpiresAt
	return apikey.NewLookupResult(credential, key, owner, nil), err
}

// Deny returns a Validator that refuses every token with an error; with
// [apikey.ErrInvalid] if that is nil.
func Deny(err error) apikey.Validator {
	if err == nil {
		err = apikey.ErrInvalid
	}
	return deny{err}
}

type deny struct{ err error }

func (d deny) Validate(context.Context, string, ...apikey.Requirement) (apikey.Key, error) {
	return apikey.Key{}, d.err
}
