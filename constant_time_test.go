package apikey_test

import (
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestComparisonsOfSecrets reads the source. Secrets, digests and MACs are
// compared in constant time, by these functions and no others.
func TestComparisonsOfSecrets(t *testing.T) {
	want := map[string]string{
		"equal":  "subtle.ConstantTimeCompare", // of Secret
		"equals": "|= ^",                       // of a pepper
		"pass":   "hmac.Equal",                 // the MAC of a backup
	}
	got := map[string]string{}
	files := token.NewFileSet()
	var paths []string
	for _, pattern := range []string{"*.go", "internal/pepper/*.go", "backup/*.go"} {
		some, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, some...)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					switch call := source(n.Fun); call {
					case "hmac.Equal", "subtle.ConstantTimeCompare":
						got[strings.ToLower(fn.Name.Name)] = call
					case "bytes.Equal", "strings.EqualFold", "strings.Compare":
						if slices.ContainsFunc(n.Args, isSecret) {
							t.Errorf("%s: %s", files.Position(n.Pos()), source(n))
						}
					}
				case *ast.AssignStmt:
					if or, xor := n.Tok == token.OR_ASSIGN, strings.Contains(source(n.Rhs[0]), " ^ "); or && xor {
						got[strings.ToLower(fn.Name.Name)] = "|= ^"
					}
				case *ast.BinaryExpr:
					if n.Op != token.EQL && n.Op != token.NEQ || isLiteral(n.X) || isLiteral(n.Y) {
						return true
					}
					if isSecret(n.X) || isSecret(n.Y) {
						t.Errorf("%s: %s", files.Position(n.Pos()), source(n))
					}
				}
				return true
			})
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("functions that compare in constant time:\n%s", diff)
	}
}

// isSecret reports whether an expression names a secret or a digest, as a whole
// or in part.
func isSecret(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		name := strings.ToLower(e.Name)
		return strings.HasSuffix(name, "secret") || strings.HasSuffix(name, "digest")
	case *ast.SelectorExpr:
		return isSecret(e.Sel) || e.Sel.Name == "Reveal"
	case *ast.CallExpr:
		converts := source(e.Fun) == "string" || source(e.Fun) == "[]byte"
		return isSecret(e.Fun) || converts && isSecret(e.Args[0])
	case *ast.SliceExpr:
		return isSecret(e.X)
	case *ast.ParenExpr:
		return isSecret(e.X)
	}
	return false
}

func isLiteral(e ast.Expr) bool {
	_, literal := e.(*ast.BasicLit)
	return literal || source(e) == "nil"
}

// source returns the text of a node.
func source(n ast.Node) string {
	var text strings.Builder
	if err := printer.Fprint(&text, token.NewFileSet(), n); err != nil {
		return err.Error()
	}
	return text.String()
}
