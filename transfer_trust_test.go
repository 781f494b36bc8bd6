package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/apikeytest"
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
	pepper := func(o *apikey.Options) {
		o.Peppers = []apikey.Secret{apikey.NewSecret("pepper-0123456789-abcdefghij-ABCDEFGHIJ")}
	}
	source := apikeytest.New(t, pepper)
	var tokens []apikey.Secret
	for range 601 { // more than a block
		tokens = append(tokens, source.MustIssue(t, apikey.IssueParams{Scopes: []string{"orders:read"}}).Token)
	}
	file := exported(t, source)
	forged := strings.ReplaceAll(file, `"scopes":"orders:read"`, `"scopes":"admin:everything"`)
	renamed := strings.ReplaceAll(file, `"actor":`, `"aktor":`)
	for name, other := range map[string]string{
		"scopes": forged, "last line": strings.TrimSuffix(file, "\n"), "fields": renamed, "lines": file[:len(file)/2] + file, "nothing": "",
	} {
		for reading := 1; reading <= 5; reading++ {
			t.Run(fmt.Sprint(name, " in reading ", reading), func(t *testing.T) {
				is := is.New(t)
				to := apikeytest.New(t, pepper)
				err := to.Restore(ctx, &changing{strings.NewReader(file), other, reading})
				if reading <= 4 && other != renamed {
					is.True(errors.Is(err, apikey.ErrExport))
				}
				for _, token := range tokens {
					_, err := to.Validate(ctx, token.Reveal(), apikey.Scope("admin:everything"))
					is.True(err != nil)
				}
				is.NoErr(to.Restore(ctx, strings.NewReader(file))) // as it was, it goes on
				_, err = to.Validate(ctx, tokens[600].Reveal(), apikey.Scope("orders:read"))
				is.NoErr(err)
			})
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
	var refused *apikey.ExportError
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
	source := apikeytest.New(t)
	issued := source.MustIssue(t, apikey.IssueParams{})
	file := exported(t, source)
	to := apikeytest.New(t)
	is.NoErr(to.Restore(ctx, strings.NewReader(file)))
	is.NoErr(to.Restore(ctx, strings.NewReader(file))) // all is there
	to.MustIssue(t, apikey.IssueParams{Owner: "newcomer"})
	_, err := to.Delete(ctx, issued.Key.ID, "leaked")
	is.NoErr(err)
	to.Advance(91 * 24 * time.Hour)
	_, err = to.Sweep(ctx)
	is.NoErr(err)
	is.True(errors.Is(to.Restore(ctx, strings.NewReader(file)), apikey.ErrOtherData))
	_, err = to.Validate(ctx, issued.Token.Reveal())
	is.Equal(err, apikey.ErrInvalid)
}

// TestFollowerNoticesARestore: the last event that a follower has seen is not
// found again in its place, so that it starts over.
func TestFollowerNoticesARestore(t *testing.T) {
	is := is.New(t)
	source := apikeytest.New(t)
	source.MustIssue(t, apikey.IssueParams{})
	source.MustIssue(t, apikey.IssueParams{})
	to := apikeytest.New(t)
	is.NoErr(to.Restore(t.Context(), strings.NewReader(exported(t, source))))
	before, after := apikeytest.Events(t, source), apikeytest.Events(t, to)
	is.Equal(len(before), 2)
	for i, last := range before {
		is.Equal(after[i].Position.Seq, last.Position.Seq)
		is.True(after[i].Position.Nonce != last.Position.Nonce)
		after[i].Position, before[i].Position = apikey.Position{}, apikey.Position{}
		is.Equal(cmp.Diff(before[i], after[i]), "") // all else is kept
	}
}

// edited is a Store in which someone has changed a row by hand.
type edited struct {
	apikey.Store
	id string
}

func (s edited) Get(ctx context.Context, id string) (apikey.Record, error) {
	r, err := s.Store.Get(ctx, id)
	if id == s.id {
		r.Key.Name = "changed by hand"
	}
	return r, err
}

// TestRestoreNamesTheKeyThatDiffers: a record that is there, and other than in
// the file, stops it.
func TestRestoreNamesTheKeyThatDiffers(t *testing.T) {
	is := is.New(t)
	source := apikeytest.New(t)
	source.MustIssue(t, apikey.IssueParams{})
	id := source.MustIssue(t, apikey.IssueParams{}).Key.ID
	file := exported(t, source)
	to := apikeytest.New(t)
	is.NoErr(to.Restore(t.Context(), strings.NewReader(file)))
	m, err := apikey.New(edited{to.Store, id}, nil)
	is.NoErr(err)
	err = m.Restore(t.Context(), strings.NewReader(file))
	is.True(errors.Is(err, apikey.ErrOtherData))
	is.True(strings.Contains(err.Error(), id))
}

// TestRestoredStoreGoesOn: what was restored is managed as before.
func TestRestoredStoreGoesOn(t *testing.T) {
	is := is.New(t)
	ctx := t.Context()
	source := apikeytest.New(t)
	first := source.MustIssue(t, apikey.IssueParams{Name: "n", IdempotencyKey: "once"})
	rotated, err := source.Rotate(ctx, first.Key.ID, time.Hour, "")
	is.NoErr(err)
	to := apikeytest.New(t)
	is.NoErr(to.Restore(ctx, strings.NewReader(exported(t, source))))

	again, err := to.Issue(ctx, apikey.IssueParams{Owner: first.Key.Owner, Name: "n", IdempotencyKey: "once"})
	is.True(errors.Is(err, apikey.ErrExists))
	is.Equal(again.Key.ID, first.Key.ID)
	_, err = to.ExtendRotation(ctx, first.Key.ID, 2*time.Hour, "", apikey.IfRevision(1))
	is.NoErr(err)
	_, err = to.Validate(ctx, first.Token.Reveal())
	is.NoErr(err)
	_, err = to.FinishRotation(ctx, first.Key.ID, "")
	is.NoErr(err)
	_, err = to.Validate(ctx, first.Token.Reveal())
	is.Equal(err, apikey.ErrReplaced)
	fresh, err := to.Regenerate(ctx, first.Key.ID, "")
	is.NoErr(err)
	_, err = to.Validate(ctx, rotated.Token.Reveal())
	is.Equal(err, apikey.ErrReplaced)
	_, err = to.Validate(ctx, fresh.Token.Reveal())
	is.NoErr(err)
	_, err = to.Delete(ctx, first.Key.ID, "")
	is.NoErr(err)
	to.Advance(91 * 24 * time.Hour)
	swept, err := to.Sweep(ctx)
	is.NoErr(err)
	is.Equal(swept.Keys, 1)
}
