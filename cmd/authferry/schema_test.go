package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/docs/schema"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/testenv"
)

//go:generate go test -run ^TestSchemas$ . -schemas

var writeSchemas = flag.Bool("schemas", false, "write docs/schema instead of comparing it")

// document is one kind of JSON: its file in docs/schema, what it is, and its type; more
// than one where it can be each of them.
type document struct {
	name, about string
	types       []any
}

// jsonKinds are all that a program reads of authferry, and what report reads.
var jsonKinds = []document{
	{"token", "A token: authferry token --json, and next in a verdict.", []any{tokenDoc{}}},
	{"header", "The headers of a request: authferry header --json.", []any{headersDoc{}}},
	{"report-request", "What an API answered: stdin of authferry report.", []any{reportDoc{}}},
	{"report", "A verdict, what to do next: stdout of authferry report.", []any{verdictDoc{}}},
	{"status", "Every pool, who is current and why: authferry status --json.", []any{broker.StatusView{}}},
	{"list", "All accounts: authferry list --json.", []any{accountsDoc{}}},
	{"account", "One account: authferry info --json, authferry refresh ACCOUNT --json.", []any{pool.AccountView{}}},
	{"whoami", "Which account is used here, and by what: authferry whoami --json.", []any{whoamiDoc{}}},
	{"account-change", "The account that was changed: authferry rename, enable, disable, move, order and remove with --json.", []any{accountDoc{}}},
	{"error", "A failure: stdout of any command with --json that fails.", []any{errorDoc{}}},

	{"refresh", "What came of each account: authferry refresh --all --json.", []any{refreshedDoc{}}},
	{"use", "What is current or bound now: authferry use --json.", []any{useDoc{}}},
	{"bindings", "The directories that are bound: authferry use --list --json.", []any{bindingsDoc{}}},
	{"holds", "Holds: authferry holds, holds add and holds clear with --json.", []any{holdsDoc{}}},
	{"import", "The accounts that were taken over: authferry import --json.", []any{importedDoc{}}},
	{"import-plan", "What an import would take over: authferry import --dry-run --json.", []any{plannedDoc{}}},
	{"login", "A step of a login: a line of authferry login --json.", []any{addressDoc{Event: "authorization_url"}, deviceCodeDoc{Event: "device_code"}, serverDoc{Event: "server"}, loggedInDoc{Event: "account"}}},
	{"serve", "Where the proxy listens: the first line of authferry serve --json.", []any{listeningDoc{Event: "listening"}}},

	{"share-pool", "A pool that is shared now: authferry share start --json.", []any{sharedPoolDoc{}}},
	{"share-status", "Shared pools, and who has which account: authferry share status --json.", []any{pipe.StatusResult{}}},
	{"share-members", "The machines of a shared pool: authferry share members --json.", []any{pipe.MembersResult{}}},
	{"share-left", "What this machine is out of: authferry share leave --json.", []any{pipe.LeaveResult{}}},
	{"share-removed", "What a removed machine still knows: authferry share remove --json.", []any{pipe.RemoveResult{}}},
	{"share-recovered", "Which machine was waited for: authferry share recover --json.", []any{pipe.RecoverResult{}}},
	{"share-serve", "What happens in a shared pool: a line of authferry share serve --json.", []any{pipe.ServeEvent{Event: "watching"}, pipe.ServeEvent{Event: "adopted"}, pipe.ServeEvent{Event: "refreshed"}, pipe.ServeEvent{Event: "lost"}, pipe.ServeEvent{Event: "back"}}},

	{"provider", "A provider: authferry provider show and provider add with --json.", []any{oauth.Provider{}}},
	{"providers", "All providers: authferry provider list --json.", []any{providersDoc{}}},
	{"provider-removed", "The provider that was removed: authferry provider remove --json.", []any{removedDoc{}}},
	{"setup", "What setting up a program changes: authferry setup CLIENT --json.", []any{setupDoc{}}},
	{"clients", "The programs that can be set up: authferry setup --json.", []any{clientsDoc{}}},
	{"doctor", "What was checked: authferry doctor --json.", []any{checksDoc{}}},
	{"keystore", "Which keystore is in use, and whether it works: authferry keystore status, init, unlock, lock and migrate with --json.", []any{folder.KeystoreStatus{}}},
	{"config", "Settings: authferry config list, get and set with --json.", nil},
	{"version", "The version: authferry version --json.", []any{versionDoc{}}},
}

