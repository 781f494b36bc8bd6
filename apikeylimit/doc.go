// Package apikeylimit limits how many requests an API key may make, and how
// many bad keys an address may try. It counts in the memory of the process.
//
//	limiter, err := apikeylimit.New(&apikeylimit.Options{
//		Default: apikey.Rate{Requests: 100, Period: time.Minute},
//	})
//	// ...
//	authenticate := apikeyhttp.Authenticate(manager, &apikeyhttp.Options{Limiter: limiter})
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
// # Addresses
//
// Each bad key takes one from the bucket of the address that it came from,
// [Options].Invalid. While that is empty, every key from there gets status
// 429, also a good one: if good keys were let through, the answer would tell a
// good guess. So clients behind one address can keep each other out. Of an
// empty bucket, one more bad key gets through each Period / Requests; beside
// these, only those that were being checked when it became empty. Answers name
// the limit "invalid".
//
// An IPv4 address counts by itself, also if it is written as IPv6; IPv6
// addresses count by their first 64 bits, since whoever has one of them has
// all that begin so. Connections without an address, as by a Unix socket, are
// not limited: they would share one bucket, and any of them could keep all
// others out. Clients that a trusted proxy does not name share the proxy's, and
// behind a proxy that is not in the TrustedProxies of package apikeyhttp all
// clients do.
//
// Guessing is hopeless in any case: a token has 190 random bits. This limit
// keeps the work and the noise of it small.
//
// # Memory
//
// At most [Options].MaxEntries buckets of keys and as many of addresses are
// kept, of at most 300 bytes each, as measured: 60 MB with the default, if all
// are taken. A bucket that is full again holds nothing. It is dropped when
// there is no more room, not before.
//
// If there is none that is full, the one that would be full soonest is
// dropped, and who it belonged to begins anew. No one is denied for want of
// room: whoever has a /32 of IPv6 has four billion networks to come from, and
// could keep everyone else out. So who guesses from more than MaxEntries
// addresses at a time is hardly limited; nor would it be by more memory, with
// so many addresses. Set MaxEntries above the number of keys that are in use
// within their periods: of more, those with the most in their buckets make
// more requests than they may.
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
// Two Limiters before one route both name their limits "key" and "invalid".
//
// All requests share one lock, for the time of a decision, about half a
// microsecond. Only the first newcomer after all other entries were used again
// takes longer, and all wait for it: 10 to 30 ms with 100,000 entries.
package apikeylimit
