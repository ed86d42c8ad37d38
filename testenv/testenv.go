// Package testenv keeps a package's tests away from the set-ups of whoever runs them:
// their home, their variables, and what other programs find by the name of authferry.
package testenv

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/proofs"
)

// Tests are a package's, as TestMain has them.
type Tests interface{ Run() int }

// theirs are the variables by which a machine tells authferry, and the programs that it
// serves, where things are and how to talk.
var theirs = regexp.MustCompile(`^(AUTHFERRY_|XDG_|TF_|GIT_|DOCKER_|KUBECONFIG$|CARGO_HOME$|CODEX_|CLAUDE|ANTHROPIC_|OPENAI_|GEMINI_|GOAUTH$|DBUS_|ETCD|GNOME_|GRPC_|SSH_|DISPLAY$|WAYLAND_DISPLAY$|BROWSER$|NO_COLOR$|CLICOLOR|FORCE_COLOR$|COLUMNS$|LC_|LANG$|LANGUAGE$|(?i:[a-z]+_proxy)$)`)

// ours are those of them by which tests are asked for.
var ours = []string{"AUTHFERRY_PROOFS", "AUTHFERRY_TEST_SYSTEM_KEYCHAIN", "AUTHFERRY_AI_CLIENTS", "AUTHFERRY_OPENCODE"}

// Alone gives this process a home of its own and an environment without the machine's
// set-ups, and lets more tests run at once. The home goes when the tests that it returns
// have run. Files that tests wait to see on a disk cost most of their time: without the
// proofs they are in memory, where the system has a place for that and TMPDIR names no other.
func Alone(tests Tests) Tests {
	copyProgram()
	if memory := inMemory(); memory != "" && os.Getenv("TMPDIR") == "" && !proofs.On() {
		set("TMPDIR", memory)
	}
	home, err := os.MkdirTemp("", "authferry-home-")
	if err != nil {
		panic(err)
	}
	keep()
	kept := ours
	if os.Getenv("AUTHFERRY_TEST_SYSTEM_KEYCHAIN") != "" {
		kept = append(slices.Clone(ours), "DBUS_SESSION_BUS_ADDRESS")
		keepKeychain(home)
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); theirs.MatchString(name) && !slices.Contains(kept, name) {
			set(name, "")
		}
	}
	set("HOME", home)
	set("USERPROFILE", home)
	set("APPDATA", filepath.Join(home, "AppData", "Roaming"))
	set("LOCALAPPDATA", filepath.Join(home, "AppData", "Local"))
	set("PATH", path(home, os.Getenv("PATH")))
	debug.SetGCPercent(400) // else a tenth of what tests compute is the collection of small heaps
	// Mostly tests wait for processes, and those for time to pass.
	_ = flag.Set("test.parallel", strconv.Itoa(4*runtime.GOMAXPROCS(0)))
	return alone{tests, home}
}

type alone struct {
	Tests
	home string
}

func (a alone) Run() int {
	defer func() { _ = os.RemoveAll(a.home) }()
	return a.Tests.Run()
}

// keepKeychain lets macOS find the keychain, which it looks for in the home that HOME
// names: which one is the default, and where the login keychain is.
func keepKeychain(home string) {
	old, err := os.UserHomeDir()
	if err != nil || runtime.GOOS != "darwin" {
		return
	}
	for _, name := range []string{"Library/Keychains", "Library/Preferences/com.apple.security.plist"} {
		link := filepath.Join(home, name)
		err = os.MkdirAll(filepath.Dir(link), 0o700)
		if err == nil {
			err = os.Symlink(filepath.Join(old, name), link)
		}
		if err != nil {
			panic(err)
		}
	}
}

// keep names the places of what Go and Rust have in the home that is left, so that
// nothing is fetched or compiled again.
func keep() {
	if output, err := exec.CommandContext(context.Background(), "go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPATH", "GOENV").Output(); err == nil {
		places := map[string]string{}
		_ = json.Unmarshal(output, &places)
		for name, place := range places {
			set(name, place)
		}
	}
	if old, err := os.UserHomeDir(); err == nil && os.Getenv("RUSTUP_HOME") == "" {
		set("RUSTUP_HOME", filepath.Join(old, ".rustup"))
	}
}

// set changes a variable; empty takes it away.
func set(name, value string) {
	change := os.Unsetenv(name)
	if value != "" {
		change = os.Setenv(name, value)
	}
	if change != nil {
		panic(change)
	}
}

// path is list without programs that are called after authferry: a folder with such a
// one is replaced by one of links to all the others.
func path(home, list string) string {
	folders := filepath.SplitList(list)
	for i, folder := range folders {
		if named, _ := filepath.Glob(filepath.Join(folder, "*authferry*")); len(named) == 0 {
			continue
		}
		others, err := os.MkdirTemp(home, "bin-")
		if err != nil {
			panic(err)
		}
		entries, _ := os.ReadDir(folder)
		for _, e := range entries {
			if !strings.Contains(e.Name(), "authferry") {
				_ = os.Symlink(filepath.Join(folder, e.Name()), filepath.Join(others, e.Name()))
			}
		}
		folders[i] = others
	}
	return strings.Join(folders, string(filepath.ListSeparator))
}

// LeavingNothing runs the tests alone, and fails where a goroutine is left whose stack
// names one of the packages. It returns the exit code.
func LeavingNothing(tests Tests, packages ...string) int {
	code := Alone(tests).Run()
	left := running(packages)
	for deadline := time.Now().Add(10 * time.Second); len(left) > 0 && time.Now().Before(deadline); left = running(packages) {
		time.Sleep(10 * time.Millisecond)
	}
	if len(left) > 0 && code == 0 {
		fmt.Printf("left running:\n%s\n", strings.Join(left, "\n\n"))
		return 1
	}
	return code
}

func running(packages []string) (stacks []string) {
	all := make([]byte, 4<<20)
	all = all[:runtime.Stack(all, true)]
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		if !strings.Contains(stack, "TestMain") && slices.ContainsFunc(packages, func(p string) bool { return strings.Contains(stack, p) }) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// Working are the ids of the processes that have AUTHFERRY_DIR at dir, or at a path that
// begins so, where the system has a /proc that tells.
func Working(dir string) (pids []string) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = proc.Close() }()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' { // no process
			continue
		}
		environ, err := os.ReadFile("/proc/" + name + "/environ")
		if err == nil && bytes.Contains(append([]byte{0}, environ...), []byte("\x00AUTHFERRY_DIR="+dir)) {
			pids = append(pids, name)
		}
	}
	return pids
}

// T is a test, or what stands for one.
type T interface {
	Helper()
	Error(args ...any)
	Fatal(args ...any)
}

// Must ends the test where there is an error. A nil pointer of a type of its own is one,
// too: what has such a type is compared with nil.
func Must(t T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Check is Must for a test that goes on.
func Check(t T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// Err is the error of a call whose result does not matter.
func Err(_ any, err error) error { return err }

// Skipper is a test that can be skipped.
type Skipper interface {
	T
	Skip(args ...any)
}
