package apikey

import (
	"context"
	"strings"
	"time"
)

// Get returns a key, deleted ones too until they are purged. Its errors:
// ErrNotFound; a *FieldError, that is an ErrNotFound too, for what cannot be
// an id; what the store returned.
func (m *Manager) Get(ctx context.Context, id string) (Key, error) { return m.all.get(ctx, id) }

// Get returns a key of the owner; see Manager.Get.
func (o *OwnerManager) Get(ctx context.Context, id string) (Key, error) { return o.access.get(ctx, id) }

func (a access) get(ctx context.Context, id string) (Key, error) {
	record, err := a.read(ctx, "get", id)
	if err != nil {
		return Key{}, err
	}
	return record.view(), nil
}

// read loads a key for a call that changes nothing.
func (a access) read(ctx context.Context, name, id string) (Record, error) {
	if err := a.ready(ctx); err != nil {
		return Record{}, failed(name, id, err)
	}
	record, err := a.load(ctx, ActionGet, id)
	if err != nil {
		return Record{}, failed(name, id, err)
	}
	return record, nil
}

// Credentials returns the credentials of a key that are still kept, oldest
// first, with their usage and without their digests: the current one, the
// retiring one, and those that have ended.
func (m *Manager) Credentials(ctx context.Context, id string) ([]Credential, error) {
	return m.all.credentials(ctx, id)
}

// Credentials returns the credentials of a key of the owner; see
// Manager.Credentials.
func (o *OwnerManager) Credentials(ctx context.Context, id string) ([]Credential, error) {
	return o.access.credentials(ctx, id)
}

func (a access) credentials(ctx context.Context, id string) ([]Credential, error) {
	record, err := a.read(ctx, "credentials of", id)
	if err != nil {
		return nil, err
	}
	for i := range record.Credentials {
		c := &record.Credentials[i]
		c.Scheme, c.PepperID, c.Digest, c.Seal = 0, "", "", ""
	}
	return record.Credentials, nil
}

// Find returns the key that an access key belongs to, also a retired one: the
// way from what stands in a log, or was found by Scan, to the key to act on.
// Its errors are those of Get; the field is "access_key".
func (m *Manager) Find(ctx context.Context, accessKey string) (Key, error) {
	return m.all.find(ctx, accessKey)
}

// Find returns the key of the owner that an access key belongs to; see
// Manager.Find.
func (o *OwnerManager) Find(ctx context.Context, accessKey string) (Key, error) {
	return o.access.find(ctx, accessKey)
}

func (a access) find(ctx context.Context, text string) (Key, error) {
	key, err := a.tryFind(ctx, text)
	if err != nil {
		return Key{}, failed("find", "", err)
	}
	return key, nil
}

func (a access) tryFind(ctx context.Context, text string) (Key, error) {
	if err := a.ready(ctx); err != nil {
		return Key{}, err
	}
	cut := strings.LastIndexByte(text, '_')
	if cut < 0 || prefixProblem(text[:cut]) != "" || len(text)-cut-1 != credentialIDLen || !allBase62(text[cut+1:]) {
		return Key{}, &FieldError{Field: "access_key", Problem: "must be a prefix, an underscore and 16 letters and digits", Err: ErrNotFound}
	}
	credentialID := text[cut+1:]
	page, err := a.m.store.List(ctx, Query{Owner: a.owner, CredentialID: credentialID, IncludeDeleted: true, Limit: 1})
	switch {
	case err != nil:
		return Key{}, err
	case len(page) == 0:
		return Key{}, ErrNotFound
	case page[0].Err != nil:
		return Key{}, page[0].Err
	}
	record, err := a.fetch(ctx, page[0].Key.ID)
	if err != nil {
		return Key{}, err
	}
	if found := record.credential(credentialID); found == nil || found.Prefix != text[:cut] {
		return Key{}, ErrNotFound
	}
	if err := a.authorize(ctx, ActionGet, record.view()); err != nil {
		return Key{}, err
	}
	return record.view(), nil
}

// List returns keys in ascending order of id, at most q.Limit (100 if it is 0,
// never more than 1000), without deleted ones unless asked for. A page shorter
// than that is the last; the next one comes with q.After set to the id of this
// one's last key.
//
// If keys in the range of the page are damaged, List returns the others
// together with a *DamagedError that names the damaged ones, as os.ReadDir does
// with entries. The page is as long as it would be without them.
func (m *Manager) List(ctx context.Context, q Query) ([]Key, error) {
	return m.all.list(ctx, "list", ActionList, q, nil)
}

// List returns keys of the owner; see Manager.List. Keys that
// Options.Authorize refuses are left out.
func (o *OwnerManager) List(ctx context.Context, q Query) ([]Key, error) {
	return o.access.list(ctx, "list", ActionList, q, nil)
}

// list fills a page with the keys that the caller may see and keep, if given,
// returns true for.
func (a access) list(ctx context.Context, name string, action Action, q Query, keep func(Key) bool) ([]Key, error) {
	var damaged DamagedError
	keys, err := a.tryList(ctx, action, q, keep, &damaged)
	if err = damaged.with(err); err != nil {
		return keys, failed(name, "", err)
	}
	return keys, nil
}

