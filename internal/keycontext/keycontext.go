// Package keycontext holds the name under which a context carries a validated
// key. Package apikeyhttp answers to it in the context that it makes for each
// request anyway, which saves an allocation.
package keycontext

// Name is the name. The value is a *apikey.Key that never changes.
type Name struct{}
