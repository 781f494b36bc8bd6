package apikeyui

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

// errField says that a field of the form is wrong, as noted in its Problems.
var errField = errors.New("apikeyui: field refused")

func (v *visit) disable(key apikey.Key, f *form) (reply, error) {
	key, err := v.mine.Disable(v.ctx, key.ID, apikey.Reason(f.Reason), apikey.IfRevision(f.revision))
	return v.done(key, "disabled"), err
}

func (v *visit) enable(key apikey.Key, f *form) (reply, error) {
	key, err := v.mine.Enable(v.ctx, key.ID, apikey.Reason(f.Reason), apikey.IfRevision(f.revision))
	return v.done(key, "enabled"), err
}

func (v *visit) finish(key apikey.Key, f *form) (reply, error) {
	key, err := v.mine.FinishRotation(v.ctx, key.ID, apikey.Reason(f.Reason), apikey.IfRevision(f.revision))
	return v.done(key, "finished"), err
}

func (v *visit) extend(key apikey.Key, f *form) (reply, error) {
	overlap, err := v.overlap(f)
	if err != nil {
		return reply{}, err
	}
	own, err := v.ownEnd(key)
	if err != nil {
		return reply{}, err
	}
	if end := earlier(v.now.Add(overlap), own); !end.After(key.RetiringUntil) {
		return reply{}, f.refuse("overlap", "field.later")
	}
	key, err = v.mine.ExtendRotation(v.ctx, key.ID, overlap, apikey.Reason(f.Reason), apikey.IfRevision(f.revision))
	return v.done(key, "extended"), err
}

// remove deletes a key whose name was typed.
func (v *visit) remove(key apikey.Key, f *form) (reply, error) {
	if !sameName(f.Typed, key.Name) {
		return reply{}, f.refuse("typed", "field.typed")
	}
	key, err := v.mine.Delete(v.ctx, key.ID, apikey.Reason(f.Reason), apikey.IfRevision(f.revision))
	query := url.Values{"done": {"deleted"}, "key": {key.ID}}
	return reply{location: v.root + "?" + query.Encode()}, err
}

// edit changes what was changed in the form. If there is nothing to change, the
// response to the form says so: the log has no event that could verify an
// address.
func (v *visit) edit(key apikey.Key, f *form) (reply, error) {
	changes, err := v.changes(key, f)
	if err != nil {
		return reply{}, err
	}
	key, err = v.mine.Update(v.ctx, key.ID, changes, apikey.Reason(f.Reason), apikey.IfRevision(f.revision))
	if err == nil && key.Revision == f.revision {
		f.Note = "done.unchanged"
		return dialog{name: "edit"}.ask(v, key, f, http.StatusOK)
	}
	return v.done(key, "updated"), err
}

// changes says what a form asks for. The Manager sees what is different; but a
// date is not an instant, so that an end is only sent if its date is another.
func (v *visit) changes(key apikey.Key, f *form) (apikey.Changes, error) {
	name := strings.TrimSpace(f.Name)
	networks, err := apikey.ParseNetworks(f.Networks)
	if err != nil {
		return apikey.Changes{}, err
	}
	c := apikey.Changes{Name: &name, Scopes: &f.scopes, Networks: new(networks.Slice())}
	if f.Expires != key.ExpiresAt.Format(time.DateOnly) {
		end, err := f.expires()
		if err != nil {
			return c, err
		}
		c.ExpiresAt = &end
	}
	return c, nil
}

// expires returns the date in the form: the key is refused from its first
// instant on, in UTC.
func (f *form) expires() (time.Time, error) {
	end, err := time.Parse(time.DateOnly, strings.TrimSpace(f.Expires))
	if err != nil {
		return end, f.refuse("expires", "field.date")
	}
	return end, nil
}
