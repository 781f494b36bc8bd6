package apikey

import (
	"context"
	"strings"
)

// Get returns a key, deleted ones too until they are purged. Its errors:
// ErrNotFound, also for another owner's key through an OwnerManager; a
// *FieldError that is an ErrNotFound too, for a string that cannot be an id;
// what the store returned.
func (h *handle) Get(ctx context.Context, id string) (key Key, err error) {
	defer wrap(&err, "get", id)
	record, err := h.load(ctx, ActionGet, id)
	if err != nil {
		return Key{}, err
	}
	return record.view(h.Now()), nil
}

// Credentials returns the credentials of a key that are still kept, oldest
// first, with their usage and without their digests: the current one, the
// retiring one, and those that have ended. Its errors are those of Get.
func (h *handle) Credentials(ctx context.Context, id string) (_ []Credential, err error) {
	defer wrap(&err, "credentials of", id)
	record, err := h.load(ctx, ActionGet, id)
	if err != nil {
		return nil, err
	}
	for i := range record.Credentials {
		c := &record.Credentials[i]
		c.Scheme, c.PepperID, c.Digest, c.Seal = 0, "", "", ""
	}
	return record.Credentials, nil
}

// Find returns the key that an access key belongs to, also a retired one. Use
// it to get from an access key in a log, or one that Scan found, to the key to
// act on. Its errors are those of Get; the field is "access_key".
func (h *handle) Find(ctx context.Context, accessKey string) (key Key, err error) {
	defer wrap(&err, "find", "")
	if err := h.ready(ctx); err != nil {
		return Key{}, err
	}
	cut := strings.LastIndexByte(accessKey, '_')
	if cut < 0 || prefixProblem(accessKey[:cut]) != "" || len(accessKey)-cut-1 != credentialIDLen || !allBase62(accessKey[cut+1:]) {
		return Key{}, &FieldError{Field: "access_key", Code: "malformed", Problem: "must be a prefix, an underscore and 16 letters and digits", Err: ErrNotFound}
	}
	credentialID := accessKey[cut+1:]
	page, err := h.store.List(ctx, Query{Owner: h.owner, CredentialID: credentialID, IncludeDeleted: true, Limit: 1})
	switch {
	case err != nil:
		return Key{}, err
	case len(page) == 0:
		return Key{}, ErrNotFound
	case page[0].Err != nil:
		return Key{}, page[0].Err
	}
	record, err := h.fetch(ctx, page[0].Key.ID)
	if err != nil {
		return Key{}, err
	}
	if found := record.credential(credentialID); found == nil || found.Prefix != accessKey[:cut] {
		return Key{}, ErrNotFound
	}
	key = record.view(h.Now())
	if err := h.authorize(ctx, ActionGet, key); err != nil {
		return Key{}, err
	}
	return key, nil
}
