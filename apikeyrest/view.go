package apikeyrest

import (
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeyhttp"
)

// keyView is a key as its owner sees it. The pepper and the digest are not in a
// Key; the metadata is the host's own, and not shown.
type keyView struct {
	ID       string        `json:"id"`
	Name     string        `json:"name"`
	Status   apikey.Status `json:"status"`
	Scopes   []string      `json:"scopes"`
	Networks []string      `json:"networks"`
	Rate     *rateView     `json:"rate,omitempty"`

	CreatedAt      string `json:"created_at"`
	DisabledAt     string `json:"disabled_at,omitempty"`
	DisabledBy     string `json:"disabled_by,omitempty"`
	DisabledReason string `json:"disabled_reason,omitempty"`
	Locked         bool   `json:"locked"`
	DeletedAt      string `json:"deleted_at,omitempty"`

	AccessKey    string `json:"access_key"`
	CredentialID string `json:"credential_id"`
	IssuedAt     string `json:"issued_at"`
	ExpiresAt    string `json:"expires_at"`

	Rotating      bool   `json:"rotating"`
	RetiringID    string `json:"retiring_id,omitempty"`
	RetiringUntil string `json:"retiring_until,omitempty"`

	LastUsedAt string `json:"last_used_at,omitempty"`
	Uses       int64  `json:"uses"`
	Revision   int64  `json:"revision"`

	overlapEnded bool // the rotation is over, at this revision
}

// rateView is a rate; the period has parts of a second where the host wants
// them.
type rateView struct {
	Requests      int     `json:"requests"`
	PeriodSeconds float64 `json:"period_seconds"`
}

// viewKey shows a key.
func viewKey(k apikey.Key) keyView {
	view := keyView{
		ID: k.ID, Name: k.Name, Status: k.Status, Scopes: []string{}, Networks: []string{},
		CreatedAt:  formatInstant(k.CreatedAt),
		DisabledAt: formatInstant(k.DisabledAt), DisabledBy: k.DisabledBy, DisabledReason: k.DisabledReason, Locked: k.Locked,
		DeletedAt: formatInstant(k.DeletedAt),
		AccessKey: k.AccessKey(), CredentialID: k.CredentialID,
		IssuedAt: formatInstant(k.IssuedAt), ExpiresAt: formatInstant(k.ExpiresAt),
		LastUsedAt: formatInstant(k.LastUsedAt), Uses: k.Uses, Revision: k.Revision,
	}
	for scope := range k.Scopes.All() {
		view.Scopes = append(view.Scopes, scope)
	}
	for network := range k.Networks.All() {
		view.Networks = append(view.Networks, network.String())
	}
	if k.Rate.Requests != 0 {
		view.Rate = &rateView{k.Rate.Requests, k.Rate.Period.Seconds()}
	}
	if k.Rotating {
		view.Rotating, view.RetiringID, view.RetiringUntil = true, k.RetiringID, formatInstant(k.RetiringUntil)
	}
	view.overlapEnded = k.RetiringID != "" && !view.Rotating
	return view
}

type keyPage struct {
	Keys    []keyView `json:"keys"`
	Next    string    `json:"next,omitempty"`
	Damaged bool      `json:"damaged,omitempty"` // some keys cannot be shown
}

// tokenView is what is shown once.
type tokenView struct {
	AccessKey    string `json:"access_key"`
	AccessSecret string `json:"access_secret"`
	Token        string `json:"token"`
}

type issuedView struct {
	Key keyView `json:"key"`
	tokenView
}

// unknownView is the refusal that holds a token.
type unknownView struct {
	apikeyhttp.Problem
	tokenView
}

type credentialView struct {
	ID           string `json:"id"`
	AccessKey    string `json:"access_key"`
	CreatedAt    string `json:"created_at"`
	ExpiresAt    string `json:"expires_at"`
	RetireBefore string `json:"retire_before,omitempty"`
	LastUsedAt   string `json:"last_used_at,omitempty"`
	Uses         int64  `json:"uses"`
}

func viewCredential(c apikey.Credential) credentialView {
	return credentialView{
		ID: c.ID, AccessKey: c.AccessKey(),
		CreatedAt: formatInstant(c.CreatedAt), ExpiresAt: formatInstant(c.ExpiresAt), RetireBefore: formatInstant(c.RetireBefore),
		LastUsedAt: formatInstant(c.LastUsedAt), Uses: c.Uses,
	}
}

type credentialList struct {
	Credentials []credentialView `json:"credentials"`
}

// eventView is an event of a key. Its position is not shown with it, since it
// counts the events of all owners.
type eventView struct {
	At              string            `json:"at"`
	Kind            apikey.EventKind  `json:"kind"`
	CredentialID    string            `json:"credential_id"`
	OldCredentialID string            `json:"old_credential_id,omitempty"`
	OldExpiresAt    string            `json:"old_expires_at,omitempty"`
	Revision        int64             `json:"revision"`
	Actor           string            `json:"actor,omitempty"`
	Reason          string            `json:"reason,omitempty"`
	Data            map[string]string `json:"data,omitempty"`
}

func viewEvent(e apikey.Event) eventView {
	data := e.Data.Map()
	delete(data, "metadata") // names of what is the host's own
	return eventView{
		At: formatInstant(e.At), Kind: e.Kind,
		CredentialID: e.CredentialID, OldCredentialID: e.OldCredentialID, OldExpiresAt: formatInstant(e.OldExpiresAt),
		Revision: e.Revision, Actor: e.Actor, Reason: e.Reason, Data: data,
	}
}

type eventPage struct {
	Events  []eventView `json:"events"`
	Next    string      `json:"next,omitempty"`
	Damaged bool        `json:"damaged,omitempty"` // some events cannot be shown
}

// formatInstant writes a time as in RFC 3339, in UTC, to the microsecond; the
// zero time, which means unset, as nothing.
func formatInstant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z07:00")
}
