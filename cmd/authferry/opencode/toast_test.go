package opencode_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// screen is a terminal that a program runs in and that a test can read.
type screen struct {
	t      *testing.T
	socket string
}

// newScreen skips the test where tmux is absent.
func newScreen(t *testing.T, cmd *exec.Cmd) *screen {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("needs tmux: apt-get install tmux")
	}
	dir, err := os.MkdirTemp("", "authferry-tmux-") // a socket's path is short
	testenv.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &screen{t, filepath.Join(dir, "s")}
	args := []string{"-f", os.DevNull, "new-session", "-d", "-x", "110", "-y", "30", "-c", cmd.Dir, "env", "-i"}
	s.tmux(append(append(args, cmd.Env...), cmd.Args...)...)
	pid, err := strconv.Atoi(strings.TrimSpace(s.tmux("display-message", "-p", "#{pane_pid}")))
	testenv.Must(t, err)
	t.Cleanup(func() {
		_ = exec.Command("tmux", "-S", s.socket, "kill-server").Run()
		// It goes on writing into its home for a moment.
		p, err := os.FindProcess(pid)
		for n := 0; err == nil && p.Signal(syscall.Signal(0)) == nil && n < 600; n++ {
			if n == 100 {
				_ = p.Kill()
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	return s
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "tmux", append([]string{"-S", s.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %s: %v\n%s", args[0], err, out)
	}
	return string(out)
}

// await returns the screen once text is on it.
func (s *screen) await(text string) string {
	s.t.Helper()
	shown := ""
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if shown = s.tmux("capture-pane", "-p"); strings.Contains(shown, text) {
			return shown
		}
	}
	s.t.Fatalf("no %q on the screen\n%s", text, shown)
	return ""
}

// A switch is told in the session, where the person looks. With TEST_CAPTURE
// the screen is kept in that file: scripts/opencode-toast does so for the
// documentation.
func TestOpenCodeToast(t *testing.T) {
	o := newOpenCode(t, time.Hour)
	limit := limited(personalUser, brokertest.Fault{})
	limit.Header["Retry-After"] = "900"
	o.Server.Inject(limit)
	cmd := o.opencode()
	cmd.Env = append(cmd.Env, "TERM=xterm-256color", "COLORTERM=truecolor")
	s := newScreen(t, cmd)
	s.await("Ask anything")
	s.tmux("send-keys", "-l", "Which account is this?")
	s.await("Which account is this?")
	s.tmux("send-keys", "Enter")
	const toast = personal + ": limit until"
	shown := s.await(toast)
	if later := s.await(hello(workUser)); strings.Contains(later, toast) {
		shown = later
	}
	if path := os.Getenv("TEST_CAPTURE"); path != "" {
		lines := strings.Split(strings.ReplaceAll(shown, o.project, "~/project"), "\n")
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		testenv.Must(t, os.WriteFile(path, []byte(strings.Trim(strings.Join(lines, "\n"), "\n")+"\n"), 0o600))
	}
}
