// Package authferry_test holds the rules of the house that no compiler does:
// CONTRIBUTING.md says why they are there.
package authferry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

const module = "github.com/authferry/authferry"

// floors are the folders of the house from the cellar up, with those below
// them. A package imports from lower floors and from folders below its own.
var floors = []struct {
	dir   string
	floor int
}{
	{"proofs", -1},
	{"atomicfile", 0},
	{"humantime", 0},
	{"docs/schema", 0},
	{"rawtext", 0},
	{"testenv", 0},
	{"version", 0},
	{"keystore", 1},
	{"share/engine", 1},
	{"share/etcd", 2},
	{"share/sharetest", 3},
	{"share/pipe", 3},
	{"broker/lock", 1},
	{"broker/ratelimit", 1},
	{"broker/fault", 2},
	{"broker/index", 3},
	{"broker/oauth", 3},
	{"broker/takeover/source", 3},
	{"broker/record", 4},
	{"broker/folder", 5},
	{"share/seal", 5},
	{"broker/place", 6},
	{"broker/pool", 7},
	{"broker/rotation", 8},
	{"broker/account", 8},
	{"broker/takeover", 9},
	{"share", 9},
	{"broker/doctor", 10},
	{"broker/brokertest", 10},
	{"broker/torture", 10},
	{"broker", 10},
	{"serve", 11},
	{"bridge", 11},
	{"cmd", 12},
	{"bench", 13},
	{"docs", 13},
	{"scripts", 13},
}

// owners are the only folders that import these modules, in tests as well.
var owners = map[string][]string{
	"github.com/zalando/go-keyring": {"keystore"},
	"filippo.io/age":                {"keystore", "share/seal"},
	"github.com/gofrs/flock":        {"broker/lock"},
	"golang.org/x/oauth2":           {"broker/oauth"},
	"github.com/alecthomas/kong":    {"cmd"},
	"go.etcd.io/etcd":               {"share/etcd"},
	"google.golang.org/grpc":        {"share/etcd"},
	"go.uber.org/zap":               {"share/etcd"},
}

// testSupport is for tests and for its own kind, and where it is named here for the
// one program that shows it to people.
var testSupport = map[string]string{
	"keystore/keystoretest":       "",
	"broker/brokertest":           "cmd/authferry-sim",
	"broker/torture":              "",
	"cmd/authferry/authferrytest": "",
	"docs/schema":                 "",
	"proofs":                      "",
	"share/engine/enginetest":     "",
	"share/sharetest":             "",
	"testenv":                     "",
}

func supportsTests(dir string) bool {
	for folder := range testSupport {
		if within(dir, folder) {
			return true
		}
	}
	return false
}

type listed struct {
	ImportPath string
	Imports    []string // of the program, not of its tests

	TestImports, XTestImports []string
}

// packages are those of one of the house's modules.
func packages(t *testing.T, dir, goos string) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	decoder := json.NewDecoder(bytes.NewReader(output))
	for {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// within reports whether dir is folder or below it.
func within(dir, folder string) bool { return dir == folder || strings.HasPrefix(dir, folder+"/") }

func floorOf(dir string) (folder string, floor int) {
	for _, f := range floors {
		if within(dir, f.dir) {
			return f.dir, f.floor
		}
	}
	return "", -1
}

func TestArrowsPointDown(t *testing.T) {
	for _, m := range []struct{ dir, goos string }{{".", "linux"}, {".", "darwin"}, {".", "windows"}, {"bench", "linux"}} {
		for _, p := range packages(t, m.dir, m.goos) {
			if p.ImportPath == module {
				continue // this test
			}
			dir := strings.TrimPrefix(p.ImportPath, module+"/")
			var complaints []string
			for _, imported := range p.Imports {
				complaints = append(complaints, judge(dir, imported))
			}
			for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
				complaints = append(complaints, judgeOwner(dir, imported))
			}
			for _, complaint := range complaints {
				if complaint != "" {
					t.Errorf("%s: %s", m.goos, complaint)
				}
			}
			if folder, _ := floorOf(dir); folder == "" {
				t.Errorf("%s has no place in the house: find it one of the folders in CONTRIBUTING.md, or give the new folder a floor there and in this test", dir)
			}
		}
	}
}

// judgeOwner says whose the imported module is, if it isn't this folder's. The bench
// is no part of the program.
func judgeOwner(dir, imported string) string {
	for path, folders := range owners {
		ours := slices.ContainsFunc(folders, func(owner string) bool { return within(dir, owner) })
		if within(imported, path) && !ours && !within(dir, "bench") {
			return dir + " imports " + imported + ": only " + strings.Join(folders, ", ") + " does; ask it for what you need"
		}
	}
	return ""
}

