package main

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/authferry/authferry/testenv"
)

// seat is a person at a terminal.
type seat struct {
	t      *testing.T
	master *os.File
	fd     int // of the terminal
	before unix.Termios
	cmd    *exec.Cmd
	done   chan struct{}

	mu     sync.Mutex
	screen *glass
}

// sit starts a shell's command line at a terminal of that size.
func (m *machine) sit(columns, rows int, line string) *seat {
	m.t.Helper()
	master, terminal := openTerminal(m.t)
	s := &seat{t: m.t, master: master, fd: int(terminal.Fd()), done: make(chan struct{}), screen: newGlass(m.t, columns, rows)} // #nosec G115 -- a file descriptor is small
	s.screen.lenient = true
	for row := range s.screen.rows {
		s.screen.blank(row, 0)
	}
	s.resize(columns, rows)
	mode, err := unix.IoctlGetTermios(s.fd, unix.TCGETS)
	testenv.Must(m.t, err)
	s.before = *mode
	s.cmd = m.command()
	s.cmd.Path, s.cmd.Err, s.cmd.Args = "/bin/sh", nil, []string{"sh", "-c", line}
	s.cmd.Env = append(s.cmd.Env, "TERM=xterm", "COLUMNS=20")
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = terminal, terminal, terminal
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	testenv.Must(m.t, s.cmd.Start())
	go func() {
		defer close(s.done)
		data := make([]byte, 4096)
		for {
			n, err := master.Read(data)
			s.mu.Lock()
			_, _ = s.screen.Write(data[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	m.t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_, _ = terminal.Close(), master.Close()
	})
	return s
}

func (s *seat) resize(columns, rows int) {
	s.t.Helper()
	testenv.Must(s.t, unix.IoctlSetWinsize(s.fd, unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(columns), Row: uint16(rows)})) // #nosec G115 -- small
}

// sees waits until the screen has each of these, and is the watch's own or not.
func (s *seat) sees(own bool, want ...string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		text, is := s.screen.String(), s.screen.own && s.screen.noCursor
		s.mu.Unlock()
		missing := ""
		for _, w := range want {
			if !strings.Contains(text, w) {
				missing = w
			}
		}
		if missing == "" && is == own {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("no %q, or own screen %v, on\n%s", missing, is, text)
		}
	}
}

func (s *seat) types(keys string) {
	s.t.Helper()
	_, err := s.master.WriteString(keys)
	testenv.Must(s.t, err)
}

// ended waits for the end: the terminal is as it was.
func (s *seat) ended(code int) {
	s.t.Helper()
	_ = s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		s.t.Errorf("exit code %d, want %d\n%s", got, code, s.screen)
	}
	s.sees(false)
	if mode, err := unix.IoctlGetTermios(s.fd, unix.TCGETS); err != nil || *mode != s.before {
		s.t.Errorf("the terminal is in another mode (%v): %+v, before %+v", err, mode, s.before)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.screen.noCursor {
		s.t.Error("there is no cursor")
	}
}

// watchedStatus is a machine with two accounts.
func watched(t *testing.T) *machine {
	m := fileMachine(t)
	m.must("provider", "add", "sim", "--token-endpoint", "http://127.0.0.1:1/token", "--authorization-endpoint", "http://127.0.0.1:1/authorize", "--client-id", "x")
	for _, label := range []string{"Ada", "Bob"} {
		cmd := m.command("import", "grant", "sim", "--label", label)
		cmd.Stdin = strings.NewReader(`{"access_token":"at-` + label + `","refresh_token":"rt-` + label + `","expires_in":36000}`)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return m
}

// A watch shows what others change, whatever becomes of the index, fits the terminal while
// its size changes, and gives it back.
func TestWatchAtATerminal(t *testing.T) {
	t.Parallel()
	m := watched(t)
	s := m.sit(80, 24, "exec authferry status --watch")
	s.sees(true, "sim · 2 accounts", "current  Ada", "q quits")
	m.must("use", "Bob")
	s.sees(true, "current  Bob")
	m.must("config", "set", "switch_at", "80")
	s.sees(true, "switch_at: 80%")
	m.must("holds", "add", "Ada", "2h")
	s.sees(true, "Ada  held: by hand")

	path := m.dir + "/index.json"
	good, err := os.ReadFile(path)
	testenv.Must(t, err)
	testenv.Must(t, os.WriteFile(path, []byte("{"), 0o600))
	s.sees(true, "index.json", "authferry doctor", "q quits")
	testenv.Must(t, os.WriteFile(path, good, 0o600))
	s.sees(true, "current  Bob")

	s.mu.Lock()
	s.screen.resize(30, 5)
	s.mu.Unlock()
	s.resize(30, 5)
	s.sees(true, "more lines", "q quits")
	s.mu.Lock()
	s.screen.resize(100, 30)
	s.mu.Unlock()
	s.resize(100, 30)
	s.sees(true, "current  Bob", "keystore: file", "\nq quits")
	s.types("\x1b[Ax") // an arrow and another key do nothing
	m.must("use", "Bob")
	s.types("q")
	s.ended(exitOK)
}

// Whatever ends a watch, the terminal is as it was.
func TestWatchGivesTheTerminalBack(t *testing.T) {
	t.Parallel()
	m := watched(t)
	for name, c := range map[string]struct {
		keys   string
		signal syscall.Signal
		code   int
	}{
		"q": {"q", 0, exitOK}, "Ctrl-D": {"\x04", 0, exitOK}, "Ctrl-C": {"\x03", 0, exitInterrupt},
		"SIGINT": {"", syscall.SIGINT, exitInterrupt}, "SIGTERM": {"", syscall.SIGTERM, exitTerminated},
		"SIGHUP": {"", syscall.SIGHUP, 129}, "SIGQUIT": {"", syscall.SIGQUIT, 131},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &machine{t, m.dir, m.env}
			s := m.sit(80, 24, "exec authferry status --watch")
			s.sees(true, "q quits")
			if c.keys != "" {
				s.types(c.keys)
			} else {
				testenv.Must(t, s.cmd.Process.Signal(c.signal))
			}
			s.ended(c.code)
		})
	}
}

// Ctrl-Z gives the terminal to the shell, and fg takes it again.
func TestWatchIsSuspended(t *testing.T) {
	t.Parallel()
	s := watched(t).sit(80, 24, `set -m; authferry status --watch; echo "stopped: $?"; read line; fg; echo "ended: $?"`)
	s.sees(true, "current  Ada", "q quits")
	s.types("\x1a")
	s.sees(false, "stopped: 148")
	s.types("\n")
	s.sees(true, "current  Ada", "q quits")
	s.types("\x03")
	s.sees(false, "ended: 130")
	s.ended(exitOK)
}
