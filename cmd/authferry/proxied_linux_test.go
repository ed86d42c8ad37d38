package main

import (
	"bufio"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/proofs"
)

// SIGKILL of run itself takes its command along on Linux; what it leaves is no proxy any
// more, and the next one or doctor removes it. Nothing else is hurt.
func TestRunKilled(t *testing.T) {
	t.Parallel()
	s := newRunScene(t)
	for _, sweep := range [][]string{{"doctor", "--fix"}, {"run", "sim", "--", "ask-proxy"}} {
		r := s.startRun("--wait")
		_ = r.cmd.Process.Kill()
		if code := r.end(); code != -1 {
			t.Errorf("exit code %d", code)
		}
		r.gone("SIGKILL")
		if left, _ := filepath.Glob(filepath.Join(s.Dir, "locks", "run-*.proxy")); len(left) != 1 {
			t.Errorf("left: %q", left)
		}
		if p := s.proxies(); len(p) != 0 {
			t.Errorf("still known: %+v", p)
		}
		_ = s.Run("", sweep...)
		s.nothingLeft(strings.Join(sweep, " "))
		s.Must("", "token")
	}
}

// Proxies that are killed under load, while a limit is met and forgotten again and again,
// hurt nothing: the others go on, and holds, index and logins are as they should be.
func TestRunsKilledUnderLoad(t *testing.T) {
	proofs.Only(t, "it kills proxies under load, again and again")
	t.Parallel()
	s := newRunScene(t)
	s.Must(s.Grant("bob", time.Hour), "import", "grant", "sim", "--label", "Bob")
	s.Server.Inject(brokertest.Fault{On: brokertest.OnAPI, User: "ada", Times: -1, Status: 429, Header: map[string]string{"retry-after": "600"}})
	steady := s.startRun("--hammer")
	for range 60 {
		victim := s.startRun("--hammer")
		s.Must("", "holds", "clear", "Ada")
		s.Must("", "use", "Ada")
		time.Sleep(rand.N(40 * time.Millisecond))
		_ = victim.cmd.Process.Kill()
		victim.end()
		victim.gone("SIGKILL")
	}
	_ = steady.stdin.Close()
	said, _ := io.ReadAll(steady.out)
	if err := steady.cmd.Wait(); err != nil || len(said) > 0 {
		t.Errorf("the other one: %v, %s", err, said)
	}
	s.Must("", "holds", "clear", "Ada")
	s.Must("", "doctor", "--fix")
	s.nothingLeft("doctor --fix")
	for _, who := range []string{"Ada", "Bob"} {
		s.Must("", "refresh", who, "--now")
	}
	if l := s.Server.Ledger(); l.Revoked() != 0 || l.Refreshes("ada") != 1 || l.Refreshes("bob") != 1 {
		t.Errorf("%d refreshes of ada, %d of bob, %d revoked", l.Refreshes("ada"), l.Refreshes("bob"), l.Revoked())
	}
}

// In a terminal: what its keys send comes to the command once, and when it is closed,
// nothing is left.
func TestRunInTerminal(t *testing.T) {
	t.Parallel()
	s := newRunScene(t)
	for _, end := range []struct {
		how   string
		do    func(master *os.File)
		codes []int
	}{
		{"Ctrl-C", func(m *os.File) { _, _ = m.WriteString("\x03") }, []int{130}},
		{"Ctrl-D", func(m *os.File) { _, _ = m.WriteString("\x04") }, []int{0}},
		{"a closed terminal", func(m *os.File) { _ = m.Close() }, []int{129, 0}}, // the command may see that its input ends, and end, before the signal comes
	} {
		master, terminal := openTerminal(t)
		r := &running{s: s, cmd: s.Command("run", "sim", "--", "ask-proxy", "--wait"), out: bufio.NewReader(master)}
		r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = terminal, terminal, terminal
		r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		r.begin()
		_ = terminal.Close()
		end.do(master)
		err := r.cmd.Wait()
		if code := r.cmd.ProcessState.ExitCode(); !slices.Contains(end.codes, code) {
			t.Errorf("%s: exit code %d, want one of %d (%v)", end.how, code, end.codes, err)
		}
		_ = master.Close()
		r.gone(end.how)
		s.nothingLeft(end.how)
	}
}

// A command that stops itself stops its job too, and goes on with it.
func TestRunStops(t *testing.T) {
	t.Parallel()
	s := newRunScene(t)
	r := s.startRun("--wait")
	state := func(pid int, want string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if got := stateOf(pid); got == want {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("process %d is %s, want %s", pid, got, want)
			}
		}
	}
	_ = syscall.Kill(r.child, syscall.SIGSTOP)
	state(r.child, "stopped")
	state(r.cmd.Process.Pid, "stopped")
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGCONT)
	state(r.child, "running")
	state(r.cmd.Process.Pid, "running")
	_ = r.stdin.Close()
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// stateOf says whether a process runs.
func stateOf(pid int) string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "gone"
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	switch rest[:1] {
	case "T":
		return "stopped"
	case "Z":
		return "gone"
	}
	return "running"
}
