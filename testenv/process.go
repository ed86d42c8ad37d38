package testenv

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Roles are what a package's test binary can be besides its tests: another process,
// which is given arguments.
type Roles map[string]func(args []string) error

// role names in a process's environment what it is to be.
const role = "AUTHFERRY_TEST_ROLE"

// Main plays the role that this process was started in, or runs the tests alone, and
// ends it.
func (r Roles) Main(tests Tests) {
	name := os.Getenv(role)
	if name == "" {
		os.Exit(Alone(tests).Run())
	}
	if err := r[name](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Cleaner is a test that can clean up behind itself.
type Cleaner interface {
	Skipper
	Cleanup(after func())
}

// Process is another process in a role.
type Process struct {
	*exec.Cmd
	stdin  io.Closer
	stdout *bufio.Scanner
	stderr strings.Builder
}

// Command is a process of this test binary that was not started yet.
func Command(t T, as string, args ...string) *Process {
	t.Helper()
	exe, err := os.Executable()
	Must(t, err)
	p := &Process{Cmd: exec.CommandContext(context.Background(), exe, args...)}
	p.Env = append(os.Environ(), role+"="+as)
	p.Stderr = &p.stderr
	p.stdin, err = p.StdinPipe()
	Must(t, err)
	stdout, err := p.StdoutPipe()
	Must(t, err)
	p.stdout = bufio.NewScanner(stdout)
	return p
}

// Start starts one, which ends with the test.
func Start(t Cleaner, as string, args ...string) *Process {
	t.Helper()
	p := Command(t, as, args...)
	Must(t, p.Start())
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
	})
	return p
}

// Line waits for the next line that the process prints.
func (p *Process) Line(t T) string {
	t.Helper()
	if !p.stdout.Scan() {
		_ = p.Wait()
		t.Fatal("the other process ended: " + p.stderr.String())
	}
	return p.stdout.Text()
}

// Finish lets the process go on after it waited for its stdin, and waits for its end.
func (p *Process) Finish(t T) {
	t.Helper()
	_ = p.stdin.Close()
	for p.stdout.Scan() {
	}
	if err := p.Wait(); err != nil {
		t.Fatal(fmt.Errorf("the other process: %w: %s", err, p.stderr.String()))
	}
}

// Patience is for what must come about; no test waits for it to pass.
func Patience(t Cleaner) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Symlink makes a link, or skips the test where there are none, or, as under Wine, none
// that is followed.
func Symlink(t Skipper, target, path string) {
	t.Helper()
	err := os.Symlink(target, path)
	if err == nil {
		if _, err = os.Readlink(path); err == nil {
			if _, lost := os.Stat(target); lost == nil {
				_, err = filepath.EvalSymlinks(path)
			}
		}
	}
	if err != nil {
		t.Skip("needs symbolic links:", err)
	}
}
