// Package apikeylimit limits how many requests an API key may make, and how
// many bad keys an address may try. It counts in the memory of the process.
//
//	limiter, err := apikeylimit.New(&apikeylimit.Options{
//		Default: apikey.Rate{Requests: 100, Period: time.Minute},
//	})
//	// ...
//	guard, err := apikeyhttp.New(manager, &apikeyhttp.Options{Limiter: limiter})
//
// # Keys
//
// The rate of a key is kept with it, [apikey.Key].Rate; a key without one has
// [Options].Default. A key has a bucket that holds Rate.Requests and begins
// full. Each request takes one out of it, and it refills evenly over
// Rate.Period: in any time t at most Requests + Requests * t / Period are
// allowed. That is exact to a nanosecond, and to the rounding of a float64.
//
// The bucket belongs to the key, not to a token: both tokens of a rotation
// share it, by whatever carrier they come, and a regenerated key has the
// bucket that it had. A request that is denied takes nothing. If the rate of a
// key is changed, the next request is held to the new one; the bucket keeps
// what it has in it, at most what the new one holds, so that no change fills
// it up.
//
// Answers tell of the limit by the name "key":
//
//	RateLimit-Policy: "key";q=100;w=60
//	RateLimit: "key";r=99;t=1
//
// A rate of more than 999,999,999,999,999 requests, the largest number of
// these fields (RFC 9651, section 3.3.1), counts as one of so many, and a
// period of more than 100 years as 100 years.
//
// # Bad keys
//
// An address may send [Options].Invalid bad keys. After that every key from
// there gets status 429, also a good one. If good keys were accepted, the
// response would reveal a good guess. Clients behind one address can therefore
// lock each other out. Every Period / Requests one more bad key is allowed.
// Responses name the limit "invalid".
//
// Every attempt counts, whatever happens to the client. An attempt reserves a
// bad key before the lookup and gives it back if the key was good. So an address
// has at most as many lookups in flight as it has bad keys left, and never
// exceeds its limit. A further request waits, in order, until a lookup ends. It
// does not get 429 for that reason, but status 503 after [Options].MaxWait. The
// number of requests that wait is limited by the number of requests that your
// server accepts.
//
// An attempt that ends before its lookup costs nothing. One that ends during the
// lookup counts as a bad key if its result is unknown, because the Store may
// have been asked. A store failure does not count if the request's context has
// not ended by then. With a deadline of your own, for example by
// [net/http.TimeoutHandler], a Store that fails only after the deadline makes
// good keys count as bad ones. Choose a deadline longer than the time limit of
// the Store.
//
// The same token from the same address counts once, until it has not come for
// one Period. So a client that keeps using the token of a key that was deleted
// and swept does not lock out its neighbors. Attempts with the right secret of a
// key that is expired, disabled, replaced or deleted never count. Because each
// of these repetitions costs a lookup, an address may make 100 times as many of
// them as it may send bad keys. Beyond that, only the repeated tokens get status
// 429, with the limit "repeated".
//
// # Addresses
//
// An IPv4 address counts by itself. An IPv6 address counts for its /64, its /56
// and its /48, because a site usually gets a network of one of these sizes. A
// /56 has 4 times and a /48 has 16 times the limit of a /64. Status 429 has the
// numbers of the network that is out of bad keys. Attempts from one /64 that
// wait do not hold up the others. IPv4 has no larger networks, because addresses
// next to each other usually belong to different customers.
//
// Some IPv6 addresses contain the IPv4 address of the client, and count as that
// address: IPv4-mapped ones, NAT64 (64:ff9b::/96), 6to4 (2002::/16) and Teredo
// (2001::/32). In 64:ff9b:1::/48, where each site decides how it translates,
// each address counts by itself. If your network translates IPv4 with a prefix
// of its own, all IPv4 clients share the limits of one or few /64. Let the
// translator or a proxy pass on the client's address, and set TrustedProxies.
//
// Connections without an address share one limit, which is 100 times that of an
// address. Those are connections over a Unix socket, and requests whose
// RemoteAddr is not an address with a port. Clients that a trusted proxy does
// not name share the proxy's limit. Behind a proxy that is not in the
// TrustedProxies of package apikeyhttp all clients do.
//
// Guessing is hopeless in any case, because a token has 190 random bits. This
// limit keeps the work and the noise of it small.
//
// # Memory
//
// At most [Options].MaxEntries buckets of keys, as many of networks and of
// addresses with repeated tokens, and as many tokens are kept. A bucket takes
// about 300 bytes and a token about 200, as measured: 110 MB with the default,
// if all are taken. A bucket that is full again contains nothing. It is dropped
// when there is no more room, not before. Of a token only a hash is kept.
//
// If there is none that is full, the one that would be full soonest is
// dropped, and its key or network has a full bucket again. Of tokens, the one
// that has not come for the longest time is dropped, and counts once more. A
// full table never causes a request to be denied. Otherwise an attacker with an
// IPv6 /32, which contains 65,536 networks of size /48, could lock everyone else
// out. Someone who guesses from more than MaxEntries networks at a time is
// therefore hardly limited. More memory would not help, with so many networks.
// Set MaxEntries above the number of keys that are in use within their periods.
// If there are more, those with the most in their buckets can make more requests
// than they may.
//
// # What it is not
//
// Each process counts for itself: on n nodes a key may make n times its
// requests, and a restart begins with full buckets. Do not bill by it.
//
// Time that a clock goes back counts as none, and time that it skips as
// passed, so that an Options.Now that swings lets more through. time.Now does
// not: it is monotonic.
//
// Two Limiters before one route both name their limits "key", "invalid" and
// "repeated".
//
// All requests share one lock, for the time of a decision, about half a
// microsecond, twice for each request. Only the first newcomer after all other
// entries were used again takes longer, and all wait for it: 10 to 30 ms with
// 100,000 entries.
package apikeylimit
