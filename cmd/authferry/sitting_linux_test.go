package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/authferry/authferry/testenv"
)

// sitting is a command at a terminal, and the person there: who reads, and then types.
type sitting struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	shown  strings.Builder // all that the terminal has shown
	read   int             // how much of it the person has taken in
}

// sit starts a command at a terminal that shows what is typed.
func (s *scene) sit(args ...string) *sitting {
	s.T.Helper()
	master, terminal := openTerminal(s.T)
	s.T.Cleanup(func() { _ = master.Close() })
	fd := int(terminal.Fd()) // #nosec G115 -- a file descriptor is small
	mode, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	testenv.Must(s.T, err)
	mode.Lflag |= unix.ECHO
	testenv.Must(s.T, unix.IoctlSetTermios(fd, unix.TCSETS, mode))
	testenv.Must(s.T, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 80}))
	ctx, cancel := context.WithTimeout(s.T.Context(), 2*time.Minute)
	s.T.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, s.Program)
	cmd.Args = append([]string{"authferry"}, args...)
	cmd.Env, cmd.Dir = append(s.Env, "TERM=xterm"), s.Root
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	testenv.Must(s.T, cmd.Start())
	_ = terminal.Close()
	return &sitting{t: s.T, master: master, cmd: cmd}
}

// sees waits until the terminal shows what pattern matches, behind what was seen before.
func (x *sitting) sees(pattern string) {
	x.t.Helper()
	wanted := regexp.MustCompile(pattern)
	for {
		if at := wanted.FindStringIndex(x.shown.String()[x.read:]); at != nil {
			x.read += at[1]
			return
		}
		if !x.more() {
			x.t.Fatalf("no %s in\n%s", pattern, x.shown.String()[x.read:])
		}
	}
}

// more reads on; false: the command has ended.
func (x *sitting) more() bool {
	data := make([]byte, 4096)
	n, err := x.master.Read(data)
	x.shown.Write(data[:n])
	return err == nil // EIO: nobody has the terminal open any more
}

// types is sees, and then a line.
func (x *sitting) types(pattern, line string) {
	x.t.Helper()
	x.sees(pattern)
	_, err := io.WriteString(x.master, line)
	testenv.Must(x.t, err)
}

// answers is types for a whole line.
func (x *sitting) answers(pattern, line string) {
	x.t.Helper()
	x.types(pattern, line+"\n")
}

// ends waits for the command, and returns all that the terminal has shown.
func (x *sitting) ends(code int) string {
	x.t.Helper()
	for x.more() {
	}
	_ = x.cmd.Wait()
	if got := x.cmd.ProcessState.ExitCode(); got != code {
		x.t.Fatalf("exit code %d, want %d:\n%s", got, code, x.shown.String())
	}
	return strings.ReplaceAll(x.shown.String(), "\r\n", "\n")
}
