package backup_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
	"github.com/keyturn/apikey/backup"
)

// changing is a file that is another one from its n-th reading on.
type changing struct {
	*strings.Reader
	other string
	n     int
}

func (c *changing) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		if c.n--; c.n == 0 {
			c.Reader = strings.NewReader(c.other)
		}
	}
	return c.Reader.Seek(offset, whence)
}

// TestRestoreOfAFileThatChanges: whoever can write to the file while it is
// restored brings nothing of it into the store.
func TestRestoreOfAFileThatChanges(t *testing.T) {
	ctx := t.Context()
	pepper := apikey.NewSecret("pepper-0123456789-abcdefghij-ABCDEFGHIJ")
	source := newSystem(t, pepper)
	var tokens []apikey.Secret
	for range 601 { // more than a block
		tokens = append(tokens, source.MustIssue(t, apikey.IssueParams{Scopes: []string{"orders:read"}}).Token)
	}
	file := exported(t, source)
	forged := strings.ReplaceAll(file, `"scopes":"orders:read"`, `"scopes":"admin:everything"`)
	lastEvent := strings.LastIndex(file, `"kind":"key.issued"`) + len(`"kind":"key.`)
	lastRecord := strings.LastIndex(file, `"name":"name"`) + len(`"name":"`)
	for name, other := range map[string]string{
		"scopes":             forged,
		"fields":             strings.ReplaceAll(file, `"owner":`, `"oWner":`),
		"kind of one event":  file[:lastEvent] + "opened" + file[lastEvent+6:],
		"name of one key":    file[:lastRecord] + "eman" + file[lastRecord+4:],
		"under another":      strings.Replace(file, `"exported_at":`, `"exported_at":1`, 1),
		"of a newer version": strings.Replace(file, `"version":2`, `"version":3`, 1),
		"a line of no kind":  strings.Replace(file, `{"record":`, `{"order":`, 1),
		"last line":          strings.TrimSuffix(file, "\n"),
		"lines":              file[:len(file)/2] + file,
		"nothing":            "",
	} {
		if other == file {
			t.Fatalf("%s: nothing was changed", name)
		}
		for reading := 1; reading <= 5; reading++ {
			t.Run(fmt.Sprint(name, " in reading ", reading), func(t *testing.T) {
				is := is.New(t)
				to := newSystem(t, pepper)
				err := to.Restore(ctx, &changing{strings.NewReader(file), other, reading})
				switch {
				case reading > 4:
					is.NoErr(err) // it is read no more
				case reading > 1 || name != "of a newer version":
					is.True(errors.Is(err, backup.ErrFile))
				}
				if reading <= 2 {
					is.Equal(to.Store.Calls(apikeytest.Any), 0)
				}
				for _, token := range tokens {
					_, err := to.Validate(ctx, token.Reveal(), apikey.Scope("admin:everything"))
					is.True(err != nil)
				}
				// As it was, it goes on: what is there is compared with it.
				is.NoErr(to.Restore(ctx, strings.NewReader(file)))
				_, err = to.Validate(ctx, tokens[600].Reveal(), apikey.Scope("orders:read"))
				is.NoErr(err)
			})
		}
	}
}

// TestRestoreOfAFileThatBecomesAnother: not even one that is good for itself,
// as anyone can make without a pepper, takes the place of the first.
func TestRestoreOfAFileThatBecomesAnother(t *testing.T) {
	is := is.New(t)
	lines := linesOf(smallExport(t))
	file := signed(lines...)
	for _, other := range []string{signed(lines[0]), signed(lines[:2]...), smallExport(t)} {
		is.NoErr(newSystem(t).Restore(t.Context(), strings.NewReader(other)))
		for reading := 2; reading <= 4; reading++ {
			to := newSystem(t)
			err := to.Restore(t.Context(), &changing{strings.NewReader(file), other, reading})
			is.True(errors.Is(err, backup.ErrFile))
			is.NoErr(to.Restore(t.Context(), strings.NewReader(file)))
		}
	}
}

// TestRestoreReadsNothingUnsigned: what a line says is not looked at before the
// whole file was found to be ours, so that no memory is taken for it.
func TestRestoreReadsNothingUnsigned(t *testing.T) {
	is := is.New(t)
	lines := linesOf(smallExport(t))
	lines[1] = `{"event":{}}` + "\n"
	ours := signed(lines...)
	var refused *backup.FileError
	is.True(errors.As(restoreError(t, ours), &refused))
	is.Equal(refused.Line, 2) // the line itself
	foreign := strings.Replace(ours, `"mac":"`, `"mac":"0`, 1)
	is.True(errors.As(restoreError(t, foreign), &refused))
	is.Equal(refused.Line, len(lines)+1) // the last one
}