// shared are the types that stand once in each file, by name.
var shared = map[reflect.Type]string{
	reflect.TypeFor[pool.AccountView](): "account",
	reflect.TypeFor[tokenDoc]():         "token",
	reflect.TypeFor[errorBody]():        "error",
	reflect.TypeFor[oauth.Provider]():   "provider",
	reflect.TypeFor[pool.HoldView]():    "hold",
	reflect.TypeFor[time.Time]():        "time",
}

// The files of docs/schema are what the types are.
func TestSchemas(t *testing.T) {
	var names []string
	m := newSchemaMaker(t)
	for _, d := range jsonKinds {
		names = append(names, d.name+".json")
		buffer := m.document(d)
		path := filepath.Join("..", "..", "docs", "schema", d.name+".json")
		if *writeSchemas {
			testenv.Must(t, os.WriteFile(path, buffer.Bytes(), 0o644)) // #nosec G306 -- a document
			continue
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, buffer.Bytes()) {
			t.Errorf("%s isn't what the types are (%v): go generate ./cmd/authferry", path, err)
		}
	}
	there, err := filepath.Glob(filepath.Join("..", "..", "docs", "schema", "*.json"))
	testenv.Must(t, err)
	for _, path := range there {
		if !slices.Contains(names, filepath.Base(path)) {
			t.Errorf("%s is of no document", path)
		}
	}
}

// Every command that takes --json has documents, and each of them has a schema.
func TestEveryCommandHasASchema(t *testing.T) {
	k, err := newParser(new(grammar), streams{})
	testenv.Must(t, err)
	_ = kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		n, ok := node.(*kong.Node)
		if !ok || !n.Leaf() || !slices.ContainsFunc(n.Flags, func(f *kong.Flag) bool { return f.Name == "json" }) {
			return next(nil)
		}
		var words []string
		for at := n; at.Parent != nil; at = at.Parent {
			words = append([]string{at.Name}, words...)
		}
		if schema.Documents(words) == nil {
			t.Errorf("%q takes --json and has no document in docs/schema/schema.go", words)
		}
		return next(nil)
	})
	var listed []string
	for _, names := range schema.Commands {
		listed = append(listed, names...)
	}
	for _, d := range jsonKinds {
		if !slices.Contains(listed, d.name) && d.name != "error" && d.name != "report-request" {
			t.Errorf("no command prints %s", d.name)
		}
	}
}

// schemaMaker makes schemas of types, and descriptions of their comments.
type schemaMaker struct {
	t        *testing.T
	options  *jsonschema.ForOptions
	read     map[string]bool   // the packages
	comments map[string]string // by package.Type.Field
	values   map[string][]any  // by package.Type: its constants
}

func newSchemaMaker(t *testing.T) *schemaMaker {
	t.Helper()
	m := &schemaMaker{t: t, read: map[string]bool{}, comments: map[string]string{}, values: map[string][]any{},
		options: &jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
			reflect.TypeFor[oneOrMore](): {OneOf: []*jsonschema.Schema{{Type: "string"}, {Type: "array", Items: &jsonschema.Schema{Type: "string"}}}},
		}}}
	return m
}

// document is the whole of a file.
func (m *schemaMaker) document(d document) *bytes.Buffer {
	m.t.Helper()
	root := &jsonschema.Schema{Type: "object"}
	defs := map[string]*jsonschema.Schema{}
	switch len(d.types) {
	case 0:
		root.Properties = m.settings()
	case 1:
		root = m.schema(reflect.TypeOf(d.types[0]), defs)
		m.event(root, d.types[0])
	default:
		for _, one := range d.types {
			s := m.schema(reflect.TypeOf(one), defs)
			m.event(s, one)
			root.OneOf = append(root.OneOf, s)
		}
	}
	root.Defs = defs
	text, err := json.Marshal(root)
	testenv.Must(m.t, err)
	head := fmt.Sprintf(`{"$schema":"https://json-schema.org/draft/2020-12/schema","description":%q,`, d.about)
	var buffer bytes.Buffer
	testenv.Must(m.t, json.Indent(&buffer, append([]byte(head), text[1:]...), "", "  "))
	buffer.WriteByte('\n')
	return &buffer
}

// event makes the one value of an event's name the only one.
func (m *schemaMaker) event(s *jsonschema.Schema, document any) {
	if v := reflect.ValueOf(document).FieldByName("Event"); v.IsValid() {
		s.Properties["event"].Const = new(v.Interface())
	}
}

