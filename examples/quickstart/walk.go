package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

const (
	owner = "customer-17"
	works = "200 orders of customer-17" // what the server answers to a good key
)

// walk is the life of a key, step by step. It changes the key as a host does,
// through the Manager, and looks at what comes of it as a client does, over
// HTTP. A step that does not turn out as expected ends it with an error.
type walk struct {
	manager *apikey.Manager // the host's: it may do everything
	clock   *clock
	client  client
	report  *report

	customer *apikey.OwnerManager // what the customer's own settings page gets
	keyID    string               // never changes
	token    apikey.Secret        // the present one
	other    apikey.Issued        // a second key, which is left as it is
	last     apikey.Position      // of the event before the walk
	changes  int                  // made so far
}

func (w *walk) run(ctx context.Context) error {
	w.customer = w.manager.ForOwner(owner, &apikey.OwnerOptions{Scopes: []string{"orders:*"}})
	for _, chapter := range []struct {
		title string
		steps func(context.Context) error
	}{
		{"A key is issued", w.issue},
		{"It may do what its scopes say", w.scopes},
		{"It is disabled, and enabled again", w.disable},
		{"It is rotated: for a while both tokens work", w.rotate},
		{"It is regenerated: the old token is dead at once", w.regenerate},
		{"Wrong keys are refused", w.wrongKeys},
		{"One year later it has expired", w.oneYearLater},
		{"It is deleted, for ever", w.delete},
		{"All of it is in the log", w.log},
	} {
		w.report.chapter(chapter.title)
		if err := chapter.steps(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) issue(ctx context.Context) error {
	issued, err := w.customer.Issue(ctx, apikey.IssueParams{
		Name:   "billing",
		Scopes: []string{"orders:read"},
	}, apikey.Reason("for the billing program"))
	if err := w.did("the customer issues a key with the scope orders:read", err); err != nil {
		return err
	}
	w.keyID, w.token = issued.Key.ID, issued.Token
	w.report.note("access key   %s", issued.AccessKey())
	w.report.note("token        %s", issued.Token.Reveal())
	w.report.note("             shown this once, the database cannot tell it again")
	w.report.note("valid until  %s UTC", issued.Key.ExpiresAt.Format(time.DateTime))
	return errors.Join(
		w.get(ctx, "as Authorization: Bearer", bearer(w.token), works),
		w.get(ctx, "as X-API-Key", apiKeyHeader(w.token), works),
		w.get(ctx, "as user and password", basic(issued.AccessKey(), issued.AccessSecret()), works),
	)
}

func (w *walk) scopes(ctx context.Context) (err error) {
	if err := w.call(ctx, "POST", "needs orders:write", bearer(w.token), "403 insufficient_scope"); err != nil {
		return err
	}
	w.other, err = w.customer.Issue(ctx, apikey.IssueParams{Name: "reports"}, apikey.Reason("for the monthly report"))
	if err := w.did("the customer issues another key, without scopes", err); err != nil {
		return err
	}
	return w.get(ctx, "with the other key", bearer(w.other.Token), "403 insufficient_scope")
}

func (w *walk) disable(ctx context.Context) error {
	_, err := w.customer.Disable(ctx, w.keyID, apikey.Reason("billing is paused"))
	if err := w.did("the customer disables the key", err); err != nil {
		return err
	}
	if err := w.get(ctx, "with its token", bearer(w.token), "401 disabled"); err != nil {
		return err
	}
	_, err = w.customer.Enable(ctx, w.keyID, apikey.Reason("billing goes on"))
	if err := w.did("the customer enables it", err); err != nil {
		return err
	}
	return w.get(ctx, "with the same token", bearer(w.token), works)
}

func (w *walk) rotate(ctx context.Context) error {
	old := w.token
	issued, err := w.customer.Rotate(ctx, w.keyID, 24*time.Hour, apikey.Reason("as every 90 days"))
	if err := w.did("the customer rotates it, with an overlap of 24 hours", err); err != nil {
		return err
	}
	w.token = issued.Token
	w.report.note("access key   %s", issued.AccessKey())
	if err := errors.Join(
		w.get(ctx, "with the old token", bearer(old), works),
		w.get(ctx, "with the new token", bearer(w.token), works),
	); err != nil {
		return err
	}
	_, err = w.customer.FinishRotation(ctx, w.keyID, apikey.Reason("every client has the new token"))
	if err := w.did("the customer finishes the rotation", err); err != nil {
		return err
	}
	return errors.Join(
		w.get(ctx, "with the old token", bearer(old), "401 replaced"),
		w.get(ctx, "with the new token", bearer(w.token), works),
	)
}

func (w *walk) regenerate(ctx context.Context) error {
	// The customer mails that the token was seen by others. Changes through
	// the Manager say who made them.
	old := w.token
	issued, err := w.manager.Regenerate(apikey.WithActor(ctx, "support"), w.keyID, apikey.Reason("token was posted in a chat"))
	if err := w.did("support regenerates it: token was posted in a chat", err); err != nil {
		return err
	}
	w.token = issued.Token
	w.report.note("access key   %s", issued.AccessKey())
	return errors.Join(
		w.get(ctx, "with the old token", bearer(old), "401 replaced"),
		w.get(ctx, "with the new token", bearer(w.token), works),
	)
}

func (w *walk) wrongKeys(ctx context.Context) error {
	elsewhere, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.EphemeralPepper()}})
	if err != nil {
		return err
	}
	foreign, err := elsewhere.Issue(ctx, apikey.IssueParams{Owner: owner, Name: "billing"})
	if err != nil {
		return err
	}
	key, err := w.manager.Get(ctx, w.keyID)
	if err != nil {
		return err
	}
	mistyped := apikey.NewSecret(strings.ToLower(w.token.Reveal()))
	two := func(r *http.Request) { bearer(w.token)(r); apiKeyHeader(w.token)(r) }

	// Who has no good token learns nothing from how it is bad.
	return errors.Join(
		w.get(ctx, "with no key", nothing, "401 no_credential"),
		w.get(ctx, "with a word", bearer(apikey.NewSecret("sesame")), "401 invalid_token"),
		w.get(ctx, "with the token in small letters", bearer(mistyped), "401 invalid_token"),
		w.get(ctx, "with the token of another service", bearer(foreign.Token), "401 invalid_token"),
		w.get(ctx, "with the secret of another key", basic(key.AccessKey(), w.other.AccessSecret()), "401 invalid_token"),
		w.get(ctx, "with the token twice", two, "400 invalid_request"),
	)
}

