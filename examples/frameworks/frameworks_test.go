package frameworks

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGlue counts the lines of code between each framework and apikey: those
// of its glue.go without the imports, comments and blank lines.
func TestGlue(t *testing.T) {
	files, err := filepath.Glob("*/glue.go")
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		lines := codeLines(t, name)
		if text := fmt.Sprintf("`%s`, %d lines", filepath.ToSlash(name), lines); !strings.Contains(string(readme), text) {
			t.Errorf("README.md does not say %s", text)
		}
		if lines < 5 || lines > 40 {
			t.Errorf("%s has %d lines", name, lines)
		}
	}
}

func codeLines(t *testing.T, name string) int {
	source, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(source), "\n")
	count := 0
	for _, d := range file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
			continue
		}
		for i := set.Position(d.Pos()).Line; i <= set.Position(d.End()).Line; i++ {
			if line := strings.TrimSpace(lines[i-1]); line != "" && !strings.HasPrefix(line, "//") {
				count++
			}
		}
	}
	return count
}
