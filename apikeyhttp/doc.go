// Package apikeyhttp protects HTTP handlers with API keys.
//
//	guard, err := apikeyhttp.New(manager, nil)
//	...
//	mux.Handle("GET /orders", guard.Require("orders:read")(orders))
//
// Behind it, [apikey.FromContext] returns the key of the request. This package
// handles requests only. An [apikey.Validator], usually an [apikey.Manager],
// decides whether a key is valid.
//
// [Guard.Require] asks for scopes, [Guard.Authenticate] for any valid key, and
// [Guard.Optional] also serves anonymous callers. Revalidate checks the key of
// a long stream again. [Guard.StripCredential] keeps the token from the servers
// behind a reverse proxy.
//
// # Credentials
//
// A request carries its key in one of these ways, each of which can be turned
// off by [Options].Carriers:
//
//	Authorization: Bearer <token>
//	X-API-Key: <token>
//
// Two others can be turned on. Basic takes the two halves of a token only: a
// whole token as user or as password is not accepted. Query is not safe.
//
//	Authorization: Basic <base64 of access key ":" access secret>
//	?api_key=<token>
//
// The scheme may be written in any case. Nothing is read from the path, a cookie
// or a form, where keys end up in logs and histories.
//
// Browsers store Basic credentials and send them with requests that pages of
// other sites cause. So a request with Basic credentials must pass
// [http.CrossOriginProtection], which looks at Sec-Fetch-Site and Origin. It
// rejects methods other than GET, HEAD and OPTIONS from pages of other sites.
// Here it also rejects WebSocket handshakes from them. Over https it rejects
// requests whose Origin is http. A request is over https if it arrives over TLS,
// or if X-Forwarded-Proto or Forwarded states that. Your handlers must not change
// anything on GET. Programs other than browsers send none of these headers.
//
// A request must say one thing. More than one credential is refused, never
// chosen from: repeated header lines or parameters, lists with commas or
// spaces, an Authorization header of whatever scheme beside X-API-Key. With
// Query, a query that cannot be parsed is refused too. An Authorization
// header of a scheme that is unknown or turned off is no credential when it
// stands alone, though Optional does not take its sender for anonymous. A
// header that no carrier uses is not looked at: with Carriers: Header,
// Authorization is free for something else.
//
// # The address of a client
//
// The address that a key may be bound to is that of the connection,
// Request.RemoteAddr. X-Forwarded-For and its like are not believed, unless the
// connection comes from one of [Options].TrustedProxies: then the one header in
// ProxyHeader is read from the right, each entry only if the one right of it is
// a trusted proxy, and the first that is none is the client. What a client
// wrote into the header itself stands left of that.
//
// There is no address, and a key that is bound to networks is refused, if a
// trusted proxy names nobody or nothing that is an address ("unknown", a
// malformed entry, one with a zone), if all entries are trusted proxies, after
// 32 entries, and if RemoteAddr is not an address with a port: that of a Unix
// socket is none, nor what a middleware may have put there.
//
// The proxies must write the header on every request, after dropping the headers
// that Connection names. They must append to the last line of the header, add a
// line after it, or replace it. In Forwarded they must write text of the client,
// such as its Host, as a quoted-string as RFC 7239 requires, with quotes and
// backslashes escaped. A comma in it makes the entry malformed, because nothing
// distinguishes the rest from an entry. IPv6 addresses must be in brackets in
// Forwarded. In X-Forwarded-For an IPv6 address with a port must be, because
// 2001:db8::1:4711 is also an address.
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
//	403     cross_origin          no challenge            Basic, for a page of another site
//	403     insufficient_scope    insufficient_scope      apikey.ErrScope, Guard.Require
//	429     quota_exceeded        no challenge            Options.Limiter
//	500     server_error          no challenge            a *apikey.FieldError of the Validator
//	503     unavailable           no challenge            apikey.ErrUnavailable, any other error
//
// Any text without space, tab and comma in the place of a token that is not a
// valid token, be it malformed, unknown, or with a wrong secret, gets the same
// answer to the byte. Only who sent the right secret learns what is wrong with
// the key. An answer holds nothing of the request.
//
// The body is application/problem+json, regardless of Accept. You can write it in
// a form of your own with [Options].WriteProblem. To a HEAD request it is left
// out.
// OPTIONS needs a key like any other method; a middleware that answers
// preflight requests (CORS), which never carry one, stands before this one.
//
// The challenges are those of RFC 6750 and RFC 7617, one header line each:
//
//	WWW-Authenticate: Bearer realm="api", error="invalid_token"
//	WWW-Authenticate: Basic realm="api", charset="UTF-8"
//
// The Basic challenge comes with status 401 alone and only if that carrier is
// on; it makes browsers ask for user and password. If Bearer is off, the
// header carrier, or the query, is named by a challenge of its own:
//
//	WWW-Authenticate: ApiKey realm="api", header="X-API-Key", error="invalid_token"
//
// Refusals forbid caches to store them. What a handler answers is its own to
// mark: unlike Authorization, a header such as X-API-Key does not keep shared
// caches from storing an answer, so a handler sets Cache-Control itself. Only
// for a key in the query the answer begins with Cache-Control: private.
//
// # Limits
//
// With [Options].Limiter, for which package apikeylimit has one, a key may make
// a number of requests, and a client may try a number of bad keys. While a
// client has tried too many, none of its keys is looked up, also no good one.
// Behind a proxy, set TrustedProxies. Otherwise all clients count as one. A
// client that a trusted proxy does not name counts as the proxy.
//
// Every bad key counts, also if the client hangs up before the response. While
// as many keys of a client are being looked up as it may still try bad ones, its
// further requests wait. A client that hangs up before its key is looked up has
// tried nothing.
//
// A lookup may go on after its client has gone: package sqlstore finishes a query
// that it has sent. So http.Server.Shutdown may wait for the time limit of the
// Store, by default 5 seconds with sqlstore, and for as long for each request
// that waits for the Limiter.
//
// Responses report what is left in the fields RateLimit-Policy and RateLimit of
// draft-ietf-httpapi-ratelimit-headers-10. Status 429 has Retry-After. A request
// of a key that is over its limit still counts as a use of the key.
//
// # Logs
//
// [Options].Observe is called once per request when it has been answered,
// however many guards are stacked. See [Guard] for what counts as one request.
// An [apikey.Observation] is a value for log/slog, and LogAttr returns the same
// for the log lines of a handler. Both name the key and never contain the token.
// The request does: log its URL.Path, not its URL. Log yourself what a handler
// answered, or that Revalidate ended a stream.
package apikeyhttp
