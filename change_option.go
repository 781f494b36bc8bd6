package apikey

// A ChangeOption says why a change is made, or what it depends on: see Reason
// and IfRevision. If several reasons are given, the last one counts. The zero
// ChangeOption has no effect.
type ChangeOption struct {
	kind     changeOptionKind
	reason   string
	revision int64
}

type changeOptionKind uint8

const (
	noChangeOption changeOptionKind = iota
	reasonOption
	revisionOption
)

// Reason is recorded with the event of a change: at most 500 bytes of printable
// text, without U+FE0F, which is removed. Another text is rejected with a
// *FieldError for "reason".
func Reason(why string) ChangeOption { return ChangeOption{kind: reasonOption, reason: why} }

// IfRevision makes a change only if the key or owner is at revision n, such as
// the Key.Revision that was shown to the person who decided. Otherwise the
// change fails with ErrConflict. Of several changes with the same n exactly one
// succeeds. A revision below 1, or below 0 for an owner, is rejected with a
// *FieldError for "revision", and so is an IfRevision that is given to Issue.
func IfRevision(n int64) ChangeOption { return ChangeOption{kind: revisionOption, revision: n} }

// read returns what the options of a change ask for.
func read(opts []ChangeOption) (reason string, revisions []int64) {
	for _, opt := range opts {
		switch opt.kind {
		case reasonOption:
			reason = opt.reason
		case revisionOption:
			revisions = append(revisions, opt.revision)
		}
	}
	return reason, revisions
}

// decidedAt returns ErrConflict unless every IfRevision names the revision.
func (c cause) decidedAt(revision int64) error {
	for _, n := range c.revisions {
		if n != revision {
			return ErrConflict
		}
	}
	return nil
}
