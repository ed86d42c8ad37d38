package authferry_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// mostMethods is how many methods a type may have. One with more has several subjects.
const mostMethods = 40

// kinds are all types of the house, by folder and name.
type kinds map[string]*kind

// kind is a type, as far as its methods need it.
type kind struct {
	methods  map[string]bool
	embedded []string // the house's; of these it has the methods too
}

func (k kinds) of(name string) *kind {
	if k[name] == nil {
		k[name] = &kind{methods: map[string]bool{}}
	}
	return k[name]
}

// read takes in one file, whichever system it is for.
func (k kinds) read(dir string, file *ast.File) {
	imports := map[string]string{} // the house's folders, by the name in this file
	for _, i := range file.Imports {
		if target, ours := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module+"/"); ours && i.Name != nil {
			imports[i.Name.Name] = target
		} else if ours {
			imports[filepath.Base(target)] = target
		}
	}
	// A test that is outside of its package has names of its own.
	if strings.HasSuffix(file.Name.Name, "_test") {
		dir += "_test"
	}
	var named func(e ast.Expr) string
	named = func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.Ident:
			return dir + "." + e.Name
		case *ast.StarExpr:
			return named(e.X)
		case *ast.ParenExpr:
			return named(e.X)
		case *ast.IndexExpr:
			return named(e.X)
		case *ast.IndexListExpr:
			return named(e.X)
		case *ast.SelectorExpr:
			if target := imports[e.X.(*ast.Ident).Name]; target != "" {
				return target + "." + e.Sel.Name
			}
		}
		return "" // another module's
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv != nil && d.Name.Name != "_" {
				k.of(named(d.Recv.List[0].Type)).methods[d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				spec, ok := s.(*ast.TypeSpec)
				if !ok {
					continue
				}
				to := k.of(dir + "." + spec.Name.Name)
				var fields *ast.FieldList
				face := false
				switch t := spec.Type.(type) {
				case *ast.StructType:
					fields = t.Fields
				case *ast.InterfaceType:
					fields, face = t.Methods, true
				default:
					if spec.Assign.IsValid() { // another name of it
						to.embedded = append(to.embedded, named(t))
					}
					continue
				}
				for _, f := range fields.List {
					if face && len(f.Names) > 0 {
						to.methods[f.Names[0].Name] = true
					} else if len(f.Names) == 0 {
						to.embedded = append(to.embedded, named(f.Type))
					}
				}
			}
		}
	}
}

// all are the methods of a type, its own and those of what it embeds.
func (k kinds) all(name string) map[string]bool {
	all, seen := map[string]bool{}, map[string]bool{}
	var add func(name string)
	add = func(name string) {
		t := k[name]
		if t == nil || seen[name] {
			return
		}
		seen[name] = true
		for m := range t.methods {
			all[m] = true
		}
		for _, e := range t.embedded {
			add(e)
		}
	}
	add(name)
	return all
}

func TestNoTypeHasManySubjects(t *testing.T) {
	k := kinds{}
	walk(t, func(path string, content []byte) {
		path = filepath.ToSlash(path)
		if !strings.HasSuffix(path, ".go") || strings.Contains(path, "/testdata/") {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, content, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		k.read(filepath.ToSlash(filepath.Dir(path)), file)
	})
	for name := range k {
		if n := len(k.all(name)); n > mostMethods {
			t.Errorf("%s has %d methods with those of what it embeds, more than %d: divide it by subject", name, n, mostMethods)
		}
	}
}

func TestMethodsAreCounted(t *testing.T) {
	k := kinds{}
	for dir, source := range map[string]string{
		"lower": "package lower\ntype L struct{}\nfunc (*L) One() {}\nfunc (L) Two() {}",
		"upper": `package upper
			import ("io"; down "` + module + `/lower")
			type both struct { *down.L; face; io.Reader; named down.L; hook func() }
			type face interface { Three(); Four() }
			type again = generic[int]
			type generic[T any] struct { again; both }
			func (b *both) Two() {}
			func (g *generic[T]) Five() {}`,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
		testenv.Must(t, err)
		k.read(dir, file)
	}
	for name, want := range map[string]int{"lower.L": 2, "upper.both": 4, "upper.generic": 5, "upper.again": 5, "upper.face": 2} {
		if got := len(k.all(name)); got != want {
			t.Errorf("%s has %d methods, not %d", name, got, want)
		}
	}
}
