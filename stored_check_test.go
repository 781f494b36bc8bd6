package apikey_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
)

// storedRecord returns a record with a retiring credential, as it is stored.
func storedRecord(t *testing.T) apikey.Record {
	t.Helper()
	is := is.New(t)
	keys := apikeytest.New(t)
	id := keys.MustIssue(t, apikey.IssueParams{Metadata: map[string]string{"plan": "gold"}}).Key.ID
	_, err := keys.Rotate(t.Context(), id, time.Hour)
	is.NoErr(err)
	r, err := keys.Store.Get(t.Context(), id, "")
	is.NoErr(err)
	return r
}

// rejects checks that an error is a FieldError for the field that a test names
// before the colon.
func rejects(t *testing.T, name string, err error) {
	t.Helper()
	field, _, _ := strings.Cut(name, ":")
	var rejected *apikey.FieldError
	if !errors.As(err, &rejected) || rejected.Field != field {
		t.Errorf("error %v, want one for %q", err, field)
	}
}

func TestRecordCheck(t *testing.T) {
	is.New(t).NoErr(storedRecord(t).Check())
	early, late := time.UnixMicro(-1), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	seal := strings.Repeat("x", 1001)
	for name, change := range map[string]func(*apikey.Record){
		"id":                        func(r *apikey.Record) { r.Key.ID = "_" },
		"owner: empty":              func(r *apikey.Record) { r.Key.Owner = "" },
		"name: two lines":           func(r *apikey.Record) { r.Key.Name = "a\nb" },
		"rate: no period":           func(r *apikey.Record) { r.Key.Rate.Requests = 1 },
		"metadata: long key":        func(r *apikey.Record) { r.Key.Metadata = apikey.NewMetadata(map[string]string{seal: ""}) },
		"locked: enabled":           func(r *apikey.Record) { r.Key.Locked = true },
		"disabled_at: reason only":  func(r *apikey.Record) { r.Key.DisabledReason = "x" },
		"disabled_at: before 1970":  func(r *apikey.Record) { r.Key.DisabledAt = early },
		"disabled_by: control":      func(r *apikey.Record) { r.Key.DisabledAt, r.Key.DisabledBy = r.Key.CreatedAt, "\a" },
		"disabled_reason: control":  func(r *apikey.Record) { r.Key.DisabledAt, r.Key.DisabledReason = r.Key.CreatedAt, "\a" },
		"created_at: unset":         func(r *apikey.Record) { r.Key.CreatedAt = time.Time{} },
		"deleted_at: after 9999":    func(r *apikey.Record) { r.Key.DeletedAt = late },
		"credentials: too many":     func(r *apikey.Record) { r.Credentials = make([]apikey.Credential, 101) },
		"credentials: bad id":       func(r *apikey.Record) { r.Credentials[0].ID = "_" },
		"credentials: same id":      func(r *apikey.Record) { r.Credentials[0].ID = r.Credentials[1].ID },
		"credential_id: unknown":    func(r *apikey.Record) { r.Key.CredentialID = strings.Repeat("0", 16) },
		"credential_id: prefix":     func(r *apikey.Record) { r.Key.Prefix = "other" },
		"credential_id: issued at":  func(r *apikey.Record) { r.Key.IssuedAt = r.Key.IssuedAt.Add(time.Hour) },
		"credential_id: expires at": func(r *apikey.Record) { r.Key.ExpiresAt = r.Key.ExpiresAt.Add(time.Hour) },
		"retiring_id: unknown":      func(r *apikey.Record) { r.Key.RetiringID = strings.Repeat("0", 16) },
		"retiring_id: current":      func(r *apikey.Record) { r.Key.RetiringID = r.Key.CredentialID },
		"issue_hash: short":         func(r *apikey.Record) { r.IssueHash = "x" },
		"seal: of the record":       func(r *apikey.Record) { r.Seal = seal },
		"seal: of a credential":     func(r *apikey.Record) { r.Credentials[0].Seal = seal },
		"prefix: upper case":        func(r *apikey.Record) { r.Credentials[0].Prefix = "AK" },
		"expires_at: unset":         func(r *apikey.Record) { r.Credentials[0].ExpiresAt = time.Time{} },
		"retire_before: early":      func(r *apikey.Record) { r.Credentials[0].RetireBefore = early },
		"last_used_at: early":       func(r *apikey.Record) { r.Credentials[0].LastUsedAt = early },
		"pepper_id: short":          func(r *apikey.Record) { r.Credentials[0].PepperID = "x" },
		"pepper_id: long":           func(r *apikey.Record) { r.Credentials[0].Scheme, r.Credentials[0].PepperID = 9, seal },
		"digest: short":             func(r *apikey.Record) { r.Credentials[0].Digest = "x" },
		"digest: long":              func(r *apikey.Record) { r.Credentials[0].Scheme, r.Credentials[0].Digest = 9, apikey.Digest(seal) },
		"uses: negative":            func(r *apikey.Record) { r.Credentials[0].Uses = -1 },
		"uses: above 2^53":          func(r *apikey.Record) { r.Credentials[0].Uses = 1<<53 + 1 },
		"uses: none, but a last":    func(r *apikey.Record) { r.Credentials[0].LastUsedAt = r.Key.CreatedAt },
	} {
		t.Run(name, func(t *testing.T) {
			r := storedRecord(t)
			change(&r)
			rejects(t, name, r.Check())
		})
	}
}