// TestRestoreRevivesNothing: a file is not restored again into a store that is
// in use since, where a key of the file was deleted and swept.
func TestRestoreRevivesNothing(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	source := newSystem(t)
	issued := source.MustIssue(t, apikey.IssueParams{})
	file := exported(t, source)
	to := newSystem(t)
	is.NoErr(to.Restore(ctx, strings.NewReader(file)))
	is.NoErr(to.Restore(ctx, strings.NewReader(file))) // all is there
	to.MustIssue(t, apikey.IssueParams{Owner: "newcomer"})
	_, err := to.Delete(ctx, issued.Key.ID, apikey.Reason("leaked"))
	is.NoErr(err)
	to.Advance(91 * 24 * time.Hour)
	_, err = to.Sweep(ctx)
	is.NoErr(err)
	is.True(errors.Is(to.Restore(ctx, strings.NewReader(file)), backup.ErrOtherData))
	_, err = to.Validate(ctx, issued.Token.Reveal())
	is.Equal(err, apikey.ErrInvalid)
}

var errReplaced = errors.New("the log was replaced")

// follow is a follower as docs/running-many-nodes.md shows it.
func follow(ctx context.Context, m *system, last apikey.Position, handle func(apikey.Event)) (apikey.Position, error) {
	for {
		events, err := m.Events(ctx, apikey.EventQuery{After: apikey.Position{Seq: max(last.Seq-1, 0)}, Limit: 1000})
		if err != nil {
			return last, err
		}
		if last.Seq > 0 {
			if len(events) == 0 || events[0].Position != last {
				return last, errReplaced
			}
			events = events[1:]
		}
		if len(events) == 0 {
			return last, nil
		}
		for _, e := range events {
			handle(e)
			last = e.Position
		}
	}
}

// TestFollowerNoticesARestore: the last event that a follower has seen is not
// found again in its place, so that it starts over, and sees each key as it is.
func TestFollowerNoticesARestore(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	source := newSystem(t)
	issued := source.MustIssue(t, apikey.IssueParams{})
	positions := []apikey.Position{apikeytest.Events(t, source.Manager)[0].Position} // one that is behind
	for range 3 {
		_, err := source.Regenerate(ctx, issued.Key.ID)
		is.NoErr(err)
	}
	last, err := follow(ctx, source, apikey.Position{}, func(apikey.Event) {})
	is.NoErr(err)
	is.Equal(last.Seq, int64(4))
	positions = append(positions, last)

	to := newSystem(t)
	is.NoErr(to.Restore(ctx, strings.NewReader(exported(t, source))))
	_, err = to.Disable(ctx, issued.Key.ID)
	is.NoErr(err)
	for _, position := range positions {
		at, err := follow(ctx, to, position, func(e apikey.Event) { t.Errorf("goes on with %s", e.Kind) })
		is.Equal(err, errReplaced)
		is.Equal(at, position)
	}
	var kinds []apikey.EventKind
	_, err = follow(ctx, to, apikey.Position{}, func(e apikey.Event) { kinds = append(kinds, e.Kind) })
	is.NoErr(err)
	is.Equal(kinds, []apikey.EventKind{
		apikey.EventIssued, apikey.EventRegenerated, apikey.EventRegenerated, apikey.EventRegenerated,
		apikey.EventRestored, apikey.EventDisabled,
	})
}

// TestRestoredEventsKeepAllElse: but for their nonces, which the file and
// nothing else gives.
func TestRestoredEventsKeepAllElse(t *testing.T) {
	is := is.New(t)
	source := newSystem(t)
	issued := source.MustIssue(t, apikey.IssueParams{Metadata: map[string]string{"plan": "gold"}})
	_, err := source.Rotate(apikey.WithActor(t.Context(), "ada"), issued.Key.ID, time.Hour, apikey.Reason("90 days"))
	is.NoErr(err)
	file := exported(t, source)
	_, mac, _ := strings.Cut(file, `"mac":"`)
	key, err := hex.DecodeString(mac[:64])
	is.NoErr(err)
	to := newSystem(t)
	is.NoErr(to.Restore(t.Context(), strings.NewReader(file)))
	after := apikeytest.Events(t, to.Manager)
	for i, e := range apikeytest.Events(t, source.Manager) {
		h := hmac.New(sha256.New, key)
		fmt.Fprintf(h, "event %d", e.Position.Seq)
		copy(e.Position.Nonce[:], h.Sum(nil))
		is.Equal(cmp.Diff(e, after[i]), "")
	}
}

// edited is a Store in which someone has changed a row by hand.
type edited struct {
	apikey.Store
	id string
}

func (s edited) Get(ctx context.Context, id, owner string) (apikey.Record, error) {
	r, err := s.Store.Get(ctx, id, owner)
	if id == s.id {
		r.Key.Name = "changed by hand"
	}
	return r, err
}

// TestRestoreNamesTheKeyThatDiffers: a record that is there, and other than in
// the file, stops it.
func TestRestoreNamesTheKeyThatDiffers(t *testing.T) {
	is := is.New(t)
	source := newSystem(t)
	source.MustIssue(t, apikey.IssueParams{})
	id := source.MustIssue(t, apikey.IssueParams{}).Key.ID
	file := exported(t, source)
	to := newSystem(t)
	is.NoErr(to.Restore(t.Context(), strings.NewReader(file)))
	err := to.on(edited{to.Store, id}).Restore(t.Context(), strings.NewReader(file))
	is.True(errors.Is(err, backup.ErrOtherData))
	is.True(strings.HasPrefix(err.Error(), "backup: restore "+id+": store contains other data"))
}

