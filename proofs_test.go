package authferry_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

var proofRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `([^`]+)` \\| .")

// CONTRIBUTING.md lists what is behind AUTHFERRY_PROOFS: every function and script
// that asks for the switch, and nothing that doesn't.
func TestProofsAreListed(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	testenv.Must(t, err)
	_, section, _ := bytes.Cut(text, []byte("### Proofs\n"))
	section, _, _ = bytes.Cut(section, []byte("\n## "))
	var listed, used []string
	for _, row := range proofRow.FindAllSubmatch(section, -1) {
		listed = append(listed, string(row[1])+" "+string(row[2]))
	}
	walk(t, func(file string, content []byte) {
		switch path.Ext(file) {
		case ".txtar":
			if bytes.Contains(content, []byte("proofs]")) {
				used = append(used, path.Dir(file)+" "+path.Base(file))
			}
		case ".go":
			if bytes.Contains(content, []byte(module+"/proofs\"")) {
				used = append(used, proofsIn(t, file, content)...)
			}
			if asksForShort.Match(content) {
				t.Errorf("%s: the proofs have one switch, package proofs, and not -short", file)
			}
		}
	})
	slices.Sort(used)
	for _, u := range slices.Compact(used) {
		if !slices.Contains(listed, u) {
			t.Errorf("%s is behind AUTHFERRY_PROOFS: say so in the table in CONTRIBUTING.md", u)
		}
	}
	for _, l := range listed {
		if !slices.Contains(used, l) {
			t.Errorf("%s is in the table of proofs in CONTRIBUTING.md, and doesn't ask for AUTHFERRY_PROOFS", l)
		}
	}
}

var asksForShort = regexp.MustCompile(`testing\.Short` + `\(`)

// proofsIn are the functions of a file that ask package proofs, each after its folder.
func proofsIn(t *testing.T, file string, content []byte) (used []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, content, parser.SkipObjectResolution)
	testenv.Must(t, err)
	for _, declaration := range parsed.Decls {
		ast.Inspect(declaration, func(n ast.Node) bool {
			call, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := call.X.(*ast.Ident); !ok || x.Name != "proofs" {
				return true
			}
			name := ""
			if f, ok := declaration.(*ast.FuncDecl); ok {
				name = f.Name.Name
			}
			used = append(used, strings.TrimSuffix(path.Dir(file), "/")+" "+name)
			return true
		})
	}
	return used
}
