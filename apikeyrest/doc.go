// Package apikeyrest is a JSON API with which owners manage their own API keys:
// an [http.Handler] for front ends and programs of your customers, mounted
// behind your login. Its calls are those of an [apikey.OwnerManager].
//
//	api, err := apikeyrest.New(manager, &apikeyrest.Options{Owner: session, OwnerOptions: plan})
//	...
//	mux.Handle("/account/", http.StripPrefix("/account", api))
//
// The prefix has no slash at its end. Options.Owner alone decides whose keys a
// request acts on. These are the paths. The document at /openapi.json, which
// anyone may read, describes requests and responses (OpenAPI 3.1).
//
//	GET    /openapi.json
//	GET    /keys                   a page of keys
//	POST   /keys                   Issue; Idempotency-Key
//	GET    /keys/{id}
//	PATCH  /keys/{id}              Update
//	DELETE /keys/{id}              Delete
//	POST   /keys/{id}/disable      Disable
//	POST   /keys/{id}/enable       Enable
//	POST   /keys/{id}/regenerate   Regenerate
//	POST   /keys/{id}/rotate       Rotate
//	POST   /keys/{id}/finish       FinishRotation
//	POST   /keys/{id}/extend       ExtendRotation
//	GET    /keys/{id}/credentials  Credentials
//	GET    /keys/{id}/events       a page of Events, newest first
//
// A token appears in the responses of issue, regenerate and rotate and nowhere
// else. Another owner's key, a key that does not exist and a malformed id all
// get the same 404. The rate of a key is shown, its metadata is not. Actors and
// reasons are shown, also those of changes that your application has made.
//
// # Conditions
//
// The ETag of a key begins with its revision. A change with If-Match is only
// made at a revision that the field lists. If-None-Match with the current ETag
// of a key, or of the document, makes the response to GET a 304. Preconditions
// follow RFC 9110, section 13. Lists have no ETag, so that only "*" matches
// them.
//
// # Pages
//
// A page of a list has at most "limit" entries, and "next", if there may be
// more. Give it as "after" to get the next page. It is an opaque string that
// is valid for the same list of the same owner only. Each page costs the same,
// however far into the list it is. A damaged key or event is left out of a page,
// which then has the member "damaged". Options.Observe gets the cause.
//
// # Requests
//
// Bodies are JSON of at most 64 KiB. Members and query parameters are rejected
// if they are unknown, occur twice or are spelled in another case. In a POST,
// null is the same as leaving an optional member out. In a PATCH, as in a JSON
// merge patch, null clears scopes and networks. An Idempotency-Key is rejected
// where nothing honors it. Times must be in the form of RFC 3339, with
// upper-case T and Z. Changes requested by pages of other sites are rejected, by
// [http.CrossOriginProtection] and because a form cannot send application/json.
// Responses are JSON, regardless of Accept.
//
// # Errors
//
// Errors are problem details, as in [apikeyhttp.Problem], and contain nothing of
// the request. Those of the Manager have the status and code of
// [apikeyhttp.StatusOf].
//
//	status  code                    when
//	400     invalid_request         the body could not be read
//	400     invalid_field           "field" names what is wrong
//	403     forbidden               Options.Owner or OwnerOptions, Options.Authorize of package apikey,
//	                                or the request's own key may not change that key in this way
//	403     cross_origin            requested by a page of another site
//	403     locked, owner_disabled  your application has locked the key, or disabled the owner
//	403     scope_not_allowed       more than OwnerOptions.Scopes, or than the request's own key has
//	404     not_found               no such path, or no such key of this owner
//	405     method_not_allowed      see Allow
//	409     conflict                changed by someone else, at the same time
//	409     exists                  "key_id" names the key that the Idempotency-Key has created
//	409     limit, not_rotating, deleted, disabled, expired
//	412     conflict                If-Match or If-None-Match does not hold
//	413     too_large               the body
//	415     unsupported_media_type  not application/json
//	422     idempotency_mismatch    the Idempotency-Key was used with other parameters
//	429     too_soon                too many new tokens; Retry-After says how long to wait
//	500     server_error            an invalid result of Options.Owner or OwnerOptions
//	500     damaged                 the stored data of the key is damaged
//	503     unavailable             a failure of the store, or of your application
//	503     outcome_unknown         the change may have been made; with the token, if there is one
package apikeyrest
