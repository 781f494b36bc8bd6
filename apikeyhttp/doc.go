// Package apikeyhttp protects HTTP handlers with API keys.
//
//	authenticate := apikeyhttp.Authenticate(manager, nil)
//	canRead := apikeyhttp.Require("orders:read")
//
//	mux.Handle("GET /orders", authenticate(canRead(orders)))
//
// Behind it, [apikey.FromContext] tells the handler who calls. The package
// knows headers and nothing else: whether a key is good is decided by the
// [apikey.Validator], in the one place where it is decided.
//
// # Credentials
//
// A request carries its key in one of three ways, each of which can be turned
// off by [Options].Carriers:
//
//	Authorization: Bearer <token>
//	X-API-Key: <token>
//	Authorization: Basic <base64 of access key ":" access secret>
//
// The scheme may be written in any case. Basic takes the two halves of a token
// only: a whole token as user or as password is not accepted. Nothing is read
// from the query, the path, a cookie or a form, where keys end up in logs and
// histories.
//
// A request must say one thing. More than one credential is refused, never
// chosen from: repeated header lines, lists with commas or spaces, an
// Authorization header of whatever scheme beside X-API-Key. An Authorization
// header of a scheme that is unknown or turned off is no credential when it
// stands alone. A header that no carrier uses is not looked at: with
// Carriers: Header, Authorization is free for something else.
//
// The address of a key that is bound to networks is checked against
// Request.RemoteAddr, the peer of the connection. X-Forwarded-For and its like
// are not believed. A RemoteAddr that is not an address with a port, as behind
// a middleware that put something else there, is no address.
//
// # Answers
//
// Each refusal is final: the handler behind is not called. Bodies are problem
// details as in RFC 9457, with a member "code" to tell them apart:
//
//	status  code                  error in the challenge  when
//	400     invalid_request       invalid_request         not exactly one credential
//	401     no_credential         -                       no credential
//	401     invalid_token         invalid_token           apikey.ErrInvalid
//	401     disabled              invalid_token           apikey.ErrDisabled
//	401     owner_disabled        invalid_token           apikey.ErrOwnerDisabled
//	401     expired               invalid_token           apikey.ErrExpired
//	401     replaced              invalid_token           apikey.ErrReplaced
//	401     deleted               invalid_token           apikey.ErrDeleted
//	403     address_not_allowed   no challenge            apikey.ErrAddress
//	403     insufficient_scope    insufficient_scope      apikey.ErrScope, Require
//	500     server_error          no challenge            bad Options, scopes or needs
//	503     unavailable           no challenge            apikey.ErrUnavailable, any other error
//
// Any text without space, tab and comma in the place of a token that is not a
// valid token, be it malformed, unknown, or with a wrong secret, gets the same
// answer to the byte. Only who
// sent the right secret learns what is wrong with the key. An answer holds
// nothing of the request.
//
// The challenges are those of RFC 6750 and RFC 7617, one header line each:
//
//	WWW-Authenticate: Bearer realm="api", error="invalid_token"
//	WWW-Authenticate: Basic realm="api", charset="UTF-8"
//
// The Basic challenge comes with status 401 alone and only if that carrier is
// on; it makes browsers ask for user and password. If Bearer is off, the
// header carrier is named by a challenge of its own:
//
//	WWW-Authenticate: ApiKey realm="api", header="X-API-Key", error="invalid_token"
//
// Refusals forbid caches to store them. What a handler answers is its own to
// mark: unlike Authorization, a header such as X-API-Key does not keep shared
// caches from storing an answer, so a handler sets Cache-Control itself.
package apikeyhttp