// relabelled is a Store whose log says that its last event is of another kind.
type relabelled struct{ apikey.Store }

func (s relabelled) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	events, err := s.Store.Events(ctx, q)
	if len(events) > 0 {
		events[len(events)-1].Kind = apikey.EventDeleted
	}
	return events, err
}

// TestRestoreKnowsItsOwnEvents: behind the log of the file nothing may stand
// but what a Restore of it wrote, however far it came.
func TestRestoreKnowsItsOwnEvents(t *testing.T) {
	ctx := t.Context()
	source := newSystem(t)
	for range 2 {
		source.MustIssue(t, apikey.IssueParams{})
	}
	if _, err := source.DisableOwner(ctx, "owner"); err != nil {
		t.Fatal(err)
	}
	file := exported(t, source)
	issue := func(m *system) error {
		_, err := m.Issue(ctx, apikey.IssueParams{Owner: "newcomer", Name: "name"})
		return err
	}
	disableOwner := func(m *system) error {
		_, err := m.DisableOwner(ctx, "newcomer")
		return err
	}
	disableAndEnable := func(m *system) error {
		id := apikeytest.Events(t, m.Manager)[0].KeyID
		_, err := m.Disable(ctx, id)
		if err == nil {
			_, err = m.Enable(ctx, id)
		}
		return err
	}
	for _, test := range []struct {
		name    string
		commits int // before the first Restore is interrupted
		change  func(*system) error
	}{
		{"a new key, then the owners' states", 1, issue},
		{"an owner, then the owners' states", 1, disableOwner},
		{"a new key, then the keys", 2, issue},
		{"an owner, then the keys", 2, disableOwner},
		{"a new key, then nothing", 3, issue},
		{"an owner, then nothing", 3, disableOwner},
		{"a key that is as before, then nothing", 3, disableAndEnable},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			to := newSystem(t)
			to.Store.Fail(apikeytest.Failure{Method: apikeytest.Commit, Nth: test.commits + 1, Forever: true})
			is.Equal(to.Restore(ctx, strings.NewReader(file)) == nil, test.commits == 3)
			to.Store.Recover()
			is.NoErr(test.change(to))
			commits := to.Store.Calls(apikeytest.Commit)
			is.True(errors.Is(to.Restore(ctx, strings.NewReader(file)), backup.ErrOtherData))
			is.Equal(to.Store.Calls(apikeytest.Commit), commits) // nothing was written
		})
	}

	is := is.New(t)
	to := newSystem(t)
	is.NoErr(to.Restore(ctx, strings.NewReader(file)))
	is.True(errors.Is(to.on(relabelled{to.Store}).Restore(ctx, strings.NewReader(file)), backup.ErrOtherData))

	// Files without a log: what the first one wrote is not of the second.
	lines := linesOf(file)
	record := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, `{"record":`) })
	to = newSystem(t)
	is.NoErr(to.Restore(ctx, strings.NewReader(signed(lines[0], lines[record]))))
	err := to.Restore(ctx, strings.NewReader(signed(lines[0], lines[record+1])))
	is.True(errors.Is(err, backup.ErrOtherData))
	is.Equal(to.Store.Calls(apikeytest.Commit), 1)
}

// TestRestoredStoreGoesOn: what was restored is managed as before.
func TestRestoredStoreGoesOn(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	source := newSystem(t)
	first := source.MustIssue(t, apikey.IssueParams{Name: "n", IdempotencyKey: "once"})
	rotated, err := source.Rotate(ctx, first.Key.ID, time.Hour)
	is.NoErr(err)
	to := newSystem(t)
	is.NoErr(to.Restore(ctx, strings.NewReader(exported(t, source))))

	again, err := to.Issue(ctx, apikey.IssueParams{Owner: first.Key.Owner, Name: "n", IdempotencyKey: "once"})
	is.True(errors.Is(err, apikey.ErrExists))
	is.Equal(again.Key.ID, first.Key.ID)
	_, err = to.ExtendRotation(ctx, first.Key.ID, 2*time.Hour, apikey.IfRevision(1))
	is.NoErr(err)
	_, err = to.Validate(ctx, first.Token.Reveal())
	is.NoErr(err)
	_, err = to.FinishRotation(ctx, first.Key.ID)
	is.NoErr(err)
	_, err = to.Validate(ctx, first.Token.Reveal())
	is.Equal(err, apikey.ErrReplaced)
	fresh, err := to.Regenerate(ctx, first.Key.ID)
	is.NoErr(err)
	_, err = to.Validate(ctx, rotated.Token.Reveal())
	is.Equal(err, apikey.ErrReplaced)
	_, err = to.Validate(ctx, fresh.Token.Reveal())
	is.NoErr(err)
	_, err = to.Delete(ctx, first.Key.ID)
	is.NoErr(err)
	to.Advance(91 * 24 * time.Hour)
	swept, err := to.Sweep(ctx)
	is.NoErr(err)
	is.Equal(swept.Keys, 1)
}
