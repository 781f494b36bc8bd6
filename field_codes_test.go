package apikey_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFieldCodes checks that each FieldError in the source has a code that the
// documentation of FieldError lists, and that each of these is used.
func TestFieldCodes(t *testing.T) {
	files := token.NewFileSet()
	var documented []string
	used := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || strings.HasPrefix(path, ".") && path != "."):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if path == "errors.go" {
			documented = documentedCodes(file)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			switch typeName(literal.Type) {
			case "Problem": // from which FieldErrors are made
				switch filepath.Dir(path) {
				case "internal/pepper":
					used[codeAt(literal, 1)] = true
				case "internal/text":
					if len(literal.Elts) > 0 {
						used[codeAt(literal, 0)] = true
					}
				}
			case "FieldError":
				if code := codeOf(literal); code != "" {
					used[code] = true
				} else if !fromProblem(literal) {
					t.Errorf("%s: a FieldError without a constant Code", files.Position(literal.Pos()))
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(documented)), slices.Sorted(maps.Keys(used))); diff != "" {
		t.Errorf("codes (-documented +used):\n%s", diff)
	}
}

// documentedCodes returns the codes in the list above the type FieldError.
func documentedCodes(file *ast.File) (codes []string) {
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.TYPE || group.Specs[0].(*ast.TypeSpec).Name.Name != "FieldError" {
			continue
		}
		for line := range strings.SplitSeq(group.Doc.Text(), "\n") {
			if item, ok := strings.CutPrefix(line, "  - "); ok {
				code, _, _ := strings.Cut(item, ":")
				codes = append(codes, code)
			}
		}
	}
	return codes
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// codeAt returns the code in a literal without names.
func codeAt(literal *ast.CompositeLit, at int) string {
	value, ok := literal.Elts[at].(*ast.BasicLit)
	if !ok {
		return ""
	}
	code, _ := strconv.Unquote(value.Value)
	return code
}

// fromProblem reports whether the code is that of a Problem of another package.
func fromProblem(literal *ast.CompositeLit) bool {
	for _, element := range literal.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok || typeName(pair.Key) != "Code" {
			continue
		}
		value, ok := pair.Value.(*ast.SelectorExpr)
		return ok && typeName(value.X) == "problem" && value.Sel.Name == "Code"
	}
	return false
}

func codeOf(literal *ast.CompositeLit) string {
	for _, element := range literal.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok || typeName(pair.Key) != "Code" {
			continue
		}
		if value, ok := pair.Value.(*ast.BasicLit); ok {
			code, _ := strconv.Unquote(value.Value)
			return code
		}
	}
	return ""
}