func (a access) tryList(ctx context.Context, action Action, q Query, keep func(Key) bool, damaged *DamagedError) ([]Key, error) {
	if err := a.ready(ctx); err != nil {
		return nil, err
	}
	if err := checkPage(&q.Limit); err != nil {
		return nil, err
	}
	if err := checkIdentifier("owner", q.Owner, maxOwnerLen); err != nil {
		return nil, err
	}
	if q.After != "" && checkID(q.After) != nil {
		return nil, &FieldError{Field: "after", Problem: "must be the id of a key"}
	}
	if q.CredentialID != "" {
		if err := checkCredentialID("credential_id", q.CredentialID); err != nil {
			return nil, err
		}
	}
	for _, t := range []*time.Time{&q.ExpiresFrom, &q.ExpiresBefore, &q.IssuedBefore, &q.DeletedBefore, &q.RetiredBefore} {
		if t.IsZero() {
			continue
		}
		if !storable(*t) {
			return nil, &FieldError{Field: "query", Problem: "must hold times of the years 1970 to 9999"}
		}
		*t = microseconds(*t)
	}
	if a.confined {
		if q.Owner != "" && q.Owner != a.owner {
			return nil, &FieldError{Field: "owner", Problem: "must be the owner that is logged in, or left out"}
		}
		q.Owner = a.owner
	}
	var keys []Key
	for {
		page, err := a.m.store.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if err := page[i].readable(); err != nil {
				damaged.key(page[i].Key.ID, err)
				continue
			}
			key := page[i].Key
			if keep != nil && !keep(key) {
				continue
			}
			if a.authorize(ctx, action, key) != nil {
				continue
			}
			if keys = append(keys, key); len(keys) == q.Limit {
				return keys, nil
			}
		}
		if len(page) < q.Limit {
			return keys, nil
		}
		q.After = page[len(page)-1].Key.ID
	}
}

// Disable refuses every token of a key at once, in any state but Deleted. The
// Manager's Disable also holds the key: only the Manager can enable, change or
// reissue it. Disabling what is disabled does nothing and succeeds.
//
// Errors that this and all other changes of a key return: those of Get;
// ErrDeleted; ErrConflict, if the key is not at the revision of an IfRevision,
// or someone else changed it at the same time (Disable, Enable, Delete and
// Update without IfRevision then begin again, up to 100 times); ErrClock;
// ErrOutcomeUnknown; a *FieldError for "reason", "actor" or "revision"; what
// the store returned.
func (m *Manager) Disable(ctx context.Context, id string, opts ...ChangeOption) (Key, error) {
	return m.all.change(ctx, opDisable, id, opts)
}

// Disable refuses every token of a key of the owner at once; see
// Manager.Disable. The owner can enable it again.
//
// Errors that this and all other changes through an OwnerManager return
// besides those of the Manager's: ErrOwnerDisabled; ErrForbidden; ErrLocked,
// except from Disable and Delete.
func (o *OwnerManager) Disable(ctx context.Context, id string, opts ...ChangeOption) (Key, error) {
	return o.access.change(ctx, opDisable, id, opts)
}

// Enable ends what Disable did, a hold as well. Enabling what is enabled does
// nothing and succeeds; an expired key is refused with ErrExpired: regenerate
// it.
func (m *Manager) Enable(ctx context.Context, id string, opts ...ChangeOption) (Key, error) {
	return m.all.change(ctx, opEnable, id, opts)
}

// Enable ends what the owner's Disable did; see Manager.Enable. A locked key is
// refused with ErrLocked.
func (o *OwnerManager) Enable(ctx context.Context, id string, opts ...ChangeOption) (Key, error) {
	return o.access.change(ctx, opEnable, id, opts)
}

// Delete refuses every token of a key for ever, in any state. The key stays
// readable until Sweep purges it. Deleting what is deleted does nothing and
// succeeds.
func (m *Manager) Delete(ctx context.Context, id string, opts ...ChangeOption) (Key, error) {
	return m.all.change(ctx, opDelete, id, opts)
}

// Delete refuses every token of a key of the owner for ever; see
// Manager.Delete. A locked key can be deleted too.
func (o *OwnerManager) Delete(ctx context.Context, id string, opts ...ChangeOption) (Key, error) {
	return o.access.change(ctx, opDelete, id, opts)
}

var (
	opDisable = operation{name: "disable", action: ActionDisable, rule: disable, retry: true}
	opEnable  = operation{name: "enable", action: ActionEnable, rule: enable, retry: true}
	opDelete  = operation{name: "delete", action: ActionDelete, rule: remove, retry: true}
)

// Events returns the log in ascending order, from the event after q.After on,
// at most q.Limit (100 if it is 0, never more than 1000). With q.Newest it
// returns the end of the log in place of its beginning.
//
// An event that is damaged is returned with its Err set, so that a follower of
// the log can continue after it.
func (m *Manager) Events(ctx context.Context, q EventQuery) ([]Event, error) {
	events, err := m.events(ctx, q)
	if err != nil {
		return nil, failed("events", q.KeyID, err)
	}
	return events, nil
}

// Events returns the events of a key of the owner, which q.KeyID names; see
// Manager.Events.
func (o *OwnerManager) Events(ctx context.Context, q EventQuery) ([]Event, error) {
	a := o.access
	err := a.ready(ctx)
	if err == nil {
		_, err = a.load(ctx, ActionEvents, q.KeyID)
	}
	var events []Event
	if err == nil {
		events, err = a.m.events(ctx, q)
	}
	if err != nil {
		return nil, failed("events of", q.KeyID, err)
	}
	return events, nil
}

func (m *Manager) events(ctx context.Context, q EventQuery) ([]Event, error) {
	if err := checkPage(&q.Limit); err != nil {
		return nil, err
	}
	if q.After.Seq < 0 {
		return nil, &FieldError{Field: "after", Problem: "must not be negative"}
	}
	if q.Before.Seq < 0 {
		return nil, &FieldError{Field: "before", Problem: "must not be negative"}
	}
	if q.KeyID != "" {
		if err := checkID(q.KeyID); err != nil {
			return nil, err
		}
	}
	return m.store.Events(ctx, q)
}
