// Package scripts has what this repository runs besides its tests, and holds it
// to working.
package scripts

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// windows lists what runs under Wine and what can't.
var windows = []struct {
	pkg  string   // below the module's root
	run  string   // -test.run; empty: all
	skip []string // -test.skip
	env  []string
}{
	// Wine 8 makes symbolic links that nothing follows.
	{pkg: "keystore", env: ownKeychain, skip: []string{"TestVaultThatLeadsElsewhere"}},
	{pkg: "broker/index", skip: []string{
		"TestIndexThatIsNoFile/link", "TestIndexThatIsNoFile/dangling_link",
		"TestLockPathThatIsNoFile/link", "TestLockPathThatIsNoFile/folder_that_is_a_link", "TestRealPath",
	}},
	// The rotation, which is what differs: locks, detached processes, the
	// Credential Manager. The rest is the same on every system.
	{pkg: "broker", run: "TestStampede|TestKillPoints|TestKilledCallers|TestCredentialManager|TestOddTokens|TestRefreshBehind|TestCopiedFolder",
		env: append(slices.Clone(ownKeychain), "TEST_HERDS=2 16")},
	{pkg: "cmd/authferry", run: "TestScripts/^(token|selection|input|big|keystore|copy|version|exec|failover|serve)$", env: ownKeychain},
}

// ownKeychain allows tests to write to the keychain of who runs them, which is
// Wine's own here.
var ownKeychain = []string{"AUTHFERRY_TEST_SYSTEM_KEYCHAIN=1"}

// What is written for Windows also runs there: the credential manager, file
// locks, detached processes and atomic replacement.
func TestWindowsUnderWine(t *testing.T) {
	proofs.Only(t, "every package under Wine takes a minute")
	for _, program := range []string{"/usr/lib/wine/wine64", "x86_64-w64-mingw32-gcc", "bash"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs wine64 and gcc-mingw-w64-x86-64: apt-get install wine64 gcc-mingw-w64-x86-64")
		}
	}
	prefix := filepath.Join(t.TempDir(), "prefix")
	for _, test := range windows {
		t.Run(test.pkg, func(t *testing.T) {
			if tests, err := filepath.Glob(filepath.Join("..", test.pkg, "*_test.go")); err != nil || len(tests) == 0 {
				t.Fatalf("%s has no tests: take it off the table or mend its name", test.pkg)
			}
			args := []string{"wine-test", "./" + test.pkg, "-test.v", "-test.timeout=10m"}
			if test.run != "" {
				args = append(args, "-test.run="+test.run)
			}
			if test.skip != nil {
				args = append(args, "-test.skip="+strings.Join(test.skip, "|"))
			}
			wine(t, append(slices.Clone(test.env), "WINE_TEST_PREFIX="+prefix), args...)
		})
	}
}

// wine runs scripts/wine-test and shows of its output what went wrong. Now and
// then Wine 8, on a busy machine, can't start a process; then it is run again.
func wine(t *testing.T, env []string, args ...string) {
	t.Helper()
	output, err := wineTest(t, env, args...)
	if err != nil && strings.Contains(output, ".exe: Internal error.") {
		t.Log("Wine could not start a process; once more")
		output, err = wineTest(t, env, args...)
	}
	passed := strings.Count(output, "\n--- PASS")
	if err != nil || passed == 0 {
		t.Errorf("%v, %d tests passed\n%s", err, passed, quote(output))
		return
	}
	t.Logf("%d tests passed", passed)
}

func wineTest(t *testing.T, env []string, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	script, err := filepath.Abs(args[0])
	testenv.Must(t, err)
	cmd := exec.CommandContext(ctx, "bash", append([]string{script}, args[1:]...)...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it shuts Wine down
	cmd.WaitDelay = 20 * time.Second
	both, err := cmd.CombinedOutput()
	return string(both), err
}

// quote sets another test run's output off from this one's, so that nobody who
// counts results counts it twice, and leaves out what passed.
func quote(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\r\n")
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "=== ") || strings.HasPrefix(trimmed, "--- PASS") {
			continue
		}
		lines = append(lines, "wine: "+line)
	}
	if most := 200; len(lines) > most {
		lines = lines[len(lines)-most:]
	}
	return strings.Join(lines, "\n")
}
