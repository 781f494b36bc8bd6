package apikeyui

import (
	"errors"
	"net/http"
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
	Off      bool // all keys of its owner are disabled
	Can      map[string]bool
}

// view says what a key is and what can be done with it: the same rules as
// those of the Manager, which has the last word.
func (v *visit) view(key apikey.Key, owner apikey.Owner) keyView {
	k := keyView{
		Key: key, Status: key.Status, Rotating: key.Rotating, Ended: !v.now.Before(key.ExpiresAt),
		Off: owner.Disabled(), Can: map[string]bool{},
	}
	k.Soon = k.Status == apikey.StatusActive && key.ExpiresAt.Sub(v.now) < expiresSoon
	for name, refusal := range refusals {
		k.Can[name] = !k.Off && refusal(k) == nil
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
			return errActive
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

// The Manager's errors for these two say more than a link may make a page say:
// that the key was changed since, and that there was a rotation.
var (
	errActive     = errors.New("apikeyui: key is active")
	errNoRotation = errors.New("apikeyui: no rotation in progress")
)

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
		return errNoRotation
	}
	return nil
}

// open returns why a key cannot be changed by its owner at all, or nil.
func open(k keyView) error {
	switch {
	case k.Status == apikey.StatusDeleted:
		return apikey.ErrDeleted
	case k.Locked:
		return apikey.ErrLocked
	}
	return nil
}

// detailView is the page of one key.
type detailView struct {
	Notice  notice
	Owner   apikey.Owner
	Key     keyView
	Old     *retiring      // of a rotation that is running
	Plot    *plot          // nil if the store does not tell uses by day
	History []apikey.Event // newest first
	Shorter bool           // History is only the newest of it
}

// retiring is the older access key of a rotation that is running.
type retiring struct {
	AccessKey string
	Until     time.Time
	LastUsed  time.Time
	InUse     bool // it was used since the rotation
}

func (v *visit) show(key apikey.Key) (reply, error) {
	owner, err := v.manager.Owner(v.ctx, v.owner)
	if err != nil {
		return reply{}, err
	}
	view := detailView{Owner: owner, Key: v.view(key, owner)}
	if view.Old, err = v.retiring(view.Key); err != nil {
		return reply{}, err
	}
	if view.Plot, err = v.plot(key, view.Old); err != nil {
		return reply{}, err
	}
	var older string
	if view.History, older, err = v.events(key, "", newestEvents); err != nil {
		return reply{}, err
	}
	view.Shorter = older != ""
	v.observeDamaged(view.History)
	view.Notice = v.notice(key, view.History)
	return reply{status: http.StatusOK, template: "key", title: "key.title", data: view}, nil
}

// retiring says whether the older access key of a running rotation is still in
// use.
func (v *visit) retiring(key keyView) (*retiring, error) {
	if !key.Rotating || key.Off || key.Locked || key.Status == apikey.StatusDeleted {
		return nil, nil // none of its tokens works, whatever its times say
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

// keyAddress returns the relative address of the page of a key.
func (v *visit) keyAddress(id string) string { return v.root + "key/" + id }
