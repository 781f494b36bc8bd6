// Package apikey issues API keys, validates them, and carries them through
// their whole life: disable, enable, regenerate, rotate, expire, delete. It is
// a library: it runs inside the host's own program, on a [Store] that the host
// chooses, and starts nothing by itself.
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
// A [Manager] may do everything. What acts for one owner, a settings page for
// example, gets an [OwnerManager] from [Manager.ForOwner], which has only what
// an owner may do and sees only the owner's keys. Package apikeyhttp has the
// middleware, memstore and sqlstore are Stores, apikeytest helps to test a
// host, storetest to test a Store.
//
// # Keys, credentials, tokens
//
// A [Key] is what an owner holds and names. Its ID never changes.
//
// A [Credential] is one access key and access secret of a Key. A Key has at
// most two that are accepted: its current one and, during a rotation, the
// retiring one. Only credentials expire; [Key.ExpiresAt] is the current one's.
//
// A token is the text that the client sends. It is returned once, by
// [Manager.Issue], [Manager.Regenerate] or [Manager.Rotate], as a [Secret],
// which fmt, encoding/json and log/slog cannot print. The Store holds a digest
// from which it cannot be computed. A lost token cannot be shown again: the
// key is regenerated.
//
// # Token format
//
//	ak_7Hq2mV9xKc4RtZ1b_N0sPq8LwE3yGd6TfXa5JuB2vChM4oRkS40RH4r
//	|  |                |                               |
//	|  |                |                               checksum, 6
//	|  |                secret, 32
//	|  credential id, 16
//	prefix, 1 to 20
//
//	token         = access-key "_" access-secret
//	access-key    = prefix "_" credential-id     ; public: it may be shown and logged
//	access-secret = secret checksum
//	prefix        = [a-z][a-z0-9]*([_-][a-z0-9]+)*  ; at most 20 bytes
//	credential-id = 16 base62
//	secret        = 32 base62                    ; 190 random bits
//	checksum      = 6 base62
//
// The base62 digits are, in ascending order, 0-9, A-Z, a-z (ASCII). The random
// ones come from crypto/rand, each equally likely. A token has 57 to 76 bytes,
// 58 with the default prefix "ak". A double click selects all of it, and its
// two halves can travel as user and password of HTTP Basic authentication
// (RFC 7617).
//
// The checksum is CRC-32 as in IEEE 802.3 and RFC 1952, section 8 (package
// hash/crc32, table IEEE), over all bytes before it, the prefix and both
// underscores included. The 32 bits are written as a number in base62, most
// significant digit first, padded with "0" to 6 digits. It lets [Scan] and
// other scanners tell a token from a random text offline, and spares the Store
// a lookup for a mistyped one. It protects nothing: who holds no secret can
// compute it as well.
//
// A token is read from the right, by these lengths. So a prefix may hold
// underscores, and tokens with an earlier [Options.Prefix] stay valid. The
// prefix is stored with each credential, and the one presented must equal it.
//
// # Digests and peppers
//
// A Store holds of each access secret
//
//	HMAC-SHA-256(pepper, 0x01 || credential id || secret)
//
// (RFC 2104, FIPS 180-4), where the secret is its 32 characters without the
// checksum. The digest is bound to its credential: moved to another row it
// fits nothing. A slow password hash would add nothing, because 190 random bits
// cannot be guessed.
//
// A pepper is a secret of at least 32 random bytes that is kept outside of the
// database. [Options.Peppers] is a ring: the first hashes, all verify. The id
// of a pepper, which stands in each credential, is the first 8 bytes of
//
//	HMAC-SHA-256(pepper, "apikey pepper id 1")
//
// To change the pepper, put the new one first and leave the old one in the
// list. Each credential keeps the pepper it was made with until the key is
// regenerated or rotated. [Manager.Check] reports, as [ErrPepper], the ids that
// stored credentials name and the list lacks; until that is repaired, Validate
// answers those credentials with [ErrUnavailable], never as wrong keys.
//
// A pepper is required. [NoPepper] runs the same code with a public one; its
// comment says what that gives up. [EphemeralPepper] is for stores that end
// with the process.
//
// # Life cycle
//
// A key's [Status] is computed, never stored: the first that applies of
// Deleted, Disabled, Expired, Active.
//
//	operation       allowed in               effect
//	Issue           owner enabled            a new key, Active
//	Disable         all but Deleted          refuses every token
//	Enable          Active, Disabled         ends what Disable did
//	Regenerate      all but Deleted          new token, all older ones end; Active
//	Rotate          Active                   new token, the present one retires
//	FinishRotation  while the overlap runs   the retiring token ends
//	ExtendRotation  while the overlap runs   moves the end of the overlap
//	Update          all but Deleted          name, scopes, networks, rate, metadata, end
//	Delete          all                      refuses every token, for ever
//	Sweep           -                        removes what ended long ago
//
// [Manager.SetOwnerScopes] sets a ceiling over the scopes of all keys of an
// owner, which every Validate applies.
//
// Disable, Enable, Delete, and the calls that change an owner, are idempotent:
// if there is nothing to change, they succeed and record no event. DisableOwner
// rejects all keys of an owner in one write and leaves each key as it is.
//
// Every change is one commit with one [Event], which says what, when, by whom
// ([WithActor]) and why ([Reason]). [Manager.Events] reads the log.
//
// # Rotation
//
// [Manager.Regenerate] is for a token that may be known to others: the old one
// is refused before the call returns. [Manager.Rotate] is for every other case:
// the new token and the old one are both accepted for the overlap, so that
// clients can be moved one by one. The old one never lives longer than it
// would have, and a token still retiring from an earlier rotation is refused at
// once.
//
// To end a rotation safely, ask [Manager.Credentials] when the retiring one was
// last used, then call [Manager.FinishRotation]. Or wait: the overlap ends by
// itself. [Manager.ExtendRotation] moves its end. [Manager.RotationDue] and
// [Manager.Expiring] list the keys to act on.
//
// # Holds
//
// A key that the Manager disables is locked ([Key.Locked]): its owner can neither
// enable, update, regenerate nor rotate it ([ErrLocked]), only look at it and
// delete it. A key that its owner disables is not locked. To stop an owner from
// having any working key, use [Manager.DisableOwner].
//
// [OwnerManager.Allowed] returns what an owner may do to a key now, for pages
// that show only what would succeed.
//
// # Revisions and conflicts
//
// Every change of a key counts up [Key.Revision] and is written only over the
// revision it was decided on. Pass [IfRevision] with the one that was shown to
// whoever decides: if the key has changed since, the call fails with
// [ErrConflict] and nothing is changed. Without it, Disable, Enable, Update and
// Delete run again on the changed key. Regenerate, Rotate, FinishRotation and
// ExtendRotation never do: of several at the same time those that lose get
// ErrConflict.
//
// # Unknown outcomes
//
// A commit can be lost: the connection breaks before the answer comes. The
// Manager then commits the same again. Compare-and-swap lets at most one of the
// two land, and a random [Nonce] in what is stored tells whether it was ours.
// Only if that fails too the call returns [ErrOutcomeUnknown]: the change was
// made whole or not at all. Test for it before any other error. Issue,
// Regenerate and Rotate return the new token with it: it works if the change
// was made. Disable, Delete and other idempotent calls can simply be made again.
// For Issue there is [IssueParams.IdempotencyKey], with which a repeat never
// makes a second key.
//
// # Damaged rows
//
// If something else has changed the store, a row may not be readable. That
// affects its own key only, which is refused with 503. List, Expiring,
// RotationDue and Sweep return what they could do together with a
// *[DamagedError] that names the damaged keys, so use their result also with
// that error. Events returns a damaged event with its Err set.
//
// # Errors
//
// [Manager.Validate] refuses with exactly one of these values, unwrapped. The
// status is what an HTTP server usually answers.
//
//	ErrInvalid        401  no token, unknown access key, or wrong secret
//	ErrDeleted        401
//	ErrReplaced       401  regenerated, or the overlap has ended
//	ErrOwnerDisabled  401
//	ErrDisabled       401
//	ErrExpired        401
//	ErrAddress        403  not from one of the key's networks
//	ErrScope          403  the key lacks a scope that is needed
//
// All but ErrInvalid are told only to who presented the right secret. Every
// other error of Validate says nothing about the key: [ErrUnavailable], with
// its cause (the store, the context, [ErrPepper], [ErrClock]), means 503, and a
// *[FieldError] for a malformed [Scope] is a fault of the host, 500. Neither is
// ever a reason to serve the request, nor to tell the client that its key is
// bad.
//
// The other calls wrap their errors with the operation and the id of the key:
// use [errors.Is] and [errors.As]. Bad input is a *[FieldError] that names the
// field and never holds the input. No error holds a secret or a digest.
//
// # Time and expiry
//
// Time is read once per call from [Options.Now], in UTC, to the microsecond. A
// credential is valid while now < ExpiresAt, judged when it is used, with no
// job in the background. There is no key without an end: the default is one
// calendar year ([Options.Lifetime]), the bound is [Options.MaxLifetime] after
// the credential was created, and 9999-12-31T00:00:00Z for all. Lifetime must
// not be longer than MaxLifetime, so a host that wants keys of two years, or of
// at most 30 days, sets both. A clock outside of the years 1970 to 9999 is [ErrClock] and accepts nothing.
//
// Disable, Delete, Regenerate, FinishRotation and DisableOwner do not depend on
// any clock: they hold on every node as soon as the call has returned, if all
// nodes read one database. Expiry and the end of an overlap are judged by the
// clock of the node that validates.
//
// # Usage
//
// Validate writes nothing. It counts uses in memory, by credential and day
// (UTC). [Manager.Flush] writes the counts to the Store, [Manager.Run] does so
// every 10 seconds until its context ends and once more then. What was not
// flushed when a program dies is lost. Counts never run ahead: a batch of which
// it is unknown whether it was written is dropped. They are a help for people
// ("is this key still in use?"), no ground for billing. [Manager.Credentials]
// has the totals, [Manager.DailyUsage] the uses of each day.
//
// # Stores
//
// A [Store] keeps everything; the Manager has no cache. Package memstore keeps
// keys in memory and loses them with the program. Package sqlstore keeps them
// in PostgreSQL, MariaDB, MySQL or SQLite over database/sql, with the driver
// that the host imports, also inside of a transaction of the host
// ([Manager.WithStore]). To write another, implement the eight methods of Store and run storetest against it;
// docs/writing-a-store.md in the repository helps.
//
// # Backup and moving
//
// Package backup writes everything that a Store contains into one file, and
// restores the file into an empty Store of any kind, where the same tokens are
// valid. The file docs/backup.md in the repository describes how to encrypt a
// file, how to rehearse a restore, and how to move to another database.
//
// # Compatibility
//
// From the first release on these are frozen, because they live outside of the
// program: the token format, the digest (a new one would be a new
// [Credential.Scheme] beside it), the pepper id, the format of backups (a new
// one would have a version of its own), the kinds of events (more may
// be added: pass over those you do not know), and the contract of [Store]. Before
// the first release anything may still change; the changelog says what did.
//
// # Security
//
//   - Hand out tokens over TLS only, show them once, never log them. Log [Key.AccessKey] instead, and find its key with [Manager.Find].
//   - Keep the pepper outside the database. With [NoPepper], anyone who can write to the database can create working keys.
//   - Take the owner from the host's own login, never from the request.
//   - An owner may change the name, scopes (within what [Manager.ForOwner] was given), networks and end of its keys; rate and metadata are the host's. Pass on from a request only what your owners are to decide, and use [Options.Authorize] for the rest.
//   - If keys manage keys in your application, pass the request's context to the [OwnerManager]: what it changes then stays within the key of the request.
//   - An owner that may do less than before: [Manager.SetOwnerScopes]. List your scopes in [Options.Scopes].
//   - Give [From] the address of the real client. Package apikeyhttp gives that of the connection. What a proxy header says is the client's word unless your own proxy wrote it.
//   - A token that leaked: [Manager.Regenerate], or [Manager.Disable] if nobody is there to take the new one. [Scan] finds tokens in texts.
//   - An owner that must not use any key: [Manager.DisableOwner].
//
// What the library protects against, and what it does not, is written down in
// docs/threat-model.md in the repository.
package apikey
