package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// traced are the system calls by which a program hands something to another one,
// or to a file.
const traced = "execve,execveat,openat,open,creat,write,pwrite64,writev,pwritev"

var (
	ofCall   = regexp.MustCompile(`^\d+ +(\w+)\((?:AT_FDCWD<[^>]*>, |(\d+<[^>]*>), )?(?:"((?:[^"\\]|\\.)*)")?`)
	ofTarget = regexp.MustCompile(`<(/[^>]*)>`)
)

// Whatever a command starts has no secret among its arguments and in its
// environment, and no file gets one, be it for a moment and wherever it is: every
// such call of every process that comes of every command is looked at.
func TestNoLeaksInSystemCalls(t *testing.T) {
	t.Parallel()
	proofs.Only(t, "every command under strace")
	if os.Getuid() != 0 {
		t.Skip("needs root: authferry shows its memory to nobody else")
	}
	if out, err := exec.CommandContext(t.Context(), "strace", "-f", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("needs strace: apt-get install strace, and leave to trace: %v %s", err, out)
	}
	s := newScene(t, brokertest.Config{ClientSecret: clientSecret})
	s.settle()
	theirSettings(s)
	secrets := append(authferrytest.SecretsOf(s.Server), canaries...)
	seen := map[string]int{}
	log := filepath.Join(t.TempDir(), "trace")
	for _, c := range s.everything() {
		args := inMode(strings.Fields(c.args), []string{"--verbose"})
		cmd := s.Command(args...)
		cmd.Args = slices.Concat([]string{"strace", "-f", "-qq", "-v", "-y", "-s", "2000000", "-e", "trace=" + traced, "-e", "signal=none", "-o", log, "authferry"}, args)
		if cmd.Path, cmd.Err = exec.LookPath("strace"); cmd.Err != nil {
			t.Fatal(cmd.Err)
		}
		cmd.Stdin = strings.NewReader(c.stdin)
		s.wantSilence(s.Finish(cmd), args)
		trace, err := os.ReadFile(log)
		testenv.Must(t, err)
		for line := range strings.Lines(string(trace)) {
			kind, wrong := judgeWrite(s, line, secrets)
			switch {
			case kind == "exec" && args[0] == "exec" && (wrong == "afat_" || wrong == longLived): // what exec is for, and that it is found
				kind, wrong = "exec with its token", ""
			case kind == "exec" && strings.Contains(line, `["authferry", "`+args[0]+`"`) && strings.Contains(c.args, wrong): // typed by the person
				wrong = ""
			}
			if seen[kind]++; wrong != "" {
				t.Errorf("authferry %s: %q in %.300s", strings.Join(args, " "), wrong, line)
			}
		}
	}
	for kind, least := range map[string]int{"exec": len(s.everything()), "rotator": 1, "browser": 1, "exec with its token": 1, "file": 100, "written": 100} {
		if seen[kind] < least {
			t.Errorf("%d of %s were looked at, want %d at least", seen[kind], kind, least)
		}
	}
	t.Log(seen)
}

// judgeWrite says what a line of strace is about, and what is wrong with that.
func judgeWrite(s *scene, line string, secrets []string) (kind, wrong string) {
	call := ofCall.FindStringSubmatch(line)
	if call == nil {
		return "other", ""
	}
	holds := func() string {
		for _, secret := range secrets {
			if strings.Contains(line, secret) {
				return secret
			}
		}
		return ""
	}
	switch name := call[1]; {
	case strings.HasPrefix(name, "exec"):
		switch {
		case strings.Contains(line, `"authferry", "rotate", "acc_`):
			kind = "rotator"
		case strings.Contains(line, `/person", [`):
			kind = "browser"
		default:
			kind = "exec"
		}
		return kind, holds()
	case strings.HasPrefix(name, "open"), name == "creat":
		if !strings.Contains(line, "O_WRONLY") && !strings.Contains(line, "O_RDWR") && !strings.Contains(line, "O_CREAT") {
			return "read", ""
		}
		path := call[3]
		if dir := ofTarget.FindStringSubmatch(call[2]); dir != nil && !filepath.IsAbs(path) {
			path = filepath.Join(dir[1], path)
		}
		if filepath.IsAbs(path) && !isOwn(s, path) && !strings.HasPrefix(path, "/dev/") {
			return "file", "a file elsewhere"
		}
		return "file", ""
	default: // writes
		target := ofTarget.FindStringSubmatch(call[2])
		if target == nil || strings.HasPrefix(target[1], "/dev/") {
			return "pipe", ""
		}
		if !strings.HasPrefix(target[1], s.Root+"/") {
			return "written", "" // another program's file, which keeps what was not taken
		}
		return "written", holds()
	}
}

