//go:build unix

package keystoretest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// Mac builds programs of this module that take the system for macOS: go-keyring's file
// for it, and ours. They run here, with command security of this folder in the place of
// Apple's. What isn't the keychain's is this system's still.
type Mac struct {
	// Env is what such a program has to have in its environment.
	Env []string
	// Path is the folder of security, for scripts.
	Path string

	root, state string
	flags       []string
}

const keyring = "github.com/zalando/go-keyring"

// NewMac prepares a Mac with an empty keychain. The module is at root.
func NewMac(t testing.TB, root string) *Mac {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs go: programs are built for the test")
	}
	dir := t.TempDir()
	root, err := filepath.Abs(root)
	testenv.Must(t, err)
	m := &Mac{root: root, Path: filepath.Join(dir, "bin"), state: filepath.Join(dir, "state")}
	m.Env = []string{"SECURITY_STATE=" + m.state, "SECURITY_PATH=" + m.Path}
	testenv.Must(t, os.Mkdir(m.state, 0o700))
	program := filepath.Join(m.Path, "security")
	m.run(t, "build", "-o", program, "./keystore/keystoretest/security")

	copied := filepath.Join(dir, "go-keyring")
	testenv.Must(t, os.CopyFS(copied, os.DirFS(strings.TrimSpace(m.run(t, "list", "-m", "-f", "{{.Dir}}", keyring)))))
	testenv.Must(t, os.Remove(filepath.Join(copied, "keyring_unix.go")))
	source := read(t, filepath.Join(copied, "keyring_darwin.go"))
	if strings.Count(source, `"/usr/bin/security"`) != 1 {
		t.Fatal("go-keyring runs another program on macOS than it did")
	}
	write(t, filepath.Join(copied, "keyring_security.go"), strings.Replace(source, "/usr/bin/security", program, 1))

	modfile := filepath.Join(dir, "go.mod")
	write(t, modfile, read(t, filepath.Join(root, "go.mod"))+"\nreplace "+keyring+" => "+copied+"\n")
	write(t, filepath.Join(dir, "go.sum"), read(t, filepath.Join(root, "go.sum")))
	m.flags = []string{"-modfile=" + modfile, "-mod=mod", "-overlay=" + m.overlay(t, dir)}
	return m
}

// overlay is the sources as on macOS: keystore's files by their constraints, and in
// all others the name of the system.
func (m *Mac) overlay(t testing.TB, dir string) string {
	t.Helper()
	replaced := map[string]string{}
	for _, folder := range []string{"keystore", "broker", "cmd"} {
		err := filepath.WalkDir(filepath.Join(m.root, folder), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			source := read(t, path)
			if strings.HasPrefix(source, "//go:build !windows && !darwin\n") && filepath.Dir(path) == filepath.Join(m.root, "keystore") {
				replaced[path] = ""
				return nil
			}
			if strings.HasSuffix(path, "_test.go") {
				return nil
			}
			mac := strings.Replace(source, "//go:build windows || darwin\n", "", 1)
			mac = regexp.MustCompile(`\bruntime\.GOOS\b`).ReplaceAllString(mac, `(runtime.GOOS[:0] + "darwin")`)
			if mac != source {
				replaced[path] = filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(path, m.root), string(filepath.Separator), "-"))
				write(t, replaced[path], mac)
			}
			return nil
		})
		testenv.Must(t, err)
	}
	content, err := json.Marshal(map[string]any{"Replace": replaced})
	testenv.Must(t, err)
	path := filepath.Join(dir, "overlay.json")
	write(t, path, string(content))
	return path
}

// Build builds the package, or with -c as the first argument its tests.
func (m *Mac) Build(t testing.TB, to string, args ...string) {
	t.Helper()
	command := "build"
	if args[0] == "-c" {
		command = "test"
	}
	m.run(t, command, append(append(slices.Clip(m.flags), "-o", to), args...)...)
}

// Break makes the keychain have a fault, which security's keychains.go lists; none ends it.
func (m *Mac) Break(t testing.TB, fault string) {
	t.Helper()
	BreakMac(t, m.state, fault)
}

// BreakMac does that where SECURITY_STATE names the folder.
func BreakMac(t testing.TB, state, fault string) {
	t.Helper()
	next := filepath.Join(state, "fault.new")
	write(t, next, fault)
	testenv.Must(t, os.Rename(next, filepath.Join(state, "fault")))
}

func (m *Mac) run(t testing.TB, command string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{command}, args...)...)
	cmd.Dir = m.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var complaint strings.Builder
	cmd.Stderr = &complaint
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", command, err, complaint.String())
	}
	return string(output)
}

func read(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	testenv.Must(t, err)
	return string(content)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	testenv.Must(t, os.WriteFile(path, []byte(content), 0o600))
}
