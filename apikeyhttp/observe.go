package apikeyhttp

import (
	"context"
	"log/slog"

	"github.com/keyturn/apikey"
)

// LogAttr returns what is known of the caller of a request as one attribute,
// the group "apikey", for the log lines of its handler:
//
//	slog.InfoContext(ctx, "order placed", apikeyhttp.LogAttr(ctx))
//
// It has the names of [apikey.Observation.LogValue]; of an anonymous caller it has the
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
func (a *admission) observation() apikey.Observation {
	if a == nil {
		return apikey.Observation{}
	}
	var o apikey.Observation
	if result := a.result.Load(); result != nil {
		a = result.by
		if result.refused != nil {
			o.Status, o.Code = result.refused.problem.Status, result.refused.problem.Code
		}
	}
	o.Carrier, o.Client, o.NoAddress, o.Canceled = a.carrier.String(), a.client, a.noAddress, a.canceled
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
