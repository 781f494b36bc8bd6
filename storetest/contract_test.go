package storetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// contract reads store.go: the sentences of the lists in the documentation of
// the interface Store and its methods, and all of that documentation as one
// text.
func contract(t *testing.T) (sentences []string, text string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../store.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var docs []*ast.CommentGroup
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range group.Specs {
			named, ok := spec.(*ast.TypeSpec)
			if !ok || named.Name.Name != "Store" {
				continue
			}
			docs = append(docs, group.Doc)
			for _, method := range named.Type.(*ast.InterfaceType).Methods.List {
				docs = append(docs, method.Doc)
			}
		}
	}
	for _, doc := range docs {
		open := false // a sentence that goes on in the next line
		for line := range strings.SplitSeq(doc.Text(), "\n") {
			if begin, ok := strings.CutPrefix(line, "  - "); ok {
				sentences = append(sentences, begin)
				open = true
				continue
			}
			more, indented := strings.CutPrefix(line, "    ")
			if open = open && indented; open {
				sentences[len(sentences)-1] += " " + more
			}
		}
		text += " " + strings.Join(strings.Fields(doc.Text()), " ")
	}
	return sentences, text
}

func TestRulesAreTheContract(t *testing.T) {
	sentences, text := contract(t)
	if len(sentences) < 30 {
		t.Fatalf("found only %d sentences in store.go", len(sentences))
	}
	var quoted []string
	names := map[string]bool{}
	for _, r := range rules() {
		if names[r.name] {
			t.Errorf("two rules are named %q", r.name)
		}
		names[r.name] = true
		if slices.Contains(quoted, r.sentence) {
			t.Errorf("two rules quote: %s", r.sentence)
		}
		quoted = append(quoted, r.sentence)
	}
	for _, sentence := range sentences {
		if !slices.Contains(quoted, sentence) {
			t.Errorf("store.go says, and no rule tests: %s", sentence)
		}
	}
	// What holds for all calls stands before the methods and in no list.
	general := len(quoted)
	for _, sentence := range quoted {
		if slices.Contains(sentences, sentence) {
			general--
		} else if !strings.Contains(text, " "+sentence+" ") {
			t.Errorf("a rule tests, and store.go does not say: %s", sentence)
		}
	}
	if general > len(callRules) {
		t.Errorf("%d rules quote no sentence of a list, want at most %d", general, len(callRules))
	}
}
