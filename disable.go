package apikey

import "context"

// Disable rejects every token of a key at once, in any state but Deleted. A
// Manager's Disable also locks the key: only a Manager can enable, change or
// reissue it. An owner can enable again what it disabled. Disabling what is
// disabled does nothing and succeeds.
//
// Errors that this and all other changes of a key return: those of Get;
// ErrDeleted; ErrConflict, if the key is not at the revision of an IfRevision,
// or someone else changed it at the same time (Disable, Enable, Delete and
// Update without IfRevision then begin again, up to 100 times); ErrClock;
// ErrOutcomeUnknown; a *FieldError for "reason", "actor" or "revision"; what
// the store returned. Changes through an OwnerManager also return
// ErrOwnerDisabled, ErrForbidden and, except from Disable and Delete,
// ErrLocked.
func (h *handle) Disable(ctx context.Context, id string, opts ...ChangeOption) (Key, error) {
	return h.changed(ctx, opDisable, id, opts)
}

// Enable ends what Disable did. A Manager also ends a lock; through an
// OwnerManager a locked key is rejected with ErrLocked. Enabling what is
// enabled does nothing and succeeds. An expired key is rejected with
// ErrExpired: regenerate it.
func (h *handle) Enable(ctx context.Context, id string, opts ...ChangeOption) (Key, error) {
	return h.changed(ctx, opEnable, id, opts)
}

// Delete rejects every token of a key permanently, in any state. An owner can
// delete a locked key too. The key stays readable until Sweep purges it.
// Deleting what is deleted does nothing and succeeds.
func (h *handle) Delete(ctx context.Context, id string, opts ...ChangeOption) (Key, error) {
	return h.changed(ctx, opDelete, id, opts)
}

var (
	opDisable = operation{name: "disable", action: ActionDisable, rule: disable, retry: true}
	opEnable  = operation{name: "enable", action: ActionEnable, rule: enable, retry: true}
	opDelete  = operation{name: "delete", action: ActionDelete, rule: remove, retry: true}
)
