package apikey_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/memstore"
)

// quickStart is the switch of doc.go and docs/http.md.
func quickStart(err error) int {
	switch err { // a rejection is exactly one of these values
	case nil:
		return 200
	case apikey.ErrScope, apikey.ErrAddress:
		return 403
	case apikey.ErrInvalid, apikey.ErrDeleted, apikey.ErrReplaced, apikey.ErrOwnerDisabled, apikey.ErrDisabled, apikey.ErrExpired:
		return 401
	default:
		return 503
	}
}

// TestQuickStart checks what the quick starts answer to each error of Validate,
// and that doc.go and docs/http.md show this very switch.
func TestQuickStart(t *testing.T) {
	m, err := apikey.New(memstore.New(), &apikey.Options{Peppers: []apikey.Secret{apikey.NoPepper()}})
	if err != nil {
		t.Fatal(err)
	}
	_, mistake := m.Validate(t.Context(), "x", apikey.Scope("orders read"))
	if !errors.As(mistake, new(*apikey.FieldError)) {
		t.Fatal(mistake)
	}
	for err, want := range map[error]int{
		nil: 200, apikey.ErrScope: 403, apikey.ErrAddress: 403, apikey.ErrInvalid: 401, apikey.ErrDeleted: 401, apikey.ErrReplaced: 401,
		apikey.ErrOwnerDisabled: 401, apikey.ErrDisabled: 401, apikey.ErrExpired: 401, apikey.ErrUnavailable: 503, apikey.ErrPepper: 503,
		apikey.ErrClock: 503, mistake: 503, context.Canceled: 503, errors.New("unknown"): 503,
		fmt.Errorf("%w: %w", apikey.ErrUnavailable, apikey.ErrDisabled): 503, // a store with an error of its own choice
	} {
		if got := quickStart(err); got != want {
			t.Errorf("%v: %d", err, got)
		}
	}

	this, err := os.ReadFile("quickstart_test.go")
	if err != nil {
		t.Fatal(err)
	}
	want := cases(string(this))
	for _, file := range []string{"docs/http.md", "doc.go", "example_test.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, cases(string(text))); diff != "" {
			t.Errorf("%s shows another switch: %s", file, diff)
		}
	}
}

// cases returns the cases of the first switch over err in a text.
func cases(text string) []string {
	_, text, _ = strings.Cut(text, "switch err {")
	var found []string
	for line := range strings.Lines(text) {
		line = strings.Trim(line, "/ \t\n")
		if strings.HasPrefix(line, "case ") || strings.HasPrefix(line, "default:") {
			line, _, _ = strings.Cut(line, ":")
			found = append(found, line)
		}
		if line == "}" || line == "default" {
			break
		}
	}
	return found
}

// TestNoDefaultUnauthorized searches the whole repository for code, also in
// comments and documents, that answers 401 to an error that it does not know.
func TestNoDefaultUnauthorized(t *testing.T) {
	unknown := regexp.MustCompile(`(?:default:|else \{)(?:\s|//)*[^\n]*(?:\b401\b|StatusUnauthorized|codes\.Unauthenticated)`)
	files := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !slices.Contains([]string{".go", ".md"}, filepath.Ext(path)) || strings.HasSuffix(path, "_gen.go") {
			return err
		}
		text, err := os.ReadFile(path)
		files++
		if found := unknown.Find(text); found != nil && path != "quickstart_test.go" {
			t.Errorf("%s: %q", path, found)
		}
		return err
	})
	if err != nil || files < 200 {
		t.Errorf("%d files, %v", files, err)
	}
}

// TestErrorOrder checks that every chain of errors.Is, in code and examples,
// asks for ErrUnavailable before it asks for a rejection: an outage may wrap
// anything.
func TestErrorOrder(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_gen.go") {
			return err
		}
		files := token.NewFileSet()
		tree, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			s, ok := n.(*ast.SwitchStmt)
			if !ok || s.Tag != nil {
				return true
			}
			var asked []string
			for _, clause := range s.Body.List {
				ast.Inspect(&ast.BlockStmt{List: []ast.Stmt{&ast.CaseClause{List: clause.(*ast.CaseClause).List}}}, func(n ast.Node) bool {
					if sel, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(sel.Sel.Name, "Err") {
						asked = append(asked, sel.Sel.Name)
					}
					return true
				})
			}
			if at := slices.Index(asked, "ErrUnavailable"); at > 0 {
				for _, before := range asked[:at] {
					if quickStart(rejections[before]) != 200 {
						t.Errorf("%s: asks for %s before ErrUnavailable", files.Position(s.Pos()), before)
					}
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// rejections are the errors of Validate that are about the key, by name.
var rejections = map[string]error{
	"ErrInvalid": apikey.ErrInvalid, "ErrDeleted": apikey.ErrDeleted, "ErrReplaced": apikey.ErrReplaced, "ErrScope": apikey.ErrScope,
	"ErrOwnerDisabled": apikey.ErrOwnerDisabled, "ErrDisabled": apikey.ErrDisabled, "ErrExpired": apikey.ErrExpired, "ErrAddress": apikey.ErrAddress,
}
