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
	if by := a.decidedBy.Load(); by != nil {
		a = by
		if a.refused != nil {
			o.Status, o.Code = a.refused.problem.Status, a.refused.problem.Code
		}
	}
	o.Carrier, o.Client, o.NoAddress, o.Canceled = a.carrier.String(), a.client, a.noAddress, a.canceled
	if a.hasKey {
		o.KeyID, o.Owner = a.key.ID, a.key.Owner
		if a.key.CredentialID != "" { // a stand-in in a test may have none
			o.AccessKey = a.key.AccessKey()
		}
	}
	o.Err = a.failed
	if a.known {
		o.AccessKey, _ = apikey.AccessKey(a.hidden.token)
	}
	return o
}
