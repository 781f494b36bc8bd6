// Package apikey issues API keys, validates them and manages their life:
// disable, enable, regenerate, rotate with overlap, expire, delete. It runs
// inside your application, on a [Store] of your choice, and starts no
// goroutines.
//
// # Quick start
//
//	m, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.EphemeralPepper()}})
//	// ...
//	issued, err := m.Issue(ctx, apikey.IssueParams{Owner: "customer-17", Name: "billing", Scopes: []string{"orders:read"}})
//	// ...
//	fmt.Println(issued.Token.Reveal()) // shown once, stored nowhere
//
//	key, err := m.Validate(ctx, token, apikey.Scope("orders:read"))
//	switch err { // a rejection is exactly one of these values
//	case nil: // serve the request for key.Owner
//	case apikey.ErrScope, apikey.ErrAddress: // 403
//	case apikey.ErrInvalid, apikey.ErrDeleted, apikey.ErrReplaced, apikey.ErrOwnerDisabled, apikey.ErrDisabled, apikey.ErrExpired: // 401
//	default: // 503 (ErrUnavailable), or 500 (*FieldError): your application failed, and the key may be good
//	}
//
// A [Manager] can do everything. Code that acts for one owner, such as a
// settings page, should use an [OwnerManager] from [Manager.ForOwner]: it sees
// only that owner's keys. Package apikeyhttp is the middleware. Packages
// memstore and sqlstore are Stores, backup moves keys between them, apikeytest
// helps to test your application, and storetest a Store.
//
// # Keys, credentials, tokens
//
// A [Key] belongs to an owner, which is a string of your application. Its ID
// never changes. A [Credential] is one access key and access secret of a Key.
// At most two are accepted: the current one and, during a rotation, the
// retiring one.
//
// A token is the string that a client sends: prefix, access key, secret and
// checksum. [Manager.Issue], [Manager.Regenerate] and [Manager.Rotate] return
// it once, as a [Secret], which fmt, encoding/json and log/slog cannot print.
// The Store contains an HMAC-SHA-256 of it under a pepper, a secret of at least
// 32 bytes that you keep outside the database ([Options.Peppers]). So a lost
// token cannot be shown again; regenerate the key. The file
// docs/token-format.md in the repository specifies tokens, digests and peppers.
//
// # Life cycle
//
// A key's [Status] is computed, never stored: the first that applies of
// Deleted, Disabled, Expired, Active.
//
//	operation       allowed in               effect
//	Issue           owner enabled            a new key, Active
//	Disable         all but Deleted          rejects every token
//	Enable          Active, Disabled         reverses Disable
//	Regenerate      all but Deleted          new token, all older ones are rejected; Active
//	Rotate          Active                   new token, the current one retires
//	FinishRotation  while the overlap runs   rejects the retiring token
//	ExtendRotation  while the overlap runs   moves the end of the overlap
//	Update          all but Deleted          name, scopes, networks, rate, metadata, expiry
//	Delete          all                      rejects every token, permanently
//	Sweep           -                        removes what ended long ago
//
// Use Regenerate for a token that others may know. In all other cases use
// Rotate, which accepts both tokens for the overlap. A key that the Manager
// disables is locked ([ErrLocked]): its owner can only look at it and delete
// it. [Manager.DisableOwner] rejects all keys of an owner in one write.
//
// Every change is one commit with one [Event], which records what, when, by
// whom ([WithActor]) and why ([Reason]). Disable, Enable and Delete succeed
// without an event if there is nothing to change. With [IfRevision] a change
// fails with [ErrConflict] if the key has changed since. The file
// docs/lifecycle.md has every operation in every state.
//
// # Errors
//
// [Manager.Validate] rejects with exactly one of these values, unwrapped, in
// this order. All but the first require the right secret.
//
//	ErrInvalid        401  no token, unknown access key, or wrong secret
//	ErrDeleted        401
//	ErrReplaced       401  regenerated, or the overlap is over
//	ErrOwnerDisabled  401
//	ErrDisabled       401
//	ErrExpired        401
//	ErrAddress        403  not from one of the key's networks
//	ErrScope          403  the key lacks a required scope
//
// Every other error of Validate says nothing about the key: [ErrUnavailable]
// with its cause means 503, and a *[FieldError] for a malformed [Scope] is a
// mistake in your application, 500. In both cases do not serve the request, and
// do not report the key as invalid.
//
// Other calls wrap their errors with the operation and the key ID, so use
// [errors.Is] and [errors.As]. Test for [ErrOutcomeUnknown] first: the change
// was made completely or not at all. No error contains a secret, a digest or
// SQL.
//
// # Security
//
// Send tokens over TLS only. Take owners from your login, and pass the request's
// context to an [OwnerManager]. In the repository docs/operating.md has a
// checklist, docs/threat-model.md what holds against whom, docs/backup.md backups.
package apikey