// judge says what is wrong with the import, if anything.
func judge(dir, imported string) string {
	if complaint := judgeOwner(dir, imported); complaint != "" {
		return complaint
	}
	target, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return ""
	}
	for support, user := range testSupport {
		if within(target, support) && !supportsTests(dir) && !within(dir, "bench") && (user == "" || !within(dir, user)) {
			return dir + " imports " + target + ": that is for tests, import it in a _test.go file"
		}
	}
	from, floor := floorOf(dir)
	to, below := floorOf(target)
	switch {
	case from == to && to != "cmd", within(target, dir):
		return ""
	case to == "cmd" && !within(dir, "cmd"):
		return dir + " imports " + target + ": nothing imports a command; move what both need down into broker"
	case from == to:
		return ""
	case below >= floor:
		return dir + " imports " + target + ": imports only point down (cmd → serve → broker → takeover → {account, rotation} → pool → place → folder → record → fault, index, oauth → lock, ratelimit, keystore)"
	}
	return ""
}

// What somebody might import says that its API is no promise.
func TestGoAPIIsNoPromise(t *testing.T) {
	for _, dir := range []string{"broker", "broker/oauth", "keystore", "serve", "bridge"} {
		text, err := exec.Command("go", "doc", "./"+dir).Output() // #nosec G204 -- a folder of ours
		if err != nil {
			t.Fatalf("go doc ./%s: %v", dir, err)
		}
		if !bytes.Contains(bytes.Join(bytes.Fields(text), []byte(" ")), []byte("API may change in any release")) {
			t.Errorf("%s: its package comment doesn't say that its Go API may change in any release", dir)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, test := range []struct {
		dir, imported, want string
	}{
		{"broker", module + "/broker/index", ""},
		{"broker", module + "/keystore", ""},
		{"broker/fault", module + "/broker", "only point down"},
		{"keystore", module + "/rawtext", ""},
		{"rawtext", module + "/atomicfile", "only point down"},
		{"cmd/authferry", module + "/broker", ""},
		{"cmd/authferry", module + "/serve", ""},
		{"serve", module + "/broker", ""},
		{"broker", module + "/serve", "only point down"},
		{"serve", module + "/cmd/authferry", "nothing imports a command"},
		{"cmd/authferry", module + "/cmd/authferry/helper", ""},
		{"cmd/authferry-sim", module + "/broker/brokertest", ""},
		{"broker/brokertest/oidc", module + "/broker/brokertest", ""},
		{"keystore", "filippo.io/age", ""},
		{"bench", "github.com/zalando/go-keyring", ""},
		{"bench", module + "/broker/brokertest", ""},
		{"keystore", "filippo.io/age/armor", ""},
		{"broker", "filippo.io/age", "only keystore, share/seal does"},
		{"share/seal", "filippo.io/age", ""},
		{"share", "filippo.io/age", "only keystore, share/seal does"},
		{"broker/index", "golang.org/x/oauth2", "only broker/oauth does"},
		{"cmd/authferry", "golang.org/x/oauth2/endpoints", "only broker/oauth does"},
		{"broker", "github.com/alecthomas/kong", "only cmd does"},
		{"keystore", module + "/broker", "only point down"},
		{"broker/index", module + "/broker/oauth", "only point down"},
		{"broker/ratelimit", module + "/broker", "only point down"},
		{"broker", module + "/cmd/authferry", "nothing imports a command"},
		{"bench", module + "/cmd/authferry", "nothing imports a command"},
		{"broker", module + "/broker/brokertest", "for tests"},
		{"cmd/authferry", module + "/keystore/keystoretest", "for tests"},
		{"cmd/authferry", module + "/cmd/authferry/authferrytest", "for tests"},
		{"cmd/authferry/authferrytest", module + "/broker/brokertest", ""},
		{"cmd/authferry/authferrytest", module + "/cmd/authferry/setup", ""},
	} {
		got := judge(test.dir, test.imported)
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s imports %s: got %q, want %q", test.dir, test.imported, got, test.want)
		}
	}
}

// The library says what helps as a fault.Remedy; how that is typed, cmd/authferry/hint.go
// alone knows. bench and scripts are programs that run authferry, and name what they ran.
func TestOnlyCommandsKnowCommandLines(t *testing.T) {
	grammar, err := os.ReadFile("cmd/authferry/run.go")
	testenv.Must(t, err)
	var words []string
	for _, m := range regexp.MustCompile("(?m)^\\t[A-Z]\\w+ +(\\w+)Cmd +`cmd:").FindAllSubmatch(grammar, -1) {
		words = append(words, strings.ToLower(string(m[1])))
	}
	if len(words) < 25 {
		t.Fatalf("the commands are %q", words)
	}
	line := regexp.MustCompile(`\bauthferry (` + strings.Join(words, "|") + `)\b(-|[^-]|$)`)
	walk(t, func(path string, content []byte) {
		top, _, _ := strings.Cut(path, string(filepath.Separator))
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || slices.Contains([]string{"cmd", "bench", "scripts"}, top) || supportsTests(filepath.ToSlash(filepath.Dir(path))) {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, content, 0)
		if err != nil {
			t.Error(err)
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING && l.Value != `"authferry serve"` && line.MatchString(l.Value) { // that program's own name
				t.Errorf("%s: %s is a command line: give the error a fault.Remedy, and cmd/authferry/hint.go its command", path, l.Value)
			}
			return true
		})
	})
}

