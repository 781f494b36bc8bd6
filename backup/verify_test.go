package backup_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/matryer/is"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/backup"
	"github.com/keyturn/apikey/memstore"
)

// TestVerify checks the Summary of a file in which keys were changed and purged
// while it was written.
func TestVerify(t *testing.T) {
	is := is.New(t)
	lines := linesOf(smallExport(t))
	var record string
	for _, line := range lines {
		if strings.HasPrefix(line, `{"record":`) {
			record = line
		}
	}
	_, id, _ := strings.Cut(record, `"id":"`)
	id = id[:20]
	changed := strings.Replace(record, `{"record":`, `{"changed_record":`, 1)
	otherPepper := strings.ReplaceAll(changed, pepperIDOf(changed), "AAAAAAAAAAA=")
	other := otherKey(record, id)
	beforeOwner := len(lines) - 1
	withOther := append(append(append([]string{}, lines[:beforeOwner]...), other), lines[beforeOwner:]...)
	exportedAt := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name  string
		lines []string
		want  backup.Summary
	}{
		{"as exported", lines, backup.Summary{Counts: backup.Counts{Keys: 1, Owners: 1, Events: 3}}},
		{"two keys", withOther, backup.Summary{Counts: backup.Counts{Keys: 2, Owners: 1, Events: 3}}},
		{"a key changed", append(withOther[:len(withOther):len(withOther)], changed), backup.Summary{Counts: backup.Counts{Keys: 2, Owners: 1, Events: 3}}},
		{"a key purged", append(withOther[:len(withOther):len(withOther)], `{"purged":"`+id+`"}`+"\n"), backup.Summary{Counts: backup.Counts{Keys: 1, Owners: 1, Events: 3}}},
		{"another pepper", append(lines[:len(lines):len(lines)], otherPepper), backup.Summary{
			Counts: backup.Counts{Keys: 1, Owners: 1, Events: 3}, MissingPeppers: []string{"0000000000000000"},
		}},
		{"another pepper, replaced", append(lines[:len(lines):len(lines)], otherPepper, changed), backup.Summary{
			Counts: backup.Counts{Keys: 1, Owners: 1, Events: 3},
		}},
		{"nothing", lines[:1], backup.Summary{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			test.want.ExportedAt = exportedAt
			got, err := backup.Verify(strings.NewReader(signed(test.lines...)), []apikey.Secret{apikey.NoPepper()})
			is.NoErr(err)
			is.Equal(cmp.Diff(test.want, got), "")

			to := newSystem(t)
			is.NoErr(to.Restore(t.Context(), strings.NewReader(signed(test.lines...))))
			keys, err := to.List(t.Context(), apikey.Query{IncludeDeleted: true})
			is.NoErr(err)
			is.Equal(len(keys), got.Keys)
			err = to.Check(t.Context())
			is.Equal(errors.Is(err, apikey.ErrPepper), got.MissingPeppers != nil)
			for _, pepper := range got.MissingPeppers {
				is.True(strings.Contains(err.Error(), pepper))
			}
		})
	}
	is.True(otherPepper != changed)
}

// pepperIDOf returns the first pepper id in a line, in base64.
func pepperIDOf(line string) string {
	_, id, _ := strings.Cut(line, `"pepper_id":"`)
	return id[:12]
}

// TestVerifyRejects checks that Verify rejects what Restore rejects.
func TestVerifyRejects(t *testing.T) {
	lines := linesOf(smallExport(t))
	file := signed(lines...)
	none := []apikey.Secret{apikey.NoPepper()}
	for _, test := range []struct {
		name    string
		file    string
		peppers []apikey.Secret
		want    error
	}{
		{"cut off", file[:len(file)-1], none, backup.ErrFile},
		{"changed", strings.Replace(file, "gold", "Gold", 1), none, backup.ErrFile},
		{"empty", "", none, backup.ErrFile},
		{"a line that nobody writes", signed(lines[0], strings.Replace(lines[1], `"owner":"owner"`, `"owner":""`, 1)), none, backup.ErrFile},
		{"another version", strings.Replace(file, `"version":2`, `"version":1`, 1), none, backup.ErrVersion},
		{"another pepper", file, []apikey.Secret{apikey.EphemeralPepper()}, apikey.ErrPepper},
	} {
		t.Run(test.name, func(t *testing.T) {
			is := is.New(t)
			s, err := backup.Verify(strings.NewReader(test.file), test.peppers)
			is.True(errors.Is(err, test.want))
			is.True(strings.HasPrefix(err.Error(), "backup: verify: "))
			is.Equal(s, backup.Summary{})
		})
	}

	is := is.New(t)
	r := strings.NewReader("header" + file)
	_, err := r.Seek(6, io.SeekStart)
	is.NoErr(err)
	_, err = backup.Verify(r, none)
	is.NoErr(err) // from the position of r
	for n := range 6 {
		_, err := backup.Verify(&failing{strings.NewReader(file), n}, none)
		is.True(errors.Is(err, errDisk))
	}
}

// TestBadArguments checks that nil and missing arguments are a FieldError that
// names the operation, and that nothing is called.
func TestBadArguments(t *testing.T) {
	ctx := t.Context()
	store, r, w := memstore.New(), strings.NewReader(""), &strings.Builder{}
	peppers := []apikey.Secret{apikey.NoPepper()}
	good := &backup.Options{Peppers: peppers}
	restore := func(store apikey.Store, r io.ReadSeeker, o *backup.Options) error {
		return backup.Restore(ctx, store, r, o)
	}
	verify := func(r io.ReadSeeker, peppers ...apikey.Secret) error {
		_, err := backup.Verify(r, peppers)
		return err
	}
	for _, test := range []struct {
		name, field string
		err         error
	}{
		{"export", "store", backup.Export(ctx, nil, w, good)},
		{"export", "store", backup.Export(ctx, (*memstore.Store)(nil), w, good)},
		{"export", "writer", backup.Export(ctx, store, nil, good)},
		{"export", "writer", backup.Export(ctx, store, (*strings.Builder)(nil), good)},
		{"export", "peppers", backup.Export(ctx, store, w, nil)},
		{"export", "peppers[0]", backup.Export(ctx, store, w, &backup.Options{Peppers: []apikey.Secret{apikey.NewSecret("short")}})},
		{"restore", "store", restore(nil, r, good)},
		{"restore", "store", restore((*memstore.Store)(nil), r, good)},
		{"restore", "reader", restore(store, nil, good)},
		{"restore", "reader", restore(store, (*strings.Reader)(nil), good)},
		{"restore", "peppers", restore(store, r, nil)},
		{"restore", "peppers[1]", restore(store, r, &backup.Options{Peppers: append(peppers, peppers...)})},
		{"restore", "actor", backup.Restore(apikey.WithActor(ctx, "\n"), store, r, good)},
		{"verify", "reader", verify(nil, peppers...)},
		{"verify", "peppers", verify(r)},
	} {
		t.Run(test.name+" "+test.field, func(t *testing.T) {
			is := is.New(t)
			var field *apikey.FieldError
			is.True(errors.As(test.err, &field))
			is.Equal(field.Field, test.field)
			is.True(strings.HasPrefix(test.err.Error(), "backup: "+test.name+": "+test.field+": "))
		})
	}
	is.New(t).Equal(w.Len(), 0)
}
