//go:build unix

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// running is a run whose command waits for its input to end.
type running struct {
	s      *scene
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	out    *bufio.Reader
	child  int
	listen string
}

func (s *scene) startRun(how string) *running {
	s.T.Helper()
	r := &running{s: s, cmd: s.Command("run", "sim", "--", "ask-proxy", how)}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := r.cmd.StdinPipe()
	testenv.Must(s.T, err)
	stdout, err := r.cmd.StdoutPipe()
	testenv.Must(s.T, err)
	r.stdin, r.out = stdin, bufio.NewReader(stdout)
	r.begin()
	return r
}

// begin starts run, and waits for its command.
func (r *running) begin() {
	s := r.s
	s.T.Helper()
	testenv.Must(s.T, r.cmd.Start())
	s.T.Cleanup(func() { _ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL) })
	testenv.Must(s.T, testenv.Err(fmt.Fscanf(r.out, "ready %d\n", &r.child)))
	for _, p := range s.proxies() {
		if p.PID == r.cmd.Process.Pid {
			r.listen = p.Listen
		}
	}
	if r.listen == "" {
		s.T.Fatalf("run is not known: %+v", s.proxies())
	}
}

// end waits for run, and returns its exit code; -1: a signal ended it.
func (r *running) end() int {
	r.s.T.Helper()
	_, _ = io.Copy(io.Discard, r.out)
	err := r.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	testenv.Must(r.s.T, err)
	return 0
}

// gone wants the command and the proxy gone.
func (r *running) gone(after string) {
	r.s.T.Helper()
	for deadline := time.Now().Add(30 * time.Second); syscall.Kill(r.child, 0) == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.s.T.Errorf("after %s the command is still there", after)
			break
		}
	}
	if conn, err := net.Dial("tcp", r.listen); err == nil {
		_ = conn.Close()
		r.s.T.Errorf("after %s the proxy still listens", after)
	}
}

func (s *scene) nothingLeft(after string) {
	s.T.Helper()
	if left, _ := filepath.Glob(filepath.Join(s.Dir, "locks", "run-*")); left != nil {
		s.T.Errorf("after %s: %q", after, left)
	}
}

func newRunScene(t *testing.T) *scene {
	t.Helper()
	s := newScene(t, brokertest.Config{})
	s.Must("", "provider", "add", "sim", "--issuer", s.Server.URL, "--client-id", "authferry-sim", "--api-origin", s.Server.URL)
	s.Must(s.Grant("ada", time.Hour), "import", "grant", "sim", "--label", "Ada")
	return s
}

// However run ends, its command has ended, its exit code is that of the command, and no
// file, process or socket is left.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	s := newRunScene(t)
	ends := []struct {
		how  string
		do   func(r *running)
		code int
	}{
		{"the command's end", func(r *running) { _ = r.stdin.Close() }, 0},
		{"SIGTERM", func(r *running) { _ = r.cmd.Process.Signal(syscall.SIGTERM) }, 143},
		{"SIGINT from another program", func(r *running) { _ = r.cmd.Process.Signal(syscall.SIGINT) }, 130},
		{"SIGHUP", func(r *running) { _ = r.cmd.Process.Signal(syscall.SIGHUP) }, 129},
		{"SIGTERM to the group", func(r *running) { _ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGTERM) }, 143},
		{"SIGHUP to the group, as a closed terminal sends it", func(r *running) { _ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGHUP) }, 129},
		{"SIGKILL of the command", func(r *running) { _ = syscall.Kill(r.child, syscall.SIGKILL) }, 137},
	}
	for i := range proofs.Size(len(ends), 200) {
		e := ends[i%len(ends)]
		if i >= len(ends) {
			e = ends[rand.IntN(len(ends))]
		}
		r := s.startRun("--wait")
		e.do(r)
		if code := r.end(); code != e.code {
			t.Errorf("%s: exit code %d, want %d", e.how, code, e.code)
		}
		r.gone(e.how)
		s.nothingLeft(e.how)
	}
}
