package backup_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/backup"
)

// meanwhile is a Store in which someone else makes a change before the first
// read of an owner.
type meanwhile struct {
	apikey.Store
	change func()
}

func (s *meanwhile) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	if change := s.change; change != nil {
		s.change = nil
		change()
	}
	return s.Store.Owner(ctx, id)
}

// TestRestoreOfAnOwnerThatChanges checks that a repeated Restore reports an
// owner whose state is not that of the file, although the log was.
func TestRestoreOfAnOwnerThatChanges(t *testing.T) {
	disabled, enabled := newSystem(t), newSystem(t)
	for _, s := range []*system{disabled, enabled} {
		s.MustIssue(t, apikey.IssueParams{})
		_, err := s.DisableOwner(t.Context(), "owner")
		is.New(t).NoErr(err)
	}
	_, err := enabled.EnableOwner(t.Context(), "owner")
	is.New(t).NoErr(err)
	for name, test := range map[string]struct {
		file   string
		change func(m *system) error
	}{
		"enabled":       {exported(t, disabled), func(m *system) error { _, err := m.EnableOwner(t.Context(), "owner"); return err }},
		"disabled":      {exported(t, enabled), func(m *system) error { _, err := m.DisableOwner(t.Context(), "owner"); return err }},
		"given a limit": {exported(t, disabled), func(m *system) error { _, err := m.SetOwnerScopes(t.Context(), "owner", nil); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			is := is.New(t)
			m := newSystem(t)
			is.NoErr(m.Restore(t.Context(), strings.NewReader(test.file)))
			changing := m.on(&meanwhile{m.Store, func() { is.NoErr(test.change(m)) }})
			is.True(errors.Is(changing.Restore(t.Context(), strings.NewReader(test.file)), backup.ErrOtherData))
		})
	}
}

// ordered is a Store that reports records that come before the state of their
// owner.
type ordered struct {
	apikey.Store
	t       *testing.T
	records int
}

func (s *ordered) Commit(ctx context.Context, c apikey.Commit) (apikey.Position, error) {
	for _, r := range c.Records {
		s.records++
		if o, err := s.Store.Owner(ctx, r.Key.Owner); err != nil || !o.Disabled() {
			s.t.Errorf("key %s is restored before its owner: %v", r.Key.ID, err)
		}
	}
	return s.Store.Commit(ctx, c)
}

// TestRestoreOfOwnersComesFirst checks that at no time a restored key works
// although its owner is disabled in the file.
func TestRestoreOfOwnersComesFirst(t *testing.T) {
	is := is.New(t)
	m := newSystem(t)
	store := &ordered{Store: m.Store, t: t}
	is.NoErr(m.on(store).Restore(t.Context(), strings.NewReader(smallExport(t))))
	is.Equal(store.records, 1)
}

// TestTimeOfAnExport checks that a file whose header has an impossible time is
// rejected, although its MAC fits.
func TestTimeOfAnExport(t *testing.T) {
	lines := linesOf(smallExport(t))
	set := func(micros string) string {
		header := regexp.MustCompile(`"exported_at":-?[0-9]+`).ReplaceAllString(lines[0], `"exported_at":`+micros)
		return signed(append([]string{header}, lines[1:]...)...)
	}
	is.New(t).NoErr(newSystem(t).Restore(t.Context(), strings.NewReader(set("1767225600000000"))))
	for _, micros := range []string{"0", "-1", "253402300800000000", "9223372036854775807", "1e15", `"1767225600000000"`} {
		refusedAsExport(t, set(micros), "exported at "+micros)
	}
}