// settings are those of config.toml.
func (m *schemaMaker) settings() map[string]*jsonschema.Schema {
	f := folder.New(folder.Options{Dir: m.t.TempDir()})
	all := map[string]*jsonschema.Schema{}
	for _, key := range folder.ConfigKeys() {
		v, err := folder.ConfigGet(f, key)
		testenv.Must(m.t, err)
		all[key], err = jsonschema.ForType(reflect.TypeOf(v), nil)
		testenv.Must(m.t, err)
	}
	return all
}

// schema is t's; what is shared goes to defs, but for t itself.
func (m *schemaMaker) schema(t reflect.Type, defs map[string]*jsonschema.Schema) *jsonschema.Schema {
	s, err := jsonschema.ForType(t, m.options)
	testenv.Must(m.t, err)
	m.finish(s, t, "", defs)
	return s
}

// finish makes of what the library infers what is meant: an optional member is left out
// and never null, members may be added, times are as documents have them, and a type
// with constants has no other values. path is where the comments of a type without a
// name stand.
func (m *schemaMaker) finish(s *jsonschema.Schema, t reflect.Type, path string, defs map[string]*jsonschema.Schema) {
	if len(s.Types) > 0 {
		s.Types = slices.DeleteFunc(s.Types, func(name string) bool { return name == "null" })
		s.Type, s.Types = s.Types[0], nil
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		s.Format, s.Pattern = "date-time", `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`
	case m.options.TypeSchemas[t] != nil:
	case t.Kind() == reflect.String && t.Name() != "string":
		m.parse(t.PkgPath())
		s.Enum = m.values[t.PkgPath()+"."+t.Name()]
	case t.Kind() == reflect.Slice:
		m.element(s.Items, t.Elem(), path, defs)
	case t.Kind() == reflect.Map:
		m.element(s.AdditionalProperties, t.Elem(), path, defs)
	case t.Kind() == reflect.Struct:
		s.AdditionalProperties = nil
		m.members(s, t, path, defs)
	}
}

func (m *schemaMaker) members(s *jsonschema.Schema, t reflect.Type, path string, defs map[string]*jsonschema.Schema) {
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		member := s.Properties[name]
		if member == nil || field.Anonymous {
			continue
		}
		owner := t
		for _, i := range field.Index[:len(field.Index)-1] {
			owner = owner.Field(i).Type
		}
		at := path
		if owner.Name() != "" {
			m.parse(owner.PkgPath())
			at = owner.PkgPath() + "." + owner.Name()
		}
		at += "." + field.Name
		m.element(member, field.Type, at, defs)
		member.Description = described(m.comments[at], field.Name)
	}
}

// element is finish for what is in something else.
func (m *schemaMaker) element(s *jsonschema.Schema, t reflect.Type, path string, defs map[string]*jsonschema.Schema) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := shared[t]
	if name == "" {
		m.finish(s, t, path, defs)
		return
	}
	if defs[name] == nil {
		defs[name] = &jsonschema.Schema{} // what it has of its own kind ends here
		defs[name] = m.schema(t, defs)
	}
	*s = jsonschema.Schema{Ref: "#/$defs/" + name}
}

// described is a field's comment, without its name.
func described(comment, field string) string {
	return strings.TrimSuffix(strings.TrimPrefix(strings.Join(strings.Fields(comment), " "), field+": "), ".")
}

// parse reads a package's comments and constants.
func (m *schemaMaker) parse(path string) {
	m.t.Helper()
	if m.read[path] {
		return
	}
	m.read[path] = true
	dir := "."
	if below, ok := strings.CutPrefix(path, "github.com/authferry/authferry/"); ok {
		dir = filepath.Join("..", "..", below)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	testenv.Must(m.t, err)
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		testenv.Must(m.t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				return false
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok {
					m.fields(path+"."+n.Name.Name, s)
				}
				return false
			case *ast.ValueSpec:
				m.constants(path, n)
			}
			return true
		})
	}
}

func (m *schemaMaker) fields(path string, s *ast.StructType) {
	for _, field := range s.Fields.List {
		for _, name := range field.Names {
			m.comments[path+"."+name.Name] = field.Doc.Text() + field.Comment.Text()
			if inner, ok := field.Type.(*ast.StructType); ok {
				m.fields(path+"."+name.Name, inner)
			}
		}
	}
}

func (m *schemaMaker) constants(path string, spec *ast.ValueSpec) {
	kind, ok := spec.Type.(*ast.Ident)
	if !ok {
		return
	}
	for _, value := range spec.Values {
		literal, ok := value.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			continue
		}
		text, err := strconv.Unquote(literal.Value)
		testenv.Must(m.t, err)
		m.values[path+"."+kind.Name] = append(m.values[path+"."+kind.Name], text)
	}
}
