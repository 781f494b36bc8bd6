package apikeyui

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/apikey"
)

const (
	// pageSize is how many keys a page of the list shows.
	pageSize = 25

	// A page of a search looks at so many keys at most, and offers to look
	// further: an owner with very many keys makes no page slow.
	maxScanned = 1000
	scanStep   = 200

	// expiresSoon is when the end of a key is shown in a warning colour.
	expiresSoon = 30 * 24 * time.Hour
)

// listView is the list of keys.
type listView struct {
	Notice   notice
	Owner    apikey.Owner // to say that all its keys are disabled
	Keys     []keyView
	Search   string
	Status   string
	Statuses []string // to choose from
	Filtered bool
	Gone     bool   // there are deleted keys, and no others
	Dropped  bool   // the form asked to search for a secret
	Further  bool   // this is not the first page
	Damaged  bool   // there are keys that cannot be shown
	First    string // link to the first page, if this is another
	Next     string // link to the next page, or empty
	More     bool   // Next goes on with a search that is not at its end
}

// statuses are what the list can be filtered by.
var statuses = []string{"", "active", "expiring", "disabled", "expired", "deleted"}

// knownStatus returns a text if it is one of these.
func knownStatus(text string) string {
	if slices.Contains(statuses, text) {
		return text
	}
	return ""
}

func (v *visit) list() (reply, error) {
	view := listView{Status: knownStatus(v.param("status")), Notice: v.deletedNotice()}
	// A secret in an address is ignored without a word, because the reader may
	// have followed a link.
	view.Search, _ = withoutSecret(v.param("q"))
	return v.showList(view, v.param("after"))
}

// showList answers with the page of the list that begins after an id.
func (v *visit) showList(view listView, after string) (reply, error) {
	view.Statuses = statuses
	view.Filtered = view.Search != "" || view.Status != ""
	view.Further = after != ""
	if view.Further {
		view.First = v.listAddress(view, "")
	}
	var err error
	if view.Owner, err = v.manager.Owner(v.ctx, v.owner); err != nil {
		return reply{}, err
	}
	keys, next, more, err := v.find(view.Search, view.Status, after)
	if err != nil {
		return reply{}, err
	}
	if len(keys) == 0 && view.Further && !view.Filtered && !v.damaged {
		// The keys behind it are gone, or the address was made up. An empty
		// page would look as if there were no keys.
		return reply{location: view.First}, nil
	}
	if len(keys) == 0 && !view.Filtered && !v.damaged {
		deleted, err := v.mine.List(v.ctx, apikey.Query{IncludeDeleted: true, Limit: 1})
		if err = v.withoutDamaged(err); err != nil {
			return reply{}, err
		}
		view.Gone = len(deleted) > 0
	}
	if after == "" && next == "" {
		// All there is: pages of more are in the order of the ids.
		slices.SortStableFunc(keys, func(a, b apikey.Key) int {
			return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
		})
	}
	for _, key := range keys {
		view.Keys = append(view.Keys, v.view(key, view.Owner))
	}
	if next != "" {
		view.Next, view.More = v.listAddress(view, next), more
	}
	view.Damaged = v.damaged
	return reply{status: http.StatusOK, template: "list", title: "list.title", data: view}, nil
}

// search moves the search into the address, where it can be kept as a bookmark.
// A secret never gets there: the list is the response to the form then, so that
// no address can make the page state that a secret was typed.
func (v *visit) search() (reply, error) {
	view := listView{Status: knownStatus(v.r.PostForm.Get("status"))}
	view.Search, view.Dropped = withoutSecret(v.r.PostForm.Get("q"))
	if view.Dropped {
		return v.showList(view, "")
	}
	return reply{location: v.listAddress(view, "")}, nil
}

func (v *visit) listAddress(view listView, after string) string {
	query := url.Values{}
	for name, value := range map[string]string{"q": view.Search, "status": view.Status, "after": after} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(query) == 0 {
		return v.root
	}
	return v.root + "?" + query.Encode()
}

// find returns a page of the keys with a status that a text finds, by name or
// by an access key, and the id after which the next page begins. More says that
// the search stopped before its page was full.
func (v *visit) find(text, status, after string) (keys []apikey.Key, next string, more bool, err error) {
	if text != "" {
		key, err := v.mine.Find(v.ctx, text)
		switch {
		case err == nil && !v.matches(key, "", status):
			return nil, "", false, nil
		case err == nil:
			return []apikey.Key{key}, "", false, nil
		case errors.Is(err, apikey.ErrDamaged):
			v.damaged = true
			v.observe(err)
			return nil, "", false, nil
		case !errors.Is(err, apikey.ErrNotFound) && !errors.Is(err, apikey.ErrForbidden):
			return nil, "", false, err
		}
	}
	q := apikey.Query{After: after, Limit: pageSize + 1}
	if text != "" || status != "" {
		q.Limit = scanStep
	}
	switch status {
	case "deleted":
		q.IncludeDeleted = true
	case "expiring":
		q.ExpiresFrom, q.ExpiresBefore = v.now, v.now.Add(expiresSoon)
	}
	for scanned := 0; ; {
		page, err := v.mine.List(v.ctx, q)
		if err = v.withoutDamaged(err); err != nil {
			return nil, "", false, err
		}
		for _, key := range page {
			if !v.matches(key, text, status) {
				continue
			}
			if len(keys) == pageSize {
				return keys, keys[pageSize-1].ID, false, nil
			}
			keys = append(keys, key)
		}
		if len(page) < q.Limit {
			return keys, "", false, nil
		}
		q.After = page[len(page)-1].ID
		if scanned += len(page); scanned >= maxScanned {
			return keys, q.After, true, nil
		}
	}
}

func (v *visit) matches(key apikey.Key, text, status string) bool {
	if text != "" && !strings.Contains(strings.ToLower(key.Name), strings.ToLower(asStored(text))) {
		return false
	}
	switch current := key.Status; status {
	case "":
		return true
	case "expiring":
		return current == apikey.StatusActive && key.ExpiresAt.Sub(v.now) < expiresSoon
	default:
		return string(current) == status
	}
}
