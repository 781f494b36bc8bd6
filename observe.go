package apikey

import (
	"log/slog"
	"net/netip"
)

// Observation reports what happened to one call or request, for metrics and
// logs. Options.Observe of the Manager gets one for each Validate, and the
// Observe of packages apikeyhttp, apikeyrest and apikeyui one for a request.
// Fields that do not apply are empty. It contains no secret.
//
// These fields distinguish what operators look for:
//
//	Canceled                          the client hung up; Err says nothing about the store
//	Status 503, ErrUnavailable        an outage, unless Canceled
//	Code "quota_exceeded"             a limit of requests, or of bad keys
//	Code "too_soon", Code "limit"     a limit of new tokens, or of keys, of an owner
//	Flush and ErrNotFlushed           nothing has flushed usage for an hour
//	Flush and any other Err           a flush of Run failed
type Observation struct {
	// Status and Code are those of the response if a request was rejected or
	// failed. They are zero for a request that was let through, and in
	// observations of the Manager.
	Status int
	Code   string

	// AccessKey is the public half of the token. In an observation of the
	// Manager it is what the caller sent, so that the secret may have been
	// wrong unless KeyID is set, and it is empty if the text was no token. The
	// middleware sets it only if the secret was right.
	AccessKey string

	// KeyID and Owner are set only if the secret was right, or if the request
	// came from a logged-in owner.
	KeyID string
	Owner string

	// Carrier is how the request carried its valid key: "bearer", "header",
	// "basic" or "query".
	Carrier string

	// Client is the address that the request came from, or the zero Addr if it
	// is unknown.
	Client netip.Addr

	// NoAddress is set if the connection has no address, for example because
	// Request.RemoteAddr has no port. A Limiter counts all such requests
	// together.
	NoAddress bool

	// Canceled is set if the context had been canceled when the call returned
	// or the request was decided. net/http cancels it when the client hangs
	// up. A deadline does not set it.
	Canceled bool

	// Flush is set for a flush, or for a missing one. Only Err is set then.
	Flush bool

	// Err is what failed, also if the response does not show it.
	Err error
}

// LogValue returns a group of the fields that are set: status, code, key_id,
// access_key, owner, carrier, client, no_address, canceled, flush, error.
func (o Observation) LogValue() slog.Value {
	var attrs []slog.Attr
	if o.Status != 0 {
		attrs = append(attrs, slog.Int("status", o.Status), slog.String("code", o.Code))
	}
	for _, text := range [...]struct{ name, value string }{
		{"key_id", o.KeyID}, {"access_key", o.AccessKey}, {"owner", o.Owner}, {"carrier", o.Carrier},
	} {
		if text.value != "" {
			attrs = append(attrs, slog.String(text.name, text.value))
		}
	}
	if o.Client.IsValid() {
		attrs = append(attrs, slog.String("client", o.Client.String()))
	}
	for _, flag := range [...]struct {
		name string
		set  bool
	}{
		{"no_address", o.NoAddress}, {"canceled", o.Canceled}, {"flush", o.Flush},
	} {
		if flag.set {
			attrs = append(attrs, slog.Bool(flag.name, true))
		}
	}
	if o.Err != nil {
		attrs = append(attrs, slog.String("error", o.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}
