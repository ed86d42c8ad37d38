package lock

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/authferry/authferry/testenv"
)

// The test binary is also the other process: with this in its environment it
// plays a role from roles instead of running tests.
const roleEnv = "AUTHFERRY_LOCK_TEST_ROLE"

var roles = map[string]func(args []string) error{}

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		os.Exit(testenv.Alone(m).Run())
	}
	if err := roles[role](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process is another process in a role. It ends with the test.
type process struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Scanner
}

// start returns the process once it has printed its first line.
func start(t testing.TB, role string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	p := &process{Cmd: exec.Command(exe, args...)}
	p.Env = append(os.Environ(), roleEnv+"="+role)
	p.Stderr = os.Stderr
	p.stdin, err = p.StdinPipe()
	must(t, err)
	stdout, err := p.StdoutPipe()
	must(t, err)
	must(t, p.Start())
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
	})
	if p.stdout = bufio.NewScanner(stdout); !p.stdout.Scan() {
		t.Fatal("the other process ended")
	}
	return p
}

// finish lets the process go on after it waited for its stdin, and waits for its
// end.
func (p *process) finish(t testing.TB) {
	t.Helper()
	p.stdin.Close()
	for p.stdout.Scan() {
	}
	must(t, p.Wait())
}

var must = testenv.Must

// patience is for what must come about; no test waits for it to pass.
func patience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// symlink makes a link, or skips the test where there are none.
func symlink(t testing.TB, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Skipf("needs symbolic links: %v", err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Skip("needs symbolic links: Lstat shows none")
	}
}
