package apikeyhttp

import (
	"context"
	"log/slog"
	"net/netip"
)

// Observation is what became of one request, for logs and metrics: of stacked
// Authenticates the last decision, or the first refusal. It holds no secret.
type Observation struct {
	// Status and Code are those of the refusal; zero for a request that was
	// let through to its handler.
	Status int
	Code   string

	// AccessKey is the public half of the token that was presented. It is set
	// only if the rest of it was right too, also of a key that is disabled or
	// has expired.
	AccessKey string

	// KeyID and Owner are set only if the key was valid, also if it lacked a
	// scope that the route needs, or had made too many requests.
	KeyID string
	Owner string

	// Carrier is what the key came by, 0 without a valid one.
	Carrier Carrier

	// Client is the address that the request came from; the zero Addr if it is
	// not known.
	Client netip.Addr

	// NoAddress is set if the connection has no address, for example because
	// Request.RemoteAddr has no port. A Limiter counts all such requests
	// together.
	NoAddress bool

	// Canceled is set if the request's context had been canceled when the
	// request was decided. net/http cancels it when the client hangs up. With
	// status 503 it distinguishes a hang-up from a store failure. A deadline
	// of your application does not set it.
	Canceled bool

	// Err is what the Validator or the Limiter returned.
	Err error
}

// LogValue returns a group of the fields that are set: status, code, key_id,
// access_key, owner, carrier, client, no_address, canceled, error.
func (o Observation) LogValue() slog.Value {
	var attrs []slog.Attr
	if o.Status != 0 {
		attrs = append(attrs, slog.Int("status", o.Status), slog.String("code", o.Code))
	}
	for _, text := range [...]struct{ name, value string }{
		{"key_id", o.KeyID}, {"access_key", o.AccessKey}, {"owner", o.Owner}, {"carrier", o.Carrier.String()},
	} {
		if text.value != "" {
			attrs = append(attrs, slog.String(text.name, text.value))
		}
	}
	if o.Client.IsValid() {
		attrs = append(attrs, slog.String("client", o.Client.String()))
	}
	if o.NoAddress {
		attrs = append(attrs, slog.Bool("no_address", true))
	}
	if o.Canceled {
		attrs = append(attrs, slog.Bool("canceled", true))
	}
	if o.Err != nil {
		attrs = append(attrs, slog.String("error", o.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// LogAttr returns what is known of the caller of a request as one attribute,
// the group "apikey", for the log lines of its handler:
//
//	slog.InfoContext(ctx, "order placed", apikeyhttp.LogAttr(ctx))
//
// It has the names of [Observation.LogValue]; of an anonymous caller it has the
// address alone. Outside of a request the group is empty, and slog leaves it
// out.
func LogAttr(ctx context.Context) slog.Attr {
	a := admissionIn(ctx)
	if valid := a.valid(); valid != nil {
		a = valid
	}
	return slog.Any("apikey", a.observation())
}

// observation says what has become of a request so far.
func (a *admission) observation() Observation {
	if a == nil {
		return Observation{}
	}
	var o Observation
	if result := a.result.Load(); result != nil {
		a = result.by
		if result.refused != nil {
			o.Status, o.Code = result.refused.problem.Status, result.refused.problem.Code
		}
	}
	o.Carrier, o.Client, o.NoAddress, o.Canceled = a.carrier, a.client, a.noAddress, a.canceled
	if a.withKey != nil {
		key := a.key()
		o.KeyID, o.Owner = key.ID, key.Owner
		if key.CredentialID != "" { // a stand-in in a test may have none
			o.AccessKey = key.AccessKey()
		}
	}
	if a.failed != nil {
		o.Err = a.failed.err
		if a.failed.accessKey != "" {
			o.AccessKey = a.failed.accessKey
		}
	}
	return o
}