// isOwn reports whether a path is the user's: of the scene, or of a program whose
// logins are taken over.
func isOwn(s *scene, path string) bool {
	return strings.HasPrefix(path, filepath.Dir(s.Root)+"/") || strings.HasPrefix(path, s.Root+"/")
}

// A person at a terminal sees no secret either, and is asked what only a person
// can answer.
func TestNoLeaksOnATerminal(t *testing.T) {
	t.Parallel()
	s := newScene(t, brokertest.Config{ClientSecret: clientSecret})
	s.settle()
	theirSettings(s)
	s.Env = append(slices.DeleteFunc(s.Env, func(v string) bool { return v == "NO_COLOR=1" }), "TERM=xterm-256color")
	if got := s.atTerminal("n\n", "remove", "Ada"); got.Code != exitDeclined {
		t.Errorf("no to a question: exit code %d\n%s", got.Code, got.Out)
	}
	if shown := s.atTerminal("", "doctor").Out; !strings.Contains(shown, "\x1b[") {
		t.Errorf("nothing is coloured: is it a terminal?\n%s", shown)
	}
	every := proofs.Size(3, 1)
	first := rand.N(every) // others each time
	for i, c := range s.everything() {
		if i%every != first || len(c.stdin) > 4000 { // more than a terminal takes in a line
			continue
		}
		args := strings.Fields(c.args)
		s.wantSilence(s.atTerminal(c.stdin, args...), args)
	}
	s.Rest()
	testenv.Check(t, s.leaked())
}

// atTerminal runs a command whose stdin, stdout and stderr are a terminal, at
// which somebody types and then ends the input.
func (s *scene) atTerminal(typed string, args ...string) authferrytest.Outcome {
	s.T.Helper()
	master, terminal := openTerminal(s.T)
	defer func() { _ = master.Close() }()
	ctx, cancel := context.WithTimeout(s.T.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.Program)
	cmd.Args = append([]string{"authferry"}, args...)
	cmd.Env, cmd.Dir = s.Env, s.Root
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	testenv.Must(s.T, cmd.Start())
	_ = terminal.Close()
	testenv.Must(s.T, testenv.Err(io.WriteString(master, typed+strings.Repeat("\n\x04", 8))))
	var shown bytes.Buffer
	if _, err := shown.ReadFrom(master); err != nil && !errors.Is(err, syscall.EIO) { // EIO: nobody has it open any more
		s.T.Fatal(err)
	}
	_ = cmd.Wait()
	if ctx.Err() != nil {
		s.T.Errorf("authferry %s did not end:\n%s", strings.Join(args, " "), shown.String())
	}
	return authferrytest.Outcome{Code: cmd.ProcessState.ExitCode(), Out: shown.String()}
}

// openTerminal makes a terminal that does not echo.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs terminals: mount devpts: %v", err)
	}
	fd := int(master.Fd()) // #nosec G115 -- a file descriptor is small
	testenv.Must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	testenv.Must(t, err)
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	testenv.Must(t, err)
	mode.Lflag &^= unix.ECHO
	testenv.Must(t, unix.IoctlSetTermios(fd, unix.TCSETS, mode))
	if terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return master, terminal
}
