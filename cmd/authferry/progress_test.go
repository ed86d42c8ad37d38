package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/testenv"
)

// onTerminal runs a shell's command line at a terminal of 80 columns, and returns
// what was written to it.
func (m *machine) onTerminal(env, line string) (written string, code int) {
	m.t.Helper()
	if runtime.GOOS != "linux" {
		m.t.Skip("needs Linux: its script(1) passes an exit code on")
	}
	if _, err := exec.LookPath("script"); err != nil {
		m.t.Skip("needs script: the terminal that a person would sit at")
	}
	cmd := m.command()
	cmd.Path, cmd.Err = "/bin/sh", nil
	cmd.Args = []string{"sh", "-c", "exec script -qec \"$0\" /dev/null </dev/null", "stty cols 80; " + env + " " + line}
	cmd.Env = append(cmd.Env, "TERM=xterm")
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// remains are the lines that are to be seen in the end.
func remains(written string) (lines []string) {
	for line := range strings.SplitSeq(strings.TrimSuffix(written, "\n"), "\n") {
		line = strings.TrimSuffix(line, "\r")
		if i := strings.LastIndex(line, "\x1b[K"); i >= 0 {
			line = line[i+len("\x1b[K"):]
		}
		lines = append(lines, line)
	}
	return lines
}

// has wants a step to have been shown.
func has(t *testing.T, written, pattern string) {
	t.Helper()
	if !regexp.MustCompile(`\r` + pattern + `\x1b\[K`).MatchString(written) {
		t.Errorf("no %s in %q", pattern, written)
	}
}

// withAda has a login whose access token is over, at a server that takes its time.
func withAda(t *testing.T) *machine {
	s := brokertest.New(t, brokertest.Config{})
	m := fileMachine(t)
	m.must("provider", "add", "sim", "--issuer", s.URL, "--client-id", "authferry-sim")
	g := s.Issue("ada")
	doc, err := json.Marshal(map[string]any{"access_token": g.AccessToken, "refresh_token": g.RefreshToken, "expires_at": time.Now().Add(-time.Minute).Unix()})
	testenv.Must(t, err)
	cmd := m.command("import", "grant", "sim", "--label", "Ada")
	cmd.Stdin = strings.NewReader(string(doc))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.Inject(brokertest.Fault{Delay: 4 * time.Second, Times: -1})
	return m
}

// A person sees whose answer is waited for, and what was asked for alone is left.
func TestProgressOfARefresh(t *testing.T) {
	t.Parallel()
	written, code := withAda(t).onTerminal("", "authferry token")
	has(t, written, `waiting for sim to refresh account "Ada", \d+s left`)
	if seen := remains(written); code != 0 || len(seen) != 1 || !strings.HasPrefix(seen[0], "afat_") {
		t.Errorf("exit code %d, and left is %q", code, seen)
	}
}

// Who wants no progress, or has no terminal for it, gets none.
func TestProgressIsForTerminals(t *testing.T) {
	t.Parallel()
	elsewhere := filepath.Join(t.TempDir(), "stderr")
	for name, test := range map[string]struct {
		env, line string
		steps     int
	}{
		"quiet":         {"", "authferry refresh Ada --quiet", 0},
		"elsewhere":     {"", "authferry refresh Ada --json 2>" + elsewhere, 0},
		"dumb terminal": {"TERM=dumb", "authferry refresh Ada", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			written, code := withAda(t).onTerminal(test.env, test.line)
			if code != 0 || strings.Count(written, "waiting") != test.steps || strings.Contains(written, "\x1b") {
				t.Errorf("exit code %d, %q", code, written)
			}
			if test.steps > 0 && !strings.Contains(written, `waiting for sim to refresh account "Ada"`) {
				t.Errorf("waiting for something else: %q", written)
			}
			if said, err := os.ReadFile(elsewhere); name == "elsewhere" && (err != nil || len(said) != 0) {
				t.Errorf("%q, %v", said, err)
			}
		})
	}
}

// Whoever waits for another process sees which.
func TestProgressOfALock(t *testing.T) {
	t.Parallel()
	m := withAda(t)
	lock, err := lock.Acquire(t.Context(), lock.Index.In(m.dir))
	testenv.Must(t, err)
	defer lock.Release()
	own := fmt.Sprintf(`process %d \(%s\)`, os.Getpid(), regexp.QuoteMeta(filepath.Base(os.Args[0])))
	written, code := m.onTerminal("AUTHFERRY_LOCK_TIMEOUT=4s", "authferry rename Ada Eve")
	has(t, written, "waiting for "+own+`, busy for \d+s, \ds left`)
	if seen := remains(written); code != exitLock || !regexp.MustCompile(`^authferry: error: the lock .* is held by `+own+" since ").MatchString(seen[0]) {
		t.Errorf("exit code %d, and left is %q", code, seen)
	}
}

// A keychain that does not answer may have asked something, in a window that
// nobody looks at.
func TestProgressOfAKeychain(t *testing.T) {
	t.Parallel()
	m := &machine{t: t, dir: filepath.Join(t.TempDir(), "authferry")}
	m.env = append(keystoretest.MuteBus(t), "AUTHFERRY_DIR="+m.dir, "NO_COLOR=1")
	written, code := m.onTerminal("AUTHFERRY_KEYCHAIN_TIMEOUT=4s", "authferry keystore status")
	has(t, written, `waiting for the Secret Service, which may be asking you something, \ds left`)
	if seen := remains(written); code != exitKeystore || !strings.HasPrefix(seen[0], "keychain: Secret Service: not usable") {
		t.Errorf("exit code %d, and left is %q", code, seen)
	}
}

// Who logs in sees for how long that can still be done.
func TestProgressOfALogin(t *testing.T) {
	t.Parallel()
	for flow, waiting := range map[string]string{"browser": "for you to log in there", "device": "for you to enter the code"} {
		t.Run(flow, func(t *testing.T) {
			t.Parallel()
			s := brokertest.New(t, brokertest.Config{Consent: brokertest.Ask})
			m := fileMachine(t)
			m.must("provider", "add", "sim", "--issuer", s.URL, "--client-id", "authferry-sim")
			written, code := m.onTerminal("", "authferry login sim --no-browser --timeout 4s --flow "+flow)
			has(t, written, "waiting "+waiting+`, \ds left`)
			seen := remains(written)
			if last := strings.Join(seen[max(0, len(seen)-2):], "\n"); code != exitLogin || !strings.HasPrefix(last, "authferry: error: the login was not finished within 4s") {
				t.Errorf("exit code %d, and left is %q", code, seen)
			}
		})
	}
}
