package apikeyui

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/eventpage"
)

const (
	newestEvents = 10 // shown on the page of a key
	eventsPage   = 50
)

// historyView is a page of what was done with a key, newest first.
type historyView struct {
	Key     keyView
	History []apikey.Event
	First   bool   // this begins with the newest
	Next    string // link to what was before, or empty
}

func (v *visit) history(key apikey.Key) (reply, error) {
	after := v.param("after")
	events, next, err := v.events(key, after, eventsPage)
	if errors.Is(err, eventpage.ErrCursor) {
		return v.problem(http.StatusBadRequest, "bad_form"), nil
	}
	if err != nil {
		return reply{}, err
	}
	v.observeDamaged(events)
	view := historyView{Key: v.view(key, apikey.Owner{}), History: events, First: after == ""}
	if next != "" {
		view.Next = v.keyAddress(key.ID) + "/history?after=" + next
	}
	return reply{status: http.StatusOK, template: "history", title: "history.title", data: view}, nil
}

// events returns the events of a key before those that a cursor names, newest
// first, and the cursor of older ones.
func (v *visit) events(key apikey.Key, after string, limit int) (events []apikey.Event, next string, err error) {
	return eventpage.Read(v.ctx, v.mine, v.owner, key.ID, after, limit)
}

// notice confirms what was done: the name of a text, or nothing.
type notice struct {
	Text string
	Name string // of the key
}

// notices are what the address of a key's page can confirm, each with what the
// log then says of it.
var notices = map[string]apikey.EventKind{
	"issued":      apikey.EventIssued,
	"regenerated": apikey.EventRegenerated,
	"rotated":     apikey.EventRotated,
	"updated":     apikey.EventUpdated,
	"disabled":    apikey.EventDisabled,
	"enabled":     apikey.EventEnabled,
	"finished":    apikey.EventRotationFinished,
	"extended":    apikey.EventRotationExtended,
}

// done is the way back to the page of a key, which confirms what was done.
func (v *visit) done(key apikey.Key, code string) reply {
	query := url.Values{"done": {code}, "revision": {strconv.FormatInt(key.Revision, 10)}}
	return reply{location: v.keyAddress(key.ID) + "?" + query.Encode()}
}

// confirmFor is for how long an address confirms a step.
const confirmFor = 10 * time.Minute

// confirms reports whether the page may confirm a step taken at an instant. The
// browser must have come from a page of the same origin, as far as it states
// that, because a link in a mail or on another site would make an old step look
// like one that the reader has just taken.
func (v *visit) confirms(at time.Time) bool {
	site := v.r.Header.Get("Sec-Fetch-Site")
	return (site == "" || site == "same-origin") && v.now.Sub(at).Abs() < confirmFor
}

// notice confirms the step that the address names, if the newest event of the
// key is that step.
func (v *visit) notice(key apikey.Key, history []apikey.Event) notice {
	code, revision := v.param("done"), v.param("revision")
	if len(history) == 0 || history[0].Err != nil || !v.confirms(history[0].At) ||
		revision != strconv.FormatInt(history[0].Revision, 10) || notices[code] != history[0].Kind {
		return notice{}
	}
	return notice{Text: "done." + code, Name: key.Name}
}

// deletedNotice confirms on the list that a key was deleted.
func (v *visit) deletedNotice() notice {
	if v.param("done") != "deleted" {
		return notice{}
	}
	key, err := v.mine.Get(v.ctx, v.param("key"))
	if err != nil || key.DeletedAt.IsZero() || !v.confirms(key.DeletedAt) {
		return notice{}
	}
	return notice{Text: "done.deleted", Name: key.Name}
}
