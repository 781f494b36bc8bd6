package apikeyui

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/keyturn/apikey"
)

// keyView is a key as the pages show it.
type keyView struct {
	apikey.Key
	Status   apikey.Status
	Rotating bool
	Ended    bool // its end is past, whatever its status
	Soon     bool // it ends within expiresSoon
	Can      map[string]bool
}

// view says what a key is and what can be done with it: the same rules as
// those of the Manager, which has the last word.
func (v *visit) view(key apikey.Key, owner apikey.Owner) keyView {
	k := keyView{
		Key: key, Status: key.Status(v.now), Rotating: key.Rotating(v.now), Ended: !v.now.Before(key.ExpiresAt),
		Can: map[string]bool{},
	}
	k.Soon = k.Status == apikey.StatusActive && key.ExpiresAt.Sub(v.now) < expiresSoon
	for name, refusal := range refusals {
		k.Can[name] = !owner.Disabled() && refusal(k) == nil
	}
	return k
}

// refusals say for each dialog why it cannot be had for a key, or nil.
var refusals = map[string]func(keyView) error{
	"edit": open,
	"disable": func(k keyView) error {
		if k.Status == apikey.StatusDisabled {
			return apikey.ErrDisabled
		}
		return active(k)
	},
	"enable": func(k keyView) error {
		switch err := open(k); {
		case err != nil:
			return err
		case k.Ended:
			return apikey.ErrExpired
		case k.Status != apikey.StatusDisabled:
			return apikey.ErrConflict
		}
		return nil
	},
	"regenerate": open,
	"rotate":     active,
	"finish":     rotating,
	"extend":     rotating,
	"delete": func(k keyView) error {
		if k.Status == apikey.StatusDeleted {
			return apikey.ErrDeleted
		}
		return nil
	},
}

func active(k keyView) error {
	switch err := open(k); {
	case err != nil:
		return err
	case k.Status == apikey.StatusDisabled:
		return apikey.ErrDisabled
	case k.Status == apikey.StatusExpired:
		return apikey.ErrExpired
	}
	return nil
}

func rotating(k keyView) error {
	if err := open(k); err != nil {
		return err
	}
	if !k.Rotating {
		return apikey.ErrNotRotating
	}
	return nil
}

// open returns why a key cannot be changed by its owner at all, or nil.
func open(k keyView) error {
	switch {
	case k.Status == apikey.StatusDeleted:
		return apikey.ErrDeleted
	case k.Held:
		return apikey.ErrHeld
	}
	return nil
}

// notice confirms what was done: the name of a text, or nothing.
type notice struct {
	Text string
	Name string // of the key
}

// notices are what the address of a page can confirm, each with what must be
// true of the key: an address that was made up confirms nothing.
var notices = map[string]func(keyView) bool{
	"updated":  func(k keyView) bool { return open(k) == nil },
	"disabled": func(k keyView) bool { return k.Status == apikey.StatusDisabled },
	"enabled":  func(k keyView) bool { return k.Status == apikey.StatusActive },
	"finished": func(k keyView) bool { return k.Status != apikey.StatusDeleted && !k.Rotating },
	"extended": func(k keyView) bool { return k.Rotating },
}

// deletedNotice confirms on the list that a key was deleted.
func (v *visit) deletedNotice(query url.Values) notice {
	if query.Get("done") != "deleted" {
		return notice{}
	}
	key, err := v.mine.Get(v.ctx, query.Get("key"))
	if err != nil || key.DeletedAt.IsZero() {
		return notice{}
	}
	return notice{Text: "done.deleted", Name: key.Name}
}

// detailView is the page of one key.
type detailView struct {
	Notice  notice
	Owner   apikey.Owner
	Key     keyView
	Old     *retiring // of a rotation that is running
	Plot    *plot     // nil if the store does not tell uses by day
	History []apikey.Event
	Long    bool // History was too long to be read here
	Shorter bool // History is only the newest of it
}

// retiring is the older access key of a rotation that is running.
type retiring struct {
	AccessKey string
	Until     time.Time
	LastUsed  time.Time
	InUse     bool // it was used since the rotation
}

const (
	newestEvents = 10  // shown on the page of a key
	readEvents   = 200 // the log is read from its beginning
	eventsPage   = 50
)

func (v *visit) show(key apikey.Key) (reply, error) {
	owner, err := v.manager.Owner(v.ctx, v.owner)
	if err != nil {
		return reply{}, err
	}
	view := detailView{Owner: owner, Key: v.view(key, owner)}
	if code := v.r.URL.Query().Get("done"); notices[code] != nil && notices[code](view.Key) {
		view.Notice = notice{Text: "done." + code, Name: key.Name}
	}
	if view.Old, err = v.retiring(key); err != nil {
		return reply{}, err
	}
	if view.Plot, err = v.plot(key); err != nil {
		return reply{}, err
	}
	events, err := v.mine.Events(v.ctx, key.ID, apikey.Position{}, readEvents)
	if err != nil {
		return reply{}, err
	}
	if view.Long = len(events) == readEvents; !view.Long {
		slices.Reverse(events)
		view.Shorter = len(events) > newestEvents
		view.History = events[:min(newestEvents, len(events))]
	}
	return reply{status: http.StatusOK, template: "key", title: "key.title", data: view}, nil
}

// retiring says whether the older access key of a running rotation is still in
// use.
func (v *visit) retiring(key apikey.Key) (*retiring, error) {
	if !key.Rotating(v.now) {
		return nil, nil
	}
	credentials, err := v.mine.Credentials(v.ctx, key.ID)
	if err != nil {
		return nil, err
	}
	for _, c := range credentials {
		if c.ID == key.RetiringID {
			return &retiring{c.AccessKey(), key.RetiringUntil, c.LastUsedAt, c.LastUsedAt.After(key.IssuedAt)}, nil
		}
	}
	return nil, nil
}

// historyView is a page of a key's log, oldest first: so the log is read.
type historyView struct {
	Key     keyView
	History []apikey.Event
	First   bool   // this is the beginning
	Next    string // link to the next page, or empty
}

func (v *visit) history(key apikey.Key) (reply, error) {
	view := historyView{Key: v.view(key, apikey.Owner{}), First: true}
	var after apikey.Position
	if text := v.r.URL.Query().Get("after"); text != "" {
		seq, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seq < 0 {
			return v.problem(http.StatusBadRequest, "bad_form"), nil
		}
		after.Seq, view.First = seq, seq == 0
	}
	events, err := v.mine.Events(v.ctx, key.ID, after, eventsPage+1)
	if err != nil {
		return reply{}, err
	}
	if len(events) > eventsPage {
		events = events[:eventsPage]
		view.Next = v.keyAddress(key.ID) + "/history?after=" + strconv.FormatInt(events[eventsPage-1].Position.Seq, 10)
	}
	view.History = events
	return reply{status: http.StatusOK, template: "history", title: "history.title", data: view}, nil
}

// keyAddress returns the relative address of the page of a key.
func (v *visit) keyAddress(id string) string { return v.root + "key/" + id }

// done is the way back to the page of a key, which confirms what was done.
func (v *visit) done(key apikey.Key, code string) reply {
	return reply{location: v.keyAddress(key.ID) + "?done=" + code}
}