// machineTimes are the files that read or write a time for programs, and why.
var machineTimes = map[string]string{
	"rawtext/moment.go":         "reads other programs' times",
	"broker/ratelimit/clock.go": "reads a provider's times",
	"broker/ratelimit/date.go":  "reads a provider's times",
	"broker/index/file.go":      "names a file by its time",
	"keystore/keyfile.go":       "writes a key file as age-keygen does",
	"keystore/passphrase.go":    "keeps until when a key is unlocked",
}

// Times for people have one form, and one owner. (encoding/json writes those for programs.)
func TestPeopleReadOneFormOfTime(t *testing.T) {
	layout := regexp.MustCompile(`15:?04|2006`)
	constants := regexp.MustCompile(`^(Layout|ANSIC|UnixDate|RubyDate|Kitchen|RFC\d.*|Stamp.*|Date(Time|Only)|TimeOnly)$`)
	used := map[string]bool{}
	walk(t, func(path string, content []byte) {
		path = filepath.ToSlash(path)
		dir := filepath.ToSlash(filepath.Dir(path))
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || dir == "humantime" || within(dir, "bench") || within(dir, "scripts") || within(dir, "cmd/authferry-sim") || supportsTests(dir) {
			return
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, content, 0)
		if err != nil {
			t.Error(err)
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			found := ""
			switch n := n.(type) {
			case *ast.BasicLit:
				if n.Kind == token.STRING && layout.MatchString(n.Value) {
					found = n.Value
				}
			case *ast.SelectorExpr:
				if of, ok := n.X.(*ast.Ident); ok && of.Name == "time" && constants.MatchString(n.Sel.Name) {
					found = "time." + n.Sel.Name
				}
			}
			if used[path] = used[path] || found != ""; found != "" && machineTimes[path] == "" {
				t.Errorf("%s: %s: people read times as package humantime writes them; if this one is for programs, name the file in machineTimes", path, found)
			}
			return true
		})
	})
	for path := range machineTimes {
		if !used[path] {
			t.Errorf("%s has no form of a time any more: take it out of machineTimes", path)
		}
	}
}

// A folder's name says what is in it; these say that nobody knew.
var vagueFolders = []string{"internal", "pkg", "util", "utils", "types", "common", "helpers", "misc", "lib"}

// Lines are put together here so that this file doesn't break its own rules.
var lineRules = []struct {
	pattern *regexp.Regexp
	files   *regexp.Regexp // by their names
	say     string
}{
	{
		regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`),
		regexp.MustCompile(`\.(go|js|mjs|ts|sh)$|^[^.]+$`),
		"finish it, or say in the documentation what the program doesn't do",
	},
	{
		regexp.MustCompile(`(^|[^\w.~}])/(wo` + `rk|tm` + `p|ro` + `ot)/\w`),
		regexp.MustCompile(``),
		"a path of one machine: use t.TempDir, mktemp or a made-up home",
	},
	{
		regexp.MustCompile(`registry\.(npm` + `js|yarn` + `pkg)\.|(pro` + `xy|s` + `um)\.golang\.org|deb\.deb` + `ian\.org|py` + `pi\.org`),
		regexp.MustCompile(``),
		"a package registry's host: its client knows where it is",
	},
	{
		regexp.MustCompile(`\bapp_[A-Za-z0-9]{24}\b|[0-9]{6,}-[a-z0-9]{32}\.apps\.google|\bGOCSPX-[\w-]{20}|\bIv1\.[0-9a-f]{16}\b|(?i)client_?id["'\s:=]{1,4}[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}`),
		regexp.MustCompile(``),
		"a client id of another vendor's program: the user brings it (--client-id), this repository doesn't",
	},
}

func TestNoLineBreaksTheRules(t *testing.T) {
	walk(t, func(path string, content []byte) {
		number := 0
		for line := range bytes.Lines(content) {
			number++
			for _, rule := range lineRules {
				if rule.files.MatchString(filepath.Base(path)) && rule.pattern.Match(line) {
					t.Errorf("%s:%d: %s", path, number, rule.say)
				}
			}
		}
	})
}

// walk visits every text file that could be committed.
func walk(t *testing.T, visit func(path string, content []byte)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if name == ".git" { // a file in a worktree
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			if name == "node_modules" || name == "dist" {
				return fs.SkipDir
			}
			if slices.Contains(vagueFolders, name) {
				t.Errorf("%s: a folder is named after what is in it", path)
			}
			return nil
		}
		if !entry.Type().IsRegular() || name == "go.sum" {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.IndexByte(content, 0) < 0 {
			visit(path, content)
		}
		return nil
	})
	testenv.Must(t, err)
}

func TestEveryDependencyIsExplained(t *testing.T) {
	output, err := exec.Command("go", "mod", "edit", "-json").Output()
	testenv.Must(t, err)
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	testenv.Must(t, json.Unmarshal(output, &mod))
	text, err := os.ReadFile("CONTRIBUTING.md")
	testenv.Must(t, err)
	for _, r := range mod.Require {
		if !r.Indirect && !bytes.Contains(text, []byte("`"+r.Path+"`")) {
			t.Errorf("%s: CONTRIBUTING.md has a table of dependencies; say there why this one is worth it", r.Path)
		}
	}
}