func (w *walk) oneYearLater(ctx context.Context) error {
	key, err := w.manager.Get(ctx, w.keyID)
	if err != nil {
		return err
	}
	w.report.note("the clock is moved to %s UTC", key.ExpiresAt.Format(time.DateTime))
	w.clock.Set(key.ExpiresAt.Add(-time.Microsecond)) // as fine as the library counts
	if err := w.get(ctx, "a microsecond before", bearer(w.token), works); err != nil {
		return err
	}
	w.clock.Set(key.ExpiresAt)
	if err := w.get(ctx, "at that instant", bearer(w.token), "401 expired"); err != nil {
		return err
	}
	old := w.token
	issued, err := w.customer.Regenerate(ctx, w.keyID, apikey.Reason("for another year"))
	if err := w.did("the customer regenerates it", err); err != nil {
		return err
	}
	w.token = issued.Token
	w.report.note("access key   %s", issued.AccessKey())
	w.report.note("valid until  %s UTC", issued.Key.ExpiresAt.Format(time.DateTime))
	return errors.Join(
		w.get(ctx, "with the old token", bearer(old), "401 replaced"),
		w.get(ctx, "with the new token", bearer(w.token), works),
	)
}

func (w *walk) delete(ctx context.Context) error {
	_, err := w.customer.Delete(ctx, w.keyID, apikey.Reason("billing moved to another service"))
	if err := w.did("the customer deletes it", err); err != nil {
		return err
	}
	if err := w.get(ctx, "with its token", bearer(w.token), "401 deleted"); err != nil {
		return err
	}
	_, err = w.manager.Regenerate(apikey.WithActor(ctx, "support"), w.keyID, apikey.Reason("by mistake"))
	return w.refused("support regenerates it by mistake", err, apikey.ErrDeleted)
}

func (w *walk) log(ctx context.Context) error {
	events, err := allEvents(ctx, w.manager, w.last)
	if err != nil {
		return err
	}
	w.report.events(events)
	return w.report.step("one event for each change",
		fmt.Sprintf("%d events", len(events)), fmt.Sprintf("%d events", w.changes))
}

// get is a step: what the server answers to GET /orders.
func (w *walk) get(ctx context.Context, how string, key credential, want string) error {
	return w.call(ctx, "GET", how, key, want)
}

func (w *walk) call(ctx context.Context, method, how string, key credential, want string) error {
	got, err := w.client.call(ctx, method, "/orders", key)
	if err != nil {
		return err
	}
	return w.report.step(method+" /orders "+how, got, want)
}

// did is a step: a change that must succeed.
func (w *walk) did(what string, err error) error {
	got := "done"
	if err != nil {
		got = err.Error()
	}
	w.changes++
	return w.report.step(what, got, "done")
}

// refused is a step: a change that must fail with an error.
func (w *walk) refused(what string, err, want error) error {
	got := "done"
	switch {
	case errors.Is(err, want):
		got = want.Error()
	case err != nil:
		got = err.Error()
	}
	return w.report.step(what, got, want.Error())
}
