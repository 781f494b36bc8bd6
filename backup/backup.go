// Package backup writes everything that a Store contains into one file, and
// restores such a file into an empty Store of any kind. The same tokens are
// valid there. Use it if you have no database backup, or to move from one
// database to another.
//
//	err := backup.Export(ctx, store, file, &backup.Options{Peppers: peppers})
//
//	file.Seek(0, io.SeekStart)
//	summary, err := backup.Verify(file, peppers) // reads the file, needs no Store
//
//	file.Seek(0, io.SeekStart)
//	err = backup.Restore(ctx, other, file, &backup.Options{Peppers: peppers})
//
// A file contains keys with their digests, owners, usage per day, the log, and
// the names that were committed once. It contains no token, and nothing from
// which a token can be computed. But names, metadata and the log are readable:
// protect the file as you protect the database, or encrypt it.
//
// The file ends with an HMAC under a pepper, so that nobody without the pepper
// can forge or change a file. With [apikey.NoPepper], which is public, the HMAC
// detects accidents only.
//
// The file docs/backup.md in the repository describes the format, how to encrypt
// a file, how to rehearse a restore, and how to move to another database.
package backup

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/internal/micros"
	"github.com/keyturn/apikey/internal/pepper"
)

// Options of Export and Restore. Peppers is required. The zero value of any
// other field is its default.
type Options struct {
	// Peppers are those of [apikey.Options]. Export signs the file with the
	// first one. Restore accepts a file that was signed with any of them.
	Peppers []apikey.Secret

	// Now is the clock. Default time.Now.
	Now func() time.Time

	// OnProgress, if set, is called after at most 1,000 lines, except while
	// Restore reads the file for the first time. Export and Restore wait until
	// it returns.
	OnProgress func(Progress)
}

// Progress reports how far an Export or a Restore is. Within one Step no number
// ever decreases.
type Progress struct {
	Step Step

	// Done counts what was read or written. A key or owner that changes during
	// an Export is counted again.
	Done Counts

	// Total counts what there is to do. It is zero before StepRestore.
	Total Counts
}

// Counts are numbers of what a Store or a file contains.
type Counts struct {
	Keys   int // deleted keys included
	Owners int // owners that have a state, because they were changed
	Events int
}

// Step is what an Export or a Restore is doing.
type Step string

// The steps. A Restore first verifies the file, and writes nothing meanwhile.
const (
	StepExport  Step = "export"
	StepVerify  Step = "verify"
	StepRestore Step = "restore"
)

var (
	// ErrFile means that the file is not a complete and unchanged backup. The
	// error is a *FileError.
	ErrFile = errors.New("backup: not a complete and unchanged backup")

	// ErrVersion means that the file has a format that this version of the
	// package cannot read. The error is a *FileError.
	ErrVersion = errors.New("backup: file has another format version")

	// ErrOtherData means that the Store contains something that is not in the
	// file.
	ErrOtherData = errors.New("backup: store contains other data than the file")
)

// FileError reports where a file was rejected and why. It never quotes the
// file. It is an ErrFile or an ErrVersion.
type FileError struct {
	Line    int    // counted from 1
	Problem string // for people: "is cut off"
	Err     error
}

func (e *FileError) Error() string {
	return fmt.Sprintf("%v: line %d %s", e.Err, e.Line, e.Problem)
}

func (e *FileError) Unwrap() error { return e.Err }

func badLine(line int, problem string) error { return &FileError{line, problem, ErrFile} }

// batchSize is how many records or events are read or written at once.
const batchSize = 500

// setup is what Export and Restore take from their Options.
type setup struct {
	peppers pepper.Ring
	now     time.Time
	report  func(Progress)
}

// newSetup rejects bad options. It reads the clock once.
func newSetup(options *Options) (setup, error) {
	var o Options
	if options != nil {
		o = *options
	}
	peppers, err := newRing(o.Peppers)
	if err != nil {
		return setup{}, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnProgress == nil {
		o.OnProgress = func(Progress) {}
	}
	now := o.Now()
	if !micros.Storable(now) {
		return setup{}, apikey.ErrClock
	}
	return setup{peppers, micros.Time(micros.Of(now)), o.OnProgress}, nil
}

func newRing(peppers []apikey.Secret) (pepper.Ring, error) {
	secrets := make([]string, len(peppers))
	for i, secret := range peppers {
		secrets[i] = secret.Reveal()
	}
	ring, problem := pepper.NewRing(secrets)
	if problem != nil {
		return nil, &apikey.FieldError{Field: problem.Field, Code: problem.Code, Problem: problem.Text}
	}
	return ring, nil
}

// checkNotNil rejects a nil interface, and one that contains a nil pointer.
func checkNotNil(field string, value any) error {
	v := reflect.ValueOf(value)
	if value == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return &apikey.FieldError{Field: field, Code: "required", Problem: "must not be nil"}
	}
	return nil
}

// checkKeyID rejects what cannot be the id of a key. The rule is the one for
// the key that a name belongs to.
func checkKeyID(id string) error {
	if id == "" {
		return &apikey.FieldError{Field: "id", Code: "required", Problem: "must not be empty"}
	}
	return apikey.OnceName{Name: "name", KeyID: id}.Check()
}

// operationError names the operation and, if there is one, the key.
type operationError struct {
	operation string
	err       error
}

// wrap names the operation in *err, unless it is nil.
func wrap(err *error, operation string) {
	var k *keyError
	switch {
	case *err == nil:
	case errors.As(*err, &k):
		*err = &operationError{operation + " " + k.id, k.err}
	default:
		*err = &operationError{operation, *err}
	}
}

func (e *operationError) Error() string { return "backup: " + e.operation + ": " + text(e.err) }

func (e *operationError) Unwrap() error { return e.err }

// keyError is an error about one key, until wrap names its operation.
type keyError struct {
	id  string
	err error
}

func (e *keyError) Error() string { return e.id + ": " + text(e.err) }

func (e *keyError) Unwrap() error { return e.err }

// text returns the text of an error that follows the name of an operation.
func text(err error) string {
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "backup: "), "apikey: ")
}