func TestOwnerCheck(t *testing.T) {
	scopes, err := apikey.NewScopes("orders:read")
	is := is.New(t)
	is.NoErr(err)
	now := time.Unix(1, 0)
	is.NoErr(apikey.Owner{ID: "acme", DisabledAt: now, DisabledBy: "ada", HasCeiling: true, Ceiling: scopes, TokensUntil: now}.Check())
	for name, o := range map[string]apikey.Owner{
		"owner":                    {},
		"ceiling":                  {ID: "acme", Ceiling: scopes},
		"tokens_until":             {ID: "acme", TokensUntil: time.UnixMicro(-1)},
		"disabled_at: reason only": {ID: "acme", DisabledReason: "x"},
		"disabled_by: control":     {ID: "acme", DisabledAt: now, DisabledBy: "\a"},
		"seal":                     {ID: "acme", Seal: strings.Repeat("x", 1001)},
	} {
		t.Run(name, func(t *testing.T) { rejects(t, name, o.Check()) })
	}
}

func TestEventCheck(t *testing.T) {
	valid := func() apikey.Event {
		return apikey.Event{
			At: time.Unix(1, 0), Kind: "key.of_a_later_version", Owner: "acme", KeyID: strings.Repeat("0", 20),
			CredentialID: strings.Repeat("0", 16), Actor: "ada", Reason: "leaked", Data: apikey.NewMetadata(map[string]string{"a": ""}),
		}
	}
	is.New(t).NoErr(valid().Check())
	for name, change := range map[string]func(*apikey.Event){
		"revision":                   func(e *apikey.Event) { e.Revision = -1 },
		"id":                         func(e *apikey.Event) { e.KeyID = "_" },
		"owner":                      func(e *apikey.Event) { e.Owner = "" },
		"kind: empty":                func(e *apikey.Event) { e.Kind = "" },
		"kind: long":                 func(e *apikey.Event) { e.Kind = apikey.EventKind(strings.Repeat("x", 65)) },
		"at":                         func(e *apikey.Event) { e.At = time.Time{} },
		"old_expires_at":             func(e *apikey.Event) { e.OldExpiresAt = time.UnixMicro(-1) },
		"credential_id":              func(e *apikey.Event) { e.CredentialID = "_" },
		"credential_id: the old one": func(e *apikey.Event) { e.OldCredentialID = "_" },
		"actor":                      func(e *apikey.Event) { e.Actor = "\a" },
		"reason":                     func(e *apikey.Event) { e.Reason = "\a" },
		"data: control in a name":    func(e *apikey.Event) { e.Data = apikey.NewMetadata(map[string]string{"\a": ""}) },
		"data: control in a value":   func(e *apikey.Event) { e.Data = apikey.NewMetadata(map[string]string{"a": "\a"}) },
		"data: value of over 1 MiB": func(e *apikey.Event) {
			e.Data = apikey.NewMetadata(map[string]string{"a": strings.Repeat("x", 1<<20+1)})
		},
		"seal": func(e *apikey.Event) { e.Seal = strings.Repeat("x", 1001) },
	} {
		t.Run(name, func(t *testing.T) {
			e := valid()
			change(&e)
			rejects(t, name, e.Check())
		})
	}
}

func TestOnceNameCheck(t *testing.T) {
	is := is.New(t)
	is.NoErr(apikey.OnceName{Name: strings.Repeat("n", 255)}.Check())
	is.NoErr(apikey.OnceName{Name: "n", KeyID: strings.Repeat("0", 20)}.Check())
	for name, n := range map[string]apikey.OnceName{
		"id":            {Name: "n", KeyID: "_"},
		"name: empty":   {},
		"name: long":    {Name: strings.Repeat("n", 256)},
		"name: control": {Name: "\a"},
	} {
		t.Run(name, func(t *testing.T) { rejects(t, name, n.Check()) })
	}
}

func TestActorFrom(t *testing.T) {
	is := is.New(t)
	is.Equal(apikey.ActorFrom(t.Context()), "")
	is.Equal(apikey.ActorFrom(apikey.WithActor(t.Context(), "ada")), "ada")
}
